# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SIGKILL at every step of a run, whatever else happens then: the rerun ends on the same key.

The steps are those of a run that is not killed: before and after each write, rename, flush and
removal, each request before it is made, when it is written and when it is answered, each phase.
For every one of them: a fresh cluster, a run that dies there, a rerun, and one more that has
nothing to do.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from ansible_collections.dayzero.spike.tests.support.module_forks import Ended, Forks, Point
from ansible_collections.dayzero.spike.tests.support.rerun_world import World, world

pytestmark = pytest.mark.slow

# A run is refused, told what to do, and refused for another reason after that: no more than this.
_MOST_RERUNS = 3


def _nothing(_: World) -> None:
    """Nothing happens."""


def _interrupted_at_keeper_3(cluster: World) -> None:
    cluster.keepers[2].inject({"status": 500, "when": "deliver"})
    assert cluster.run().result["failed_keepers"] == [3]
    cluster.keepers[2].heal()


def _interrupted_after_nexus_has_its_key(cluster: World) -> None:
    _interrupted_at_keeper_3(cluster)
    assert cluster.nexus.wait_initialised()


def _all_was_lost(cluster: World) -> None:
    assert cluster.run().result["phase"] == "done"
    cluster.nexus.stop(keep_data=False)
    cluster.restart_everything()


def _key_was_lost(cluster: World) -> None:
    _interrupted_at_keeper_3(cluster)
    cluster.reboot()
    assert cluster.run().result["code"] == "root_key_missing"
    cluster.restart_everything()


def _delivered_unverified(cluster: World) -> None:
    assert cluster.run(verify=False).result["phase"] == "done"
    assert cluster.nexus.wait_initialised()


def _nexus_restarts(cluster: World) -> None:
    cluster.nexus.restart()


def _everything_restarts(cluster: World) -> None:
    cluster.nexus.stop()
    _keepers_restart(cluster)
    cluster.nexus.start()


def _keepers_restart(cluster: World) -> None:
    for keeper in cluster.keepers:
        keeper.restart()


def _keeper_1_restarts(cluster: World) -> None:
    cluster.keepers[0].restart()


@dataclass(frozen=True)
class Scenario:
    """``prepare``, then the run that is killed, ``between``, and the rerun.

    ``refusals`` are the codes with which a rerun may refuse, and ``lost`` the keepers that may be
    without a shard until Nexus looks after them.
    """

    name: str
    prepare: Callable[[World], None] = _nothing
    between: Callable[[World], None] = _nothing
    sandbox: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    refusals: frozenset[str] = frozenset()
    lost: frozenset[int] = frozenset()


SCENARIOS = [
    Scenario("a fresh run"),
    Scenario("a fresh run, verify: false", options={"verify": False}),
    Scenario(
        "a resumed run, Nexus has no key",
        prepare=_interrupted_at_keeper_3,
        sandbox={"threshold": 3},
    ),
    Scenario(
        "a resumed run, Nexus has the key",
        prepare=_interrupted_after_nexus_has_its_key,
    ),
    Scenario("a run that only has to verify", prepare=_delivered_unverified),
    Scenario(
        "a forced run",
        prepare=_all_was_lost,
        options={"force": True},
        refusals=frozenset({"state_not_ready"}),
    ),
    # A key and a journal of two runs lie side by side for a moment.
    Scenario(
        "a forced run over a lost key",
        prepare=_key_was_lost,
        sandbox={"threshold": 3},
        options={"force": True},
        refusals=frozenset({"root_key_missing"}),
    ),
    Scenario(
        "then the host reboots",
        between=World.reboot,
        refusals=frozenset({"root_key_missing"}),
        lost=frozenset({1, 2, 3}),
    ),
    Scenario(
        "then Nexus restarts", between=_nexus_restarts, refusals=frozenset({"state_not_ready"})
    ),
    Scenario("then keeper 1 restarts", between=_keeper_1_restarts, lost=frozenset({1})),
    Scenario("then all keepers restart", between=_keepers_restart, lost=frozenset({1, 2, 3})),
    Scenario(
        "then everything restarts",
        between=_everything_restarts,
        refusals=frozenset({"state_not_ready"}),
    ),
]


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks() as forks:
        yield forks


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_killed_at_any_step_a_rerun_ends_on_the_same_key(
    scenario: Scenario, forks: Forks, record_property: Callable[[str, object], None]
) -> None:
    with world(forks, **scenario.sandbox) as cluster:
        scenario.prepare(cluster)
        traced = cluster.run(**scenario.options)
    assert traced.result["phase"] == "done"
    ends: collections.Counter[str] = collections.Counter()
    runs = 0
    for point in traced.points:
        with world(forks, **scenario.sandbox) as cluster:
            scenario.prepare(cluster)
            killed = cluster.run(kill=point, **scenario.options)
            # How often Nexus is asked depends on when it has its key.
            assert killed.killed or point.name.startswith("nexus: "), f"{point} was not reached"
            ends["killed"] += killed.killed
            scenario.between(cluster)
            ends.update(_rerun_until_done(scenario, cluster, point))
            runs += cluster.runs
    record_property("table", _line(scenario.name, len(traced.points), runs, ends))


def test_killed_at_any_step_beside_another_run_both_end_on_the_same_key(
    forks: Forks, record_property: Callable[[str, object], None]
) -> None:
    scenario = Scenario("beside another run")
    with world(forks) as cluster:
        traced = cluster.run()
    ends: collections.Counter[str] = collections.Counter()
    runs = 0
    with Forks() as others:
        for point in traced.points:
            with world(forks) as cluster:
                other = others.start(cluster.arguments())
                ends["killed"] += cluster.run(kill=point).killed
                assert other.end().result["phase"] == "done", point
                assert _rerun_until_done(scenario, cluster, point) == []
                runs += cluster.runs + 1
    # Where the other run had the lock first, there was nothing left to do, and to be killed in.
    assert ends["killed"] > 0
    record_property("table", _line(scenario.name, len(traced.points), runs, ends))


def _line(name: str, points: int, runs: int, ends: collections.Counter[str]) -> str:
    refused = ", ".join(f"{count} {code}" for code, count in sorted(ends.items()) if "_" in code)
    return (
        f"crash: {name:<34} {points:>3} points, {ends['killed']:>3} killed, {runs:>4} runs, all"
        f" ended on one key; refused meanwhile: {refused or 'none'}"
    )


def _rerun_until_done(scenario: Scenario, cluster: World, point: Point) -> list[str]:
    """Rerun as an operator does who reads the messages; returns the codes of the refusals."""
    refused: list[str] = []
    force = False
    while True:
        rerun = cluster.run(force=force)
        cluster.assert_one_key()
        if rerun.result["phase"] == "done":
            break
        _assert_refused(scenario, rerun, point)
        assert len(refused) < _MOST_RERUNS
        refused.append(rerun.result["code"])
        force = cluster.operate(rerun.result["code"])
    cluster.assert_bootstrapped(scenario.lost)
    before = [keeper.stats.shard_requests for keeper in cluster.keepers]
    third = cluster.run().result
    assert (third["phase"], third["changed"]) == ("done", False), point
    assert [keeper.stats.shard_requests for keeper in cluster.keepers] == before
    cluster.assert_bootstrapped(scenario.lost)
    return refused


def _assert_refused(scenario: Scenario, rerun: Ended, point: Point) -> None:
    result = rerun.result
    assert result["phase"] == "guard", (point, result["msg"])
    assert result["code"] in scenario.refusals, (point, result["msg"])
    # It says what to do.
    assert "Start Nexus and" in result["msg"] or "Restart Nexus" in result["msg"]
