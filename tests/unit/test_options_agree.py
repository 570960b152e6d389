# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options are listed in five places; here they are compared, so that no list drifts.

The module's documentation with its fragments, the argument spec, the role's argument spec, the
role's defaults, and the template of the settings file.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.dayzero.spike.plugins.module_utils._argument_spec import (
    bootstrap_arguments,
    shared_arguments,
)

ROOT = Path(__file__).resolve().parents[2]
ROLE = ROOT / "roles" / "spike_bootstrap"
PREFIX = "spike_bootstrap_"

# One run's exception must not become every later run's rule.
NOT_IN_THE_SETTINGS_FILE = {"force"}


def _documentation(module: str) -> dict[str, Any]:
    # Read as text: the module itself can be imported only where all that it runs is installed.
    source = (ROOT / "plugins" / "modules" / f"{module}.py").read_text()
    found = re.search(r'^DOCUMENTATION = r"""\n(.*?)"""', source, re.DOTALL | re.MULTILINE)
    assert found, "the module has no DOCUMENTATION"
    documentation: dict[str, Any] = yaml.safe_load(found.group(1))
    return documentation


def _options_of_the_fragments(documentation: dict[str, Any]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for fragment in documentation["extends_documentation_fragment"]:
        collection, _, name = fragment.rpartition(".")
        place = f"ansible_collections.{collection}.plugins.doc_fragments.{name}"
        text = importlib.import_module(place).ModuleDocFragment.DOCUMENTATION
        for option, entry in yaml.safe_load(text)["options"].items():
            assert option not in options, f"{option} is documented twice"
            options[option] = entry
    return options


MODULE = _documentation("spike_bootstrap")
INFO = _documentation("spike_bootstrap_info")
SHARED = _options_of_the_fragments(MODULE)
DOCUMENTED = {**SHARED, **MODULE["options"]}
SPEC = bootstrap_arguments()
ROLE_SPEC = yaml.safe_load((ROLE / "meta" / "argument_specs.yml").read_text())
ROLE_OPTIONS = ROLE_SPEC["argument_specs"]["main"]["options"]
DEFAULTS_TEXT = (ROLE / "defaults" / "main.yml").read_text()
DEFAULTS = yaml.safe_load(DEFAULTS_TEXT)
UNSET = set(re.findall(rf"^# ({PREFIX}\w+):$", DEFAULTS_TEXT, re.MULTILINE))
TASKS = yaml.safe_load((ROLE / "tasks" / "module.yml").read_text())
PASSED = TASKS[0]["dayzero.spike.spike_bootstrap"]
STATUS_TASKS = yaml.safe_load((ROLE / "tasks" / "ask.yml").read_text())
PASSED_TO_STATUS = STATUS_TASKS[0]["dayzero.spike.spike_bootstrap_info"]
SETTINGS_FILE = dict(
    re.findall(r"^(\w+)=(.*)$", (ROLE / "templates" / "bootstrap.env.j2").read_text(), re.MULTILINE)
)
OF_THE_ROLE_ALONE = sorted(
    name for name in ROLE_OPTIONS if name.removeprefix(PREFIX) not in DOCUMENTED
)

each_option = pytest.mark.parametrize("option", sorted(DOCUMENTED))


def _shape(entry: dict[str, Any]) -> dict[str, Any]:
    """What documentation and argument specs say in common about an option."""
    return {
        "type": entry.get("type", "str"),
        "elements": entry.get("elements"),
        "required": entry.get("required", False),
        "default": entry.get("default"),
        "choices": sorted(entry.get("choices") or []),
    }


def _variable(option: str) -> str | None:
    """The variable of the environment that the argument spec lets an option fall back to."""
    fallback = SPEC[option].get("fallback")
    return fallback[1][0] if fallback else None


def _paragraphs(entry: dict[str, Any]) -> list[str]:
    description = entry["description"]
    return [description] if isinstance(description, str) else list(description)


def test_documentation_and_argument_spec_have_the_same_options():
    assert set(DOCUMENTED) == set(SPEC)


def test_the_fragments_hold_the_shared_options():
    assert set(SHARED) == set(shared_arguments())


def test_the_status_has_the_shared_options_and_no_others():
    assert _options_of_the_fragments(INFO) == SHARED
    assert "options" not in INFO


def test_the_modules_that_share_options_are_one_action_group():
    groups = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())["action_groups"]
    assert groups == {"cluster": ["spike_bootstrap", "spike_bootstrap_info"]}
    for module in (MODULE, INFO):
        assert module["attributes"]["action_group"]["membership"] == ["dayzero.spike.cluster"]


def test_the_role_has_a_variable_for_each_option():
    assert {PREFIX + option for option in DOCUMENTED} <= set(ROLE_OPTIONS)


