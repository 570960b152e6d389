# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whatever ends the tests, no host of theirs is left running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.dayzero.spike.tests.hosts.leftovers import MARK, processes, sweep
from ansible_collections.dayzero.spike.tests.hosts.machines import Site, wait_for

_RUN = """
import signal, sys
from ansible_collections.dayzero.spike.tests.hosts.machines import hosts
# A test run in the background ignores it, and hands that on.
signal.signal(signal.SIGINT, signal.default_int_handler)
with hosts({"lonely": "bookworm"}, lambda site: None) as site:
    print(site.directory, flush=True)
    sys.stdin.read()
"""


class Run:
    """A run in a process of its own, with one host."""

    def __init__(self) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        environment.pop(MARK, None)
        self.process = subprocess.Popen(
            [sys.executable, "-c", _RUN],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert self.process.stdout is not None
        self.directory = Path(self.process.stdout.readline().strip())
        assert processes(self.directory) != []

    def is_gone(self) -> bool:
        """Whether no process, mount, link or file of it is left."""
        mounts = Path("/proc/self/mountinfo").read_text()
        aliases = [path.read_text().strip() for path in Path("/sys/class/net").glob("*/ifalias")]
        return (
            processes(self.directory) == []
            and str(self.directory) not in mounts
            and str(self.directory) not in aliases
            and not self.directory.exists()
        )

    def guardian(self) -> int:
        """The process that removes the site of a run that was killed."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return next(
            int(child)
            for child in children
            if b"leftovers.py" in Path(f"/proc/{child}/cmdline").read_bytes()
        )


@pytest.fixture
def run() -> Iterator[Run]:
    run = Run()
    yield run
    with run.process:
        run.process.kill()
    sweep()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_ended_ends_its_hosts_first(number: signal.Signals, run: Run) -> None:
    run.process.send_signal(number)
    run.process.wait(60)
    assert run.is_gone()


def test_the_hosts_of_a_run_that_is_killed_end_soon(run: Run) -> None:
    run.process.kill()
    wait_for("the end of its hosts", run.is_gone)


def test_the_next_run_removes_what_nobody_could_remove_and_nothing_else(
    run: Run, site: Site
) -> None:
    stranger = Path("/var/tmp/somebody-elses-spike-hosts")
    stranger.mkdir(exist_ok=True)
    os.kill(run.guardian(), signal.SIGKILL)
    run.process.kill()
    run.process.wait()
    assert processes(run.directory) != []
    try:
        assert sweep() == [run.directory]
        assert stranger.exists()
    finally:
        stranger.rmdir()
    assert run.is_gone()
    # Our own hosts belong to a run that lives.
    assert next(iter(site.machines.values())).run("echo", "alive") == "alive\n"
