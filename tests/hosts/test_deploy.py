# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook ``deploy``: four hosts without SPIKE, and how their cluster lives on.

The tests of this file are one story, told in its order: each goes on with what the one before has
left, because a cluster is deployed once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.dayzero.spike.tests.hosts.deployment import (
    DEPLOY_SUITES,
    Deployment,
    changed,
    recap,
    with_spire,
)
from ansible_collections.dayzero.spike.tests.hosts.file_system import Missing
from ansible_collections.dayzero.spike.tests.hosts.machines import hosts, wait_for

# "systemd-analyze security" calls this OK; the documentation has the figures.
MOST_EXPOSED = 3.0
KEEPERS = ["keeper1", "keeper2", "keeper3"]


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    try:
        with hosts(DEPLOY_SUITES, with_spire) as site:
            yield Deployment(site, tmp_path_factory.mktemp("deployment"))
    except Missing as problem:
        pytest.skip(str(problem))


def shown(title: str, deployment: Deployment, text: str) -> None:
    """Keep what the documentation quotes, where whoever runs the tests finds it."""
    (deployment.directory / f"{title}.txt").write_text(text)
    print(f"\n{title}:\n{text}")


def recap_of(output: str) -> str:
    return output[output.rindex("PLAY RECAP") :].strip()


def test_a_check_of_bare_hosts_installs_nothing(deployment: Deployment) -> None:
    check = deployment.play("--check", "--diff")
    assert check.returncode == 0, check.output
    for machine in deployment.site.machines.values():
        assert machine.run("ls", "/etc/spike", check=False) == ""
        assert machine.run("sh", "-c", "ls /etc/systemd/system | grep spike || true") == ""


def test_bare_hosts_become_a_proved_cluster_in_one_run(deployment: Deployment) -> None:
    # Of somebody else, on an agent of this cluster.
    deployment.site.entry("keeper1", "/somebody/else", "unix:uid:4242")
    before = deployment.entry_of("/somebody/else")
    run = deployment.play()
    assert run.returncode == 0, run.output
    # One delivery, and before and after it what only asked.
    assert [result["changed"] for result in run.results].count(True) == 1
    assert (run.results[-1]["phase"], run.results[-1]["nexus"]["state"]) == ("done", "ready")
    assert all(numbers["failed"] == 0 for numbers in recap(run).values())
    assert deployment.entry_of("/somebody/else") == before
    shown("first", deployment, recap_of(run.output))


def test_run_again_it_changes_nothing(deployment: Deployment) -> None:
    again = deployment.play()
    assert again.returncode == 0, again.output
    assert changed(again) == {}
    shown("again", deployment, recap_of(again.output))


@pytest.mark.parametrize("unit", ["spike-keeper", "spike-nexus"])
def test_the_units_are_as_closed_as_they_are_said_to_be(unit: str, deployment: Deployment) -> None:
    machine = deployment.nexus if unit == "spike-nexus" else deployment.keepers[1]
    analysis = machine.run("systemd-analyze", "security", f"{unit}.service", "--no-pager")
    verdict = re.search(r"Overall exposure level for \S+: ([0-9.]+) (\w+)", analysis)
    assert verdict is not None, analysis
    shown(unit, deployment, verdict[0])
    assert float(verdict[1]) <= MOST_EXPOSED


def test_a_changed_setting_is_rolled_through_one_keeper_at_a_time(deployment: Deployment) -> None:
    before = deployment.processes()
    deployment.await_shards()
    deployment.variables["spike_log_level"] = "DEBUG"
    run = deployment.play("--diff")
    assert run.returncode == 0, run.output
    assert run.output.count("+SPIKE_SYSTEM_LOG_LEVEL=DEBUG") == len(KEEPERS) + 1
    shown("rolled", deployment, recap_of(run.output))
    after = deployment.processes()
    assert all(before[name] != after[name] for name in KEEPERS)
    deployment.await_shards()
    # From its stop until its next shard a keeper has none: no two such times overlap.
    gaps = []
    for keeper in deployment.keepers:
        history = deployment.history(keeper)
        stopped = max(when for when, what in history if what == "stopped")
        shard = min(when for when, what in history if what == "shard" and when > stopped)
        gaps.append((stopped, shard))
    gaps.sort()
    assert all(earlier[1] <= later[0] for earlier, later in zip(gaps, gaps[1:], strict=False))


def test_without_nexus_no_keeper_that_may_hold_a_shard_is_restarted(
    deployment: Deployment,
) -> None:
    before = deployment.processes()
    deployment.nexus.run("systemctl", "stop", "spike-nexus")
    try:
        deployment.variables["spike_log_level"] = "INFO"
        refused = deployment.play()
    finally:
        deployment.nexus.run("systemctl", "start", "spike-nexus")
    assert refused.returncode == 2, refused.output
    assert "spike_keeper_restart" in refused.output
    assert deployment.processes() == before

    # With Nexus the same command does it, and exchanges both programs on the way.
    wait_for("Nexus", lambda: ":8553 " in deployment.nexus.run("ss", "-Hltn"))
    deployment.await_shards()
    deployment.exchange_programs()
    run = deployment.play()
    assert run.returncode == 0, run.output
    assert all(before[name] != after for name, after in deployment.processes().items())
    assert deployment.programs() == {deployment.variables["spike_keeper_binary_sha256"]}
    assert "SPIKE Nexus was exchanged, and every keeper has taken a shard from it." in run.output


def test_settings_of_somebody_else_are_found_before_anything_is_sent(
    deployment: Deployment,
) -> None:
    run = deployment.play(spike_bootstrap_shamir_threshold=3)
    assert run.returncode == 2, run.output
    assert "SPIKE_NEXUS_SHAMIR_THRESHOLD" in run.output
    assert run.results == []


def test_a_program_with_another_digest_is_refused(deployment: Deployment, tmp_path: Path) -> None:
    other = tmp_path / "keeper"
    other.write_bytes(b"#!/bin/sh\n")
    before = deployment.processes()
    run = deployment.play(spike_keeper_binary=str(other), spike_keeper_binary_sha256="0" * 64)
    assert run.returncode == 2, run.output
    assert "sha256" in run.output.lower()
    assert deployment.processes() == before


def test_who_forces_it_goes_on_without_nexus(deployment: Deployment) -> None:
    before = deployment.processes()
    deployment.nexus.run("systemctl", "stop", "spike-nexus")
    deployment.variables["spike_log_level"] = "WARN"
    run = deployment.play(spike_keeper_restart="force")
    # Nexus is started while the keepers still have their shards, and they are restarted after it.
    assert run.returncode == 0, run.output
    assert all(before[name] != after for name, after in deployment.processes().items())
    assert run.results[-1]["nexus"]["state"] == "ready"
