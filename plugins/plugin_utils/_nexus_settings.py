# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the settings of a Nexus that is there already say otherwise than the inventory.

Another order of the keepers, another threshold or other shares make another root key, without an
error. Another directory or backend is another database.
"""

from __future__ import annotations

from collections.abc import Mapping

PEERS = "SPIKE_NEXUS_KEEPER_PEERS"
THRESHOLD = "SPIKE_NEXUS_SHAMIR_THRESHOLD"
SHARES = "SPIKE_NEXUS_SHAMIR_SHARES"
DATA_DIR = "SPIKE_NEXUS_DATA_DIR"
BACKEND = "SPIKE_NEXUS_BACKEND_STORE"

# The first line of a file of ours.
MARK = "# Written by the role dayzero.spike.spike_nexus."


def read_settings(text: str) -> dict[str, str]:
    """The settings in a file for systemd's EnvironmentFile."""
    found = {}
    for line in text.splitlines():
        name, equals, value = line.strip().partition("=")
        if equals and not name.startswith(("#", ";")):
            found[name.removeprefix("export ").strip()] = value.strip().strip("'\"")
    return found


def is_ours(text: str) -> bool:
    """Whether the role wrote this file."""
    return text.startswith(MARK)


def differences(text: str, wanted: Mapping[str, str], *, has_key: bool) -> list[str]:
    """What in the file ``text`` must not be changed to ``wanted``, in sentences.

    In a file of somebody else that is every difference. In ours it is what would lose the key or
    the data of a Nexus that may have them (``has_key``).
    """
    found = read_settings(text)
    if not is_ours(text):
        names = (PEERS, THRESHOLD, SHARES, DATA_DIR, BACKEND)
        return [
            sentence for name in names for sentence in _difference(name, found.get(name), wanted)
        ]
    if not has_key:
        return []
    sentences = _moved(_urls(found.get(PEERS, "")), _urls(wanted[PEERS]))
    for name in (THRESHOLD, DATA_DIR, BACKEND):
        sentences += _difference(name, found.get(name), wanted)
    return sentences


def _difference(name: str, found: str | None, wanted: Mapping[str, str]) -> list[str]:
    if found is None or _same(name, found, wanted[name]):
        return []
    if name == PEERS:
        here, there = _urls(wanted[name]), _urls(found)
        lines = [
            f"keeper {number}: {there_url or 'none'} there, {here_url or 'none'} here"
            for number, there_url, here_url in _side_by_side(there, here)
            if there_url != here_url
        ]
        return [f"{name} differs: {'; '.join(lines)}."]
    return [f"{name} is {found or 'empty'} there, and {wanted[name]} here."]


def _same(name: str, found: str, wanted: str) -> bool:
    if name == PEERS:
        return _urls(found) == _urls(wanted)
    return found.rstrip("/") == wanted.rstrip("/")


def _urls(text: str) -> list[str]:
    return [url.strip().rstrip("/").lower() for url in text.split(",") if url.strip()]


def _side_by_side(one: list[str], other: list[str]) -> list[tuple[int, str, str]]:
    longest = max(len(one), len(other))
    padded = [[*urls, *[""] * (longest - len(urls))] for urls in (one, other)]
    return [(number, *pair) for number, pair in enumerate(zip(*padded), 1)]


def _moved(before: list[str], after: list[str]) -> list[str]:
    """The keepers that would get another number. Shard and number belong together."""
    return [
        f"{PEERS}: {url} is keeper {before.index(url) + 1}, and would become keeper {number}."
        for number, url in enumerate(after, 1)
        if url in before and before.index(url) + 1 != number
    ]


__all__ = ["MARK", "differences", "is_ours", "read_settings"]
