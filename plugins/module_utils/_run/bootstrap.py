# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The flow of a run: the only room that knows all phases.

options -> identity -> guard -> reach -> key + journal -> deliver -> verify -> result
"""

from __future__ import annotations

import socket
from dataclasses import replace

from .._dataclass import dataclass
from .._decide.guard import (
    Abandonment,
    Decision,
    Judgement,
    Past,
    Standing,
    decide,
    decide_abandonment,
    goes_on,
)
from .._decide.situation import Situation
from .._errors import GuardRefusal, Phase
from .._key.root_key import RootKey
from .._options.settings import BootstrapSettings
from .._spike.nexus import Nexus
from .._state.journal import Journal, Record, Run
from .._state.pending_key import PendingKey
from .._state.remembered import Memory, Remembered
from .._state.run_lock import locked_state_dir
from .report import RunReport
from .session import Session, Tools
from .survey import Look, take_standing

# The rooms that only some runs need are imported by those: a rerun of a finished cluster is the one
# that happens every night.


def run(settings: BootstrapSettings, tools: Tools, report: RunReport, *, check: bool) -> None:
    """Bootstrap the cluster, or finish what an earlier run began; ``report`` records what was done.

    With ``check`` everything up to reaching all keepers is done, and nothing is sent or written.
    Raises DayZeroError; ``report.phase`` is the phase in which the run ended.
    """
    with tools.resources as resources:
        session = Session(settings, tools, report, resources)
        flow = _Run(session, settings, check)
        end = flow.abandon() if settings.abandoned else flow.run()
    # Only now: nothing is left to do that could still fail.
    session.enter(end)


@dataclass(frozen=True)
class _Plan:
    """What an earlier run left, the state of the cluster, and what follows from both."""

    remembered: Remembered
    standing: Standing
    judgement: Judgement

    @property
    def decision(self) -> Decision | None:
        return self.judgement.decision

    @property
    def goes_on(self) -> bool:
        """Whether keepers are reached, whatever a second look will say."""
        return goes_on(self.standing, self.judgement)

    @property
    def resume(self) -> bool:
        return self.decision is Decision.RESUME or (
            self.decision is None and self.standing.past in (Past.KEY, Past.UNFINISHED)
        )

    @property
    def delivered(self) -> frozenset[int]:
        """Who is known to have taken a shard of the key that is gone on with."""
        record = self.remembered.record
        return record.delivered if record is not None and self.resume else frozenset()

    @property
    def spared(self) -> frozenset[int]:
        """Who is not sent it again.

        A keeper that took a shard may have lost it since, in a restart: as long as Nexus has no key
        every keeper gets the same shard again, which is harmless. A Nexus that has the key looks
        after the keepers itself.
        """
        proved = self.standing.verdict.nexus is Nexus.PROVED
        return self.delivered if proved else frozenset()


class _Run:
    def __init__(self, session: Session, settings: BootstrapSettings, check: bool) -> None:
        self.session = session
        self.settings = settings
        self.report = session.report
        self.check = check

    def run(self) -> Phase:
        """Returns the phase in which it ended."""
        memory = self._prepare()
        plan = self._look(memory, Look.BRIEF)
        if not plan.goes_on and plan.judgement.refusal and not plan.standing.verdict.clear:
            # Nothing but this look decides, so it has its whole time.
            plan = self._look(memory, Look.WHOLE)
        if plan.goes_on:
            plan = self._reach(memory, plan)
        forced = self._accept(plan)
        if not plan.judgement.sends:
            return self._end_without_sending(memory, plan)
        if self.check:
            self.report.changed = True
            return Phase.REACH
        key, record = self._take_key(memory, plan, forced)
        self.report.resumed = plan.resume

        from .delivery import await_proof, send_shards

        self.session.enter(Phase.DELIVER)
        record = send_shards(self.session, key, memory, record, plan.spared)
        if not self.settings.verify:
            # Only force draws a key next to a Nexus that has another.
            replaced = plan.standing.verdict.nexus is Nexus.OTHER_KEY
            self.report.proof_skipped(self.session.runtime_dir, replaced=replaced)
            return Phase.DONE
        self.session.enter(Phase.VERIFY)
        before = plan.standing.verdict.nexus
        await_proof(self.session, record, before, self.settings.init_verification_timeout)
        self._finish(memory, record)
        return Phase.DONE

    def abandon(self) -> Phase:
        """Give up an unfinished run; returns the phase in which it ended."""
        memory = self._prepare()
        remembered = self._recall(memory)
        nothing = remembered.key is None and (
            remembered.record is None or remembered.record.finished
        )
        if nothing:
            return Phase.DONE
        standing = take_standing(self.session, remembered, Look.WHOLE)
        decided = decide_abandonment(standing, force=self.settings.force)
        if isinstance(decided, Situation):
            raise self._refusal(decided, standing)
        if decided is Abandonment.ABANDON:
            self.report.changed = True
            self.report.also_changed("unfinished run", "in the journal", "given up")
            if not self.check:
                aside = memory.abandon(remembered.record, self.session.tools.now())
                self.report.abandoned(aside)
        return Phase.DONE

    # -- what a run stands on

    def _prepare(self) -> Memory:
        # A run that has nothing to send needs no runtime_dir, which after a reboot may be one that
        # only an administrator can make.
        needed = not self.check and self.settings.writes_files
        memory_dir = self.session.open_memory_dir(create=needed)
        self.session.enter(Phase.IDENTITY)
        self.session.take_identity(scratch_dir=self.session.scratch_dir(memory_dir))
        self.session.enter(Phase.GUARD)
        return self._open_memory(memory_dir)

    def _recall(self, memory: Memory) -> Remembered:
        remembered = memory.recall(self.settings.cluster)
        if remembered.key is not None:
            self.session.protect_key(remembered.key)
        return remembered

    def _look(self, memory: Memory, look: Look) -> _Plan:
        remembered = self._recall(memory)
        standing = take_standing(self.session, remembered, look)
        return _Plan(remembered, standing, decide(standing, force=self.settings.force))

    def _accept(self, plan: _Plan) -> str | None:
        """Raise where ``plan`` is a refusal; returns what force overrides, and reports it."""
        judgement = plan.judgement
        if judgement.refusal is not None:
            raise self._refusal(judgement.refusal, plan.standing)
        if judgement.overridden is None:
            return None
        return self.report.force_overrides(judgement.overridden.words, check=self.check)

    def _refusal(self, situation: Situation, standing: Standing) -> GuardRefusal:
        from .._decide.refusals import refusal

        return refusal(situation, standing, self.session.surroundings)

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
        if state_dir is not None and not self.check:
            session.holds_the_lock_of(state_dir)
        journal = (
            None if state_dir is None else Journal(state_dir, settings.state_dir, step=tools.step)
        )
        pending = PendingKey(memory_dir, session.runtime_dir, settings.state_dir, step=tools.step)
        return Memory(journal, pending)

    # -- keepers

    def _reach(self, memory: Memory, plan: _Plan) -> _Plan:
        """Reach every keeper; the plan afterwards."""
        from .delivery import reach

        if not plan.resume and not self.check:
            # A host that cannot keep a key must fail before any keeper has a shard.
            memory.keep_keys_in(self.session.open_memory_dir(create=True))
        self.report.begins(with_shard=plan.delivered)
        self.session.enter(Phase.REACH)
        reach(self.session)
        # Keepers were given time, so this may have taken long, and the first look was brief: what
        # Nexus says now decides, for a new key as for one that is gone on with.
        self.session.enter(Phase.GUARD)
        plan = self._look(memory, Look.WHOLE)
        self.report.have_their_shard(plan.spared)
        return plan

    def _take_key(self, memory: Memory, plan: _Plan, forced: str | None) -> tuple[RootKey, Record]:
        key, record = plan.remembered.key, plan.remembered.record
        tools = self.session.tools
        if key is None or not plan.resume:
            key = RootKey.draw()
            self.session.protect_key(key)
            record = None
        if record is None:
            begun = Run(tools.now(), socket.gethostname(), forced=forced)
            return key, memory.begin(key, plan.standing.cluster, begun)
        # A keeper that is sent a shard again has one only when it has answered again.
        return key, replace(record, delivered=plan.spared)

    # -- the end

    def _end_without_sending(self, memory: Memory, plan: _Plan) -> Phase:
        record, now = plan.remembered.record, self.session.tools.now()
        cluster = plan.standing.cluster
        if plan.decision is Decision.ACCEPT:
            self.report.accepted()
            return Phase.DONE
        if plan.decision is Decision.ADOPT:
            if record is None and plan.remembered.key is not None:
                record = Record(cluster, plan.remembered.key.seal())
            self.report.changed = True
            self.report.also_changed("journal", "the earlier settings", "the settings of now")
            if record is not None and not self.check:
                memory.adopt(record, cluster, now)
            return Phase.DONE
        self._finish(memory, record)
        return Phase.DONE

    def _finish(self, memory: Memory, record: Record | None) -> None:
        if record is None:
            raise ValueError("nothing was begun that could be finished")
        if not self.check:
            memory.finish(record, self.session.tools.now())
        self.report.have_their_shard(record.delivered)


__all__ = ["Tools", "run"]
