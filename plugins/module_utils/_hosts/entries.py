# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SPIRE's registration entries: as they are, as they should be, and the steps in between.

An entry that was made here has an ID that says so, and only such an entry is ever deleted. Source:
spire-api-sdk, types/entry.proto, in the JSON that ``spire-server entry show`` prints.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, replace
from typing import Any

from .._dataclass import dataclass

_DIGITS = 16


@dataclass(frozen=True)
class Wanted:
    """An entry that should be there; a TTL that is None is left to SPIRE.

    ``expires_at``, in seconds since 1970, is when SPIRE deletes an entry that is made here; None is
    never.
    """

    spiffe_id: str
    parent_id: str
    selectors: frozenset[str]
    x509_svid_ttl: int | None = None
    jwt_svid_ttl: int | None = None
    expires_at: int | None = None

    def entry_id(self, prefix: str) -> str:
        """The ID of the entry, if it is made here.

        It follows from the selectors: a new binary gets a new entry, and the process of the old
        one keeps its identity until it is restarted.
        """
        text = "\n".join([self.spiffe_id, self.parent_id, *sorted(self.selectors)])
        return f"{prefix}-{hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]}"


@dataclass(frozen=True)
class Existing:
    """An entry of SPIRE's; ``rest`` is what is not managed here, and kept."""

    entry_id: str
    spiffe_id: str
    parent_id: str
    selectors: frozenset[str]
    x509_svid_ttl: int
    jwt_svid_ttl: int
    rest: Mapping[str, Any] = field(default_factory=dict)


class Act(enum.Enum):
    """What is done to an entry; the values are the result's ``act``."""

    NOTHING = "unchanged"
    CREATE = "created"
    UPDATE = "updated"
    DELETE = "deleted"


@dataclass(frozen=True)
class Step:
    """What is done, from ``before`` to ``after``; one of them may be None."""

    act: Act
    before: Existing | None
    after: Existing | None


@dataclass(frozen=True)
class Plan:
    """What is to be done, and what is left alone.

    ``superseded`` were made here and are wanted no more; ``others`` give a wanted SPIFFE ID, by the
    same agent, to what other selectors select, and were made by somebody else.
    """

    steps: tuple[Step, ...]
    superseded: tuple[Existing, ...]
    others: tuple[Existing, ...]


def plan(
    wanted: Sequence[Wanted], existing: Sequence[Existing], prefix: str, *, retire: bool
) -> Plan:
    """How ``existing`` entries become the ``wanted`` ones; ``retire`` deletes superseded ones."""
    left = list(existing)
    steps = []
    for one in dict.fromkeys(wanted):
        found = _found(one, left, prefix)
        if found is not None:
            left.remove(found)
        after = _as_wanted(one, found, prefix)
        act = Act.CREATE if found is None else Act.NOTHING if after == found else Act.UPDATE
        steps.append(Step(act, found, after))
    places = {(one.spiffe_id, one.parent_id) for one in wanted}
    near = [one for one in left if (one.spiffe_id, one.parent_id) in places]
    superseded = [one for one in near if one.entry_id.startswith(f"{prefix}-")]
    others = [one for one in near if one not in superseded]
    if retire:
        steps += [Step(Act.DELETE, one, None) for one in superseded]
    return Plan(tuple(steps), tuple(superseded), tuple(others))


def withdrawal(wanted: Sequence[Wanted], existing: Sequence[Existing], prefix: str) -> Plan:
    """How those of the ``wanted`` entries go that were made here; all others are left alone."""
    ids = {one.entry_id(prefix) for one in wanted}
    steps = [Step(Act.DELETE, one, None) for one in existing if one.entry_id in ids]
    return Plan(tuple(steps), (), ())


def read(shown: Mapping[str, Any]) -> list[Existing]:
    """The entries that ``spire-server entry show -output json`` has printed."""
    return [_read(entry) for entry in shown.get("entries") or []]


def _read(entry: Mapping[str, Any]) -> Existing:
    return Existing(
        entry_id=str(entry.get("id", "")),
        spiffe_id=_id_text(entry.get("spiffe_id") or {}),
        parent_id=_id_text(entry.get("parent_id") or {}),
        selectors=frozenset(
            f"{one['type']}:{one['value']}" for one in entry.get("selectors") or []
        ),
        # Before SPIRE 1.5 there was one for both.
        x509_svid_ttl=int(entry.get("x509_svid_ttl") or entry.get("ttl") or 0),
        jwt_svid_ttl=int(entry.get("jwt_svid_ttl") or 0),
        rest={
            "federates_with": sorted(entry.get("federates_with") or []),
            "dns_names": sorted(entry.get("dns_names") or []),
            "admin": bool(entry.get("admin")),
            "downstream": bool(entry.get("downstream")),
            "store_svid": bool(entry.get("store_svid")),
            "expires_at": int(entry.get("expires_at") or 0),
            "hint": str(entry.get("hint") or ""),
        },
    )


def _id_text(spiffe_id: Mapping[str, Any]) -> str:
    return f"spiffe://{spiffe_id.get('trust_domain', '')}{spiffe_id.get('path', '')}"


def _found(one: Wanted, existing: Iterable[Existing], prefix: str) -> Existing | None:
    """The entry that is the wanted one, whoever made it, or that was made as it."""
    entry_id = one.entry_id(prefix)
    made_here = None
    for entry in existing:
        if (entry.spiffe_id, entry.parent_id, entry.selectors) == (
            one.spiffe_id,
            one.parent_id,
            one.selectors,
        ):
            return entry
        if entry.entry_id == entry_id:
            made_here = entry
    return made_here


def _as_wanted(one: Wanted, found: Existing | None, prefix: str) -> Existing:
    before = found or Existing(one.entry_id(prefix), "", "", frozenset(), 0, 0)
    made_here = before.entry_id == one.entry_id(prefix)
    expiry = {} if one.expires_at is None or not made_here else {"expires_at": one.expires_at}
    return replace(
        before,
        rest={**before.rest, **expiry},
        spiffe_id=one.spiffe_id,
        parent_id=one.parent_id,
        selectors=one.selectors,
        x509_svid_ttl=before.x509_svid_ttl if one.x509_svid_ttl is None else one.x509_svid_ttl,
        jwt_svid_ttl=before.jwt_svid_ttl if one.jwt_svid_ttl is None else one.jwt_svid_ttl,
    )


def shown(entry: Existing) -> dict[str, Any]:
    """An entry for people, in a diff and in a result."""
    return {
        "id": entry.entry_id,
        "spiffe_id": entry.spiffe_id,
        "parent_id": entry.parent_id,
        "selectors": sorted(entry.selectors),
        "x509_svid_ttl": entry.x509_svid_ttl,
        "jwt_svid_ttl": entry.jwt_svid_ttl,
        "expires_at": int(entry.rest.get("expires_at") or 0),
    }


__all__ = ["Act", "Existing", "Plan", "Step", "Wanted", "plan", "read", "shown", "withdrawal"]
