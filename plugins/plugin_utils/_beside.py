# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Commands on the target next to the task's module, as the same user, with the same Python."""

from __future__ import annotations

import copy
import os
import shlex
from collections.abc import Mapping
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.plugins.loader import become_loader, connection_loader


class Beside:
    """A second connection of the same kind: a connection runs one command at a time."""

    def __init__(self, action: ActionBase, task_vars: Mapping[str, Any]) -> None:
        """Opens nothing yet."""
        self._action = copy.copy(action)
        self._action._connection = _another(action)
        self._python = _python(action, task_vars)

    def run(self, program: str, *arguments: str) -> tuple[int, list[str]]:
        """Run a Python program, given as text; its exit status and the lines that it printed.

        Raises whatever the connection does.
        """
        words = [self._python, "-I", "-S", "-c", program, *arguments]
        done = self._action._low_level_execute_command(shlex.join(words))
        return int(done["rc"]), list(done["stdout_lines"])


def _another(action: ActionBase) -> Any:
    first = action._connection
    second = connection_loader.get(
        first.ansible_name,
        action._play_context,
        task_uuid=action._task._uuid,
        ansible_playbook_pid=str(os.getppid()),
    )
    second._options = dict(first._options)
    second._shell = first._shell
    if first.become is not None:
        # It keeps the prompt of the command that runs.
        become = become_loader.get(first.become.ansible_name)
        become._options = dict(first.become._options)
        second.set_become_plugin(become)
    return second


def _python(action: ActionBase, task_vars: Mapping[str, Any]) -> str:
    set_to = action._templar.template(task_vars.get("ansible_python_interpreter"))
    facts = task_vars.get("ansible_facts") or {}
    for path in (set_to, facts.get("discovered_interpreter_python")):
        if path and not str(path).startswith("auto"):
            return str(path)
    return "python3"


__all__ = ["Beside"]
