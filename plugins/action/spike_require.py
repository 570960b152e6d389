# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Goes on only where a condition holds, and says in one line why not."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.dayzero.spike.plugins.plugin_utils._lines import shower
from ansible_collections.dayzero.spike.plugins.plugin_utils._one_line import InOneLine


class ActionModule(ActionBase):  # type: ignore[misc]
    """Runs on the controller alone."""

    _supports_check_mode = True
    _requires_connection = False

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Fail with the task's words where its condition does not hold."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _unused, given = self.validate_argument_spec(
            {
                "that": {"type": "bool", "required": True},
                "fail_msg": {"required": True},
                "success_msg": {},
            }
        )
        if not given["that"]:
            raise InOneLine(given["fail_msg"].strip())
        if given["success_msg"]:
            shower(task_vars or {})([given["success_msg"]])
        return result
