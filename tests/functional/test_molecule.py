# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The molecule scenarios, each as one test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.dayzero.spike.tests.support.ansible_run import run_program

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]
SCENARIOS = sorted(
    path.parent.name for path in REPOSITORY.glob("extensions/molecule/*/molecule.yml")
)
# The longest waits for keepers as long as SPIKE does by default, about half a minute.
PATIENCE_SECONDS = 240


def test_there_are_scenarios() -> None:
    assert {"default", "keeper_refused", "keeper_stalled"} <= set(SCENARIOS)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_scenario_passes(scenario: str, tmp_path: Path) -> None:
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
