# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What happens to hosts at night, and to their network."""

from __future__ import annotations

import os
import signal
import time

import pytest
from ansible_collections.dayzero.spike.tests.hosts.cluster import Cluster
from ansible_collections.dayzero.spike.tests.hosts.machines import wait_for

# A module whose controller is gone has let go of its lock within 15 s, as the contract says.
LETS_GO_SECONDS = 15
# How long a network is cut: longer than anything here waits for an answer of a peer.
CUT_SECONDS = 8
# How much later packets arrive: as across an ocean.
SLOW_SECONDS = 0.2


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


def test_a_network_that_loses_packets_delays_day_zero_and_does_not_fail_it(
    cluster: Cluster,
) -> None:
    for keeper in cluster.keepers:
        keeper.lose_packets(20)
    try:
        run = cluster.play("day_zero", spike_bootstrap_keeper_timeout="60s")
    finally:
        for keeper in cluster.keepers:
            keeper.reconnect()
    assert run.returncode == 0, run.output
    assert [keeper["attempts"] for keeper in run.results[-1]["keepers"]] == [1, 1, 1]


def test_a_network_that_is_slow_delays_day_zero_and_does_not_fail_it(cluster: Cluster) -> None:
    behind = cluster.keepers[1]
    if not behind.delay_packets(SLOW_SECONDS):
        pytest.skip("the kernel of this machine has no netem: packets cannot be delayed")
    try:
        run = cluster.play("day_zero")
    finally:
        behind.reconnect()
    assert run.returncode == 0, run.output
    assert run.results[-1]["keepers"][1]["attempts"] == 1
    # A connection, its handshake and a request are three times there and back at least.
    assert run.results[-1]["keepers"][1]["elapsed"] > 3 * SLOW_SECONDS


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
