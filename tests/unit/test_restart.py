# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What may be restarted: never more shards at risk than the threshold allows."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.dayzero.spike.plugins.plugin_utils._restart import (
    SeenKeeper,
    SeenNexus,
    next_step,
    refuse_keeper,
    seen_keepers,
)

UPTIME = 100.0
PROVED = SeenNexus(running=True, uptime=UPTIME, state="ready", journal="finished")


def keeper(host: str, shard: str = "held", age: float | None = 10.0) -> SeenKeeper:
    return SeenKeeper(host, True, shard, age if shard == "held" else None)


def keepers(*shards: str) -> list[SeenKeeper]:
    return [keeper(f"k{number}", shard) for number, shard in enumerate(shards, 1)]


def down(host: str) -> SeenKeeper:
    return SeenKeeper(host, False, "unknown", None)


def test_a_keeper_of_a_healthy_cluster_may_be_restarted() -> None:
    assert refuse_keeper("k1", keepers("held", "held", "held"), PROVED, 2) == ""


@pytest.mark.parametrize("nexus", [PROVED, SeenNexus()], ids=["proved", "nothing known"])
def test_a_keeper_without_a_shard_may_always_be_restarted(nexus: SeenNexus) -> None:
    assert refuse_keeper("k1", keepers("none", "held", "held"), nexus, 2) == ""
    assert refuse_keeper("k1", keepers("none", "none", "none"), nexus, 2) == ""


@pytest.mark.parametrize("shard", ["held", "unknown"])
@pytest.mark.parametrize("state", ["", "not_ready", "unreachable", "unclear", "other_key"])
def test_without_a_proof_no_keeper_that_may_hold_a_shard_is_restarted(
    state: str, shard: str
) -> None:
    nexus = SeenNexus(running=True, state=state, why="connection refused")
    refusal = refuse_keeper("k1", keepers(shard, "held", "held"), nexus, 2)
    assert "does not prove the root key (connection refused)" in refusal


def test_a_key_that_the_operator_has_accepted_is_as_good_as_a_proof() -> None:
    nexus = SeenNexus(running=True, uptime=UPTIME, state="other_key", accepted=True)
    assert refuse_keeper("k1", keepers("held", "held", "held"), nexus, 2) == ""


@pytest.mark.parametrize(
    "seen",
    [
        keepers("held", "held", "none"),
        keepers("held", "held", "unknown"),
        [*keepers("held", "held"), down("k3")],
    ],
    ids=["one lost its shard", "one is not known", "one is down"],
)
def test_while_a_keeper_restarts_a_threshold_of_others_must_hold_shards(
    seen: list[SeenKeeper],
) -> None:
    refusal = refuse_keeper("k1", seen, PROVED, 2)
    assert "only 1 of the other keepers is known to hold one" in refusal
    assert "2 are needed" in refusal


def test_two_keepers_with_a_threshold_of_two_are_never_safe() -> None:
    assert refuse_keeper("k1", keepers("held", "held"), PROVED, 2) != ""


def test_a_shard_of_an_earlier_nexus_is_not_counted() -> None:
    old = keeper("k3", age=UPTIME + 50)
    assert refuse_keeper("k1", [*keepers("held", "held"), old], PROVED, 2) != ""


def test_no_keeper_is_restarted_while_another_holds_a_shard_of_an_earlier_nexus() -> None:
    old = keeper("k4", age=UPTIME + 50)
    refusal = refuse_keeper("k1", [*keepers("held", "held", "held"), old], PROVED, 2)
    assert "The keeper on k4 has not taken a shard from the Nexus that runs now" in refusal


def test_a_keeper_that_is_down_does_not_hold_up_others_that_are_enough() -> None:
    seen = [*keepers("held", "held", "held"), down("k4")]
    assert refuse_keeper("k1", seen, PROVED, 2) == ""


def test_where_the_uptime_of_nexus_is_not_known_any_shard_counts() -> None:
    nexus = SeenNexus(running=True, state="ready")
    seen = [keeper("k1"), keeper("k2", age=1e6), keeper("k3", age=1e6)]
    assert refuse_keeper("k1", seen, nexus, 2) == ""


def nexus(**changes: Any) -> SeenNexus:
    return SeenNexus(**{"running": True, "stale": True, "uptime": UPTIME, **changes})


def step(seen: list[SeenKeeper], **changes: Any) -> str:
    return next_step(seen, nexus(**changes), 2).step


def test_a_nexus_that_runs_as_it_should_is_left() -> None:
    assert step(keepers("none", "none", "none"), stale=False) == "leave"


def test_a_changed_nexus_is_restarted_where_a_threshold_of_keepers_holds_shards() -> None:
    ready = {"state": "ready", "journal": "finished", "database": True}
    assert step(keepers("held", "held", "none"), **ready) == "restart"
    refused = next_step(keepers("held", "none", "unknown"), nexus(**ready), 2)
    assert refused.step == "refuse"
    assert "only 1 of the keepers is known to hold a shard" in refused.why


def test_a_nexus_is_not_restarted_while_shards_of_two_may_be_mixed() -> None:
    seen = [*keepers("held", "held"), keeper("k3", age=UPTIME + 50)]
    decided = next_step(seen, nexus(state="ready", journal="finished"), 2)
    assert decided.step == "refuse"
    assert "Not yet: k3." in decided.why


@pytest.mark.parametrize("state", ["unclear", "other_key", "unreachable", ""])
def test_a_nexus_that_may_have_a_key_is_not_restarted_without_shards(state: str) -> None:
    assert step(keepers("none", "none", "none"), state=state, journal="finished") == "refuse"


def test_a_nexus_that_says_it_has_no_key_may_be_restarted() -> None:
    assert step(keepers("none", "none", "none"), state="not_ready", journal="finished") == "restart"


def test_a_nexus_of_a_cluster_that_never_had_a_key_may_be_restarted() -> None:
    assert step(keepers("none", "none", "none"), state="") == "restart"
    assert step(keepers("unknown", "none", "none"), state="") == "refuse"


STOPPED = {"running": False, "stale": False, "uptime": None}


@pytest.mark.parametrize("journal", ["none", "delivering"])
def test_nexus_is_not_started_before_the_shards_are_delivered(journal: str) -> None:
    assert step(keepers("held", "held", "held"), journal=journal, **STOPPED) == "leave"


@pytest.mark.parametrize("known", [{"journal": "finished"}, {"database": True}])
def test_a_nexus_that_had_a_key_is_started_where_enough_keepers_hold_shards(
    known: dict[str, Any],
) -> None:
    assert step(keepers("held", "held", "none"), **known, **STOPPED) == "start"
    assert step(keepers("held", "none", "none"), **known, **STOPPED) == "refuse"


def test_a_host_that_could_not_be_asked_may_hold_a_shard() -> None:
    (seen,) = seen_keepers({"k1": {"unreachable": True, "msg": "no route"}})
    assert seen.may_hold
    assert not seen.running