def test_the_role_passes_every_option_to_the_module():
    assert set(PASSED) == set(DOCUMENTED)


def test_the_role_asks_for_a_status_with_the_same_options_as_the_same_user():
    assert {option: PASSED[option] for option in SHARED} == PASSED_TO_STATUS
    for keyword in ("become", "become_user"):
        assert STATUS_TASKS[0][keyword] == TASKS[0][keyword]
    entry_points = ROLE_SPEC["argument_specs"]
    assert entry_points["status"]["options"] == entry_points["main"]["options"]


def test_every_variable_in_the_defaults_is_in_the_roles_argument_spec():
    assert set(DEFAULTS) | UNSET == set(ROLE_OPTIONS)


def test_every_setting_that_options_fall_back_to_is_in_the_settings_file():
    options = set(DOCUMENTED) - NOT_IN_THE_SETTINGS_FILE
    assert set(SETTINGS_FILE) == {_variable(option) for option in options} - {None}


@each_option
def test_documentation_and_argument_spec_agree(option):
    assert _shape(DOCUMENTED[option]) == _shape(SPEC[option])


@each_option
def test_the_documentation_names_the_variable_that_an_option_falls_back_to(option):
    text = " ".join(_paragraphs(DOCUMENTED[option]))
    assert re.findall(r"Falls back to E\((\w+)\)", text) == [
        variable for variable in [_variable(option)] if variable
    ]


@each_option
def test_each_option_says_since_when_it_exists(option):
    assert DOCUMENTED[option].get("version_added")


@each_option
def test_the_roles_argument_spec_agrees(option):
    assert _shape(ROLE_OPTIONS[PREFIX + option]) == _shape(DOCUMENTED[option])


@each_option
def test_the_role_describes_an_option_as_the_module_does(option):
    entry = DOCUMENTED[option]
    # The role hands every option over, so nothing falls back to the environment.
    expected = [text for text in _paragraphs(entry) if not text.startswith("Falls back to")]
    if isinstance(entry.get("choices"), dict):
        expected += [f"V({choice}). {text}" for choice, text in entry["choices"].items()]
    expected = [re.sub(r"\bO\((?=\w)", f"O({PREFIX}", text) for text in expected]
    assert _paragraphs(ROLE_OPTIONS[PREFIX + option]) == expected


def _plain(text: str) -> str:
    """``text`` without the markup of Ansible and of Markdown, on one line."""
    return " ".join(re.sub(r"\b[BC]\((.*?)\)|\*\*|`", r"\1", text).split())


def test_the_readme_says_of_force_what_the_option_says():
    readme = (ROOT / "README.md").read_text()
    section = readme.partition("### `force`\n\n")[2].partition("\n\n")[0]
    (paragraph,) = [text for text in _paragraphs(DOCUMENTED["force"]) if "destroys data" in text]
    assert _plain(section) == _plain(paragraph)


@each_option
def test_the_roles_default_is_the_modules(option):
    if "default" in DOCUMENTED[option]:
        assert DEFAULTS[PREFIX + option] == DOCUMENTED[option]["default"]
    else:
        assert PREFIX + option in UNSET


def test_the_role_proves_as_the_option_says_except_before_nexus_is_started():
    bootstrap = (ROLE / "tasks" / "bootstrap.yml").read_text()
    assert '_spike_bootstrap_prove: "{{ spike_bootstrap_verify }}"' in bootstrap
    deliver_first = (ROLE / "tasks" / "deliver_first.yml").read_text()
    assert "_spike_bootstrap_prove: false" in deliver_first


@each_option
def test_the_role_passes_an_option_on_unchanged(option):
    name = "_spike_bootstrap_prove" if option == "verify" else PREFIX + option
    has_value = "default" in DOCUMENTED[option] or DOCUMENTED[option].get("required")
    expression = name if has_value else f"{name} | default(omit)"
    assert PASSED[option] == f"{{{{ {expression} }}}}"


@pytest.mark.parametrize(
    "option", [name for name in SPEC if _variable(name) and name not in NOT_IN_THE_SETTINGS_FILE]
)
def test_the_settings_file_takes_a_setting_from_its_option(option):
    assert re.search(rf"\b{PREFIX}{option}\b", SETTINGS_FILE[_variable(option)])


@pytest.mark.parametrize("name", OF_THE_ROLE_ALONE)
def test_a_default_of_the_role_alone_is_the_documented_one(name):
    value = DEFAULTS[name]
    if isinstance(value, str) and "{{" in value:
        assert "default" not in ROLE_OPTIONS[name], "a computed default is told in the description"
    else:
        assert value == ROLE_OPTIONS[name]["default"]
