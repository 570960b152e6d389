# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Day zero over SSH on real hosts."""

from __future__ import annotations

import re
from pathlib import Path

from ansible_collections.dayzero.spike.tests.hosts.cluster import Cluster
from ansible_collections.dayzero.spike.tests.hosts.file_system import ROOT_PASSWORD
from ansible_collections.dayzero.spike.tests.hosts.machines import Site
from ansible_collections.dayzero.spike.tests.support.ansible_run import PlaybookRun


def changed(run: PlaybookRun) -> dict[str, int]:
    """How many tasks have changed each host, as the recap says."""
    recap = re.findall(r"^(\S+) +: ok=\d+ +changed=(\d+)", run.output, re.MULTILINE)
    return {host: int(number) for host, number in recap}


def test_a_fresh_host_is_checked_prepared_and_bootstrapped_and_then_left_alone(
    cluster: Cluster,
) -> None:
    # As Ansible does it when nobody has set anything.
    cluster.pipelining = False
    status = cluster.play("status")
    assert status.returncode == 2, status.output
    assert "Run the playbook dayzero.spike.day_zero first." in " ".join(status.output.split())

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

    finish_and_leave_alone(cluster)
    status = cluster.play("status")
    assert status.returncode == 0, status.output
    assert "Finished" in status.output


def test_a_fresh_host_of_the_next_release_is_bootstrapped_and_then_left_alone(
    site: Site, tmp_path: Path
) -> None:
    cluster = Cluster(site, "nexus2", tmp_path)
    cluster.fresh()
    finish_and_leave_alone(cluster)


def finish_and_leave_alone(cluster: Cluster) -> None:
    run = cluster.play("day_zero")
    assert run.returncode == 0, run.output
    assert (run.results[-1]["phase"], run.results[-1]["changed"]) == ("done", True)
    assert run.results[-1]["nexus"]["state"] == "ready"

    again = cluster.play("day_zero")
    assert again.returncode == 0, again.output
    assert changed(again)[cluster.nexus.name] == 0


def test_a_service_that_the_host_does_not_have_is_missed_before_a_shard_leaves(
    cluster: Cluster,
) -> None:
    run = cluster.play("day_zero", spike_bootstrap_nexus_service="spike-nexsu")
    assert run.returncode == 2, run.output
    assert "this host has no such service" in " ".join(run.output.split())
    assert not cluster.delivered()


def test_the_database_is_found_although_its_directory_is_closed(cluster: Cluster) -> None:
    cluster.nexus.run("systemctl", "stop", "spike-nexus")
    cluster.nexus.run(
        "sh", "-c", "umask 077; mkdir -p /var/lib/spike/data; : >/var/lib/spike/data/spike.db"
    )
    run = cluster.play("day_zero")
    assert run.returncode == 2
    assert run.results[-1]["code"] == "state_already_initialized"
    assert "/var/lib/spike" in run.results[-1]["msg"]


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
