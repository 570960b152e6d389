# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long a failure takes to be known, on a clock that is not the module's own.

The servers of the sandbox note when the first connection came, and the test when it could read the
result: what the process does in between, such as writing the journal, is not taken off.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from ansible_collections.dayzero.spike.tests.support.fault_cases import CASES, Case, inject
from ansible_collections.dayzero.spike.tests.support.module_host import Host
from ansible_collections.dayzero.spike.tests.support.module_run import ModuleRun

pytestmark = [pytest.mark.slow, pytest.mark.timing]

# What is promised on top of keeper_timeout, in seconds.
MARGIN = 0.5
STEPS = ("reach", "deliver")


def seconds_known(host: Host, run: ModuleRun) -> float:
    """From the first connection that keeper 1 accepted until the result could be read."""
    return run.known - host.sandbox.keepers[0].stats.accepted_at[0]


def assert_known_in_time(host: Host, run: ModuleRun, timeout: float, step: str) -> None:
    assert run.result["phase"] == step
    failing = [keeper for keeper in run.result["keepers"] if keeper["cause"] is not None]
    assert failing
    assert max(keeper["elapsed"] for keeper in failing) <= timeout + MARGIN
    assert seconds_known(host, run) <= timeout + MARGIN


def is_final(case: Case, step: str) -> bool:
    expected = case.expected(step)
    return expected is not None and expected.final


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("name", ["refuse", "blackhole", "stall_tls", "drip", "delay"])
def test_a_failure_is_known_in_time(name: str, step: str, host: Host) -> None:
    inject(next(case for case in CASES if case.name == name), host.sandbox, 2, step)
    run = host.run(keeper_timeout="1s")
    assert_known_in_time(host, run, 1.0, step)
    # The last attempt is made, and near the end of the time.
    assert run.result["keepers"][1]["attempts"] == 5
    assert run.result["keepers"][1]["elapsed"] >= 14 / 15 - 0.001


@pytest.mark.parametrize("step", STEPS)
def test_every_fault_at_once_is_known_in_the_same_time(
    step: str, make_host: Callable[..., Host]
) -> None:
    cases = [case for case in CASES if case.expected(step)]
    host = make_host(keepers=len(cases) + 1)
    for number, case in enumerate(cases, 2):
        inject(case, host.sandbox, number, step)
    run = host.run(keeper_timeout="1500ms")
    assert run.result["failed_keepers"] == [*range(2, len(cases) + 2)]
    assert_known_in_time(host, run, 1.5, step)


@pytest.mark.parametrize("step", STEPS)
def test_what_waiting_cannot_mend_is_not_waited_for(
    step: str, make_host: Callable[..., Host]
) -> None:
    cases = [case for case in CASES if is_final(case, step)]
    host = make_host(keepers=len(cases) + 1)
    for number, case in enumerate(cases, 2):
        inject(case, host.sandbox, number, step)
    run = host.run(keeper_timeout="30s")
    assert run.result["failed_keepers"] == [*range(2, len(cases) + 2)]
    assert seconds_known(host, run) < 3


def test_attempts_that_have_all_failed_are_not_followed_by_a_wait(
    make_host: Callable[..., Host],
) -> None:
    host = make_host({2: {"refuse": True}})
    run = host.run(
        keeper_timeout="30s", keeper_max_retries=3, keeper_retry_initial_interval="100ms"
    )
    assert run.result["keepers"][1]["attempts"] == 3
    assert seconds_known(host, run) < 2


def test_the_attempts_start_when_they_are_said_to(make_host: Callable[..., Host]) -> None:
    host = make_host({2: {"plain_http": True}})
    host.run(keeper_timeout="1s")
    accepted = host.sandbox.keepers[1].stats.accepted_at
    starts = [moment - accepted[0] for moment in accepted]
    assert starts == pytest.approx([0, 0.2333, 0.4667, 0.7, 0.9333], abs=0.1)


@pytest.mark.parametrize("step", STEPS)
def test_slow_keepers_are_waited_for_side_by_side(
    step: str, make_host: Callable[..., Host]
) -> None:
    host = make_host({n: {"delay": "700ms", "when": step} for n in range(2, 11)}, keepers=10)
    run = host.run(keeper_timeout="10s")
    assert run.result["phase"] == "done"
    # One after the other they would take 6.3 seconds.
    assert seconds_known(host, run) < 4
    first = [keeper.stats.accepted_at[0] for keeper in host.sandbox.keepers]
    assert max(first) - min(first) < 0.5


def test_a_slow_keeper_delays_no_other(make_host: Callable[..., Host]) -> None:
    host = make_host({1: {"stall_tls": True}, 2: {"blackhole": True}}, keepers=6)
    result = host.run(keeper_timeout="2s").result
    assert [keeper["state"] for keeper in result["keepers"]][2:] == ["reached"] * 4
    assert max(keeper["elapsed"] for keeper in result["keepers"][2:]) < 0.5
