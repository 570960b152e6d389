# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Day zero over SSH on real hosts, and what happens to hosts at night."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest
from ansible_collections.dayzero.spike.tests.hosts.cluster import Cluster
from ansible_collections.dayzero.spike.tests.hosts.file_system import ROOT_PASSWORD
from ansible_collections.dayzero.spike.tests.hosts.machines import Site, wait_for
from ansible_collections.dayzero.spike.tests.support.ansible_run import PlaybookRun

# A module whose controller is gone has let go of its lock within 15 s, as the contract says.
LETS_GO_SECONDS = 15
# How long a network is cut: longer than anything here waits for an answer of a peer.
CUT_SECONDS = 8


def changed(run: PlaybookRun) -> dict[str, int]:
    """How many tasks have changed each host, as the recap says."""
    recap = re.findall(r"^(\S+) +: ok=\d+ +changed=(\d+)", run.output, re.MULTILINE)
    return {host: int(number) for host, number in recap}


@pytest.mark.parametrize("host", ["nexus1", "nexus2"])
def test_a_fresh_host_is_checked_prepared_and_bootstrapped_and_then_left_alone(
    host: str, site: Site, tmp_path: Path
) -> None:
    cluster = Cluster(site, host, tmp_path)
    cluster.fresh()

    check = cluster.play("day_zero", "--check")
    assert check.returncode == 0, check.output
    assert "This host is not prepared." in check.output
    assert check.results == []

    prepared = cluster.play("day_zero", "--tags", "spike_prepare")
    assert prepared.returncode == 0, prepared.output

    check = cluster.play("day_zero", "--check")
    assert check.returncode == 0, check.output
    assert [result["phase"] for result in check.results] == ["reach"]
    assert not cluster.delivered()

    run = cluster.play("day_zero")
    assert run.returncode == 0, run.output
    assert (run.results[-1]["phase"], run.results[-1]["changed"]) == ("done", True)
    assert run.results[-1]["nexus"]["state"] == "ready"

    again = cluster.play("day_zero")
    assert again.returncode == 0, again.output
    assert changed(again)[host] == 0

    status = cluster.play("status")
    assert status.returncode == 0, status.output
    assert "Finished" in status.output


def test_the_database_is_found_although_its_directory_is_closed(cluster: Cluster) -> None:
    cluster.nexus.run("systemctl", "stop", "spike-nexus")
    cluster.nexus.run(
        "sh", "-c", "umask 077; mkdir -p /var/lib/spike/data; : >/var/lib/spike/data/spike.db"
    )
    run = cluster.play("day_zero")
    assert run.returncode == 2
    assert run.results[-1]["code"] == "state_already_initialized"
    assert "/var/lib/spike" in run.results[-1]["msg"]


def test_a_keeper_host_that_is_powered_off_is_named(cluster: Cluster) -> None:
    lost = cluster.keepers[1]
    lost.power_off()
    try:
        run = cluster.play("day_zero")
    finally:
        lost.boot()
    assert run.returncode == 2
    result = run.results[-1]
    assert (result["phase"], result["failed_keepers"]) == ("reach", [2])
    assert result["keepers"][1]["cause"] == "connect_timeout"
    assert result["keepers"][1]["attempts"] == 5
    assert not cluster.delivered()


@pytest.mark.parametrize(
    ("verdict", "cause"),
    [("drop", "connect_timeout"), ("reject with tcp reset", "connection_refused")],
)
def test_a_firewall_in_front_of_a_keeper_is_met_in_time(
    verdict: str, cause: str, cluster: Cluster
) -> None:
    behind = cluster.keepers[2]
    behind.filter_port(8443, verdict)
    try:
        run = cluster.play("day_zero")
    finally:
        behind.reconnect()
    result = run.results[-1]
    assert (result["phase"], result["failed_keepers"]) == ("reach", [3])
    assert result["keepers"][2]["cause"] == cause
    assert result["keepers"][2]["elapsed"] < 6.5
    assert cluster.play("day_zero").returncode == 0


