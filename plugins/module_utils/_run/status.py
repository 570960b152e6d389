# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The flow of a status: a run's first half, which only looks.

options -> identity -> journal -> Nexus -> keepers -> outlook -> result
"""

from __future__ import annotations

import os

from .._decide.outlook import (
    foresee,
    foresee_blindly,
)
from .._decide.refusals import refusal
from .._decide.situation import Situation
from .._errors import (
    Advice,
    KeepersFailed,
    Phase,
    StateUnusable,
)
from .._options.settings import StatusSettings
from .._state.journal import NAME, Journal
from .._state.pending_key import PendingKey
from .._state.remembered import Memory, Remembered
from .._state.run_lock import (
    is_locked,
    open_state_dir,
)
from .keeper_steps import reach_keepers
from .session import Session, Tools
from .status_report import StatusReport
from .survey import Look, take_standing


def inspect(settings: StatusSettings, tools: Tools, report: StatusReport) -> None:
    """Look at the cluster and at what earlier runs left; ``report`` records what was found.

    Writes nothing and sends no shard. Keepers and a Nexus that do not answer are findings. Raises
    DayZeroError only for what leaves nothing to report: options, identity, an unreadable journal or
    key, and the end of the time for the whole run.
    """
    with tools.resources as resources:
        _inspect(Session(settings, tools, report, resources), report, settings.probe_keepers)


def _inspect(session: Session, report: StatusReport, probe_keepers: bool) -> None:
    memory_dir = session.open_memory_dir(create=False)
    session.enter(Phase.IDENTITY)
    session.take_identity(scratch_dir=session.scratch_dir(memory_dir))
    session.enter(Phase.GUARD)
    state_dir = _open_state_dir(session)
    running = state_dir is not None and is_locked(session.settings.state_dir, state_dir)
    remembered, unusable = _recall(session, state_dir, memory_dir)
    report.journal(
        os.path.join(session.settings.state_dir, NAME),
        remembered.record,
        pending_key=remembered.key is not None,
        running=running,
        unusable=unusable is not None,
    )
    standing = take_standing(session, remembered, Look.WHOLE)
    unreached: tuple[int, ...] = ()
    if probe_keepers:
        session.enter(Phase.REACH)
        try:
            reach_keepers(session)
        except KeepersFailed as failed:
            unreached = failed.ids

    def told(situation: Situation) -> Advice:
        return refusal(situation, standing, session.surroundings).advice

    report.outlook = (
        foresee(standing, unreached=unreached, running=running, told=told)
        if unusable is None
        else foresee_blindly(standing, unusable)
    )
    session.enter(Phase.DONE)


def _open_state_dir(session: Session) -> int | None:
    descriptor = open_state_dir(session.settings.state_dir, create=False)
    if descriptor is not None:
        session.resources.callback(os.close, descriptor)
    return descriptor


def _recall(
    session: Session, state_dir: int | None, memory_dir: int | None
) -> tuple[Remembered, StateUnusable | None]:
    """What an earlier run left, also while one is at work: the journal is replaced whole.

    A journal or key that cannot be read is a finding of a status, and nothing is remembered then.
    """
    path = session.settings.state_dir
    journal = None if state_dir is None else Journal(state_dir, path)
    try:
        memory = Memory(journal, PendingKey(memory_dir, session.runtime_dir, path))
        remembered = memory.recall(session.settings.cluster)
    except StateUnusable as unusable:
        return Remembered(None), unusable
    if remembered.key is not None:
        session.protect_key(remembered.key)
    return remembered, None


__all__ = ["inspect"]
