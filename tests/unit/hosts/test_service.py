# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A service is waited for until it is as awaited, and no longer than it may be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._clock import parse_duration
from ansible_collections.dayzero.spike.plugins.module_utils._hosts.answer import NoAnswer
from ansible_collections.dayzero.spike.plugins.module_utils._hosts.audit import Holds, Shard
from ansible_collections.dayzero.spike.plugins.module_utils._hosts.service import (
    NotAsAwaited,
    Senses,
    Service,
    WaitFor,
    await_service,
)
from ansible_collections.dayzero.spike.plugins.module_utils._hosts.unit import Unit
from ansible_collections.dayzero.spike.plugins.module_utils._spiffe.spiffe_id import (
    KEEPER_PATH,
    IdRule,
    SpiffeId,
)

KEEPER = SpiffeId.parse("spiffe://spike.ist/spike/keeper")


def unit(state: str = "active", pid: int = 1) -> Unit:
    return Unit("k.service", True, state, f"{state} (x)", "ab", pid, 0.0, None)


def service(wait_for: WaitFor, **changes: Any) -> Service:
    options: dict[str, Any] = {
        "unit": "k.service",
        "address": ":8443",
        "rule": IdRule(KEEPER_PATH, ("spike.ist",)),
        "wait_for": wait_for,
        "timeout": parse_duration("10s"),
        "taken_within": None,
        "log_lines": 20,
        **changes,
    }
    return Service(**options)


class World:
    """A host whose time passes only by sleeping."""

    def __init__(
        self,
        answers: Callable[[float], SpiffeId] = lambda now: KEEPER,
        shard: Callable[[float], Shard] = lambda now: Shard(Holds.NONE),
        look_at: Callable[[float], Unit] = lambda now: unit(),
    ) -> None:
        self.now = 0.0
        self.senses = Senses(
            clock=lambda: self.now,
            sleep=self.sleep,
            look_at=lambda name: look_at(self.now),
            shard_of=lambda found: shard(self.now),
            who_answers=lambda address, seconds: answers(self.now),
            last_lines=lambda name, invocation, number: ["one line", "the last line"],
        )

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_an_answer_of_the_right_identity_ends_the_wait() -> None:
    def answers(now: float) -> SpiffeId:
        if now < 3:
            raise NoAnswer("connection refused")
        return KEEPER

    world = World(answers)
    assert await_service(service(WaitFor.ANSWER), world.senses).answered_by == KEEPER
    assert 3 <= world.now < 4


def test_a_wait_that_is_over_says_what_was_seen_and_the_last_lines_of_the_log() -> None:
    def answers(now: float) -> SpiffeId:
        raise NoAnswer("connection refused")

    world = World(answers)
    with pytest.raises(NotAsAwaited) as failed:
        await_service(service(WaitFor.ANSWER), world.senses)
    assert world.now < 11
    advice = failed.value.advice
    assert advice.msg == "k.service did not answer at :8443 within 10s."
    assert "systemd: k.service is active (x)." in advice.why
    assert "At :8443: connection refused." in advice.why
    assert advice.why[-2:] == ("k.service: one line", "k.service: the last line")
    assert any("discover_workload_path" in step for step in advice.what_to_do)


def test_an_answer_of_another_identity_is_none() -> None:
    other = SpiffeId.parse("spiffe://spike.ist/spike/nexus")
    with pytest.raises(NotAsAwaited) as failed:
        await_service(service(WaitFor.ANSWER), World(lambda now: other).senses)
    assert "as spiffe://spike.ist/spike/keeper within 10s" in failed.value.advice.msg
    assert f"At :8443 answers {other}." in failed.value.advice.why


def test_a_unit_that_has_given_up_is_not_waited_for() -> None:
    world = World(look_at=lambda now: unit("failed", 0))
    with pytest.raises(NotAsAwaited, match="the unit has ended"):
        await_service(service(WaitFor.ANSWER), world.senses)
    assert world.now == 0


def test_a_unit_that_is_started_again_is_waited_for() -> None:
    def look_at(now: float) -> Unit:
        return unit("activating", 0) if now < 2 else unit()

    world = World(look_at=look_at)
    await_service(service(WaitFor.ANSWER), world.senses)
    assert 2 <= world.now < 3


class AgedShard(Shard):
    """A shard that was taken at a time of the test's world."""

    def __init__(self, age: float) -> None:
        super().__init__(Holds.HELD, 0.0)
        object.__setattr__(self, "_age", age)

    @property
    def age(self) -> float:
        return float(self._age)  # type: ignore[attr-defined]


def test_a_shard_is_waited_for() -> None:
    world = World(shard=lambda now: AgedShard(0) if now >= 4 else Shard(Holds.NONE))
    await_service(service(WaitFor.SHARD, address=""), world.senses)
    assert 4 <= world.now < 5


def test_a_shard_of_an_earlier_nexus_does_not_count() -> None:
    # Nexus has run for 5 s when the wait begins; the keeper's shard is 20 s old, and gets new at 6.
    world = World(shard=lambda now: AgedShard(20 + now if now < 6 else now - 6))
    await_service(service(WaitFor.SHARD, address="", taken_within=5.0), world.senses)
    assert 6 <= world.now < 7


def test_a_shard_that_this_nexus_sent_before_the_wait_counts() -> None:
    world = World(shard=lambda now: AgedShard(4 + now))
    await_service(service(WaitFor.SHARD, address="", taken_within=5.0), world.senses)
    assert world.now == 0


def test_a_shard_that_does_not_come_is_said_with_what_to_do() -> None:
    with pytest.raises(NotAsAwaited) as failed:
        await_service(service(WaitFor.SHARD, address=""), World().senses)
    assert failed.value.advice.msg == "k.service did not take a shard within 10s."
    assert "SPIKE Nexus is running" in failed.value.advice.what_to_do[0]
