# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From an AnsibleModule to a run and back: the one place that turns errors into ``fail_json``."""

from __future__ import annotations

import gc
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Protocol, TypeVar

from .._dataclass import dataclass
from .._errors import (
    Advice,
    ConfigError,
    DayZeroError,
    IdentityError,
)
from .._naming import Naming
from .._options.cluster import Keeper
from .._options.settings import readable_keepers, url_credentials
from .._run.report import Report
from .._uncut import Resources
from .ending import Ended, Ending
from .libraries import check_libraries
from .live import LiveLines

if TYPE_CHECKING:
    from .._run.session import Tools

Of = TypeVar("Of")
Told = TypeVar("Told", bound=Report)


class Module(Protocol):
    """What is needed of an AnsibleModule."""

    params: Mapping[str, Any]
    check_mode: bool
    _diff: bool
    no_log_values: set[str]

    def warn(self, warning: str) -> None:
        """Show a warning to the operator."""

    def exit_json(self, **result: Any) -> NoReturn:
        """End with success."""

    def fail_json(self, msg: str, **result: Any) -> NoReturn:
        """End with a failure."""


@dataclass(frozen=True)
class Entry(Generic[Of, Told]):
    """What sets one module apart from the others.

    ``read`` validates its parameters, ``report`` makes the record of a run from its keepers, the
    URL of its Nexus and the reader's words, and ``run`` does the work; it may import the libraries
    only then. ``afterwards`` is what an operator does after a run that was ended from outside.
    ``name`` is what an operator runs again after a failure. ``variables`` are the words for the
    reader of an inventory, who runs ``playbook`` again. ``private`` gives what of the parameters is
    not to be shown, next to what every module hides.
    """

    read: Callable[[Mapping[str, Any]], Of]
    report: Callable[[Sequence[Keeper], str | None, Naming], Told]
    run: Callable[[Of, Tools, Told, bool], None]
    afterwards: str
    name: str = "bootstrap"
    variables: Naming = Naming.VARIABLES
    playbook: str = "bootstrap"
    private: Callable[[Mapping[str, Any]], Iterable[str]] = lambda params: ()

    def words_for(self, naming: Naming) -> tuple[Naming, str]:
        """The reader's names, and what the reader runs again."""
        if naming is Naming.OPTIONS:
            return naming, self.name
        return self.variables, self.playbook


_OUTPUT = 1
# New objects between two looks for garbage; Python's default is 700, and the looks take a tenth of
# a short run. Ten times as many would cost 2 MB of a thousand keepers.
_SELDOM = 5_000
# Ansible looks for every registered value in every string of a result: with 1000 keepers for 1.5 s,
# half as long again as the run. Above this many, only those that the result holds are registered.
_MANY_SECRETS = 500


def run_module(
    module: Module, entry: Entry[Of, Told], step: Callable[[str], None] = lambda name: None
) -> NoReturn:
    """Do what ``entry`` says and end the process, with one result shape whatever happens."""
    # What has been loaded is none.
    gc.freeze()
    gc.set_threshold(_SELDOM)
    params = module.params
    naming, again = entry.words_for(Naming(params["naming"]))
    report = entry.report(readable_keepers(params["keeper_peers"]), params["nexus_api_url"], naming)
    secrets: set[str] = set()
    ending, resources = Ending(_OUTPUT), Resources()
    live = LiveLines(params.get("progress"))

    def work() -> None:
        try:
            ending.hear()
            live.open()
            report.live = live.tell
            settings = entry.read(params)
            check_libraries()
            tools = _tools(secrets.add, step, resources)
            entry.run(settings, tools, report, module.check_mode)
        finally:
            ending.settle()
            live.close()
            # The run has given them back, unless it was ended at the very moment.
            resources.close()

    failure = _failure_of(work, naming, afterwards=entry.afterwards, name=again)
    for warning in report.warnings:
        module.warn(warning)
    result = {**report.result(), **failure}
    if module._diff:
        would_deliver = module.check_mode and report.changed and not failure
        diff = report.diff(would_deliver=would_deliver)
        if diff is not None:
            result["diff"] = diff
    private = {*url_credentials(params), *entry.private(params)}
    _end(module, result, secrets, private, failed=bool(failure))


def _tools(mask: Callable[[str], None], step: Callable[[str], None], resources: Resources) -> Tools:
    from .._run.session import Tools

    return Tools(
        clock=time.monotonic,
        sleep=time.sleep,
        now=lambda: datetime.now(timezone.utc),
        mask=mask,
        step=step,
        resources=resources,
    )


def _failure_of(
    work: Callable[[], None], naming: Naming, *, afterwards: str, name: str = "bootstrap"
) -> dict[str, Any]:
    """Do ``work``; what its failure adds to the result, nothing where it succeeds.

    ``afterwards`` says what the operator does after a run that was ended, or has a defect. No
    exception gets past this: ansible-core shows the text of an uncaught one, also with no_log. Ends
    the process where nobody would read a result.
    """
    try:
        work()
    except DayZeroError as error:
        failure = {**_told(error.advice.rerun(name), naming), "code": error.code}
        if error.phase is not None:
            failure["phase"] = error.phase.value
        if isinstance(error, (ConfigError, IdentityError)) and error.option is not None:
            failure["option"] = error.option
        return failure
    except KeyboardInterrupt as end:
        if isinstance(end, Ended) and end.unheard:
            os._exit(1)
        words = end.words if isinstance(end, Ended) else "Interrupted."
        advice = Advice(f"{words} {afterwards}", (), (afterwards,)).rerun(name)
        return {**_told(advice, naming), "code": "retry_context_canceled"}
    except BaseException as error:
        # Only where it happened is told: the text of an unknown exception could hold anything.
        advice = Advice(
            f"A defect in dayzero.spike: unexpected {type(error).__name__} at {_place(error)}.",
            ("The collection met something that it was not made for.",),
            (afterwards, "Report it, with this message and the task's result."),
        ).rerun(name)
        return {**_told(advice, naming), "code": "gen_general_failure"}
    return {}


def _told(advice: Advice, naming: Naming) -> dict[str, Any]:
    spelt = advice.spelt(naming)
    return {"msg": spelt.msg, "why": list(spelt.why), "what_to_do": list(spelt.what_to_do)}


def _end(
    module: Module, result: dict[str, Any], secrets: set[str], private: set[str], *, failed: bool
) -> NoReturn:
    if len(secrets) > _MANY_SECRETS:
        text = json.dumps(result, ensure_ascii=False)
        from .._key.root_key import may_hold_a_spelling

        found = may_hold_a_spelling(text)
        secrets = {secret for secret in secrets if secret in text} if found else set()
    module.no_log_values.update(secrets, private)
    # And once more when the interpreter ends, unless there is nothing to look through.
    gc.freeze()
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


__all__ = ["Entry", "Module", "run_module"]
