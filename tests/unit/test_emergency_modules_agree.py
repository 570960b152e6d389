# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The documentation of spike_recover and spike_restore is what they take and give."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.dayzero.spike.plugins.module_utils._entry.emergencies import (
    RECOVER,
    RESTORE,
)
from ansible_collections.dayzero.spike.plugins.module_utils._naming import Naming, place_of
from ansible_collections.dayzero.spike.plugins.module_utils._options.argument_spec import (
    recover_arguments,
    restore_arguments,
)
from ansible_collections.dayzero.spike.plugins.module_utils._run.recover_report import RecoverReport
from ansible_collections.dayzero.spike.plugins.module_utils._run.restore_report import RestoreReport
from ansible_collections.dayzero.spike.plugins.module_utils._spike.nexus_state import NexusState
from ansible_collections.dayzero.spike.tools.generate import documented_options

MODULES = Path(__file__).resolve().parents[2] / "plugins" / "modules"
SPECS: dict[str, Any] = {"spike_recover": recover_arguments(), "spike_restore": restore_arguments()}
REPORTS = {"spike_recover": RecoverReport, "spike_restore": RestoreReport}
SOMETIMES = {"msg", "why", "what_to_do", "code", "option"}
PAIRS = [(module, option) for module, spec in SPECS.items() for option in spec]
FIELDS = ("type", "elements", "required", "default")


def _return(module: str) -> dict[str, Any]:
    source = (MODULES / f"{module}.py").read_text()
    found = re.search(r'^RETURN = r"""\n(.*?)"""', source, re.DOTALL | re.MULTILINE)
    assert found
    documented: dict[str, Any] = yaml.safe_load(found.group(1))
    return documented


@pytest.mark.parametrize("module", SPECS)
def test_all_options_are_documented(module: str) -> None:
    assert set(documented_options(module)) == set(SPECS[module])


@pytest.mark.parametrize(("module", "option"), PAIRS)
def test_an_option_is_documented_as_it_is(module: str, option: str) -> None:
    documented, spec = documented_options(module)[option], SPECS[module][option]
    assert [documented.get(name) for name in FIELDS] == [spec.get(name) for name in FIELDS]
    assert list(documented.get("choices", [])) == list(spec.get("choices", []))
    assert set(documented.get("suboptions", {})) == set(spec.get("options", {}))
    fallback = spec["fallback"][1] if "fallback" in spec else []
    text = " ".join(documented["description"])
    assert re.findall(r"Falls back to E\((\w+)\)", text) == fallback
    assert documented["version_added"]


def test_shards_are_never_logged() -> None:
    assert SPECS["spike_restore"]["shards"]["no_log"] is True


@pytest.mark.parametrize("module", SPECS)
def test_a_result_has_the_documented_fields(module: str) -> None:
    result = REPORTS[module]([], "https://nexus:8553").result()
    documented = _return(module)
    assert set(result) - {"changed"} == set(documented) - SOMETIMES
    nexus = documented["nexus"]["contains"]
    assert list(result["nexus"]) == list(nexus)
    assert set(nexus["state"]["choices"]) == {state.value for state in NexusState}


# -- their roles


ROOT = MODULES.parents[1]


def _role(module: str) -> dict[str, Any]:
    path = ROOT / "roles" / module / "meta" / "argument_specs.yml"
    loaded: dict[str, Any] = yaml.safe_load(path.read_text())["argument_specs"]["main"]["options"]
    return loaded


@pytest.mark.parametrize(("module", "option"), PAIRS)
def test_an_option_is_a_variable_of_the_role_or_set_by_it(module: str, option: str) -> None:
    set_by_the_role = {"naming", "keeper_peers"}
    assert (f"{module}_{option}" in _role(module)) is (option not in set_by_the_role)
    given = (ROOT / "roles" / module / "tasks" / "run.yml").read_text()
    # What custodians get is written on the controller.
    assert (f"    {option}: " in given) is ((module, option) != ("spike_recover", "directory"))


@pytest.mark.parametrize("module", SPECS)
def test_a_variable_of_the_role_may_be_null(module: str) -> None:
    for name, option in _role(module).items():
        assert "default" not in option, name
        assert not option.get("required"), name
        assert None in option.get("choices", [None]), name


@pytest.mark.parametrize("module", SPECS)
def test_the_role_explains_its_own_variables_to_people(module: str) -> None:
    readme = (ROOT / "roles" / module / "README.md").read_text()
    defaults = (ROOT / "roles" / module / "defaults" / "main.yml").read_text()
    own = {name for name in _role(module) if name.removeprefix(f"{module}_") not in SPECS[module]}
    assert own
    for name in own:
        assert f"`{name}`" in readme, name
        assert f"# {name}:" in defaults, name


@pytest.mark.parametrize(
    ("module", "naming"),
    [
        ("spike_recover", Naming.RECOVER_VARIABLES),
        ("spike_restore", Naming.RESTORE_VARIABLES),
    ],
)
def test_a_message_for_an_inventory_names_a_variable_that_there_is(
    module: str, naming: Naming
) -> None:
    bootstrap = ROOT / "roles" / "spike_bootstrap" / "meta" / "argument_specs.yml"
    known = set(_role(module))
    known |= set(yaml.safe_load(bootstrap.read_text())["argument_specs"]["main"]["options"])
    for option in SPECS[module]:
        if option != "naming":
            assert naming.spell(place_of(option)) in known, option


@pytest.mark.parametrize(
    ("naming", "status", "again"),
    [
        (Naming.OPTIONS, "with spike_bootstrap_info, as", "Rerun spike_restore."),
        (
            Naming.RESTORE_VARIABLES,
            "with the playbook dayzero.spike.status, as",
            "Rerun the playbook dayzero.spike.restore.",
        ),
    ],
)
def test_what_to_do_without_a_proof_is_in_the_readers_words(
    naming: Naming, status: str, again: str
) -> None:
    report = RestoreReport([], "https://nexus:8553", naming)
    report.unproved("there is no journal", "https://nexus:8553")
    steps = report.result()["what_to_do"]
    assert status in steps[0]
    assert steps[-1] == again
    assert "{" not in " ".join([*steps, *report.warnings])


def test_what_is_run_again_is_a_playbook_of_the_collection() -> None:
    for entry in (RECOVER, RESTORE):
        words, again = entry.words_for(Naming.VARIABLES)
        named = " ".join([again, words.spell("{ask_status} {do_restore}")])
        playbooks = re.findall(r"dayzero\.spike\.(\w+)", named)
        assert len(playbooks) == 3
        assert all((ROOT / "playbooks" / f"{name}.yml").exists() for name in playbooks)
        assert entry.words_for(Naming.OPTIONS) == (Naming.OPTIONS, entry.name)
