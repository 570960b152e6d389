# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long after ``keeper_timeout`` each fault is known, in both steps."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.cluster import Sandbox
from ansible_collections.dayzero.spike.tests.support.directories import memory_directory
from ansible_collections.dayzero.spike.tests.support.fault_cases import CASES, inject
from ansible_collections.dayzero.spike.tests.support.module_host import Host

_TIMEOUT = 1.0


def excesses() -> Iterator[tuple[str, str, int, float]]:
    """Fault, step, attempts, and the seconds from the first connection less the timeout.

    Below 0: known before the time was over. That holds for what is final.
    """
    for case in CASES:
        for step in ("reach", "deliver"):
            if case.expected(step) is None:
                continue
            with (
                tempfile.TemporaryDirectory(prefix="bench-") as name,
                memory_directory() as runtime_dir,
                Sandbox(Path(name) / "sandbox") as sandbox,
            ):
                inject(case, sandbox, 2, step)
                host = Host(Path(name), runtime_dir, Path(name), sandbox)
                run = host.run(keeper_timeout=f"{_TIMEOUT:g}s")
                began = sandbox.keepers[0].stats.accepted_at[0]
                keeper = run.result["keepers"][1]
                yield case.name, step, keeper["attempts"], run.known - began - _TIMEOUT


__all__ = ["excesses"]
