# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run does at keepers, and hears of Nexus afterwards, where it has something to send.

Apart, and with all the words for what may go wrong, so that a rerun of a finished cluster need not
load them, and a run that has used up its open files need not open one for them.
"""

from __future__ import annotations

import math

from .._clock import Clock, Duration
from .._decide.errand import Errand
from .._decide.refusals import unproved
from .._errors import ConfigError, Phase
from .._key.root_key import RootKey
from .._net.attempt import Attempt
from .._options.cluster import Keeper
from .._spike.keeper import deliver
from .._spike.nexus import Nexus
from .._state.journal import Record
from .._state.remembered import Memory
from .._uncut import UNCUT
from .keeper_steps import at_every_keeper, reach_keepers
from .session import Session
from .survey import inquire_of_nexus

# How often the journal notes deliveries while others are still under way.
_NOTE_SECONDS = 0.2


def reach(session: Session) -> None:
    """Reach every keeper, and refuse two that are one: it would hold one shard, and lose the other.

    Raises KeepersFailed and ConfigError.
    """
    reach_keepers(session)
    seen: dict[object, Keeper] = {}
    for peer in session.settings.keepers:
        endpoint = session.keepers.endpoint(peer.url)
        if endpoint is None:
            continue
        twin = seen.setdefault(endpoint, peer)
        if twin is not peer:
            raise ConfigError(
                "keeper_peers",
                f"keepers {twin.id} ({twin.url}) and {peer.id} ({peer.url}) are one and the"
                f" same: both lead to {endpoint.address} port {endpoint.port}, with the same"
                " certificate. No shard was sent",
                f"correct the URL of keeper {twin.id} or {peer.id} in {{keeper_url}}",
                why=(
                    "One of the two names leads to the wrong host, or the keeper is listed twice.",
                ),
                phase=Phase.REACH,
            )


def send_shards(
    session: Session, key: RootKey, memory: Memory, record: Record, spared: frozenset[int]
) -> Record:
    """Give every keeper its shard, but those that are ``spared``, and note who took it.

    Returns ``record`` with them; raises KeepersFailed.
    """
    settings, step = session.settings, session.tools.step
    shards = key.shards(settings.shamir_threshold, len(settings.keepers), settings.share_scheme)
    for shard in shards:
        session.protect_shard(shard)
    log = _DeliveryLog(memory, record, session.tools.clock)

    def work(peer: Keeper, attempt: Attempt) -> None:
        step(f"keeper {peer.id}: before shard")
        deliver(session.keepers, peer, shards[peer.id - 1], attempt)
        step(f"keeper {peer.id}: shard answered")

    limit = session.clipped(settings.keeper_timeout)
    try:
        at_every_keeper(
            Errand.DELIVER,
            [peer for peer in settings.keepers if peer.id not in spared],
            work,
            of=len(settings.keepers),
            settings=settings,
            limit=limit,
            runner=session.workers,
            report=session.report,
            on_success=log.delivered,
            on_pause=log.pause,
        )
    finally:
        with UNCUT:
            log.flush()
    return log.record


def await_proof(session: Session, record: Record, before: Nexus, patience: Duration) -> None:
    """Wait up to ``patience`` until Nexus proves the key of ``record``.

    ``before`` is what it said before the delivery. Raises NexusFailed where it does not.
    """
    limit = session.clipped(patience)
    inquiry = inquire_of_nexus(
        session,
        record.token,
        limit.seconds,
        enough=lambda verdict: verdict.final or verdict.nexus is Nexus.PROVED,
        on_wait=lambda last, waited: session.report.waiting_for_nexus(last.detail, waited),
    )
    if inquiry.verdict.nexus is not Nexus.PROVED:
        raise unproved(inquiry, record.cluster, session.surroundings, limit.text, before)


class _DeliveryLog:
    """Notes deliveries in the journal: the first at once, then several together."""

    def __init__(self, memory: Memory, record: Record, clock: Clock) -> None:
        self.record = record
        self._memory = memory
        self._clock = clock
        self._fresh: list[int] = []
        self._due = clock()

    def delivered(self, peer: Keeper) -> None:
        self._fresh.append(peer.id)

    def pause(self) -> float:
        """Note what is due before a wait; returns when the next note is."""
        if self._fresh and self._clock() >= self._due:
            self.flush()
        return self._due if self._fresh else math.inf

    def flush(self) -> None:
        if self._fresh:
            self.record = self.record.with_delivered(self._fresh)
            self._memory.note(self.record)
            self._fresh.clear()
        self._due = self._clock() + _NOTE_SECONDS


__all__ = ["await_proof", "reach", "send_shards"]
