# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keepers that fail, one way at a time: what the run says of them, and what it does not send."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.cluster import SandboxKeeper
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.faults import Kind
from ansible_collections.dayzero.spike.tests.support.ansible_run import run_through_ansible
from ansible_collections.dayzero.spike.tests.support.fault_cases import (
    CASES,
    Case,
    Expected,
    inject,
)
from ansible_collections.dayzero.spike.tests.support.module_host import Host
from ansible_collections.dayzero.spike.tests.support.module_run import (
    ModuleRun,
    Result,
    assert_whole,
    run_directly,
)

pytestmark = pytest.mark.slow

TIMEOUT = "2s"
# A quarter of a second for each attempt, and one for the last: the defaults would leave it a 15th
# of the time, in which a busy machine may not come to it. How exactly the time is kept is for
# test_fault_times.py to show.
PACE = {
    "keeper_timeout": TIMEOUT,
    "keeper_retry_initial_interval": "250ms",
    "keeper_retry_max_interval": "250ms",
}
ATTEMPTS = 5
# A message ends with this where starting a keeper can help, and else with that keeper's own hint.
LAST_WORDS = "Ensure all keepers are running and rerun bootstrap."
LAST_STEP = {
    "reach": "Rerun bootstrap.",
    "deliver": "Rerun bootstrap: it goes on with the same key.",
}
VERBS = {"reach": "reach", "deliver": "send the shard to"}
DOING = {"reach": "Reaching keeper", "deliver": "Sending shard to keeper"}


def sentence(result: Result, number: int, step: str, expected: Expected) -> str:
    keeper = result["keepers"][number - 1]
    expected = expected.as_seen(keeper["cause"])
    attempts = "1 attempt" if expected.final else f"{ATTEMPTS} attempts"
    reason = expected.reason.format(detail=keeper["detail"])
    advice = LAST_WORDS if expected.starting_helps else keeper["hint"]
    return (
        f"Failed to {VERBS[step]} keeper {number} at {keeper['url']}"
        f" after {attempts} ({TIMEOUT} timeout): {reason}. {advice}"
    )


def counted(keeper: SandboxKeeper, step: str, what: str) -> int | None:
    """The attempts that the server itself saw in ``step``; None where it cannot see them."""
    stats = keeper.stats
    if what == "connections":
        return stats.connections - (1 if step == "deliver" else 0)
    if what == "requests":
        return stats.reach_requests if step == "reach" else stats.shard_requests
    return None


def assert_ended_as(case: Case, step: str, host: Host, run: ModuleRun) -> None:
    expected = case.expected(step)
    assert expected is not None
    assert_whole(run.result)
    result, failing = run.result, run.result["keepers"][1]
    expected = expected.as_seen(failing["cause"])
    attempts = 1 if expected.final else ATTEMPTS
    assert (failing["cause"], failing["state"]) == (expected.cause, expected.state(step))
    assert failing["attempts"] == attempts
    assert len([line for line in result["log"] if line.startswith(f"{DOING[step]} 2 ")]) == attempts
    keeper = host.sandbox.keepers[1]
    # The run may end before the server has accepted its last connection.
    assert keeper.stats.wait_for(
        lambda stats: counted(keeper, step, expected.counted) in (None, attempts)
    ), counted(keeper, step, expected.counted)
    assert (result["phase"], result["code"]) == (step, "bootstrap_keeper_unreachable")
    assert (result["keeper_id"], result["failed_keepers"]) == (2, [2])
    assert failing["hint"].endswith(".")
    assert failing["detail"]
    assert "\n" not in failing["detail"]
    assert result["msg"] == sentence(result, 2, step, expected)
    (why,) = result["why"]
    assert why.startswith("Keeper 2: ")
    assert why.endswith(f". ({failing['detail']})")
    assert result["what_to_do"] == [f"Keeper 2: {failing['hint']}", LAST_STEP[step]]


@pytest.mark.parametrize("case", [case for case in CASES if case.reach], ids=lambda c: c.name)
def test_no_shard_leaves_while_a_keeper_cannot_be_reached(case: Case, host: Host) -> None:
    inject(case, host.sandbox, 2, "reach")
    run = host.run(**PACE)
    assert_ended_as(case, "reach", host, run)
    assert run.result["changed"] is False
    assert [host.shard_requests(), host.shards()] == [0, {}]
    states = [keeper["state"] for keeper in run.result["keepers"]]
    assert (states[0], states[2]) == ("reached", "reached")
    assert not (host.state_dir / "journal.json").exists()
    assert list(host.runtime_dir.iterdir()) == []
    # Also where the fault pointed there.
    assert host.sandbox.keepers[0].stats.reach_requests == 1


