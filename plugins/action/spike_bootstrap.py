# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The controller's side of ``spike_bootstrap``."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.dayzero.spike.plugins.plugin_utils._controller import (
    ended_in_order,
)
from ansible_collections.dayzero.spike.plugins.plugin_utils._progress import followed


class ActionModule(ActionBase):  # type: ignore[misc]
    """Runs the module, shows its lines as they happen, and ends the run with the controller."""

    _supports_check_mode = True
    _supports_async = True

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Run the module on the target and return its result."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        wrap_async = self._task.async_val and not self._connection.has_native_async
        with (
            ended_in_order() as whole,
            followed(self, task_vars or {}, whole) as (arguments, ended),
        ):
            result.update(
                self._execute_module(
                    module_args=arguments, task_vars=task_vars, wrap_async=wrap_async
                )
            )
            ended(result)
        if not wrap_async:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return result
