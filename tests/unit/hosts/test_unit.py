# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What systemctl prints is understood."""

from __future__ import annotations

import os

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._hosts import unit

RUNNING = """\
LoadState=loaded
ActiveState=active
SubState=running
MainPID={pid}
InvocationID=0123456789abcdef0123456789abcdef
ExecMainStartTimestampMonotonic=1000000
Result=success
ExecMainStatus=0
"""
FAILED = """\
LoadState=loaded
ActiveState=failed
SubState=failed
MainPID=0
InvocationID=0123456789abcdef0123456789abcdef
ExecMainStartTimestampMonotonic=1000000
Result=exit-code
ExecMainStatus=1
"""
UNKNOWN = "LoadState=not-found\nActiveState=inactive\nSubState=dead\nMainPID=0\nInvocationID=\n"


def test_a_running_unit_has_a_process_and_an_uptime() -> None:
    found = unit.read("spike-keeper.service", RUNNING.format(pid=os.getpid()))
    assert found.exists
    assert found.running
    assert not found.given_up
    assert found.uptime is not None
    assert found.uptime > 0
    assert found.detail == "active (running)"


def test_a_failed_unit_is_given_up_and_says_how_it_ended() -> None:
    found = unit.read("spike-keeper.service", FAILED)
    assert not found.running
    assert found.given_up
    assert found.uptime is None
    assert found.detail == "failed (failed), result exit-code, exit status 1"


def test_a_unit_that_is_started_again_by_systemd_is_not_given_up() -> None:
    text = FAILED.replace("ActiveState=failed", "ActiveState=activating")
    assert not unit.read("spike-keeper.service", text).given_up


def test_a_unit_that_systemd_does_not_know_does_not_exist() -> None:
    found = unit.read("spike-keeper.service", UNKNOWN)
    assert not found.exists
    assert not found.running


def test_a_process_says_what_it_was_started_with(monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess

    variable = {"DAYZERO_SPIKE_STARTED_WITH": "abc"}
    with subprocess.Popen(
        ["/bin/cat"], env=variable, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"x")
        process.stdin.flush()
        # Only the program itself echoes: it is no longer a copy of this process.
        assert process.stdout.read(1) == b"x"
        found = unit.read("spike-keeper.service", RUNNING.format(pid=process.pid))
        assert found.started_with == "abc"
        assert found.runs("/bin/cat")
        assert not found.runs("/bin/sh")
        process.stdin.close()


def test_a_process_without_that_variable_has_none() -> None:
    found = unit.read("spike-keeper.service", RUNNING.format(pid=os.getpid()))
    assert found.started_with is None
