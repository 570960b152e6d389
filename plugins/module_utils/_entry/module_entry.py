# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From an AnsibleModule to a run and back: the one place that turns errors into ``fail_json``."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from ansible_collections.dayzero.spike.plugins.module_utils._errors import (
    ConfigError,
    DayZeroError,
    IdentityError,
)
from ansible_collections.dayzero.spike.plugins.module_utils._libraries import check_libraries
from ansible_collections.dayzero.spike.plugins.module_utils._report import RunReport
from ansible_collections.dayzero.spike.plugins.module_utils._settings import (
    read_settings,
    readable_peers,
    url_credentials,
)
from ansible_collections.dayzero.spike.plugins.module_utils._status_report import StatusReport

if TYPE_CHECKING:
    from ansible_collections.dayzero.spike.plugins.module_utils._session import Tools


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


_UNCHANGED = "Nothing was changed."
# Ansible looks for every registered value in every string of a result: with 1000 keepers for 1.5 s,
# half as long again as the run. Above this many, only those that the result holds are registered.
_MANY_SECRETS = 500
# A status has no options for these: it says what a plain run would do.
_PLAIN_RUN = {"verify": True, "init_verification_timeout": "30m", "force": False}


def run_module(module: Module, step: Callable[[str], None] = lambda name: None) -> NoReturn:
    """Run and end the process, with the same result shape whatever happens."""
    params = module.params
    report = RunReport(readable_peers(params["keeper_peers"]), params["nexus_api_url"])
    secrets: set[str] = set()

    def work() -> None:
        settings = read_settings(params)
        check_libraries()
        # Imported only now: it imports the libraries.
        from ansible_collections.dayzero.spike.plugins.module_utils._bootstrap import run

        run(settings, _tools(secrets.add, step), report, check=module.check_mode)

    failure = _failure_of(
        work,
        interrupted="Rerun bootstrap: it goes on where this run ended.",
        defect="Rerunning bootstrap is safe.",
    )
    result = {**report.result(), **failure}
    if module._diff:
        would_deliver = module.check_mode and report.changed and not failure
        result["diff"] = report.diff(would_deliver=would_deliver)
    _end(module, result, secrets, failed=bool(failure))


def show_status(module: Module) -> NoReturn:
    """Tell how the cluster stands and end the process, with the same shape whatever happens."""
    params = {**_PLAIN_RUN, **module.params}
    report = StatusReport(readable_peers(params["keeper_peers"]), params["nexus_api_url"])
    secrets: set[str] = set()

    def work() -> None:
        settings = read_settings(params)
        check_libraries()
        from ansible_collections.dayzero.spike.plugins.module_utils._status import inspect

        inspect(settings, _tools(secrets.add), report)

    failure = _failure_of(work, interrupted=_UNCHANGED, defect=_UNCHANGED)
    _end(module, {**report.result(), **failure}, secrets, failed=bool(failure))


def _tools(mask: Callable[[str], None], step: Callable[[str], None] = lambda name: None) -> Tools:
    from ansible_collections.dayzero.spike.plugins.module_utils._session import Tools

    return Tools(
        clock=time.monotonic,
        sleep=time.sleep,
        now=lambda: datetime.now(timezone.utc),
        mask=mask,
        step=step,
    )


def _failure_of(work: Callable[[], None], *, interrupted: str, defect: str) -> dict[str, Any]:
    """Do ``work``; what its failure adds to the result, nothing where it succeeds.

    ``interrupted`` and ``defect`` say what the operator does after either. No exception gets past
    this: ansible-core shows the text of an uncaught one, also with no_log.
    """
    try:
        work()
    except DayZeroError as error:
        failure = {"msg": error.message, "code": error.code}
        if error.phase is not None:
            failure["phase"] = error.phase.value
        if isinstance(error, (ConfigError, IdentityError)) and error.option is not None:
            failure["option"] = error.option
        return failure
    except KeyboardInterrupt:
        return {"msg": f"Interrupted. {interrupted}", "code": "retry_context_canceled"}
    except BaseException as error:
        # Only where it happened is told: the text of an unknown exception could hold anything.
        return {
            "msg": (
                f"A defect in dayzero.spike: unexpected {type(error).__name__}"
                f" at {_place(error)}. Please report it. {defect}"
            ),
            "code": "gen_general_failure",
        }
    return {}


def _end(module: Module, result: dict[str, Any], secrets: set[str], *, failed: bool) -> NoReturn:
    if len(secrets) > _MANY_SECRETS:
        text = json.dumps(result, ensure_ascii=False)
        secrets = {secret for secret in secrets if secret in text}
    module.no_log_values.update(secrets, url_credentials(module.params))
    if failed:
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


__all__ = ["Module", "run_module", "show_status"]
