# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long each task took, for the benchmark beside it."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: task_times
type: aggregate
short_description: Writes how long each task took
description: [For the benchmark of the collection that it comes with.]
requirements: [The environment variable E(BENCH_TIMES), a path.]
"""


class CallbackModule(CallbackBase):
    """One JSON line for each task that has ended well."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "task_times"
    CALLBACK_NEEDS_ENABLED = True

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        """A task begins."""
        self._began = time.monotonic()

    def v2_runner_on_ok(self, result: Any) -> None:
        """A task has ended."""
        line = {"task": result.task.get_name(), "seconds": time.monotonic() - self._began}
        with open(os.environ["BENCH_TIMES"], "a", encoding="utf-8") as times:
            times.write(json.dumps(line) + "\n")
