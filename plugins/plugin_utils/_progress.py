# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lines of a task's run in the output of Ansible, while the task runs."""

from __future__ import annotations

import inspect
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.dayzero.spike.plugins.plugin_utils import _follower
from ansible_collections.dayzero.spike.plugins.plugin_utils._beside import Beside
from ansible_collections.dayzero.spike.plugins.plugin_utils._controller import Whole
from ansible_collections.dayzero.spike.plugins.plugin_utils._lines import shower
from ansible_collections.dayzero.spike.plugins.plugin_utils._live import Live, Seen
from ansible_collections.dayzero.spike.plugins.plugin_utils._python import too_old

# In memory, and everybody's: the name cannot be guessed, and the FIFO is its user's alone.
_PLACE = "/dev/shm/dayzero-spike-"  # noqa: S108
# The module's argument, which is between it and this plugin.
_ARGUMENT = "progress"

Arguments = dict[str, Any]
Result = dict[str, Any]


@contextmanager
def followed(
    action: ActionBase, task_vars: Mapping[str, Any], whole: Whole
) -> Iterator[tuple[Arguments, Callable[[Result], None]]]:
    """Follow the run in this block: with the module's arguments, and what is to be told the result.

    ``whole`` shows a line uncut. A task that nobody waits for is not followed.
    """
    arguments = dict(action._task.args)
    if action._task.async_val:
        yield arguments, lambda result: None
        return
    path = f"{_PLACE}{secrets.token_hex(16)}"
    beside = Beside(action, task_vars)
    program = inspect.getsource(_follower)

    def look(found: bool) -> Seen:
        return Seen(*beside.run(program, path, "seen" if found else "new"))

    show = shower(task_vars)
    live = Live(look, lambda line: whole(lambda: show([line])))

    def ended(result: Result) -> None:
        if result.get("failed") and "phase" not in result:
            _say_if_python_is_too_old(result, beside)
        # The operator has not given it.
        (result.get("invocation") or {}).get("module_args", {}).pop(_ARGUMENT, None)
        live.end(result.get("log") or ())

    live.start()
    yield {**arguments, _ARGUMENT: path}, ended


def _say_if_python_is_too_old(result: Result, beside: Beside) -> None:
    words = too_old(beside.run)
    if words:
        # An exit status would be taken for that of a run that was killed.
        for told_worse in ("rc", "exception"):
            result.pop(told_worse, None)
        result["msg"] = words


__all__ = ["followed"]
