# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the modules for a bootstrap and its status read, run and report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._options.settings import (
    BootstrapSettings,
    StatusSettings,
    bootstrap_settings,
    status_settings,
)
from .._run.report import RunReport
from .._run.status_report import StatusReport
from .module_entry import Entry

if TYPE_CHECKING:
    from .._run.session import Tools

# The flows import the libraries, which a host may lack: each is imported when it is run.


def _bootstrap(settings: BootstrapSettings, tools: Tools, report: RunReport, check: bool) -> None:
    from .._run.bootstrap import run

    run(settings, tools, report, check=check)


def _status(settings: StatusSettings, tools: Tools, report: StatusReport, _check: bool) -> None:
    from .._run.status import inspect

    inspect(settings, tools, report)


BOOTSTRAP = Entry(
    bootstrap_settings,
    RunReport,
    _bootstrap,
    afterwards="Rerun bootstrap: it goes on where this run ended.",
)
STATUS = Entry(status_settings, StatusReport, _status, afterwards="Nothing was changed.")


__all__ = ["BOOTSTRAP", "STATUS"]