@pytest.mark.parametrize("case", [case for case in CASES if case.deliver], ids=lambda c: c.name)
def test_a_keeper_that_fails_when_its_shard_comes_costs_no_other_its_shard(
    case: Case, host: Host
) -> None:
    inject(case, host.sandbox, 2, "deliver")
    run = host.run(**PACE)
    assert_ended_as(case, "deliver", host, run)
    assert run.result["changed"] is True
    states = [keeper["state"] for keeper in run.result["keepers"]]
    assert (states[0], states[2]) == ("delivered", "delivered")
    # One keeper's shard goes to no other, also where the fault pointed there.
    assert [len(set(keeper.stats.shards)) for keeper in host.sandbox.keepers[::2]] == [1, 1]
    assert [keeper.stats.shard_requests for keeper in host.sandbox.keepers[::2]] == [1, 1]


@pytest.mark.parametrize(
    ("fault", "state"),
    [({"refuse": True}, "unreachable"), ({"untrusted": True}, "rejected")],
    ids=["refuse", "untrusted"],
)
def test_where_no_shard_could_leave_nothing_has_changed(
    fault: dict[str, object], state: str, make_host: Callable[..., Host]
) -> None:
    host = make_host({number: {**fault, "when": "deliver"} for number in (1, 2, 3)})
    result = host.run(**PACE).result
    assert_whole(result)
    assert (result["phase"], result["changed"]) == ("deliver", False)
    assert [keeper["state"] for keeper in result["keepers"]] == [state] * 3
    assert host.shard_requests() == 0
    for keeper in host.sandbox.keepers:
        keeper.heal()
    again = host.run().result
    assert (again["phase"], again["changed"], again["resumed"]) == ("done", True, True)


@pytest.mark.parametrize("step", ["reach", "deliver"])
@pytest.mark.parametrize(
    "case",
    [case for case in CASES if case.reach and case.reach.counted == "connections"],
    ids=lambda c: c.name,
)
def test_no_byte_of_a_request_goes_to_a_peer_that_is_not_the_keeper(
    case: Case, step: str, host: Host
) -> None:
    healthy, failing = host.sandbox.keepers[0].stats, host.sandbox.keepers[1].stats
    inject(case, host.sandbox, 2, step)
    run = host.run(**PACE, check=step == "reach")
    assert run.result["failed_keepers"] == [2]
    assert failing.connections > (1 if step == "deliver" else 0)
    if step == "reach":
        assert failing.http_bytes == 0
    else:
        # The empty request that it answered while it was itself, and not a byte of the shard's.
        assert failing.reach_requests == 1
        assert 0 < failing.http_bytes < healthy.http_bytes / 2
    assert failing.shard_requests == 0


def test_every_fault_of_a_keeper_is_in_the_table() -> None:
    of_keepers = {kind.value for kind in Kind if kind is not Kind.OTHER_KEY}
    assert of_keepers == {name for case in CASES for name in case.fault}


@pytest.mark.parametrize("step", ["reach", "deliver"])
def test_ansible_shows_the_same_as_the_module(step: str, host: Host) -> None:
    case = next(case for case in CASES if case.name == "stall_tls")
    inject(case, host.sandbox, 2, step)
    run = host.run(run_through_ansible, **PACE)
    assert_ended_as(case, step, host, run)


def split_by_keeper(line: str) -> tuple[list[int], str]:
    """The ids of the keepers that a line is about, and what it says of them."""
    about, _unused, said = line.partition(": ")
    assert about.startswith(("Keeper ", "Keepers "))
    return [int(number) for number in re.findall(r"\d+", about)], said


@pytest.mark.timing
@pytest.mark.parametrize("step", ["reach", "deliver"])
def test_all_that_fail_are_reported_at_once(step: str, make_host: Callable[..., Host]) -> None:
    cases = [case for case in CASES if case.expected(step)]
    host = make_host(keepers=len(cases) + 1)
    for number, case in enumerate(cases, 2):
        inject(case, host.sandbox, number, step)
    result = host.run(**PACE).result
    assert_whole(result)
    numbers = [*range(2, len(cases) + 2)]
    assert result["failed_keepers"] == numbers
    assert (result["keeper_id"], result["keeper_url"]) == (2, host.sandbox.keepers[1].url)
    expected = [case.expected(step) for case in cases]
    assert result["msg"].splitlines() == [
        f"Failed to {VERBS[step]} {len(cases)} of {len(cases) + 1} keepers:",
        *(sentence(result, n, step, e) for n, e in zip(numbers, expected) if e is not None),
    ]
    *steps, last_step = result["what_to_do"]
    assert last_step == LAST_STEP[step]
    hints = {keeper["id"]: keeper["hint"] for keeper in result["keepers"][1:]}
    assert {n: hint for ids, hint in map(split_by_keeper, steps) for n in ids} == hints
    whys = list(map(split_by_keeper, result["why"]))
    # What is the same for several is told once, and what most keepers have comes first.
    assert len(steps) == len(whys) == len(set(hints.values()))
    counts = [len(ids) for ids, _unused in whys]
    assert counts == sorted(counts, reverse=True)
    assert sorted(n for ids, _unused in whys for n in ids) == numbers
    if step == "reach":
        assert host.shard_requests() == 0


