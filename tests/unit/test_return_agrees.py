# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the module's RETURN promises is what a report gives."""

from __future__ import annotations

import enum
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.dayzero.spike.plugins.module_utils._decide.errand import Errand
from ansible_collections.dayzero.spike.plugins.module_utils._errors import Cause, Failure, Phase
from ansible_collections.dayzero.spike.plugins.module_utils._net.broadcast import Outcome
from ansible_collections.dayzero.spike.plugins.module_utils._options.cluster import Keeper
from ansible_collections.dayzero.spike.plugins.module_utils._run.report import (
    KeeperState,
    RunReport,
)
from ansible_collections.dayzero.spike.plugins.module_utils._spike.nexus_state import NexusState

ROOT = Path(__file__).resolve().parents[2]
# Added where the module ends, not by the report.
ON_FAILURE = {"msg", "why", "what_to_do", "code", "option"}
# None or a text.
SOMETIMES_NONE = {"forced"}
OF_ANSIBLE = {"changed"}
PYTHON = {"str": str, "int": int, "float": float, "bool": bool, "list": list, "dict": dict}


def _return() -> dict[str, Any]:
    source = (ROOT / "plugins" / "modules" / "spike_bootstrap.py").read_text()
    found = re.search(r'^RETURN = r"""\n(.*?)"""', source, re.DOTALL | re.MULTILINE)
    assert found, "the module has no RETURN"
    documented: dict[str, Any] = yaml.safe_load(found.group(1))
    return documented


RETURN = _return()


def _result_of_a_failure() -> dict[str, Any]:
    peers = [Keeper(1, "https://keeper1:8443"), Keeper(2, "https://keeper2:8443")]
    report = RunReport(peers, "https://nexus:8553")
    report.attempt(Errand.REACH, peers[0], 1, 5)
    failure = Failure(Cause.CONNECTION_REFUSED, "connection refused")
    outcome = Outcome(attempts=5, elapsed=28.0, failure=failure, sent=False)
    report.outcome(Errand.REACH, peers[0], outcome)
    return report.result()


def test_a_failure_has_the_documented_fields():
    assert set(_result_of_a_failure()) - OF_ANSIBLE == set(RETURN) - ON_FAILURE


@pytest.mark.parametrize("field", ["keepers", "nexus"])
def test_an_entry_has_the_documented_fields(field):
    found = _result_of_a_failure()[field]
    entry = found[0] if isinstance(found, list) else found
    documented = RETURN[field]["contains"]
    assert list(entry) == list(documented)
    for name, value in entry.items():
        assert isinstance(value, PYTHON[documented[name]["type"]]), name


@pytest.mark.parametrize("field", sorted(set(RETURN) - ON_FAILURE - SOMETIMES_NONE))
def test_a_field_has_the_documented_type(field):
    assert isinstance(_result_of_a_failure()[field], PYTHON[RETURN[field]["type"]])


@pytest.mark.parametrize(
    ("documented", "values"),
    [
        (RETURN["phase"], Phase),
        (RETURN["keepers"]["contains"]["state"], KeeperState),
        (RETURN["keepers"]["contains"]["cause"], Cause),
        (RETURN["nexus"]["contains"]["state"], NexusState),
    ],
    ids=["phase", "keeper-state", "cause", "nexus-state"],
)
def test_all_values_of_a_state_are_documented(documented, values: type[enum.Enum]):
    assert documented["choices"] == [value.value for value in values]


@pytest.mark.parametrize(
    ("documented", "values"),
    [
        (RETURN["keepers"]["contains"]["state"], KeeperState),
        (RETURN["nexus"]["contains"]["state"], NexusState),
    ],
    ids=["keeper", "nexus"],
)
def test_every_state_is_explained(documented, values: type[enum.Enum]):
    text = " ".join(documented["description"])
    assert re.findall(r"V\((\w+)\)", text) == [value.value for value in values]


def test_the_sample_hint_is_a_real_one():
    sample = RETURN["keepers"]["sample"][0]
    assert _result_of_a_failure()["keepers"][0] == sample
