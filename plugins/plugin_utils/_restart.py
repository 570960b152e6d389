# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What may be restarted, and when: never more shards at risk than the threshold allows.

A keeper that is restarted forgets its shard, and gets it again only from a Nexus that has the key.
A Nexus that is restarted forgets the key, and rebuilds it from a threshold of shards that must all
be of one split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Ages are measured by two hosts, one after the other.
_TOLERANCE_SECONDS = 0.5


@dataclass(frozen=True)
class SeenKeeper:
    """What was seen of a keeper's process on its host; ``shard`` as ``spike_service_info`` has it.

    A host that could not be asked is ``shard`` unknown and not ``running``.
    """

    host: str
    running: bool
    shard: str
    shard_age: float | None

    @property
    def may_hold(self) -> bool:
        return self.shard != "none"

    def holds_one_of(self, uptime: float | None) -> bool:
        """Whether it took a shard since the Nexus that has run for ``uptime`` began.

        None: it is not known for how long, and any shard counts.
        """
        if self.shard != "held":
            return False
        if uptime is None or self.shard_age is None:
            return uptime is None
        return self.shard_age <= uptime + _TOLERANCE_SECONDS


@dataclass(frozen=True)
class SeenNexus:
    """What was seen of Nexus: its unit, and what it said to the bootstrap host.

    ``state`` is that of ``spike_bootstrap_info``, or empty where it was not asked, and ``why`` what
    it said. ``journal`` is the state of the bootstrap's journal. ``accepted``: it holds a key that
    the operator has accepted.
    """

    running: bool = False
    stale: bool = False
    uptime: float | None = None
    state: str = ""
    why: str = ""
    journal: str = "none"
    database: bool = False
    accepted: bool = False

    @property
    def proved(self) -> bool:
        return self.state == "ready" or self.accepted


def seen_keepers(results: Mapping[str, Mapping[str, Any]]) -> list[SeenKeeper]:
    """The keepers from the results of ``spike_service_info``, by host."""
    return [
        SeenKeeper(
            host=host,
            running=bool(result.get("running")),
            # A host that is down, or whose journal is closed to us: it may hold one.
            shard=str(result.get("shard") or "unknown"),
            shard_age=result.get("shard_age"),
        )
        for host, result in results.items()
    ]


def refuse_keeper(
    host: str, keepers: Sequence[SeenKeeper], nexus: SeenNexus, threshold: int
) -> str:
    """Why the keeper on ``host`` must not be restarted now; empty where it may be."""
    (own,) = (keeper for keeper in keepers if keeper.host == host)
    if not own.may_hold:
        return ""
    holds = "holds" if own.shard == "held" else "may hold"
    if not nexus.proved:
        return (
            f"The keeper on {host} {holds} a shard, and SPIKE Nexus does not prove the root key"
            f" ({nexus.why or 'it was not asked'}). A keeper that is restarted forgets its shard,"
            " and only a Nexus with the key gives it another."
        )
    others = [keeper for keeper in keepers if keeper.host != host]
    safe = [keeper.host for keeper in others if keeper.holds_one_of(nexus.uptime)]
    if len(safe) < threshold:
        return (
            f"The keeper on {host} {holds} a shard, and while it restarts only {len(safe)} of the"
            f" other keepers {_is(safe)} known to hold one that this Nexus sent. If Nexus ends"
            f" meanwhile, {threshold} are needed to rebuild the root key."
        )
    late = _late(others, nexus.uptime)
    if late:
        return (
            f"The keeper on {' and '.join(late)} has not taken a shard from the Nexus that runs"
            " now. Shards of two releases of SPIKE must not be mixed."
        )
    return ""


def _late(keepers: Sequence[SeenKeeper], uptime: float | None) -> list[str]:
    """Keepers that may hold a shard of an earlier Nexus. What could not be seen is none of them."""
    return [
        keeper.host
        for keeper in keepers
        if keeper.running and keeper.may_hold and not keeper.holds_one_of(uptime)
    ]


@dataclass(frozen=True)
class NexusStep:
    """What is done with Nexus: ``leave``, ``start``, ``restart`` or ``refuse``, and why."""

    step: str
    why: str = ""


def next_step(keepers: Sequence[SeenKeeper], nexus: SeenNexus, threshold: int) -> NexusStep:
    """What is to be done with Nexus now."""
    if nexus.running and not nexus.stale:
        return NexusStep("leave")
    uptime = nexus.uptime if nexus.running else None
    holders = [keeper.host for keeper in keepers if keeper.holds_one_of(uptime)]
    late = _late(keepers, uptime)
    if nexus.running:
        if _without_a_key(keepers, nexus):
            return NexusStep("restart")
        if len(holders) >= threshold and not late:
            return NexusStep("restart")
        return NexusStep(
            "refuse",
            f"SPIKE Nexus has new settings and must be restarted, and only {len(holders)} of the"
            f" keepers {_is(holders)} known to hold a shard that it sent. {threshold} are needed to"
            f" rebuild the root key.{_of(late)}",
        )
    if not nexus.database and nexus.journal != "finished":
        return NexusStep("leave", "It is started when the shards are delivered.")
    if len(holders) >= threshold:
        return NexusStep("start")
    return NexusStep(
        "refuse",
        f"SPIKE Nexus is stopped, and only {len(holders)} of the keepers {_is(holders)} known to"
        f" hold a shard. {threshold} are needed to rebuild the root key.",
    )


def _without_a_key(keepers: Sequence[SeenKeeper], nexus: SeenNexus) -> bool:
    if nexus.state == "not_ready":
        return True
    # SPIKE v0.8.0 does not listen before it has a key.
    nothing_yet = not nexus.database and nexus.journal == "none"
    unheard = nexus.state in ("", "unreachable")
    return nothing_yet and unheard and not any(keeper.may_hold for keeper in keepers)


def _is(hosts: Sequence[str]) -> str:
    return "is" if len(hosts) == 1 else "are"


def _of(late: Sequence[str]) -> str:
    return f" Not yet: {', '.join(late)}." if late else ""


__all__ = [
    "NexusStep",
    "SeenKeeper",
    "SeenNexus",
    "next_step",
    "refuse_keeper",
    "seen_keepers",
]
