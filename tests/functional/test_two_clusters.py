# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two clusters that are bootstrapped from one host: a state directory each, one in memory."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.dayzero.spike.tests.support.module_host import Host
from ansible_collections.dayzero.spike.tests.support.module_run import (
    ModuleRun,
    assert_whole,
)

pytestmark = [pytest.mark.slow, pytest.mark.long]


@pytest.fixture
def unfinished(host: Host) -> Host:
    """A cluster whose keepers have their shards and whose Nexus is down: its key waits."""
    host.sandbox.nexus.stop()
    run = host.run(verify=False).result
    assert (run["phase"], run["changed"]) == ("done", True)
    return host


@pytest.fixture
def other(make_host: Callable[..., Host], host: Host) -> Host:
    """Another cluster, with the same runtime_dir."""
    made = make_host()
    made.runtime_dir = host.runtime_dir
    return made


def finishes(host: Host) -> None:
    """Its rerun goes on with the key that the keepers have shards of."""
    key = host.root_key(1, 2)
    assert host.run(verify=False).result["resumed"]
    host.sandbox.nexus.start()
    assert host.sandbox.nexus.wait_initialised()
    assert host.run().result["phase"] == "done"
    assert host.root_key(2, 3) == key
    assert host.nexus_holds(key)


def test_runs_of_another_cluster_leave_an_unfinished_key_alone(
    unfinished: Host, other: Host
) -> None:
    (kept,) = unfinished.runtime_dir.iterdir()
    for changed in (True, False):
        assert other.run().result["changed"] is changed
        assert list(unfinished.runtime_dir.iterdir()) == [kept]
    finishes(unfinished)
    assert list(unfinished.runtime_dir.iterdir()) == []


def test_two_clusters_can_be_unfinished_at_once(unfinished: Host, other: Host) -> None:
    other.sandbox.nexus.stop()
    assert other.run(verify=False).result["changed"]
    assert len(list(unfinished.runtime_dir.iterdir())) == 2
    finishes(unfinished)
    finishes(other)


def refused(host: Host, run: ModuleRun, sent: int) -> str:
    assert_whole(run.result)
    assert (run.result["failed"], run.result["changed"]) == (True, False)
    assert run.result["what_to_do"]
    assert run.result["code"] == "store_invalid_configuration"
    assert host.shard_requests() == sent
    return str(run.result["msg"])


@pytest.mark.parametrize("force", [False, True])
def test_another_state_dir_for_an_unfinished_cluster_is_refused(
    unfinished: Host, tmp_path: Path, force: bool
) -> None:
    sent = unfinished.shard_requests()
    (kept,) = unfinished.runtime_dir.iterdir()
    run = unfinished.run(state_dir=str(tmp_path / "another"), force=force)
    assert str(kept) in refused(unfinished, run, sent)
    finishes(unfinished)


def test_a_key_for_other_settings_is_found_when_the_journal_is_gone(unfinished: Host) -> None:
    sent = unfinished.shard_requests()
    shutil.rmtree(unfinished.state_dir)
    run = unfinished.run(shamir_threshold=3)
    assert "its journal is gone" in refused(unfinished, run, sent)
