# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``docs/troubleshooting.md`` explains all that a result can say, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._decide.emergency_words import Trouble
from ansible_collections.dayzero.spike.plugins.module_utils._decide.nexus_words import Situation
from ansible_collections.dayzero.spike.plugins.module_utils._decide.outlook import Next
from ansible_collections.dayzero.spike.plugins.module_utils._errors import Cause

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs" / "troubleshooting.md").read_text()
# `code=` of an error, `code =` of its class, and `"code":` of a result that no error made.
WRITTEN = re.compile(r'\bcode(?:=| = |": )"([a-z0-9_]+)"')
OF_AN_EMERGENCY = {trouble.code for trouble in Trouble}


def first_column(heading: str) -> list[str]:
    """What stands between backticks in the first column of the table with that heading."""
    table = GUIDE.partition(f"\n{heading}\n")[2].partition("\n\n")[0]
    cells = [line.split("|")[1] for line in table.splitlines()[1:]]
    return [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]


def codes_of_a_run() -> set[str]:
    sources = [
        path
        for path in (ROOT / "plugins" / "module_utils").rglob("*.py")
        # An embedded SPIKE has SPIKE's codes.
        if "_sandbox" not in path.parts
    ]
    written = {code for path in sources for code in WRITTEN.findall(path.read_text())}
    return written | {situation.code for situation in Situation}


def test_every_cause_is_explained_once() -> None:
    explained = first_column("| cause | what it means | what to do |")
    assert sorted(explained) == sorted(cause.value for cause in Cause)


def test_every_code_of_a_run_is_explained_once() -> None:
    assert "retry_context_canceled" in codes_of_a_run()
    assert sorted(first_column("| code | what it means | what to do |")) == sorted(codes_of_a_run())


def test_every_code_of_an_emergency_is_explained_once() -> None:
    explained = first_column("| code | `spike_recover` | `spike_restore` |")
    assert len(explained) == len(set(explained))
    # Those that mean something else there than in a run are explained a second time.
    assert OF_AN_EMERGENCY <= set(explained) <= OF_AN_EMERGENCY | codes_of_a_run()


@pytest.mark.parametrize("step", Next, ids=lambda step: step.value)
def test_every_next_of_a_status_is_named(step: Next) -> None:
    named = GUIDE.partition("`next` is what")[2].partition("\n\nThe module")[0]
    assert f"`{step.value}`" in named
