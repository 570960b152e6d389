# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Shows what a run has ended with, and fails where the run has."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.dayzero.spike.plugins.plugin_utils import _report
from ansible_collections.dayzero.spike.plugins.plugin_utils._lines import shower
from ansible_collections.dayzero.spike.plugins.plugin_utils._one_line import InOneLine


class ActionModule(ActionBase):  # type: ignore[misc]
    """Runs on the controller alone."""

    _supports_check_mode = True
    _requires_connection = False

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Show the result that the task gives."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _unused, given = self.validate_argument_spec(
            {
                "result": {"type": "dict", "required": True},
                "of": {"choices": ["bootstrap", "status"], "default": "bootstrap"},
                "settings": {"type": "dict", "default": {}},
            }
        )
        shown = given["result"]
        show = shower(task_vars or {})
        if Display().verbosity and shown.get("phase", "config") != "config":
            show(_report.settings(given["settings"]))
        if _report.failed(shown):
            show(_report.failure(shown))
            raise InOneLine(_report.message(shown), result={"changed": bool(shown.get("changed"))})
        if given["of"] == "status":
            show(_report.status(shown))
        else:
            show(_report.success(shown, check=bool(self._task.check_mode)))
        return result
