# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The flow of a run: the only room that knows all phases.

options -> identity -> guard -> reach -> key + journal -> deliver -> verify -> result
"""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import dataclass, replace

from ansible_collections.dayzero.spike.plugins.module_utils._attempt import Attempt, Clock
from ansible_collections.dayzero.spike.plugins.module_utils._errors import NexusFailed, Phase
from ansible_collections.dayzero.spike.plugins.module_utils._guard import (
    Decision,
    Standing,
    decide,
    not_nexus,
    other_key_ways_on,
)
from ansible_collections.dayzero.spike.plugins.module_utils._journal import Journal, Record
from ansible_collections.dayzero.spike.plugins.module_utils._keeper import deliver
from ansible_collections.dayzero.spike.plugins.module_utils._keeper_steps import at_every_keeper
from ansible_collections.dayzero.spike.plugins.module_utils._memory import Memory, Remembered
from ansible_collections.dayzero.spike.plugins.module_utils._nexus import Inquiry, Nexus
from ansible_collections.dayzero.spike.plugins.module_utils._pending_key import PendingKey
from ansible_collections.dayzero.spike.plugins.module_utils._report import RunReport, Step
from ansible_collections.dayzero.spike.plugins.module_utils._root_key import (
    RootKey,
    Token,
    spellings,
    wipe,
)
from ansible_collections.dayzero.spike.plugins.module_utils._run_lock import locked_state_dir
from ansible_collections.dayzero.spike.plugins.module_utils._session import Session, Tools
from ansible_collections.dayzero.spike.plugins.module_utils._settings import Peer, Settings
from ansible_collections.dayzero.spike.plugins.module_utils._survey import (
    cluster_of,
    inquire_of_nexus,
    reach_keepers,
    take_standing,
)

# How often the journal notes deliveries while others are still under way.
_NOTE_SECONDS = 0.2

_NEXUS_CODES = {
    Nexus.OTHER_KEY: "crypto_cipher_verification_failed",
    Nexus.NOT_NEXUS: "spiffe_invalid_spiffe_id",
    Nexus.REFUSES_US: "access_unauthorized",
}


def run(settings: Settings, tools: Tools, report: RunReport, *, check: bool) -> None:
    """Bootstrap the cluster, or finish what an earlier run began; ``report`` tells what was done.

    With ``check`` everything up to reaching all keepers is done, and nothing is sent or written.
    Raises DayZeroError; ``report.phase`` is the phase in which the run ended.
    """
    with ExitStack() as resources:
        session = Session(settings, tools, report, resources)
        end = _Run(session, check).run()
    # Only now: nothing is left to do that could still fail.
    session.enter(end)


@dataclass(frozen=True)
class _Plan:
    """What an earlier run left, how the cluster stands, and what follows from both."""

    remembered: Remembered
    standing: Standing
    decision: Decision

    @property
    def nothing_to_send(self) -> bool:
        return self.decision in (Decision.NOTHING, Decision.FINISH)

    @property
    def resume(self) -> bool:
        return self.decision is Decision.RESUME

    @property
    def delivered(self) -> frozenset[int]:
        """Who is known to have taken a shard of the key that is gone on with."""
        record = self.remembered.record
        return record.delivered if record is not None and self.resume else frozenset()

    @property
    def spared(self) -> frozenset[int]:
        """Who is not sent it again.

        Whoever took a shard may have lost it since, in a restart: as long as Nexus has no key
        everybody gets the same shard again, which is harmless. A Nexus that has the key looks
        after the keepers itself.
        """
        proved = self.standing.verdict.nexus is Nexus.PROVED
        return self.delivered if proved else frozenset()


class _Run:
    def __init__(self, session: Session, check: bool) -> None:
        self.session = session
        self.settings = session.settings
        self.report = session.report
        self.check = check

    def run(self) -> Phase:
        """Returns the phase in which it ended."""
        memory = self._prepare()
        plan = self._plan(memory)
        if not plan.nothing_to_send:
            plan = self._reach(memory, plan)
        if plan.nothing_to_send:
            return self._finish(memory, plan.remembered.record)
        if self.check:
            self.report.changed = True
            return Phase.REACH
        key, record = self._take_key(memory, plan)
        self.report.resumed = plan.resume

        self.session.enter(Phase.DELIVER)
        record = self._deliver(key, memory, record, plan.spared)
        if not self.settings.verify:
            # Only force draws a key beside a Nexus that has another.
            replaced = plan.standing.verdict.nexus is Nexus.OTHER_KEY
            self.report.proof_skipped(self.session.runtime_dir, replaced=replaced)
            return Phase.DONE
        self.session.enter(Phase.VERIFY)
        self._verify(record.token)
        return self._finish(memory, record)

    # -- what a run stands on

    def _prepare(self) -> Memory:
        # A run that has nothing to send needs no runtime_dir, which after a reboot may be one that
        # only an administrator can make.
        needed = not self.check and self.settings.svid_source == "spire_agent"
        memory_dir = self.session.open_memory_dir(create=needed)
        self.session.enter(Phase.IDENTITY)
        self.session.take_identity(scratch_dir=self.session.scratch_dir(memory_dir))
        self.session.enter(Phase.GUARD)
        return self._open_memory(memory_dir)

    def _plan(self, memory: Memory, asked: float = 0.0) -> _Plan:
        remembered = memory.recall(cluster_of(self.settings))
        if remembered.key is not None:
            self.session.guard_key(remembered.key)
        standing = take_standing(self.session, remembered, asked=asked)
        return _Plan(remembered, standing, decide(standing, force=self.settings.force))

    def _open_memory(self, memory_dir: int | None) -> Memory:
        session, settings, tools = self.session, self.settings, self.session.tools
        state_dir = session.resources.enter_context(
            locked_state_dir(
                settings.state_dir,
                create=not self.check,
                patience=session.clipped(settings.keeper_timeout),
                clock=tools.clock,
                sleep=tools.sleep,
            )
        )
        journal = (
            None if state_dir is None else Journal(state_dir, settings.state_dir, step=tools.step)
        )
        pending = PendingKey(memory_dir, session.runtime_dir, settings.state_dir, step=tools.step)
        return Memory(journal, pending)

    # -- keepers

    def _reach(self, memory: Memory, plan: _Plan) -> _Plan:
        """Reach every keeper; the plan afterwards."""
        if not plan.resume and not self.check:
            # Whoever cannot keep a key is to know before any keeper does.
            memory.keep_keys_in(self.session.open_memory_dir(create=True))
        self.report.already_delivered(plan.delivered)
        self.session.enter(Phase.REACH)
        reach_keepers(self.session)
        self.report.already_delivered(plan.spared)
        if plan.resume:
            return plan
        # Keepers were given time, so this may have taken long: a Nexus that has come up with its
        # key meanwhile, or that did not answer once, must not lose it to a new one.
        self.session.enter(Phase.GUARD)
        return self._plan(memory, asked=self.report.nexus_elapsed)

    def _take_key(self, memory: Memory, plan: _Plan) -> tuple[RootKey, Record]:
        key, record = plan.remembered.key, plan.remembered.record
        if key is None or not plan.resume:
            key = RootKey.draw()
            self.session.guard_key(key)
            record = None
        if record is None:
            return key, memory.begin(key, plan.standing.cluster)
        # Whoever is sent a shard again has one only when it has answered again.
        return key, replace(record, delivered=plan.spared)

    def _deliver(
        self, key: RootKey, memory: Memory, record: Record, spared: frozenset[int]
    ) -> Record:
        session, settings, step = self.session, self.settings, self.session.tools.step
        shards = key.shards(settings.shamir_threshold, len(settings.peers), settings.share_scheme)
        for shard in shards:
            session.resources.callback(wipe, shard)
            for spelling in spellings(shard):
                session.tools.mask(spelling)
        log = _DeliveryLog(memory, record, session.tools.clock)

        def work(peer: Peer, attempt: Attempt) -> None:
            step(f"keeper {peer.id}: before shard")
            deliver(session.keepers, peer, shards[peer.id - 1], attempt)
            step(f"keeper {peer.id}: shard answered")

        limit = session.clipped(settings.keeper_timeout)
        try:
            at_every_keeper(
                Step.DELIVER,
                [peer for peer in settings.peers if peer.id not in spared],
                work,
                settings=settings,
                limit=limit,
                runner=session.workers,
                report=self.report,
                on_success=log.delivered,
                on_pause=log.pause,
            )
        finally:
            log.flush()
        return log.record

    # -- proof

    def _verify(self, token: Token) -> None:
        limit = self.session.clipped(self.settings.init_verification_timeout)
        inquiry = inquire_of_nexus(
            self.session, token, limit.seconds, enough=lambda verdict: verdict.nexus is Nexus.PROVED
        )
        if inquiry.verdict.nexus is not Nexus.PROVED:
            raise NexusFailed(
                _unproved(self.settings.nexus_api_url, inquiry, limit.text),
                code=_NEXUS_CODES.get(inquiry.verdict.nexus),
            )

    def _finish(self, memory: Memory, record: Record | None) -> Phase:
        assert record is not None
        if not self.check:
            memory.finish(record)
        self.report.already_delivered(record.delivered)
        return Phase.DONE


class _DeliveryLog:
    """Notes deliveries in the journal: the first at once, then several together."""

    def __init__(self, memory: Memory, record: Record, clock: Clock) -> None:
        self.record = record
        self._memory = memory
        self._clock = clock
        self._fresh: list[int] = []
        self._due = clock()

    def delivered(self, peer: Peer) -> None:
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


def _unproved(url: str, inquiry: Inquiry, timeout: str) -> str:
    nexus, detail = inquiry.verdict.nexus, inquiry.verdict.detail
    if nexus is Nexus.OTHER_KEY:
        return (
            f"All shards are delivered, but Nexus at {url} has another root key than theirs:"
            f" {detail}. It had it before this run, or made it with shards of an earlier run that"
            " were still in its memory, or somebody else bootstraps the same cluster."
            f" {other_key_ways_on()}"
        )
    if nexus is Nexus.NOT_NEXUS:
        return f"All shards are delivered. {not_nexus(url, inquiry.verdict)} Then rerun bootstrap."
    if nexus is Nexus.REFUSES_US:
        return (
            f"All shards are delivered, but Nexus at {url} refuses this host's SVID: {detail}."
            " Compare its trust_root_bootstrap setting, and rerun bootstrap."
        )
    if inquiry.verdict.final:
        return (
            f"All shards are delivered, but Nexus at {url} does not verify root keys: {detail}."
            " Check nexus_api_url; where Nexus has no verification, run with verify: false."
        )
    requests = "1 request" if inquiry.attempts == 1 else f"{inquiry.attempts} requests"
    return (
        f"All shards are delivered, but Nexus at {url} did not prove the root key within {timeout}"
        f" ({requests}): {detail}. Check that Nexus runs, that it has the same keepers in"
        " SPIKE_NEXUS_KEEPER_PEERS, and that nexus_api_url is its address, and rerun bootstrap: it"
        " goes on with the same key."
    )


__all__ = ["Tools", "run"]
