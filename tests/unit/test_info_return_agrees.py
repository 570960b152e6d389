# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the RETURN of spike_bootstrap_info promises is what a status gives."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.dayzero.spike.plugins.module_utils._decide.guard import Standing
from ansible_collections.dayzero.spike.plugins.module_utils._decide.outlook import Next, foresee
from ansible_collections.dayzero.spike.plugins.module_utils._decide.situation import Situation
from ansible_collections.dayzero.spike.plugins.module_utils._errors import Advice, Phase
from ansible_collections.dayzero.spike.plugins.module_utils._key.root_key import Token
from ansible_collections.dayzero.spike.plugins.module_utils._options.cluster import Cluster, Keeper
from ansible_collections.dayzero.spike.plugins.module_utils._run.report import (
    KeeperState,
)
from ansible_collections.dayzero.spike.plugins.module_utils._run.status_report import StatusReport
from ansible_collections.dayzero.spike.plugins.module_utils._spike.nexus import Nexus, Verdict
from ansible_collections.dayzero.spike.plugins.module_utils._spike.nexus_state import NexusState
from ansible_collections.dayzero.spike.plugins.module_utils._state.journal import Record

MODULES = Path(__file__).resolve().parents[2] / "plugins" / "modules"
# Added where the module ends, not by the report, or only about keepers that failed.
SOMETIMES = {"msg", "why", "what_to_do", "code", "option", "keeper_id", "keeper_url"}
# A status sends nothing.
OF_A_RUN_ALONE = {"resumed", "forced"}
OF_ANSIBLE = {"changed"}
PYTHON = {"str": str, "int": int, "float": float, "bool": bool, "list": list, "dict": dict}
CLUSTER = Cluster(("https://keeper1:8443", "https://keeper2:8443"), 2, "circl-1.6.2")
RECORD = Record(CLUSTER, Token(bytes(12), b"sealed", "00" * 32), frozenset({1}))


def _return(module: str) -> dict[str, Any]:
    source = (MODULES / f"{module}.py").read_text()
    found = re.search(r'^RETURN = r"""\n(.*?)"""', source, re.DOTALL | re.MULTILINE)
    assert found, "the module has no RETURN"
    documented: dict[str, Any] = yaml.safe_load(found.group(1))
    return documented


RETURN = _return("spike_bootstrap_info")
OF_A_RUN = _return("spike_bootstrap")


def never_told(situation: Situation) -> Advice:
    raise AssertionError(situation)


def _report() -> StatusReport:
    return StatusReport([Keeper(1, url) for url in CLUSTER.keepers], "https://nexus:8553")


def _result() -> dict[str, Any]:
    report = _report()
    report.journal("/var/lib/j", RECORD, pending_key=True, running=False)
    verdict = Verdict(Nexus.NOT_READY, "Nexus has no root key yet")
    standing = Standing(CLUSTER, RECORD, CLUSTER.fingerprint(), verdict)
    report.outlook = foresee(standing, unreached=[], running=False, told=never_told)
    return report.result()


def test_a_status_has_the_documented_fields():
    assert set(_result()) - OF_ANSIBLE == set(RETURN) - SOMETIMES


def test_a_status_that_failed_at_once_has_them_too():
    assert set(_report().result()) - OF_ANSIBLE == set(RETURN) - SOMETIMES


@pytest.mark.parametrize("field", sorted(set(RETURN) - SOMETIMES))
def test_a_field_has_the_documented_type(field):
    assert isinstance(_result()[field], PYTHON[RETURN[field]["type"]])


def test_the_journal_has_the_documented_entries():
    found, documented = _result()["journal"], RETURN["journal"]["contains"]
    assert list(found) == list(documented)
    assert list(found["cluster"]) == list(documented["cluster"]["contains"])
    for name, value in found.items():
        assert isinstance(value, PYTHON[documented[name]["type"]]), name


def test_it_has_every_field_of_a_run():
    assert set(OF_A_RUN) - OF_A_RUN_ALONE <= set(RETURN)


@pytest.mark.parametrize("field", ["keepers", "nexus"])
def test_an_entry_is_that_of_a_run(field):
    here, there = RETURN[field]["contains"], OF_A_RUN[field]["contains"]
    assert list(here) == list(there)
    assert [entry["type"] for entry in here.values()] == [entry["type"] for entry in there.values()]


@pytest.mark.parametrize(
    ("documented", "values"),
    [
        (RETURN["next"], {step.value for step in Next}),
        (RETURN["nexus"]["contains"]["state"], {state.value for state in NexusState}),
        (
            RETURN["keepers"]["contains"]["state"],
            {state.value for state in KeeperState}
            - {KeeperState.DELIVERED.value, KeeperState.UNKNOWN.value},
        ),
        (
            RETURN["phase"],
            {phase.value for phase in Phase} - {Phase.DELIVER.value, Phase.VERIFY.value},
        ),
    ],
    ids=["next", "nexus", "keeper", "phase"],
)
def test_all_values_that_a_status_can_give_are_documented(documented, values):
    assert set(documented["choices"]) == values


@pytest.mark.parametrize(
    "documented",
    [
        RETURN["next"],
        RETURN["nexus"]["contains"]["state"],
        RETURN["keepers"]["contains"]["state"],
        RETURN["journal"]["contains"]["state"],
    ],
    ids=["next", "nexus", "keeper", "journal"],
)
def test_every_value_is_explained(documented):
    text = " ".join(documented["description"])
    assert set(documented["choices"]) <= set(re.findall(r"V\((\w+)\)", text))


def test_the_sample_summary_is_a_real_one():
    cluster = Cluster((*CLUSTER.keepers, "https://keeper3:8443"), 2, "circl-1.6.2")
    record = Record(cluster, RECORD.token, frozenset({1}))
    verdict = Verdict(Nexus.NOT_READY, "Nexus has no root key yet")
    standing = Standing(cluster, record, cluster.fingerprint(), verdict)
    outlook = foresee(standing, unreached=[], running=False, told=never_told)
    assert outlook.summary == RETURN["summary"]["sample"]
