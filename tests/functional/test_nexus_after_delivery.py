# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role where Nexus is started by a handler, once the shards are delivered."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.description import (
    describe,
    inventory,
)
from ansible_collections.dayzero.spike.tests.support.ansible_run import PlaybookRun, run_playbook
from ansible_collections.dayzero.spike.tests.support.module_host import Host

pytestmark = pytest.mark.slow

PLAY = """
- hosts: spike_bootstrap
  gather_facts: false
  vars:
    spike_bootstrap_nexus_after_delivery: true
  handlers:
    - name: Start Nexus where it runs
      ansible.builtin.command: sh -c 'echo delivered > "{fifo}"'
      listen: Start SPIKE Nexus
  roles:
    - role: dayzero.spike.spike_bootstrap
      vars:
        spike_bootstrap_keeper_peers: {peers}
  post_tasks:
    - ansible.builtin.copy:
        content: "{{{{ spike_bootstrap_result | to_json }}}}"
        dest: "{whole}"
"""


class NexusStarter:
    """Starts the sandbox's Nexus when a handler writes to ``fifo``."""

    def __init__(self, host: Host) -> None:
        self.fifo = host.directory / "start-nexus"
        self.shards_before_nexus: list[bytes | None] = []
        self._host = host
        os.mkfifo(self.fifo)
        self._thread = threading.Thread(target=self._wait, daemon=True)
        self._thread.start()

    def _wait(self) -> None:
        # Opening blocks until the handler opens the other end.
        self.fifo.read_text()
        self.shards_before_nexus = [keeper.shard for keeper in self._host.sandbox.keepers]
        self._host.sandbox.nexus.start()


def run_role(host: Host, fifo: Path, kept: str, **extra: str) -> PlaybookRun:
    hosts = host.directory / "hosts.yml"
    hosts.write_text(inventory(describe(host.sandbox, host.state_dir, host.runtime_dir)))
    playbook = host.directory / "site.yml"
    peers = json.dumps([keeper.url for keeper in host.sandbox.keepers])
    playbook.write_text(PLAY.format(fifo=fifo, peers=peers, whole=host.directory / "whole"))
    return run_playbook(
        str(playbook),
        hosts,
        "--extra-vars",
        json.dumps(extra),
        environment=host.environment,
        kept=host.directory / kept,
    )


def test_nexus_is_started_when_every_keeper_has_its_shard_and_then_proves_the_key(
    host: Host,
) -> None:
    host.sandbox.nexus.stop()
    starter = NexusStarter(host)
    run = run_role(host, starter.fifo, "first")
    assert run.returncode == 0, run.output
    assert all(starter.shards_before_nexus)
    delivered, proved = run.results
    assert (delivered["nexus"]["state"], delivered["changed"]) == ("skipped", True)
    assert (proved["nexus"]["state"], proved["phase"]) == ("ready", "done")
    assert host.nexus_holds(host.root_key(1, 2))
    # What a play goes on with is the result of both.
    whole = json.loads((host.directory / "whole").read_text())
    assert (whole["changed"], whole["phase"], whole["nexus"]) == (True, "done", proved["nexus"])
    assert whole["log"] == delivered["log"] + proved["log"]
    assert whole["keepers"] == delivered["keepers"]
    assert "Sent 3 shards to 3 keepers." in run.output.splitlines()


def test_a_service_that_is_not_there_is_missed_before_a_shard_leaves(host: Host) -> None:
    if not Path("/run/systemd/system").exists() or os.geteuid() != 0:
        pytest.skip("the role asks systemd, as root")
    host.sandbox.nexus.stop()
    starter = NexusStarter(host)
    run = run_role(
        host,
        starter.fifo,
        "first",
        spike_bootstrap_nexus_service="no-such-nexus",
        spike_bootstrap_nexus_data_dir=str(host.directory / "nexus"),
    )
    assert run.returncode == 2, run.output
    assert "'no-such-nexus', and this host has no such service" in " ".join(run.output.split())
    assert host.shard_requests() == 0


@pytest.mark.long
def test_a_second_run_of_the_role_starts_nothing(host: Host) -> None:
    host.sandbox.nexus.stop()
    starter = NexusStarter(host)
    assert run_role(host, starter.fifo, "first").returncode == 0
    again = run_role(host, starter.fifo, "second")
    assert again.returncode == 0, again.output
    assert "Start Nexus where it runs" not in again.output
    assert [result["changed"] for result in again.results] == [False, False]