def test_a_bootstrap_host_that_reboots_during_the_proof_ends_on_the_same_key(
    cluster: Cluster,
) -> None:
    cluster.nexus.run("systemctl", "stop", "spike-nexus")
    started = cluster.start_play("day_zero")
    wait_for("the delivery", cluster.delivered)
    cluster.nexus.reboot()
    output, _errors = started.communicate(timeout=120)
    assert started.returncode != 0, output
    assert cluster.nexus.run("ls", "-A", "/run/spike-bootstrap", check=False) == ""

    cluster.start_nexus()
    again = cluster.play("day_zero")
    assert again.returncode == 0, again.output
    # No key was drawn and no shard was sent: Nexus has proved the one that the keepers got.
    assert (again.results[-1]["phase"], again.results[-1]["changed"]) == ("done", False)
    assert again.results[-1]["nexus"]["state"] == "ready"


def test_a_run_whose_ssh_is_gone_frees_the_lock_and_the_next_run_finishes(
    cluster: Cluster,
) -> None:
    cluster.nexus.run("systemctl", "stop", "spike-nexus")
    started = cluster.start_play("day_zero")
    wait_for("the delivery", cluster.delivered)
    os.killpg(started.pid, signal.SIGKILL)
    wait_for("the lock", cluster.lock_is_free, LETS_GO_SECONDS)
    started.communicate(timeout=60)
    assert cluster.journal()["state"] != "finished"

    cluster.start_nexus()
    again = cluster.play("day_zero")
    assert again.returncode == 0, again.output
    # Nexus proves the key of the first run: none was drawn, and no shard was sent.
    assert (again.results[-1]["phase"], again.results[-1]["changed"]) == ("done", False)


def test_a_network_that_is_cut_during_the_proof_does_not_keep_the_host_from_finishing_it(
    cluster: Cluster,
) -> None:
    cluster.nexus.run("systemctl", "stop", "spike-nexus")
    started = cluster.start_play("day_zero")
    wait_for("the delivery", cluster.delivered)
    # Nexus is on the same host. It gets its key once it hears the keepers again.
    cluster.nexus.cut()
    os.killpg(started.pid, signal.SIGSTOP)
    try:
        cluster.nexus.run("systemctl", "start", "spike-nexus")
        # Nobody answers this controller, and no packet ends the connection.
        time.sleep(CUT_SECONDS)
        assert not cluster.lock_is_free()
    finally:
        cluster.nexus.reconnect()
    wait_for("the proof", lambda: cluster.journal()["state"] == "finished")
    os.killpg(started.pid, signal.SIGKILL)
    started.communicate(timeout=60)

    again = cluster.play("day_zero")
    assert again.returncode == 0, again.output
    assert (again.results[-1]["phase"], again.results[-1]["changed"]) == ("done", False)


def test_a_plain_user_becomes_root_and_the_bootstrap_user_with_su(cluster: Cluster) -> None:
    run = cluster.play(
        "day_zero",
        ansible_user="plain",
        ansible_become_method="su",
        ansible_become_password=ROOT_PASSWORD,
    )
    assert run.returncode == 0, run.output
    assert run.results[-1]["nexus"]["state"] == "ready"


def test_two_controllers_at_once_end_on_one_key(cluster: Cluster) -> None:
    prepared = cluster.play("day_zero", "--tags", "spike_prepare")
    assert prepared.returncode == 0, prepared.output
    settings = {"spike_bootstrap_keeper_timeout": "30s"}
    both = [cluster.start_play("day_zero", **settings) for _controller in range(2)]
    outputs = [run.communicate(timeout=180)[0] for run in both]
    assert [run.returncode for run in both] == [0, 0], outputs
    again = cluster.play("day_zero")
    assert again.returncode == 0, again.output
    assert again.results[-1]["changed"] is False
