# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options are listed in six places; here they are compared, so that no list drifts.

The module's documentation with its fragments, the argument spec, the role's argument spec, the
role's defaults, what the role makes of them, and the template of the settings file.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.dayzero.spike.plugins.module_utils._options.argument_spec import (
    bootstrap_arguments,
    info_arguments,
    shared_arguments,
)

ROOT = Path(__file__).resolve().parents[2]
ROLE = ROOT / "roles" / "spike_bootstrap"
PREFIX = "spike_bootstrap_"

# One run's exception must not become every later run's rule.
NOT_IN_THE_SETTINGS_FILE = {"force"}
# The role sets it itself.
# The action plugin's own.
OF_THE_PLUGIN = "progress"
SET_BY_THE_ROLE = {"naming", OF_THE_PLUGIN}
# The role's default is a variable that all roles share.
TRUST_ROOTS = {"trust_root_keeper", "trust_root_nexus", "trust_root_bootstrap"}


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
        collection, _unused, name = fragment.rpartition(".")
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
WITH_PYTHON = yaml.safe_load((ROLE / "tasks" / "with_python.yml").read_text())
(PASSED_TO_ALL,) = WITH_PYTHON[0]["module_defaults"].values()
SET = yaml.safe_load((ROLE / "vars" / "main.yml").read_text())["_spike_bootstrap_set"]
STATUS_TASKS = yaml.safe_load((ROLE / "tasks" / "ask.yml").read_text())
PASSED_TO_STATUS = STATUS_TASKS[0]["dayzero.spike.spike_bootstrap_info"]
SETTINGS_FILE = dict(
    re.findall(r"^(\w+)=(.*)$", (ROLE / "templates" / "bootstrap.env.j2").read_text(), re.MULTILINE)
)
OF_THE_ROLE_ALONE = sorted(
    name for name in ROLE_OPTIONS if name.removeprefix(PREFIX) not in DOCUMENTED
)

OF_THE_ROLE = {name: entry for name, entry in DOCUMENTED.items() if name not in SET_BY_THE_ROLE}
each_option_of_the_role = pytest.mark.parametrize("option", sorted(OF_THE_ROLE))
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


def test_the_status_has_the_shared_options_and_its_own():
    assert _options_of_the_fragments(INFO) == SHARED
    own = {name: _shape(entry) for name, entry in INFO["options"].items()}
    spec = {name: _shape(entry) for name, entry in info_arguments().items()}
    assert {**{name: _shape(entry) for name, entry in SHARED.items()}, **own} == spec


def test_the_modules_that_share_options_are_one_action_group():
    groups = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())["action_groups"]
    assert groups == {
        "cluster": ["spike_bootstrap", "spike_bootstrap_info"],
        "break_glass": ["spike_recover", "spike_restore"],
    }
    for module in (MODULE, INFO):
        assert module["attributes"]["action_group"]["membership"] == ["dayzero.spike.cluster"]


def test_the_role_has_a_variable_for_each_option():
    assert {PREFIX + option for option in OF_THE_ROLE} <= set(ROLE_OPTIONS)
    assert not {PREFIX + option for option in SET_BY_THE_ROLE} & set(ROLE_OPTIONS)


def test_the_role_passes_every_option_to_the_module():
    assert {*PASSED, *PASSED_TO_ALL, OF_THE_PLUGIN} == set(DOCUMENTED)
    assert set(PASSED_TO_ALL) == set(SHARED)
    assert list(WITH_PYTHON[0]["module_defaults"]) == ["group/dayzero.spike.cluster"]


def test_the_role_asks_for_a_status_with_the_same_options_as_the_same_user():
    assert {name: PASSED[name] for name in PASSED if name in SHARED} == PASSED_TO_STATUS
    for keyword in ("become", "become_user", "vars"):
        assert STATUS_TASKS[0][keyword] == TASKS[0][keyword]
    entry_points = ROLE_SPEC["argument_specs"]
    assert entry_points["status"]["options"] == entry_points["main"]["options"]
    assert entry_points["abandon"]["options"] == entry_points["main"]["options"]


def test_every_variable_in_the_defaults_is_in_the_roles_argument_spec():
    # Of what all roles share, no role has a default.
    assert set(DEFAULTS) | UNSET == set(ROLE_OPTIONS) - {"spike_trust_domain"}


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


