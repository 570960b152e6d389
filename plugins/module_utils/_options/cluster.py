# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The cluster as an operator describes it: its keepers in order, the threshold, the scheme."""

from __future__ import annotations

import functools
import hashlib
import ipaddress
import json
import socket
from urllib.parse import urlsplit

from .._dataclass import dataclass

# A message that names more keepers than this is no longer read.
_MOST_SHOWN = 20


@dataclass(frozen=True)
class Keeper:
    """A keeper: its id, counted from 1 in the order in which they are listed, and its URL."""

    id: int
    url: str


@dataclass(frozen=True, eq=False)
class Cluster:
    """What a key was split for: shards of different clusters must never meet.

    URLs are compared by their meaning: case, the port 443 and a final slash make no difference.
    """

    keepers: tuple[str, ...]
    threshold: int
    scheme: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Cluster) and self._meaning() == other._meaning()

    def __hash__(self) -> int:
        return hash(self._meaning())

    def _meaning(self) -> tuple[tuple[str, ...], int, str]:
        return tuple(map(_canonical, self.keepers)), self.threshold, self.scheme

    def fingerprint(self) -> str:
        """A short name of exactly this cluster (SHA-256, hex)."""
        text = json.dumps(self._meaning())
        return hashlib.sha256(text.encode()).hexdigest()

    def numbered(self) -> str:
        """The keepers with their ids, in one line, for messages."""
        shown = [f"{i}. {url}" for i, url in enumerate(self.keepers[:_MOST_SHOWN], 1)]
        return ", ".join([*shown, *_more(len(self.keepers))])

    def changes_since(self, earlier: Cluster) -> str:
        """In what it differs from ``earlier``, in one line, for messages."""
        changes = []
        if len(self.keepers) != len(earlier.keepers):
            changes.append(
                f"there are {len(self.keepers)} keepers, and were {len(earlier.keepers)}"
            )
        moved = [
            f"keeper {i} is {now}, and was {before}"
            for i, (now, before) in enumerate(zip(self.keepers, earlier.keepers), 1)
            if _canonical(now) != _canonical(before)
        ]
        changes += [*moved[:_MOST_SHOWN], *_more(len(moved))]
        if self.threshold != earlier.threshold:
            changes.append(f"the threshold is {self.threshold}, and was {earlier.threshold}")
        if self.scheme != earlier.scheme:
            changes.append(f"the share scheme is {self.scheme}, and was {earlier.scheme}")
        return "; ".join(changes)


# The settings, the journal and its comparison each want to know it of every keeper.
@functools.lru_cache(maxsize=4096)
def place_of_url(url: str) -> tuple[str, int, str]:
    """Host, port and path of an https ``url``, the same for every way to write them."""
    parts = urlsplit(url)
    return _one_spelling(parts.hostname or ""), parts.port or 443, parts.path.rstrip("/")


def _canonical(url: str) -> str:
    try:
        host, port, path = place_of_url(url)
    except ValueError:
        # In a journal that somebody has edited: it is equal to itself.
        return url
    shown = f"[{host}]" if ":" in host else host
    return f"https://{shown}{'' if port == 443 else f':{port}'}{path}"


def _one_spelling(host: str) -> str:
    """The same text for every way to write the same address, or the same name with its dot."""
    try:
        # Also the short forms of IPv4 that the C library takes, such as 127.1.
        return socket.inet_ntoa(socket.inet_aton(host))
    except OSError:
        pass
    try:
        address = ipaddress.IPv6Address(host)
    except ValueError:
        return host.rstrip(".")
    return str(address.ipv4_mapped or address)


def _more(count: int) -> list[str]:
    return [f"and {count - _MOST_SHOWN} more"] if count > _MOST_SHOWN else []


__all__ = ["Cluster", "Keeper", "place_of_url"]
