# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs that are ended from outside: at once, in order, and so that a rerun finishes them.

By a signal, or because nobody is left who reads the result: a controller that was killed, or its
connection.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.dayzero.spike.tests.support.module_host import Host
from ansible_collections.dayzero.spike.tests.support.module_run import (
    HEARS_SIGNALS,
    PATIENCE_SECONDS,
    Result,
    StartedRun,
    assert_whole,
)

pytestmark = [pytest.mark.slow, pytest.mark.timing]

SIGNALS = {
    signal.SIGTERM: "Ended by SIGTERM.",
    signal.SIGHUP: "Ended by SIGHUP, as when a terminal or a connection is closed.",
    signal.SIGINT: "Interrupted.",
}
NEXT = "Rerun bootstrap: it goes on where this run ended."
# From the moment it is told, in seconds; what holds it up would last for half a minute.
SECONDS = 2.0
BOOTSTRAP = "spiffe://spike.ist/spike/bootstrap"
PHASES = ("guard", "reach", "deliver", "verify")


class HeldUp:
    """A cluster in which a run comes as far as ``phase``, and no further."""

    def __init__(self, phase: str, host: Host) -> None:
        """``host`` has a fourth keeper, which gets no shard and which alone Nexus asks."""
        self.phase = phase
        self.host = host
        self.peers = [keeper.url for keeper in host.sandbox.keepers[:3]]
        if phase == "guard":
            host.sandbox.nexus.inject({"delay": "60s"})
        elif phase in ("reach", "deliver"):
            host.sandbox.keepers[1].inject({"delay": "60s", "when": phase})

    def start(self, prelude: str = HEARS_SIGNALS, **changes: str) -> StartedRun:
        options = self.host.options(
            keeper_peers=self.peers,
            keeper_timeout="30s",
            keeper_max_retries=1,
            init_verification_timeout="30s",
            **changes,
        )
        return StartedRun(options, environment=self.host.environment, prelude=prelude)

    def wait(self) -> None:
        """Until the run is there."""
        nexus, keepers = self.host.sandbox.nexus.stats, self.host.sandbox.keepers[:3]
        if self.phase == "guard":
            assert nexus.wait_for(lambda stats: stats.verify_requests > 0)
        elif self.phase == "reach":
            assert all(k.stats.wait_for(lambda stats: stats.reach_requests > 0) for k in keepers)
        elif self.phase == "deliver":
            assert all(k.stats.wait_for(lambda stats: stats.shard_requests > 0) for k in keepers)
        else:
            # The guard has asked it once at each of its two looks.
            assert nexus.wait_for(lambda stats: stats.verify_requests > 2)

    def release(self) -> None:
        """What held the run up is over, and Nexus asks the keepers that have the shards."""
        for keeper in self.host.sandbox.keepers:
            keeper.heal()
        nexus = self.host.sandbox.nexus
        nexus.heal()
        nexus.stop()
        nexus.configure([1, 2, 3], 2)
        nexus.start()

    def assert_in_order(self) -> None:
        """Nobody holds the lock, and what the run has left can be gone on with."""
        state_dir = self.host.state_dir
        with (state_dir / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        begun = self.phase in ("deliver", "verify")
        left = {path.name for path in state_dir.iterdir()}
        assert left == ({"journal.json", "lock"} if begun else {"lock"})
        assert len(list(self.host.runtime_dir.iterdir())) == (1 if begun else 0)
        if begun:
            journal = json.loads((state_dir / "journal.json").read_text())
            assert journal["state"] == "delivering"
            assert set(journal["delivered"]) <= {1, 2, 3}
            assert (journal["delivered"] == [1, 2, 3]) == (self.phase == "verify")

    def assert_rerun_finishes(self) -> None:
        """A rerun is done, and with the same key where shards of one are out."""
        host = self.host
        key = host.root_key(1, 3) if self.phase in ("deliver", "verify") else None
        self.release()
        result: dict[str, Any] = host.run(keeper_peers=self.peers).result
        assert_whole(result)
        assert (result["phase"], result["nexus"]["state"]) == ("done", "ready")
        assert key in (None, host.root_key(1, 3))
        assert host.nexus_holds(host.root_key(1, 2))
        assert list(host.runtime_dir.iterdir()) == []


@pytest.fixture(params=PHASES)
def held_up(request: pytest.FixtureRequest, make_host: Callable[..., Host]) -> HeldUp:
    host = make_host(keepers=4, nexus_keepers=[4], nexus_threshold=1)
    return HeldUp(request.param, host)


in_verify = pytest.mark.parametrize("held_up", ["verify"], indirect=True)


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_run_that_is_told_to_end_ends_at_once_with_a_whole_result_and_can_be_gone_on_with(
    number: signal.Signals, held_up: HeldUp
) -> None:
    with held_up.start() as started:
        held_up.wait()
        told = time.monotonic()
        started.send_signal(number)
        run = started.finish()
    assert run.ended - told < SECONDS
    assert_whole(run.result)
    result = run.result
    assert (result["phase"], result["code"]) == (held_up.phase, "retry_context_canceled")
    assert result["msg"] == f"{SIGNALS[number]} {NEXT}"
    assert (result["why"], result["what_to_do"]) == ([], [NEXT])
    assert result["changed"] is (held_up.phase in ("deliver", "verify"))
    assert run.stderr == ""
    held_up.assert_in_order()
    held_up.assert_rerun_finishes()


def test_a_run_whose_result_nobody_reads_any_more_ends_at_once_and_can_be_gone_on_with(
    held_up: HeldUp,
) -> None:
    with held_up.start() as started:
        held_up.wait()
        left = time.monotonic()
        started.leave()
        status, errors = started.finish_unheard()
        assert time.monotonic() - left < SECONDS
    assert (status, errors) == (1, "")
    held_up.assert_in_order()
    held_up.assert_rerun_finishes()


IGNORES = """
import signal
signal.signal(signal.{}, signal.SIG_IGN)
"""


@in_verify
@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_run_that_was_started_to_ignore_a_signal_ignores_it(
    number: signal.Signals, held_up: HeldUp
) -> None:
    with held_up.start(IGNORES.format(number.name)) as started:
        held_up.wait()
        started.send_signal(number)
        held_up.release()
        result = started.finish().result
    assert_whole(result)
    assert (result["phase"], result["nexus"]["state"]) == ("done", "ready")


# The options for a source of identities, and what waits until it was asked.
Source = tuple[dict[str, str], Callable[[], object]]


@contextlib.contextmanager
def silent_workload_api(host: Host) -> Iterator[Source]:
    """A Workload API that never answers."""
    # Its path may have 107 characters.
    path = host.temporary / "api.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(PATIENCE_SECONDS)
        asked: list[socket.socket] = []
        options = {"svid_source": "workload_api", "spiffe_endpoint_socket": str(path)}
        try:
            yield options, lambda: asked.append(listener.accept()[0])
        finally:
            for connection in asked:
                connection.close()


@contextlib.contextmanager
def silent_agent(host: Host) -> Iterator[Source]:
    """A spire-agent that never ends.

    It and all that it has started must have ended when the run has.
    """
    said = host.directory / "said"
    os.mkfifo(said)
    # What a context manager yields to is closed with it.
    # pylint: disable-next=contextmanager-generator-missing-cleanup
    with (
        agent(host, f"exec >{said}\necho started\nsleep 60\n") as options,
        everybody_gone(said) as wait,
    ):
        yield options, wait


@contextlib.contextmanager
def agent(host: Host, script: str) -> Iterator[dict[str, str]]:
    """The options for a spire-agent that is this shell script."""
    program = host.directory / "spire-agent"
    program.write_text(f"#!/bin/sh\n{script}")
    program.chmod(0o755)
    path = host.temporary / "api.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        yield {
            "svid_source": "spire_agent",
            "spire_agent_path": str(program),
            "spiffe_endpoint_socket": str(path),
        }