@each_option_of_the_role
def test_the_roles_argument_spec_agrees(option):
    # It has no default, and takes null where there are choices: null is "not set".
    expected = {**_shape(DOCUMENTED[option]), "default": None}
    entry = dict(ROLE_OPTIONS[PREFIX + option])
    if "choices" in entry:
        assert entry["choices"][-1] is None
        entry["choices"] = entry["choices"][:-1]
    assert _shape(entry) == expected


@each_option_of_the_role
def test_the_role_describes_an_option_as_the_module_does(option):
    entry = DOCUMENTED[option]
    # The role hands every option over, so nothing falls back to the environment.
    expected = [text for text in _paragraphs(entry) if not text.startswith("Falls back to")]
    if isinstance(entry.get("choices"), dict):
        expected += [f"V({choice}). {text}" for choice, text in entry["choices"].items()]
    expected = [re.sub(r"\bO\((?=\w+[)=])", f"O({PREFIX}", text) for text in expected]
    expected = [re.sub(r"\bRV\((?!ignore:)", "RV(ignore:", text) for text in expected]
    assert _paragraphs(ROLE_OPTIONS[PREFIX + option]) == expected


def _plain(text: str) -> str:
    """``text`` without the markup of Ansible and of Markdown, on one line."""
    return " ".join(re.sub(r"\b[BC]\((.*?)\)|\*\*|`", r"\1", text).split())


def test_the_troubleshooting_guide_says_of_force_what_the_option_says():
    guide = (ROOT / "docs" / "troubleshooting.md").read_text()
    section = guide.partition("## `force`\n\n")[2].partition("\n\n")[0]
    (paragraph,) = [text for text in _paragraphs(DOCUMENTED["force"]) if "destroys data" in text]
    assert _plain(section) == _plain(paragraph)


@each_option_of_the_role
def test_the_roles_default_is_the_modules(option):
    if option in TRUST_ROOTS:
        assert DEFAULTS[PREFIX + option] is None
    elif "default" in DOCUMENTED[option]:
        assert DEFAULTS[PREFIX + option] == DOCUMENTED[option]["default"]
    else:
        assert PREFIX + option in UNSET


def test_the_role_proves_as_the_option_says_except_before_nexus_is_started():
    bootstrap = (ROLE / "tasks" / "bootstrap.yml").read_text()
    assert '_spike_bootstrap_prove: "{{ _spike_bootstrap_set.verify }}"' in bootstrap
    deliver_first = (ROLE / "tasks" / "deliver_first.yml").read_text()
    assert "_spike_bootstrap_prove: false" in deliver_first


@pytest.mark.parametrize("option", sorted({*DOCUMENTED} - {OF_THE_PLUGIN}))
def test_the_role_passes_an_option_on_unchanged(option):
    passed = {**PASSED_TO_ALL, **PASSED}[option]
    expected = {
        "naming": "variables",
        "verify": "{{ _spike_bootstrap_prove }}",
        "state": "{{ _spike_bootstrap_wanted | default(_spike_bootstrap_set.state) }}",
        # As root has found it.
        "nexus_database": "{{ _spike_bootstrap_database }}",
    }.get(option, f"{{{{ _spike_bootstrap_set.{option} }}}}")
    assert passed == expected


@each_option_of_the_role
def test_of_a_variable_that_is_null_the_role_makes_the_default(option):
    name = PREFIX + option
    if option in TRUST_ROOTS:
        assert DOCUMENTED[option]["default"] == ["spike.ist"]
        shared = "[spike_trust_domain | default('spike.ist', true)]"
        expected = f"{{{{ [{name}, {shared}] | reject('none') | first }}}}"
    elif "default" in DOCUMENTED[option]:
        default = DOCUMENTED[option]["default"]
        expected = f"{{{{ [{name}, {default!r}] | reject('none') | first }}}}"
    elif DOCUMENTED[option].get("required"):
        expected = f"{{{{ {name} }}}}"
    else:
        expected = f"{{{{ {name} | default(none) }}}}"
    assert " ".join(SET[option].split()) == expected


@pytest.mark.parametrize(
    "option", [name for name in SPEC if _variable(name) and name not in NOT_IN_THE_SETTINGS_FILE]
)
def test_the_settings_file_takes_a_setting_from_its_option(option):
    assert re.search(rf"\b_spike_bootstrap_set\.{option}\b", SETTINGS_FILE[_variable(option)])


@pytest.mark.parametrize("name", OF_THE_ROLE_ALONE)
def test_a_variable_of_the_role_alone_may_be_null(name):
    # Ansible refuses null where a default is documented.
    assert "default" not in ROLE_OPTIONS[name]
