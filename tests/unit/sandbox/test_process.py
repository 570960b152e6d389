# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Knowing a process again, and ending that very one."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Iterator

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.process import ProcessId

IGNORES_TERM = (
    "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    " print('ready', flush=True); sys.stdin.read()"
)
WAITS = "import sys; print('ready', flush=True); sys.stdin.read()"


@pytest.fixture
def child(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    script = getattr(request, "param", WAITS)
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def identify(process: subprocess.Popen[str]) -> ProcessId:
    found = ProcessId.of(process.pid)
    assert found is not None
    return found


@pytest.mark.parametrize("child", [WAITS, IGNORES_TERM], ids=["polite", "deaf"], indirect=True)
def test_a_process_is_ended(child: subprocess.Popen[str]) -> None:
    process = identify(child)
    assert process.alive
    process.end(grace_seconds=0.2)
    assert not process.alive
    assert child.wait(5) != 0


@pytest.mark.parametrize(
    "change",
    [{"start_ticks": 1}, {"boot_id": "another"}],
    ids=["another start", "another boot"],
)
def test_another_process_of_that_number_is_left_alone(
    child: subprocess.Popen[str], change: dict[str, object]
) -> None:
    other = dataclasses.replace(identify(child), **change)
    assert not other.alive
    other.end()
    assert child.poll() is None


def test_a_process_that_has_ended_is_none_before_it_is_reaped(
    child: subprocess.Popen[str],
) -> None:
    identify(child).end()
    assert child.returncode is None
    assert ProcessId.of(child.pid) is None