@contextlib.contextmanager
def everybody_gone(said: Path) -> Iterator[Callable[[], None]]:
    """Gives what waits for the line ``started`` in ``said``, a named pipe.

    When the block ends, nobody may have it open for writing any more.
    """
    # Opened without waiting; what is read of it waits for the first writer.
    with open(os.open(said, os.O_RDONLY | os.O_NONBLOCK), encoding="ascii") as pipe:

        def wait() -> None:
            assert select.select([pipe], [], [], PATIENCE_SECONDS)[0]
            os.set_blocking(pipe.fileno(), True)
            assert pipe.readline() == "started\n"

        yield wait
        # A pipe that nobody has ever opened for writing has no end yet.
        os.close(os.open(said, os.O_WRONLY))
        more = b"anything"
        while more:
            assert select.select([pipe], [], [], SECONDS)[0]
            more = os.read(pipe.fileno(), 100)


def ended_at_once(started: StartedRun, number: signal.Signals | None) -> Result | None:
    """End a run with a signal, or read its output no longer: its result, where there is one."""
    told = time.monotonic()
    result = None
    if number is None:
        started.leave()
        assert started.finish_unheard() == (1, "")
    else:
        started.send_signal(number)
        result = started.finish().result
        assert result["msg"] == f"{SIGNALS[number]} {NEXT}"
    assert time.monotonic() - told < SECONDS
    return result