@pytest.mark.parametrize(
    ("fault", "attempts"),
    [
        ({"stall_tls": True, "failures": 2}, 3),
        ({"plain_http": True, "failures": 4}, 5),
        ({"status": 503, "failures": 1}, 2),
        ({"close": True, "failures": 3}, 4),
        ({"drip": True, "failures": 1}, 2),
        ({"delay": "1m", "failures": 2}, 3),
    ],
    ids=lambda value: value if isinstance(value, int) else next(iter(value)),
)
@pytest.mark.parametrize("step", ["reach", "deliver"])
def test_a_keeper_that_recovers_in_time_is_served(
    fault: dict[str, object], attempts: int, step: str, host: Host
) -> None:
    host.sandbox.keepers[1].inject({**fault, "when": step})
    result = host.run(**PACE).result
    assert (result["phase"], result["changed"]) == ("done", True)
    assert host.sandbox.keepers[1].shard is not None
    lines = [line for line in result["log"] if line.startswith(f"{DOING[step]} 2 ")]
    # On a busy host the good answer can come so late that one more has begun.
    assert len(lines) >= attempts
    assert lines == [
        f"{DOING[step]} 2 at {host.sandbox.keepers[1].url}... (attempt {number}/5)"
        for number in range(1, len(lines) + 1)
    ]
    assert result["keepers"][1]["attempts"] == (len(lines) if step == "deliver" else 1)


@pytest.mark.parametrize("fault", ["refuse", "blackhole"])
def test_a_keeper_that_comes_up_in_between_is_reached(
    fault: str, make_host: Callable[..., Host]
) -> None:
    host = make_host({2: {fault: True}})
    with host.start(keeper_timeout="10s", keeper_retry_initial_interval="300ms") as started:
        # By then the first attempts at all keepers have been started.
        assert host.sandbox.keepers[2].stats.wait_for(lambda stats: stats.reach_requests > 0)
        host.sandbox.keepers[1].inject({fault: True, "until": "400ms"})
        result = started.finish().result
    assert result["phase"] == "done"
    attempts = [line for line in result["log"] if line.startswith("Reaching keeper 2 ")]
    assert 2 <= len(attempts) <= 4
    assert len([line for line in result["log"] if line.startswith("Reaching keeper 1 ")]) == 1


# Names that end in .invalid are looked up for ever: getaddrinfo as libc shows it when the name
# service drops the questions.
_HUNG_RESOLVER = """
import socket, threading
system = socket.getaddrinfo
def getaddrinfo(host, *args, **kwargs):
    if str(host).endswith(".invalid"):
        threading.Event().wait()
    return system(host, *args, **kwargs)
socket.getaddrinfo = getaddrinfo
"""


def test_a_name_service_that_never_answers_is_one_keeper_that_failed(host: Host) -> None:
    peers = [keeper.url for keeper in host.sandbox.keepers]
    peers[1] = "https://keeper2.invalid:8443"
    run = run_directly(
        host.options(keeper_peers=peers, **PACE),
        environment=host.environment,
        prelude=_HUNG_RESOLVER,
    )
    assert_whole(run.result)
    assert run.result["msg"] == (
        f"Failed to reach keeper 2 at {peers[1]} after 5 attempts ({TIMEOUT} timeout): name"
        " resolution failed (the name service did not answer in time). Correct the name in"
        " keeper_peers, or make this host's name service resolve it."
    )
    assert run.result["keepers"][1]["cause"] == "name_resolution"
    assert host.shard_requests() == 0


def test_a_name_that_does_not_exist_is_one_keeper_that_failed(host: Host) -> None:
    peers = [keeper.url for keeper in host.sandbox.keepers]
    peers[2] = "https://keeper3.invalid:8443"
    result = host.run(keeper_peers=peers, **PACE).result
    assert result["failed_keepers"] == [3]
    assert result["keepers"][2]["cause"] == "name_resolution"
    assert result["keepers"][2]["attempts"] == ATTEMPTS
    assert host.shard_requests() == 0
