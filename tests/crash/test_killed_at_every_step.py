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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._key.shamir import CIRCL_1_6_1
from ansible_collections.dayzero.spike.tests.support.module_forks import Forks, Point
from ansible_collections.dayzero.spike.tests.support.operator import Operator
from ansible_collections.dayzero.spike.tests.support.rerun_world import World, world

pytestmark = pytest.mark.slow

SOMEBODYS = bytes(31) + b"\7"
# What holds of a cluster that nobody has used yet, with no recovery shards.
TRUE = (
    "If it is the cluster that you expect, nothing needs to be done",
    "To keep the key that Nexus has",
    "If it is refused again",
    "Only if all that Nexus stores is to be given up",
)


def _nothing(_unused: World) -> None:
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


def _lost_against_nexus(cluster: World) -> None:
    """Nexus came up with a key of its own, and the run goes on for ever."""
    _interrupted_at_keeper_3(cluster)
    cluster.nexus.hold(SOMEBODYS)
    assert cluster.run().result["code"] == "state_already_initialized"


def _finished(cluster: World) -> None:
    assert cluster.run().result["phase"] == "done"


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
    without a shard until Nexus looks after them. ``accepted``: it ends with the key of Nexus, of
    which nothing is known.
    """

    name: str
    prepare: Callable[[World], None] = _nothing
    between: Callable[[World], None] = _nothing
    sandbox: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    refusals: frozenset[str] = frozenset()
    lost: frozenset[int] = frozenset()
    accepted: bool = False


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
        "a run that takes a changed cluster over",
        prepare=_finished,
        # And back again, by the rerun.
        options={"share_scheme": CIRCL_1_6_1},
    ),
    Scenario(
        "a run that accepts the key of Nexus",
        prepare=lambda cluster: cluster.nexus.hold(SOMEBODYS),
        options={"accept_existing": True},
        refusals=frozenset({"state_already_initialized"}),
        accepted=True,
    ),
    Scenario(
        "an unfinished run that is given up",
        prepare=_lost_against_nexus,
        sandbox={"threshold": 3},
        options={"state": "abandoned"},
        refusals=frozenset({"state_already_initialized", "root_key_missing"}),
        accepted=True,
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


# Of each kind of run one; the others take as long again.
SHORT = {
    "a fresh run",
    "a run that takes a changed cluster over",
    "an unfinished run that is given up",
}


@pytest.mark.parametrize(
    "scenario",
    [
        pytest.param(
            scenario,
            id=scenario.name,
            marks=() if scenario.name in SHORT else pytest.mark.long,
        )
        for scenario in SCENARIOS
    ],
)
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
            # How often Nexus is asked depends on when it has its key, and on a host under load
            # whether one look is enough: a run that did not pass this point must have ended well,
            # or have done nothing because it could not hear in time what Nexus says.
            if not killed.killed:
                end = (killed.result["phase"], killed.result.get("code"))
                assert "done" in end or "nexus_unclear" in end, f"{point} was not reached: {end}"
            ends["killed"] += killed.killed
            scenario.between(cluster)
            ends.update(_rerun_until_done(scenario, cluster, point))
            runs += cluster.runs
    # What is passed again is passed as often as a busy host makes it.
    firsts = sum(point.number == 1 for point in traced.points)
    assert ends["killed"] > firsts / 2, "too few points were reached"
    record_property("table", _line(scenario.name, len(traced.points), runs, ends))


@pytest.mark.long
def test_killed_at_any_step_beside_another_run_both_end_on_the_same_key(
    forks: Forks, record_property: Callable[[str, object], None]
) -> None:
    scenario = Scenario("together with another run")
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
    """Rerun, and do what the messages say; returns the codes of the refusals."""
    operator = _Operator(scenario, cluster, point)
    operator.until_done(operator.run())
    before = [keeper.stats.shard_requests for keeper in cluster.keepers]
    third = cluster.run(**operator.options).result
    assert (third["phase"], third["changed"]) == ("done", False), point
    assert [keeper.stats.shard_requests for keeper in cluster.keepers] == before
    if not scenario.accepted:
        cluster.assert_bootstrapped(scenario.lost)
    return operator.refused


class _Operator(Operator):
    """Looks at every shard that was ever sent, after each run."""

    def __init__(self, scenario: Scenario, cluster: World, point: Point) -> None:
        super().__init__(cluster, true=TRUE)
        self.refused: list[str] = []
        self._scenario = scenario
        self._point = point

    def make_the_run(self, options: Mapping[str, Any]) -> dict[str, Any]:
        result = super().make_the_run(options)
        if not self._scenario.accepted:
            self.world.assert_one_key()
        if result.get("failed"):
            assert result["phase"] == "guard", (self._point, result["msg"])
            assert result["code"] in self._scenario.refusals, (self._point, result["msg"])
            self.refused.append(result["code"])
        elif result["phase"] == "done" and not self._scenario.accepted:
            self.world.assert_bootstrapped(self._scenario.lost)
        return result
