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

# The guard's question to Nexus takes no longer, whatever the other times are, in seconds; and the
# second one, before a key is drawn, where the first took all that.
PROBE = 5.0
SECOND_PROBE = 1.0
MARGIN = 0.5
# What the process needs besides, to start and to end.
PROCESS = 3.0


def test_a_nexus_that_stalls_in_tls_holds_up_the_guard_for_its_own_time_alone(
    make_host: Callable[..., Host],
) -> None:
    host = make_host({"nexus": {"stall_tls": True}})
    # A check ends before the proof, so what it tells of Nexus is the guard's.
    run = host.run(check=True, keeper_timeout="30s", init_verification_timeout="30m")
    assert_whole(run.result)
    assert (run.result["phase"], run.result["nexus"]["state"]) == ("reach", "unreachable")
    assert SECOND_PROBE - MARGIN < run.result["nexus"]["elapsed"] < SECOND_PROBE + MARGIN
    assert PROBE + SECOND_PROBE < run.known - run.began < PROBE + SECOND_PROBE + PROCESS


def test_a_nexus_that_never_answers_holds_up_the_guard_for_its_own_time_alone(
    make_host: Callable[..., Host],
) -> None:
    host = make_host({"nexus": {"delay": "60s"}})
    run = host.run(keeper_timeout="30s", init_verification_timeout="30m")
    assert_whole(run.result)
    # It has the request and may hold a key: that is no leave to send.
    assert (run.result["phase"], run.result["code"]) == ("guard", "state_not_ready")
    assert PROBE - MARGIN < run.result["nexus"]["elapsed"] < PROBE + MARGIN
    assert run.known - run.began < PROBE + PROCESS
    assert host.shard_requests() == 0


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
    assert run.result["msg"].startswith(
        f"Another bootstrap run holds {locked} and did not end within {shown}."
        " Wait for it to end and rerun bootstrap."
    )
    assert run.known - run.began < 1 + PROCESS
    assert host.sandbox.nexus.stats.connections == 0
    assert host.shard_requests() == 0
