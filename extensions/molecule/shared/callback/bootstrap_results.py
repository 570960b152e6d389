# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keep the results of spike_bootstrap beyond the end of a playbook that failed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: bootstrap_results
type: notification
short_description: Keep the results of spike_bootstrap for verify.yml
description:
  - Adds each result of M(dayzero.spike.spike_bootstrap), of a success or a failure, as one line of
    JSON to C(results.jsonl) in Molecule's ephemeral directory.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "bootstrap_results"
    CALLBACK_NEEDS_ENABLED = True

    def v2_runner_on_ok(self, result: Any) -> None:
        self._keep(result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._keep(result)

    def _keep(self, result: Any) -> None:
        if result.task.action == "dayzero.spike.spike_bootstrap":
            path = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "results.jsonl"
            kept = {
                name: value
                for name, value in result.result.items()
                if name != "failed" and not name.startswith("failed_when")
            }
            # The role shows a failure in a task of its own, and this one has not failed.
            if "code" in kept or "phase" not in kept:
                kept["failed"] = True
            with path.open("a") as results:
                results.write(json.dumps(kept) + "\n")
