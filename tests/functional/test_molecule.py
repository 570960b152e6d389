# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The molecule scenarios of the sandbox, each as one test."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.dayzero.spike.tests.support.ansible_run import run_program

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]
SCENARIOS = sorted(
    path.parent.name
    for path in REPOSITORY.glob("extensions/molecule/*/molecule.yml")
    # Real hosts are for make test-hosts.
    if path.parent.name != "hosts"
)
# What make test runs of them; make test-long runs the others.
_SHORT = ("day_zero",)
# Each takes less than 20 on a machine that does nothing else.
PATIENCE_SECONDS = 600


def test_there_is_a_scenario_for_each_thing_that_an_operator_meets() -> None:
    assert SCENARIOS == [
        "abandon",
        "check_mode",
        "day_zero",
        "keeper_down",
        "keeper_stalls",
        "live_cluster_refused",
        "order_swapped",
        "rerun_after_failure",
        "timeouts_from_inventory",
    ]


@pytest.mark.parametrize(
    "scenario",
    [pytest.param(name, marks=() if name in _SHORT else pytest.mark.long) for name in SCENARIOS],
)
def test_the_scenario_passes(
    scenario: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    began = time.monotonic()
    done = run_program(
        "molecule",
        "test",
        "--scenario-name",
        scenario,
        environment={
            **os.environ,
            "ANSIBLE_HOME": str(tmp_path / "ansible"),
            "MOLECULE_EPHEMERAL_DIRECTORY": str(tmp_path / "molecule"),
            "NO_COLOR": "1",
        },
        # Only there it finds extensions/molecule/config.yml.
        cwd=REPOSITORY,
        patience=PATIENCE_SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    record_property("table", f"molecule {scenario}: {time.monotonic() - began:.0f} s")
