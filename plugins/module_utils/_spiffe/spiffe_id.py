# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SPIFFE IDs, trust domains, and the rule that an ID must meet.

Source: SPIFFE-ID.md, section 2 (https://github.com/spiffe/spiffe, standards).
"""

from __future__ import annotations

import re

from .._dataclass import dataclass

KEEPER_PATH = "/spike/keeper"
NEXUS_PATH = "/spike/nexus"
BOOTSTRAP_PATH = "/spike/bootstrap"
RECOVER_PATH = "/spike/pilot/role/recover"
RESTORE_PATH = "/spike/pilot/role/restore"

_SCHEME = "spiffe://"
_LONGEST_ID = 2048
_LONGEST_DOMAIN = 255
_DOMAIN = re.compile(r"[a-z0-9._-]+")
_SEGMENT = re.compile(r"[a-zA-Z0-9._-]+")
# An ID may come out of a stranger's certificate: enough to recognise it, not enough to flood a log.
_SHOWN = 200


@dataclass(frozen=True)
class SpiffeId:
    """A SPIFFE ID: ``path`` is empty for a bare trust domain, else it begins with a slash.

    Raises ValueError, with the reason, for parts that the specification does not allow.
    """

    trust_domain: str
    path: str

    def __post_init__(self) -> None:
        _check_domain(self.trust_domain)
        _check_path(self.path)

    @classmethod
    def parse(cls, text: str) -> SpiffeId:
        """Read ``spiffe://TRUST_DOMAIN/PATH``; ValueError, with one line that quotes it, if not.

        Nothing is normalised: what the specification forbids is refused, capitals in the scheme
        or in the trust domain included.
        """
        try:
            if len(text) > _LONGEST_ID:
                raise ValueError(f"it is longer than {_LONGEST_ID} bytes")
            if not text.startswith(_SCHEME):
                raise ValueError(f"it does not begin with {_SCHEME}")
            domain, slash, path = text[len(_SCHEME) :].partition("/")
            return cls(domain, slash + path)
        except ValueError as error:
            raise ValueError(f"{_quoted(text)} is not a SPIFFE ID: {error}") from None

    def __str__(self) -> str:
        return f"{_SCHEME}{self.trust_domain}{self.path}"


def parse_trust_domain(text: str) -> str:
    """Read a trust domain, written as ``spike.ist`` or as its ID, ``spiffe://spike.ist``.

    Raises ValueError, with one line that quotes the text, for anything else.
    """
    domain = text[len(_SCHEME) :] if text.startswith(_SCHEME) else text
    try:
        _check_domain(domain)
    except ValueError as error:
        raise ValueError(f"{_quoted(text)} is not a trust domain: {error}") from None
    return domain


@dataclass(frozen=True)
class IdRule:
    """Which SPIFFE IDs play one of SPIKE's parts.

    SPIKE admits the part's path in each of the part's trust domains, and what is below it
    (spike-sdk-go, spiffeid).
    """

    path: str
    trust_domains: tuple[str, ...]

    @property
    def part(self) -> str:
        """What the part is called: ``bootstrap``, ``recover``."""
        return self.path.rpartition("/")[2]

    @property
    def option(self) -> str:
        """The option that says which trust domains our own identity may belong to."""
        return "trust_root_bootstrap" if self.path == BOOTSTRAP_PATH else "trust_root_pilot"

    def admits(self, spiffe_id: SpiffeId) -> bool:
        """Whether the ID is the part's path, or one below it, in one of its trust domains."""
        return spiffe_id.trust_domain in self.trust_domains and (
            spiffe_id.path == self.path or spiffe_id.path.startswith(f"{self.path}/")
        )

    def __str__(self) -> str:
        return " or ".join(f"{_SCHEME}{domain}{self.path}" for domain in self.trust_domains)


def _check_domain(domain: str) -> None:
    if not domain:
        raise ValueError("the trust domain is empty")
    if not _DOMAIN.fullmatch(domain):
        raise ValueError("a trust domain is made of a-z, 0-9, dots, dashes and underscores")
    if len(domain) > _LONGEST_DOMAIN:
        raise ValueError(f"the trust domain is longer than {_LONGEST_DOMAIN} bytes")


def _check_path(path: str) -> None:
    if not path:
        return
    first, *segments = path.split("/")
    if first:
        raise ValueError("a path begins with a slash")
    if not segments[-1]:
        raise ValueError("the path ends with a slash")
    for segment in segments:
        if not segment:
            raise ValueError("the path has an empty segment")
        if segment in (".", ".."):
            raise ValueError("the path has a . or .. segment")
        if not _SEGMENT.fullmatch(segment):
            raise ValueError("a path is made of a-z, A-Z, 0-9, dots, dashes and underscores")


def _quoted(text: str) -> str:
    return repr(text) if len(text) <= _SHOWN else f"{text[:_SHOWN]!r}..."


__all__ = [
    "BOOTSTRAP_PATH",
    "KEEPER_PATH",
    "NEXUS_PATH",
    "RECOVER_PATH",
    "RESTORE_PATH",
    "IdRule",
    "SpiffeId",
    "parse_trust_domain",
]
