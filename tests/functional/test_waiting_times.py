# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long a run waits before anything is sent: for the lock, and for Nexus in the guard."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.dayzero.spike.tests.support.module_host import Host
from ansible_collections.dayzero.spike.tests.support.module_run import assert_whole

pytestmark = [pytest.mark.slow, pytest.mark.timing]

# The guard's two looks at Nexus take no longer, whatever the other times are, in seconds: the first
# comes before keepers are contacted, the second decides.
FIRST_LOOK = 1.0
SECOND_LOOK = 5.0
MARGIN = 0.5
# What the process needs besides, to start and to end.
PROCESS = 3.0


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        ({"stall_tls": True}, "the TLS handshake did not end in time"),
        ({"delay": "60s"}, "the request was sent, no complete answer came"),
    ],
    ids=["stalls in TLS", "never answers"],
)
@pytest.mark.parametrize("check", [False, True], ids=["run", "check"])
def test_a_nexus_that_says_nothing_holds_up_the_guard_for_its_two_looks_alone(
    check: bool, fault: dict[str, object], seen: str, make_host: Callable[..., Host]
) -> None:
    host = make_host({"nexus": fault})
    run = host.run(check=check, keeper_timeout="30s", init_verification_timeout="30m")
    assert_whole(run.result)
    # It may hold a key: its silence is no leave to send.
    assert (run.result["phase"], run.result["code"]) == ("guard", "nexus_unclear")
    nexus = run.result["nexus"]
    assert (nexus["state"], nexus["detail"]) == ("unclear", seen)
    assert SECOND_LOOK - MARGIN < nexus["elapsed"] < SECOND_LOOK + MARGIN
    looks = FIRST_LOOK + SECOND_LOOK
    assert looks - MARGIN < run.known - run.began < looks + PROCESS
    assert host.shard_requests() == 0


def test_a_nexus_that_nobody_listens_for_holds_up_a_run_for_one_look(host: Host) -> None:
    host.sandbox.nexus.stop()
    run = host.run(check=True, keeper_timeout="30s", init_verification_timeout="30m")
    assert_whole(run.result)
    assert (run.result["phase"], run.result["changed"]) == ("reach", True)
    nexus = run.result["nexus"]
    assert (nexus["state"], nexus["detail"]) == ("unreachable", "connection refused")
    # Only a port that has refused for that long is taken for a Nexus without a key.
    assert SECOND_LOOK - MARGIN < nexus["elapsed"] < SECOND_LOOK + MARGIN
    assert SECOND_LOOK - MARGIN < run.known - run.began < SECOND_LOOK + PROCESS


@pytest.mark.parametrize(
    "fault", [{"refuse": True}, {"status": 502}], ids=["refuses", "a proxy answers"]
)
def test_a_nexus_that_says_that_it_has_no_key_ends_the_wait_for_it(
    fault: dict[str, object], host: Host
) -> None:
    host.sandbox.nexus.inject({**fault, "until": "3s"})
    run = host.run(check=True, keeper_timeout="30s", init_verification_timeout="30m")
    assert_whole(run.result)
    assert (run.result["phase"], run.result["nexus"]["state"]) == ("reach", "not_ready")
    # It is asked every second.
    assert run.known - run.began < 3 + 1 + PROCESS
    assert run.result["nexus"]["elapsed"] < SECOND_LOOK - MARGIN


@pytest.fixture
def locked(host: Host) -> Iterator[Path]:
    """The lock of the host's state_dir, held by somebody else for the whole test."""
    host.state_dir.mkdir()
    path = host.state_dir / "lock"
    descriptor = os.open(path, os.O_RDONLY | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield path
    finally:
        os.close(descriptor)


@pytest.mark.parametrize(
    ("times", "shown"),
    [
        ({"keeper_timeout": "1s"}, "1s"),
        ({"keeper_timeout": "1"}, "1s"),
        ({"keeper_timeout": "5s", "timeout": "1s"}, "the whole run's 1s"),
        ({"keeper_timeout": "1s", "timeout": "15s"}, "1s"),
    ],
    ids=["a keeper's time", "without a unit", "the whole run's time", "a whole run with more time"],
)
def test_a_run_waits_for_the_lock_no_longer_than_for_a_keeper(
    times: dict[str, str], shown: str, locked: Path, host: Host
) -> None:
    run = host.run(init_verification_timeout="20s", **times)
    assert_whole(run.result)
    assert (run.result["phase"], run.result["code"]) == ("guard", "bootstrap_locked")
    assert run.result["msg"] == (
        f"Another bootstrap run holds {locked} and did not end within {shown}. Nothing was sent."
    )
    # Here it is the test that holds it.
    assert run.result["why"][0] == (
        f"Another run is at work on this host: process {os.getpid()} holds it."
    )
    assert run.result["what_to_do"] == ["Wait for the other run to end.", "Rerun bootstrap."]
    assert run.known - run.began < 1 + PROCESS
    assert host.sandbox.nexus.stats.connections == 0
    assert host.shard_requests() == 0
