# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SIGKILL at every step of a recovery and of a restore: a rerun ends well, nothing is leaked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.dayzero.spike.tests.support.custodian_keys import (
    Owner,
    with_age,
    with_pgp,
    with_ssh,
)
from ansible_collections.dayzero.spike.tests.support.emergency import (
    lines_of,
    options_of_recover,
    options_of_restore,
    recover,
    restore,
)
from ansible_collections.dayzero.spike.tests.support.module_host import Host
from ansible_collections.dayzero.spike.tests.support.module_run import StartedRun, files_below
from ansible_collections.dayzero.spike.tests.support.spellings import shown_in, spellings

pytestmark = [pytest.mark.slow, pytest.mark.long]

# Counts the steps of a run in a file, and ends the process at one of them.
_PRELUDE = """
import os, signal
from ansible_collections.dayzero.spike.plugins.module_utils._entry import module_entry
made, names = module_entry._tools, []
def tools(mask, _step, *others):
    def step(name):
        names.append(name)
        with open({trace!r}, "w") as trace:
            trace.write("\\n".join(names))
        if len(names) == {kill}:
            os.kill(os.getpid(), signal.SIGKILL)
    return made(mask, step, *others)
module_entry._tools = tools
"""
_NEVER = 0


class Killer:
    """Runs a module of an emergency that dies at a step."""

    def __init__(self, host: Host, module: str, trace: Path) -> None:
        self._host = host
        self._module = module
        self._trace = trace

    def steps(self, options: dict[str, Any]) -> list[str]:
        """The steps of a run that is not killed."""
        self._run(options, _NEVER)
        return self._trace.read_text().splitlines()

    def kill(self, options: dict[str, Any], at: int) -> None:
        """A run that dies at its ``at``-th step, from 1."""
        self._run(options, at)

    def _run(self, options: dict[str, Any], kill: int) -> None:
        prelude = _PRELUDE.format(trace=str(self._trace), kill=kill)
        environment = self._host.environment
        with StartedRun(
            options, environment=environment, prelude=prelude, module=self._module
        ) as run:
            status = run.await_end()
        assert (status == -9) is (kill != _NEVER)


@pytest.fixture(scope="module")
def owners() -> list[Owner]:
    return [with_age("alice"), with_ssh("bob"), with_pgp("carol")]


@pytest.fixture
def forms(host: Host) -> list[bytes]:
    """How the key and the shards of the finished cluster could show up."""
    assert host.run().result["changed"]
    secrets = [host.root_key(1, 2), *host.shards().values()]
    return [form for secret in secrets for form in spellings(secret)]


def test_a_recovery_that_is_killed_is_made_good_by_the_next_one(
    host: Host, owners: list[Owner], forms: list[bytes], tmp_path: Path
) -> None:
    lines = lines_of(host.root_key(1, 2), host.sandbox)
    killer = Killer(host, "spike_recover", tmp_path / "trace")

    def options(directory: Path) -> dict[str, Any]:
        return options_of_recover(host, owners, directory=str(directory))

    steps = killer.steps(options(host.home / "whole"))
    assert len(steps) > 10
    for number in range(1, len(steps) + 1):
        directory = host.home / f"killed-{number}"
        killer.kill(options(directory), number)
        left = list(directory.iterdir()) if directory.exists() else []
        assert all(path.stat().st_mode & 0o7777 == 0o600 for path in left), steps[number - 1]
        written = files_below(host.state_dir, host.runtime_dir, host.home, host.temporary)
        assert shown_in(written, forms) == [], steps[number - 1]
        # Another set over what is half there: nothing of the killed run may stay.
        again = recover(host, owners, directory=str(directory))
        assert "msg" not in again, (steps[number - 1], again)
        described = [entry["file"] for entry in again["recovery"]["shards"]]
        there = sorted(path.name for path in directory.iterdir())
        assert there == sorted([*described, "recovery.json"]), steps[number - 1]
        for owner, name, line in zip(owners, described, lines.values(), strict=True):
            assert owner.open((directory / name).read_text()) == line
        assert not recover(host, owners, directory=str(directory))["changed"]


@pytest.mark.parametrize("parts", [False, True], ids=["a whole set", "one by one"])
def test_a_restore_that_is_killed_ends_with_the_right_key(
    host: Host, forms: list[bytes], tmp_path: Path, parts: bool
) -> None:
    lines = list(lines_of(host.root_key(1, 2), host.sandbox).values())[:2]
    shown = forms + [line.encode() for line in lines]
    killer = Killer(host, "spike_restore", tmp_path / "trace")
    changes = {"complete": False} if parts else {}
    options = options_of_restore(host, lines[:1] if parts else lines, **changes)
    host.sandbox.restart()
    steps = killer.steps(options)
    assert len(steps) > 3
    for number in range(1, len(steps) + 1):
        host.sandbox.restart()
        for file in host.runtime_dir.iterdir():
            file.unlink()
        killer.kill(options, number)
        written = files_below(host.state_dir, host.runtime_dir, host.home, host.temporary)
        assert shown_in(written, shown) == [], steps[number - 1]
        modes = [path.stat().st_mode & 0o7777 for path in host.runtime_dir.iterdir()]
        assert all(mode == 0o600 for mode in modes), steps[number - 1]
        # Nexus may have taken a shard, or all of them: a rerun goes on, or says that it is live.
        again = restore(host, lines)
        if again.get("failed"):
            assert again["code"] == "state_already_initialized", (steps[number - 1], again)
        else:
            assert again["proved"], steps[number - 1]
        proof = host.run().result
        assert (proof["changed"], proof["nexus"]["state"]) == (False, "ready"), steps[number - 1]
