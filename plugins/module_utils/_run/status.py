# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The flow of a status: a run's first half, which only looks.

options -> identity -> journal -> Nexus -> keepers -> outlook -> result
"""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress

from ansible_collections.dayzero.spike.plugins.module_utils._errors import (
    KeepersFailed,
    Phase,
    StateUnusable,
)
from ansible_collections.dayzero.spike.plugins.module_utils._journal import NAME, Journal
from ansible_collections.dayzero.spike.plugins.module_utils._memory import Memory, Remembered
from ansible_collections.dayzero.spike.plugins.module_utils._outlook import (
    foresee,
    foresee_blindly,
)
from ansible_collections.dayzero.spike.plugins.module_utils._pending_key import PendingKey
from ansible_collections.dayzero.spike.plugins.module_utils._run_lock import (
    is_locked,
    open_state_dir,
)
from ansible_collections.dayzero.spike.plugins.module_utils._session import Session, Tools
from ansible_collections.dayzero.spike.plugins.module_utils._settings import Settings
from ansible_collections.dayzero.spike.plugins.module_utils._status_report import StatusReport
from ansible_collections.dayzero.spike.plugins.module_utils._survey import (
    cluster_of,
    reach_keepers,
    take_standing,
)


def inspect(settings: Settings, tools: Tools, report: StatusReport) -> None:
    """Look at the cluster and at what earlier runs left; ``report`` tells what was found.

    Writes nothing and sends no shard. Keepers and a Nexus that do not answer are findings. Raises
    DayZeroError only for what leaves nothing to tell: options, identity, an unreadable journal or
    key, and the end of the time for the whole run.
    """
    with ExitStack() as resources:
        _inspect(Session(settings, tools, report, resources), report)


def _inspect(session: Session, report: StatusReport) -> None:
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
    standing = take_standing(session, remembered)
    session.enter(Phase.REACH)
    with suppress(KeepersFailed):  # the report has each of them
        reach_keepers(session)
    report.outlook = (
        foresee(standing, unreached=report.failed_keepers, running=running)
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
        remembered = memory.recall(cluster_of(session.settings))
    except StateUnusable as unusable:
        return Remembered(None), unusable
    if remembered.key is not None:
        session.guard_key(remembered.key)
    return remembered, None


__all__ = ["inspect"]
