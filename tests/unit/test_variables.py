# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role's variables in an inventory, as they are looked at before anything is done."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ansible_collections.dayzero.spike.plugins.plugin_utils._variables import problems, unread

ROLE = Path(__file__).resolve().parents[2] / "roles" / "spike_bootstrap"
SPEC = yaml.safe_load((ROLE / "meta" / "argument_specs.yml").read_text())["argument_specs"]["main"][
    "options"
]


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"spike_bootstrap_nexus_silence": "never", "spike_bootstrap_keeper_max_retries": "7"},
        {"spike_bootstrap_nexus_silence": None, "spike_bootstrap_force": "yes"},
        {"ansible_user": "ops", "spike_bootstrap_result": {}},
    ],
)
def test_what_the_role_takes_is_no_problem(given: dict[str, object]) -> None:
    assert problems(SPEC, given) == []
    assert unread(SPEC, "nexus1", given, {}) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("spike_bootstrap_nexus_silence", "maybe"),
        ("spike_bootstrap_force", "perhaps"),
        ("spike_bootstrap_keeper_max_retries", "many"),
    ],
)
def test_a_value_that_cannot_be_is_named_in_one_sentence(name: str, value: str) -> None:
    (problem,) = problems(SPEC, {name: value})
    assert name in problem
    assert value in problem
    assert len(problem) < 300


def test_a_mistyped_name_is_named_with_the_one_that_is_meant() -> None:
    (warning,) = unread(SPEC, "nexus1", {"spike_bootstrap_keeper_timout": "5s"}, {})
    assert warning == (
        "spike_bootstrap_keeper_timout is no variable of the role, and nothing reads it."
        " spike_bootstrap_keeper_timeout may be meant."
    )


def test_keepers_that_are_listed_in_a_variable_are_not_read() -> None:
    (warning,) = unread(SPEC, "nexus1", {"spike_bootstrap_keeper_peers": ["https://k1"]}, {})
    assert warning.startswith("spike_bootstrap_keeper_peers is set and not read: ")


def test_what_is_set_for_keepers_alone_is_not_read() -> None:
    keepers = {name: {"spike_bootstrap_keeper_timeout": "5s"} for name in ("k1", "k2", "k3")}
    (warning,) = unread(SPEC, "nexus1", {}, keepers)
    assert warning == (
        "spike_bootstrap_keeper_timeout is set for k1 and 2 more and not read there: set it for"
        " nexus1, the bootstrap host."
    )


def test_what_is_set_for_all_hosts_is_read() -> None:
    everywhere = {"spike_bootstrap_keeper_timeout": "5s"}
    assert unread(SPEC, "nexus1", everywhere, {"k1": everywhere}) == []
