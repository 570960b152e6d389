# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The README shows a failing run, a good one and a status as they really look."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.description import (
    describe,
    inventory,
)
from ansible_collections.dayzero.spike.tests.support.ansible_run import run_program
from ansible_collections.dayzero.spike.tests.support.documents import REPOSITORY
from ansible_collections.dayzero.spike.tests.support.module_host import Host

pytestmark = pytest.mark.slow

_SHOWN = re.findall(r"^```console\n(.*?)^```$", (REPOSITORY / "README.md").read_text(), re.M | re.S)


def alike(line: str) -> str:
    """``line`` without what is another in every run: ports, tenths of a second, and blanks."""
    line = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", line)
    line = re.sub(r"(?<= )\d+\.\d(?= )", "SECONDS", line)
    return re.sub(r" +", " ", line).strip()


def assert_shown_in(shown: str, output: str) -> None:
    """Each line of ``shown`` is the next of ``output``; after dots, one of those that follow."""
    lines: Iterator[str] = map(alike, output.splitlines())
    skipping = True
    for line in shown.splitlines():
        if line.startswith("$ "):
            continue
        if line == "...":
            skipping = True
            continue
        if skipping:
            assert alike(line) in lines, line
        else:
            assert next(lines) == alike(line)
        skipping = False


@pytest.fixture
def play(make_host: Callable[..., Host]) -> Callable[..., str]:
    hosts: list[Host] = []

    def play(playbook: str, fault: dict[int, dict[str, bool]] | None, *arguments: str) -> str:
        if fault is not None:
            hosts.append(make_host(fault))
        host = hosts[-1]
        path: Path = host.directory / "hosts.yml"
        path.write_text(inventory(describe(host.sandbox, host.state_dir, host.runtime_dir)))
        command = ("--inventory", str(path), f"dayzero.spike.{playbook}", *arguments)
        return run_program("ansible-playbook", *command, environment=host.environment).stdout

    return play


def test_a_failing_run_looks_as_the_readme_shows_it(play: Callable[..., str]) -> None:
    timeout = ("-e", "spike_bootstrap_keeper_timeout=5s")
    assert_shown_in(_SHOWN[0], play("day_zero", {2: {"refuse": True}}, *timeout))


def test_a_good_run_and_its_status_look_as_the_readme_shows_them(play: Callable[..., str]) -> None:
    assert_shown_in(_SHOWN[1], play("day_zero", {}))
    assert_shown_in(_SHOWN[2], play("status", None))