@pytest.mark.parametrize("number", [*SIGNALS, None], ids=lambda n: n.name if n else "nobody reads")
@pytest.mark.parametrize("source", [silent_workload_api, silent_agent])
def test_a_run_that_waits_for_its_identity_ends_at_once(
    source: Callable[[Host], AbstractContextManager[Source]],
    number: signal.Signals | None,
    host: Host,
) -> None:
    with source(host) as (changes, wait):
        options = host.options(**changes)
        with StartedRun(options, environment=host.environment, prelude=HEARS_SIGNALS) as started:
            wait()
            result = ended_at_once(started, number)
        if result is not None:
            assert_whole(result)
            assert (result["phase"], result["code"]) == ("identity", "retry_context_canceled")
    # Also none of the files in memory in which an agent hands over keys.
    assert list(host.runtime_dir.iterdir()) == []
    assert host.run().result["phase"] == "done"


# An agent that has written an SVID; $9 is where.
WRITES = """
cp {svids}/svid.pem $9/svid.0.pem && cp {svids}/svid.key $9/svid.0.key
cp {svids}/bundle.pem $9/bundle.0.pem
"""
# What a run meets at its most delicate moments: the signal comes when it does this.
SIGNALLED = (
    HEARS_SIGNALS
    + """
import os, signal

def signalled(function, *numbers):
    def wrapper(*arguments, **options):
        for number in numbers:
            os.kill(os.getpid(), number)
        return function(*arguments, **options)
    return wrapper
"""
)


def test_a_signal_just_after_a_program_was_started_leaves_none_of_it(host: Host) -> None:
    prelude = f"""{SIGNALLED}
import subprocess

class Popen(subprocess.Popen):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        os.kill(os.getpid(), signal.SIGTERM)

subprocess.Popen = Popen
"""
    with silent_agent(host) as (changes, _wait):
        options = host.options(**changes)
        with StartedRun(options, environment=host.environment, prelude=prelude) as started:
            result = started.finish().result
    assert (result["phase"], result["code"]) == ("identity", "retry_context_canceled")
    assert list(host.runtime_dir.iterdir()) == []


def test_a_signal_while_an_agents_files_are_removed_leaves_none_of_them(host: Host) -> None:
    prelude = (
        f"{SIGNALLED}\nimport shutil\nshutil.rmtree = signalled(shutil.rmtree, signal.SIGTERM)"
    )
    svids = host.sandbox.svid_cert.parent
    host.sandbox.authority.write(svids, "svid", host.sandbox.authority.issue(BOOTSTRAP))
    (svids / "bundle.pem").write_bytes(host.sandbox.authority.bundle_pem())
    with agent(host, WRITES.format(svids=svids)) as changes:
        options = host.options(**changes)
        with StartedRun(options, environment=host.environment, prelude=prelude) as started:
            result = started.finish().result
        assert (result["phase"], result["code"]) == ("identity", "retry_context_canceled")
        assert list(host.runtime_dir.iterdir()) == []
        assert host.run(**changes).result["phase"] == "done"


