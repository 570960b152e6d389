# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From an AnsibleModule to a run and back: the one place that turns errors into ``fail_json``."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any, NoReturn, Protocol

from ansible_collections.dayzero.spike.plugins.module_utils._bootstrap import Tools, run
from ansible_collections.dayzero.spike.plugins.module_utils._errors import ConfigError, DayZeroError
from ansible_collections.dayzero.spike.plugins.module_utils._report import RunReport
from ansible_collections.dayzero.spike.plugins.module_utils._settings import (
    read_settings,
    readable_peers,
)


class Module(Protocol):
    """What is needed of an AnsibleModule."""

    params: Mapping[str, Any]
    check_mode: bool
    _diff: bool
    no_log_values: set[str]

    def exit_json(self, **result: Any) -> NoReturn:
        """End with success."""

    def fail_json(self, msg: str, **result: Any) -> NoReturn:
        """End with a failure."""


def run_module(module: Module, step: Callable[[str], None] = lambda name: None) -> NoReturn:
    """Run and end the process, with the same result shape whatever happens.

    Nothing gets past it: ansible-core shows the text of an uncaught exception, also with no_log.
    """
    params = module.params
    report = RunReport(readable_peers(params["keeper_peers"]), params["nexus_api_url"])
    failure: dict[str, Any] = {}
    try:
        settings = read_settings(params)
        tools = Tools(
            clock=time.monotonic,
            sleep=time.sleep,
            now=lambda: datetime.now(timezone.utc),
            mask=module.no_log_values.add,
            step=step,
        )
        run(settings, tools, report, check=module.check_mode)
    except DayZeroError as error:
        failure = {"msg": error.message, "code": error.code}
        if error.phase is not None:
            failure["phase"] = error.phase.value
        if isinstance(error, ConfigError):
            failure["option"] = error.option
    except KeyboardInterrupt:
        failure = {
            "msg": "Interrupted. Rerun bootstrap: it goes on where this run ended.",
            "code": "retry_context_canceled",
        }
    except BaseException as error:
        # Only where it happened is told: the text of an unknown exception could hold anything.
        failure = {
            "msg": (
                f"A defect in dayzero.spike: unexpected {type(error).__name__}"
                f" at {_place(error)}. Please report it. Rerunning bootstrap is safe."
            ),
            "code": "gen_general_failure",
        }
    result = {**report.result(), **failure}
    if module._diff:
        result["diff"] = report.diff(would_deliver=module.check_mode and not failure)
    if failure:
        module.fail_json(**result)
    module.exit_json(**result)


def _place(error: BaseException) -> str:
    traceback = error.__traceback__
    place = "an unknown place"
    while traceback is not None:
        code = traceback.tb_frame.f_code
        place = f"{code.co_filename.rsplit('/', 1)[-1]}:{traceback.tb_lineno}"
        traceback = traceback.tb_next
    return place


__all__ = ["Module", "run_module"]
