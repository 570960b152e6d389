# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every example in the documentation: YAML is what it looks like, and commands can be given."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.dayzero.spike.tests.support.ansible_run import run_program
from ansible_collections.dayzero.spike.tests.support.documents import (
    REPOSITORY,
    Example,
    commands,
    documents,
    examples,
)

pytestmark = pytest.mark.slow

YAML = [example for example in examples() if example.language == "yaml"]
COMMANDS = commands()
PLAYBOOKS = sorted({text for text in COMMANDS if text.startswith("ansible-playbook ")})
# What the commands of others are asked for; they are not here to be run.
_OTHERS = {
    "spire-server": {
        ("agent", "list"): set(),
        ("entry", "create"): {"-parentID", "-spiffeID", "-selector"},
        ("entry", "show"): {"-spiffeID"},
    },
    "kubectl": {
        ("get", "configmap", "spike-bootstrap-state"): {"--namespace", "--output"},
        ("get", "jobs"): {"--namespace"},
        ("get", "pods"): {"--namespace"},
    },
}
# Custodians' own programs, which are run in test_break_glass, and where they are called.
_OF_CUSTODIANS = dict.fromkeys(("age", "gpg"), "docs/break-glass.md:")
# SPIKE's variables that the collection has no use for.
_OF_SPIKE = {"SPIKE_KEEPER_TLS_PORT", "SPIKE_NEXUS_TLS_PORT", "SPIKE_NEXUS_DATA_DIR"}
_SETTING = re.compile(r"(SPIKE_\w+|SPIFFE_ENDPOINT_SOCKET)=\S+")


@cache
def known_variables() -> frozenset[str]:
    """The variables of all roles and playbooks of the collection."""
    names = {"spike_keeper_url", "spike_keeper_id", "spire_agent_id"}
    for path in (REPOSITORY / "playbooks").glob("*.yml"):
        names |= set(re.findall(r"\bspike_\w+", path.read_text()))
    for path in (REPOSITORY / "roles").glob("*/meta/argument_specs.yml"):
        for specification in yaml.safe_load(path.read_text())["argument_specs"].values():
            names |= set(specification.get("options", {}))
    return frozenset(names)


def ours(variables: Mapping[str, Any]) -> set[str]:
    return {name for name in variables if str(name).startswith(("spike_", "spire_"))}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    home = tmp_path / "home"
    home.mkdir()
    return {**os.environ, "HOME": str(home), "ANSIBLE_HOME": str(home / ".ansible")}