@pytest.mark.parametrize("number", [signal.SIGTERM, None], ids=["SIGTERM", "nobody reads"])
def test_a_run_that_ends_while_an_agent_renews_its_identity_leaves_no_svid(
    host: Host, number: signal.Signals | None
) -> None:
    # Waits for Nexus, and meanwhile takes a new identity.
    host.sandbox.nexus.stop()
    svids = host.sandbox.svid_cert.parent
    # More than two thirds of its life are over.
    old = host.sandbox.authority.issue(BOOTSTRAP, not_before_offset=-3600, lifetime_seconds=3900)
    host.sandbox.authority.write(svids, "svid", old)
    (svids / "bundle.pem").write_bytes(host.sandbox.authority.bundle_pem())
    said, once = host.directory / "said", host.directory / "once"
    os.mkfifo(said)
    again = f"if [ -e {once} ]; then exec >{said}; echo started; sleep 60; fi\ntouch {once}\n"
    with agent(host, WRITES.format(svids=svids) + again) as changes, everybody_gone(said) as wait:
        options = host.options(**changes)
        with StartedRun(options, environment=host.environment, prelude=HEARS_SIGNALS) as started:
            wait()
            ended_at_once(started, number)
        assert [path.name for path in host.runtime_dir.iterdir() if "svid" in path.name] == []


@in_verify
def test_more_signals_while_the_result_is_printed_do_not_lose_it(held_up: HeldUp) -> None:
    prelude = f"""{SIGNALLED}
from ansible.module_utils.basic import AnsibleModule

AnsibleModule.jsonify = signalled(
    AnsibleModule.jsonify, signal.SIGTERM, signal.SIGINT, signal.SIGHUP
)
"""
    with held_up.start(prelude) as started:
        held_up.wait()
        started.send_signal(signal.SIGTERM)
        result = started.finish().result
    assert_whole(result)
    assert result["msg"] == f"{SIGNALS[signal.SIGTERM]} {NEXT}"
    held_up.release()
    # A first one that comes so late: there is nothing left to end.
    with held_up.start(prelude) as started:
        result = started.finish().result
    assert_whole(result)
    assert (result["phase"], result["nexus"]["state"]) == ("done", "ready")


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_run_that_waits_for_the_lock_ends_at_once(number: signal.Signals, host: Host) -> None:
    assert host.run().result["phase"] == "done"
    found_it_taken = host.directory / "found it taken"
    os.mkfifo(found_it_taken)
    prelude = f"""{SIGNALLED}
import fcntl
flock = fcntl.flock

def told(*arguments):
    try:
        flock(*arguments)
    except BlockingIOError:
        with open({str(found_it_taken)!r}, "w"):
            fcntl.flock = flock
        raise

fcntl.flock = told
"""
    before = host.sandbox.nexus.stats.connections
    with (host.state_dir / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        options = host.options(keeper_timeout="60s")
        with StartedRun(options, environment=host.environment, prelude=prelude) as started:
            # Opened when the run opens it as well.
            found_it_taken.open().close()
            told = time.monotonic()
            started.send_signal(number)
            run = started.finish()
    assert run.ended - told < SECONDS
    assert_whole(run.result)
    assert run.result["msg"] == f"{SIGNALS[number]} {NEXT}"
    assert host.sandbox.nexus.stats.connections == before


@in_verify
def test_a_run_that_does_not_come_to_an_end_is_ended(held_up: HeldUp) -> None:
    prelude = f"""{SIGNALLED}
import contextlib, select

# What is given back hangs, as on a disk that does not answer.
contextlib.ExitStack.__exit__ = lambda *_: select.select([], [], [])
from ansible_collections.dayzero.spike.plugins.module_utils._entry import ending
ending._PATIENCE_SECONDS = 1.0
"""
    with held_up.start(prelude) as started:
        held_up.wait()
        started.send_signal(signal.SIGTERM)
        started.send_signal(signal.SIGTERM)
        told = time.monotonic()
        status, errors = started.finish_unheard()
        assert time.monotonic() - told < 1.0 + SECONDS
    assert (status, errors) == (-signal.SIGALRM, "")
    held_up.assert_in_order()
