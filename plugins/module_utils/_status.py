# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The flow of a status: a run's first half, which only looks.

options -> identity -> journal -> Nexus -> keepers -> outlook -> result
"""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack, suppress

from ansible_collections.dayzero.spike.plugins.module_utils._errors import (
    ConfigError,
    KeepersFailed,
    Phase,
)
from ansible_collections.dayzero.spike.plugins.module_utils._journal import NAME, Journal
from ansible_collections.dayzero.spike.plugins.module_utils._memory import Memory, Remembered
from ansible_collections.dayzero.spike.plugins.module_utils._memory_dir import open_memory_dir
from ansible_collections.dayzero.spike.plugins.module_utils._outlook import foresee
from ansible_collections.dayzero.spike.plugins.module_utils._pending_key import PendingKey
from ansible_collections.dayzero.spike.plugins.module_utils._run_lock import (
    is_locked,
    open_state_dir,
)
from ansible_collections.dayzero.spike.plugins.module_utils._session import Session, Tools
from ansible_collections.dayzero.spike.plugins.module_utils._settings import Settings
from ansible_collections.dayzero.spike.plugins.module_utils._status_report import StatusReport
from ansible_collections.dayzero.spike.plugins.module_utils._survey import (
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
    memory_dir = _open_memory_dir(session)
    session.enter(Phase.IDENTITY)
    session.take_identity(scratch_dir=_scratch_dir(session, memory_dir))
    session.enter(Phase.GUARD)
    remembered, running = _recall(session, memory_dir)
    report.journal(
        os.path.join(session.settings.state_dir, NAME),
        remembered.record,
        pending_key=remembered.key is not None,
        running=running,
    )
    standing = take_standing(session, remembered)
    session.enter(Phase.REACH)
    with suppress(KeepersFailed):  # the report has each of them
        reach_keepers(session)
    report.outlook = foresee(standing, unreached=report.failed_keepers, running=running)
    session.enter(Phase.DONE)


def _open_memory_dir(session: Session) -> int | None:
    descriptor = open_memory_dir(session.runtime_dir, create=False)
    if descriptor is not None:
        session.resources.callback(os.close, descriptor)
    return descriptor


def _scratch_dir(session: Session, memory_dir: int | None) -> str | None:
    """Where spire-agent puts its files as long as there is no runtime_dir.

    A status must not make one, and one that it made and removed could be taken from under a run
    that has just begun. None: runtime_dir will do, or nothing is needed.
    """
    if memory_dir is not None or session.settings.svid_source != "spire_agent":
        return None
    beside = os.path.dirname(session.runtime_dir.rstrip("/"))
    try:
        private = tempfile.TemporaryDirectory(prefix="spike-bootstrap-status-", dir=beside)
    except OSError as error:
        raise ConfigError(
            "runtime_dir",
            f"it does not exist, and spire-agent needs a private directory in {beside} instead:"
            f" {(error.strerror or 'unusable').lower()}; give one in memory that the running user"
            " owns",
        ) from None
    scratch = session.resources.enter_context(private)
    descriptor = open_memory_dir(scratch, create=False)
    if descriptor is not None:
        os.close(descriptor)
    return scratch


def _recall(session: Session, memory_dir: int | None) -> tuple[Remembered, bool]:
    """What an earlier run left, and whether one is at work; the journal is read in either case.

    It is replaced whole, so it needs no lock to be read.
    """
    path = session.settings.state_dir
    pending = PendingKey(memory_dir, session.runtime_dir)
    state_dir = open_state_dir(path, create=False)
    if state_dir is None:
        remembered, running = Memory(None, pending).recall(), False
    else:
        session.resources.callback(os.close, state_dir)
        running = is_locked(path, state_dir)
        remembered = Memory(Journal(state_dir, path), pending).recall()
    if remembered.key is not None:
        session.guard_key(remembered.key)
    return remembered, running


__all__ = ["inspect"]
