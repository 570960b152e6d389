# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from ansible_collections.dayzero.spike.plugins.module_utils._naming import (
    OPTIONS,
    Naming,
    fill,
    literal,
    place_of,
)
from ansible_collections.dayzero.spike.plugins.module_utils._options.argument_spec import (
    bootstrap_arguments,
)
from hypothesis import given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "plugins" / "module_utils").rglob("*.py"))
ROLE = ROOT / "roles" / "spike_bootstrap"
PLACE = re.compile(r"\{([a-z_]+)\}")
BESIDE_OPTIONS = ["keeper_url", "with_force", "abandon", "accept"]
# The role gives it to the module itself.
SET_BY_THE_ROLE = ("naming", "progress")

texts_with_braces = st.one_of(
    st.text(st.characters(codec="latin-1"), max_size=40),
    st.lists(
        st.sampled_from(["{", "}", "{keeper_peers}", "{0}", "{keeper_url", "!r}", "%(a)s", "\\1"]),
        max_size=8,
    ).map("".join),
)


# -- names


@pytest.mark.parametrize("option", OPTIONS)
def test_a_reader_of_a_task_meets_the_options_name(option: str) -> None:
    assert Naming.OPTIONS.spell(f"set {place_of(option)} to 2") == f"set {option} to 2"


@pytest.mark.parametrize("option", OPTIONS)
def test_a_reader_of_an_inventory_meets_the_roles_name(option: str) -> None:
    spelt = Naming.VARIABLES.spell(f"set {place_of(option)} to 2")
    assert spelt == f"set spike_bootstrap_{option} to 2"


def test_every_option_of_the_module_has_a_name_for_both_readers() -> None:
    assert set(OPTIONS) == set(bootstrap_arguments())


def test_every_name_for_an_inventory_is_one_that_the_role_knows() -> None:
    spec = yaml.safe_load((ROLE / "meta" / "argument_specs.yml").read_text())
    known = spec["argument_specs"]["main"]["options"]
    named = {
        Naming.VARIABLES.spell(place_of(name)) for name in OPTIONS if name not in SET_BY_THE_ROLE
    }
    assert named <= set(known)


def test_the_playbook_that_gives_up_a_run_is_one_of_the_collection() -> None:
    named = re.search(r"dayzero\.spike\.(\w+)", Naming.VARIABLES.spell("{abandon}"))
    assert named
    assert (ROOT / "playbooks" / f"{named[1]}.yml").is_file()


@pytest.mark.parametrize(
    ("place", "task", "inventory"),
    [
        ("{keeper_url}", "keeper_peers", "spike_keeper_url"),
        (
            "{with_force}",
            "force: true",
            "-e spike_bootstrap_force=true and spike_bootstrap_force_nexus set to the URL of this"
            " Nexus",
        ),
        (
            "{abandon}",
            "run once with state: abandoned",
            "run the playbook dayzero.spike.abandon",
        ),
        ("{accept}", "accept_existing: true", "-e spike_bootstrap_accept_existing=true"),
    ],
)
def test_what_is_done_differently_is_told_differently(
    place: str, task: str, inventory: str
) -> None:
    assert Naming.OPTIONS.spell(place) == task
    assert Naming.VARIABLES.spell(place) == inventory


def test_what_is_no_option_is_named_as_it_is() -> None:
    assert place_of("nexus_keepers") == "nexus_keepers"


# -- places


def test_every_place_is_filled_and_what_is_none_stays() -> None:
    words = {"a": 1, "b": "two"}
    assert fill("{a}{b} {c} {} {0} {A} { a } {a", words) == "1two {c} {} {0} {A} { a } {a"


def test_what_is_filled_in_is_not_looked_at_again() -> None:
    assert fill("{a} {b}", {"a": "{b}", "b": "{a}"}) == "{b} {a}"


@settings(max_examples=200, deadline=None)
@given(texts_with_braces, texts_with_braces)
def test_no_text_is_too_odd_to_be_filled(text: str, word: str) -> None:
    assert fill("<{a}>", {"a": word}) == f"<{word}>"
    assert fill(text, {}) == text
    for naming in Naming:
        naming.spell(text)


@settings(max_examples=200, deadline=None)
@given(texts_with_braces)
def test_an_operators_text_is_spelt_as_it_was_written(text: str) -> None:
    for naming in Naming:
        spelt = naming.spell(f"{{keeper_peers}}: {literal(text)}")
        assert spelt == f"{naming.spell('{keeper_peers}')}: {text}"


# -- the places in the sources


def _documentation(tree: ast.AST) -> Iterator[int]:
    """The docstrings, which tell of places and have none."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(
            node
        ):
            first = node.body[0]
            assert isinstance(first, ast.Expr)
            yield id(first.value)


def _places(tree: ast.AST) -> Iterator[str]:
    documentation = set(_documentation(tree))
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in documentation
        ):
            yield from PLACE.findall(node.value)


def _facts(tree: ast.AST) -> Iterator[str]:
    """What may be filled in: whatever is passed by name, or is the key of a dictionary."""
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg:
            yield node.arg
        elif isinstance(node, ast.Dict):
            for key in node.keys:
                if isinstance(key, ast.Constant) and isinstance(key.value, str):
                    yield key.value


TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES}
FACTS = {fact for tree in TREES.values() for fact in _facts(tree)}
PLACES = sorted({(path.name, place) for path, tree in TREES.items() for place in _places(tree)})


def test_the_sources_have_places() -> None:
    assert ("settings.py", "keeper_url") in PLACES


@pytest.mark.parametrize(("file", "place"), PLACES)
def test_a_place_in_the_sources_is_an_option_or_a_fact(file: str, place: str) -> None:
    spelt = Naming.VARIABLES.spell(f"{{{place}}}") != f"{{{place}}}"
    assert spelt or place in FACTS, f"nothing fills {{{place}}} of {file}"


@pytest.mark.parametrize("place", BESIDE_OPTIONS)
def test_what_stands_beside_the_options_is_used(place: str) -> None:
    assert place in {used for _file, used in PLACES}
