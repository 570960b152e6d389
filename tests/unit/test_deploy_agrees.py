# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is written more than once about the roles that deploy is compared."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.dayzero.spike.plugins.module_utils._hosts.modules import (
    entries_arguments,
    service_info_arguments,
)
from ansible_collections.dayzero.spike.plugins.module_utils._hosts.unit import STARTED_WITH
from ansible_collections.dayzero.spike.plugins.plugin_utils._nexus_settings import MARK

ROOT = Path(__file__).resolve().parents[2]
ROLES = ("spike_keeper", "spike_nexus", "spike_entries")
MODULES = {"spike_service_info": service_info_arguments(), "spike_entries": entries_arguments()}
# Of what all roles share, and of what describes a host, no role has a default.
WITHOUT_DEFAULT = {
    "spike_trust_domain",
    "spike_log_level",
    "spike_keeper_url",
    "spike_keeper_id",
}

each_role = pytest.mark.parametrize("role", ROLES)
each_module = pytest.mark.parametrize("module", MODULES)


def specs(role: str) -> dict[str, Any]:
    path = ROOT / "roles" / role / "meta" / "argument_specs.yml"
    loaded: dict[str, Any] = yaml.safe_load(path.read_text())["argument_specs"]
    return loaded


def documented(module: str, part: str) -> dict[str, Any]:
    source = (ROOT / "plugins" / "modules" / f"{module}.py").read_text()
    found = re.search(rf'^{part} = r"""\n(.*?)"""', source, re.DOTALL | re.MULTILINE)
    assert found
    loaded: dict[str, Any] = yaml.safe_load(found.group(1))
    return loaded


def shape(option: dict[str, Any]) -> dict[str, Any]:
    suboptions = option.get("suboptions", option.get("options")) or {}
    return {
        "type": option.get("type", "str"),
        "elements": option.get("elements"),
        "required": option.get("required", False),
        "default": option.get("default"),
        "choices": sorted(option.get("choices") or []),
        "suboptions": {name: shape(one) for name, one in suboptions.items()},
    }


@each_module
def test_a_modules_documentation_and_argument_spec_agree(module: str) -> None:
    options = documented(module, "DOCUMENTATION")["options"]
    assert {name: shape(one) for name, one in options.items()} == {
        name: shape(one) for name, one in MODULES[module].items()
    }


@each_role
def test_every_default_is_in_the_roles_argument_spec(role: str) -> None:
    defaults = yaml.safe_load((ROOT / "roles" / role / "defaults" / "main.yml").read_text())
    assert set(defaults) == set(specs(role)["main"]["options"]) - WITHOUT_DEFAULT


@each_role
def test_every_variable_may_be_null(role: str) -> None:
    # Ansible refuses null where there is a default, or where it is no choice.
    for name, option in specs(role)["main"]["options"].items():
        assert "default" not in option, name
        assert None in option.get("choices", [None]), name


@each_role
def test_every_part_of_a_role_takes_the_same_variables(role: str) -> None:
    entry_points = specs(role)
    assert all(one["options"] == entry_points["main"]["options"] for one in entry_points.values())
    for name in entry_points:
        assert (ROOT / "roles" / role / "tasks" / f"{name}.yml").exists()


@each_role
def test_the_readme_names_every_variable(role: str) -> None:
    readme = (ROOT / "roles" / role / "README.md").read_text()
    for name in specs(role)["main"]["options"]:
        assert name in readme or name.removeprefix(role) in readme, name


def test_every_role_has_what_galaxy_asks_for() -> None:
    for role in (ROOT / "roles").iterdir():
        for path in ("README.md", "meta/main.yml", "meta/argument_specs.yml", "tasks/main.yml"):
            assert (role / path).exists(), f"{role.name}: {path}"


def test_a_process_has_the_digest_that_is_looked_for() -> None:
    template = ROOT / "roles" / "spike_service" / "templates" / "unit.service.j2"
    assert f"Environment={STARTED_WITH}={{{{" in template.read_text()


def test_settings_of_ours_begin_with_the_mark_of_ours() -> None:
    template = (ROOT / "roles" / "spike_service" / "templates" / "settings.env.j2").read_text()
    first = template.partition("-#}\n")[2].splitlines()[0]
    assert first.replace("{{ spike_service_of.role }}", "spike_nexus") == MARK
