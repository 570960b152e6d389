# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which keeper is which, from an inventory: the order decides which shard a keeper gets."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.dayzero.spike.plugins.plugin_utils._keepers import Keeper, keepers_of
from hypothesis import given
from hypothesis import strategies as st

HOSTS = ["k2", "k3", "k1"]


def variables(**ids: Any) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {
        host: {"spike_keeper_url": f"https://{host}:8443"} for host in HOSTS
    }
    for host, number in ids.items():
        found[host]["spike_keeper_id"] = number
    return found


def problem_of(
    hosts: list[str], found: dict[str, dict[str, Any]], children: list[str] | None
) -> str:
    keepers, problems = keepers_of("spike_keepers", hosts, found, children)
    assert keepers == []
    return " ".join(problems)


def test_a_flat_group_has_its_keepers_in_its_own_order() -> None:
    keepers, problems = keepers_of("spike_keepers", HOSTS, variables(), [])
    assert problems == []
    assert keepers == [
        Keeper(1, "k2", "https://k2:8443"),
        Keeper(2, "k3", "https://k3:8443"),
        Keeper(3, "k1", "https://k1:8443"),
    ]


@pytest.mark.parametrize("children", [[], ["dc1", "dc2"], None], ids=["flat", "nested", "unknown"])
@pytest.mark.parametrize("ids", [(1, 2, 3), ("1", "2", " 3 ")], ids=["numbers", "texts"])
def test_ids_decide_whatever_the_group_is_like(children: list[str] | None, ids: tuple) -> None:
    found = variables(k1=ids[0], k2=ids[1], k3=ids[2])
    keepers, problems = keepers_of("spike_keepers", HOSTS, found, children)
    assert problems == []
    assert [(keeper.id, keeper.host) for keeper in keepers] == [(1, "k1"), (2, "k2"), (3, "k3")]


def test_a_group_with_child_groups_is_refused_without_ids() -> None:
    problem = problem_of(HOSTS, variables(), ["dc1", "dc2"])
    assert "has child groups (dc1, dc2)" in problem
    assert "it has k2, k3, k1 now" in problem
    assert "Set spike_keeper_id for each keeper, 1 to 3" in problem


def test_a_group_of_which_it_is_not_known_is_refused_without_ids() -> None:
    assert "Set spike_keeper_id" in problem_of(HOSTS, variables(), None)


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        ({"k1": 1}, "not for k2, k3"),
        ({"k1": 1, "k2": 2, "k3": 2}, "each number once"),
        ({"k1": 1, "k2": 2, "k3": 4}, "from 1 to 3"),
        ({"k1": 0, "k2": 1, "k3": 2}, "from 1 to 3"),
        ({"k1": 1, "k2": 2, "k3": "three"}, "k3: three"),
        ({"k1": True, "k2": 2, "k3": 3}, "k1: True"),
    ],
    ids=["one only", "twice", "a gap", "from 0", "a word", "a truth value"],
)
def test_ids_that_do_not_count_the_keepers_are_refused(ids: dict[str, Any], words: str) -> None:
    problem = problem_of(HOSTS, variables(**ids), [])
    assert "spike_keeper_id" in problem
    assert words in problem


@pytest.mark.parametrize("url", [None, "", "  "], ids=["null", "empty", "blank"])
def test_a_keeper_without_its_url_is_named_with_an_example_of_its_own(url: str | None) -> None:
    found = variables()
    found["k3"]["spike_keeper_url"] = url
    problem = problem_of(HOSTS, found, [])
    assert problem.startswith("k3 in the group spike_keepers has no spike_keeper_url.")
    assert "for example https://k3:8443" in problem


def test_an_empty_group_is_refused() -> None:
    assert "The group spike_keepers is empty" in problem_of([], {}, [])


@given(st.permutations([1, 2, 3]), st.permutations(HOSTS))
def test_the_order_in_which_hosts_are_listed_does_not_matter_where_they_have_ids(
    ids: list[int], hosts: list[str]
) -> None:
    found = variables(**dict(zip(HOSTS, ids)))
    keepers, _unused = keepers_of("spike_keepers", hosts, found, ["dc1"])
    assert {keeper.host: keeper.id for keeper in keepers} == dict(zip(HOSTS, ids))
    assert [keeper.id for keeper in keepers] == [1, 2, 3]
