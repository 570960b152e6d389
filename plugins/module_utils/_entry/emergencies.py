# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What each module for an emergency reads, runs and reports.

Apart from the others, so that a bootstrap neither carries nor imports it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._naming import Naming
from .._options.emergency_settings import (
    RecoverSettings,
    RestoreSettings,
    misplaced_secrets,
    recover_settings,
    restore_settings,
)
from .._run.recover_report import RecoverReport
from .._run.restore_report import RestoreReport
from .module_entry import Entry

if TYPE_CHECKING:
    from .._run.session import Tools

# The flows import the libraries, which a host may lack: each is imported when it is run.


def _recover(settings: RecoverSettings, tools: Tools, report: RecoverReport, check: bool) -> None:
    from .._run.recover import recover

    recover(settings, tools, report, check=check)


def _restore(settings: RestoreSettings, tools: Tools, report: RestoreReport, check: bool) -> None:
    from .._run.restore import restore

    restore(settings, tools, report, check=check)


RECOVER = Entry(
    recover_settings,
    RecoverReport,
    _recover,
    afterwards="Rerun bootstrap: whatever it had written is written again.",
    name="spike_recover",
    variables=Naming.RECOVER_VARIABLES,
    playbook="the playbook dayzero.spike.recover",
    private=misplaced_secrets,
)
RESTORE = Entry(
    restore_settings,
    RestoreReport,
    _restore,
    afterwards=(
        "Nexus may have shards of this run: ask how it stands, with {ask_status}. If it says that"
        " Nexus has no key, restart Nexus and rerun bootstrap."
    ),
    name="spike_restore",
    variables=Naming.RESTORE_VARIABLES,
    playbook="the playbook dayzero.spike.restore",
    private=misplaced_secrets,
)


__all__ = ["RECOVER", "RESTORE"]