def syntax_check(text: str, directory: Path, environment: Mapping[str, str]) -> None:
    playbook = directory / "playbook.yml"
    playbook.write_text(text)
    done = run_program("ansible-playbook", "--syntax-check", str(playbook), environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("example", YAML, ids=lambda example: example.place)
def test_a_yaml_example_is_what_it_looks_like(
    example: Example, tmp_path: Path, environment: dict[str, str]
) -> None:
    content = yaml.safe_load(example.text)
    if isinstance(content, list) and "hosts" in content[0]:
        syntax_check(example.text, tmp_path, environment)
    elif isinstance(content, list):
        play = [{"hosts": "localhost", "gather_facts": False, "tasks": content}]
        syntax_check(yaml.safe_dump(play, sort_keys=False), tmp_path, environment)
    elif "roles" in content:
        syntax_check(yaml.safe_dump([{"hosts": "localhost", **content}]), tmp_path, environment)
    elif "all" in content:
        inventory = tmp_path / "inventory.yml"
        inventory.write_text(example.text)
        done = run_program(
            "ansible-playbook",
            f"--inventory={inventory}",
            "dayzero.spike.check_inventory",
            environment=environment,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert ours(variables_in(content)) <= known_variables()
    else:
        assert ours(content) == set(content)
        assert set(content) <= known_variables()


def variables_in(group: Mapping[str, Any]) -> dict[str, Any]:
    """All variables of an inventory, wherever they are."""
    found: dict[str, Any] = dict(group.get("vars") or {})
    for name, value in group.items():
        if name in ("children", "all", "hosts"):
            members = [value] if name == "all" else (value or {}).values()
            for member in members:
                found.update(variables_in(member or {}) if name != "hosts" else member or {})
    for value in (group.get("children") or {}).values():
        found.update(variables_in(value or {}))
    return found


@pytest.mark.parametrize("command", PLAYBOOKS, ids=lambda text: COMMANDS[text])
def test_a_playbook_of_an_example_can_be_run_with_these_arguments(
    command: str, tmp_path: Path, environment: dict[str, str]
) -> None:
    program, *arguments = shlex.split(command)
    for number, argument in enumerate(arguments):
        if arguments[number - 1] == "-i":
            arguments[number] = str(tmp_path / "inventory.yml")
        if arguments[number - 1] == "-e":
            given = json.loads(argument) if argument.startswith("{") else [argument.split("=")[0]]
            assert set(given) <= known_variables()
    (tmp_path / "inventory.yml").write_text("all: {hosts: {localhost: }}\n")
    done = run_program(program, "--syntax-check", *arguments, environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    tags = [arguments[n + 1] for n, argument in enumerate(arguments) if argument == "--tags"]
    known_tags = (REPOSITORY / "roles" / "spike_bootstrap" / "tasks" / "main.yml").read_text()
    assert all(tag in known_tags for tag in tags)


def test_every_other_command_is_one_that_there_is() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    settings = (REPOSITORY / "docs" / "settings.md").read_text()
    strangers = []
    for command, place in COMMANDS.items():
        words = shlex.split(command.replace("<the agent's ID>", "ID"))
        if words[0] == "make":
            known = re.search(rf"^{words[1]}:", makefile, re.MULTILINE) is not None
        elif words[0] in _OTHERS:
            known = asks_for(words[1:], _OTHERS[words[0]])
        elif words[0] in _OF_CUSTODIANS:
            known = place.startswith(_OF_CUSTODIANS[words[0]])
        elif _SETTING.fullmatch(command):
            name = command.partition("=")[0]
            known = name in _OF_SPIKE or name in settings
        else:
            known = words[0] == "ansible-playbook" or words[:2] == ["ansible-galaxy", "collection"]
        if not known:
            strangers.append(f"{place}: {command}")
    assert strangers == []


def asks_for(words: list[str], known: Mapping[tuple[str, ...], set[str]]) -> bool:
    flags = next(
        (flags for verb, flags in known.items() if tuple(words[: len(verb)]) == verb), None
    )
    return flags is not None and {word for word in words if word.startswith("-")} <= flags


def test_every_ansible_doc_that_a_document_names_shows_something(
    environment: dict[str, str],
) -> None:
    named = {
        found[0]
        for path in documents()
        for found in re.finditer(r"ansible-doc (?:-t \w+ )?dayzero\.spike\.\w+", path.read_text())
    }
    assert len(named) >= 4
    for command in named:
        program, *arguments = command.split()
        done = run_program(program, *arguments, environment=environment)
        assert done.returncode == 0, done.stderr


def run_in_a_shell(line: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        line,
        shell=True,
        env=dict(environment),
        cwd=environment["HOME"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def lines_after(document: str, first: str) -> list[str]:
    """The commands of the example that begins with ``first``."""
    (found,) = (
        example.text.strip().splitlines()
        for example in examples()
        if example.document == document and example.text.strip().startswith(first)
    )
    return found


@pytest.mark.long
def test_the_rehearsal_of_the_guide_runs_as_it_is_written(environment: dict[str, str]) -> None:
    lines = lines_after("docs/docsite/rst/first_day_zero.rst", "ansible-playbook dayzero.spike.s")
    outcomes = {line: run_in_a_shell(line, environment) for line in lines}
    assert [done.returncode for done in outcomes.values()] == [0, 0, 0, 0], outcomes


@pytest.mark.long
def test_the_rehearsal_of_the_readme_fails_as_it_says(environment: dict[str, str]) -> None:
    start, day_zero, stop = lines_after("README.md", "ansible-playbook dayzero.spike.sandbox")
    try:
        assert run_in_a_shell(start, environment).returncode == 0
        failed = run_in_a_shell(day_zero, environment)
        assert failed.returncode == 2, failed.stdout + failed.stderr
        assert "Failed to reach keeper 2 at " in failed.stdout
    finally:
        assert run_in_a_shell(stop, environment).returncode == 0
