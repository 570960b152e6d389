# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbooks of an emergency, as an operator runs them."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import subprocess
import termios
import time
from pathlib import Path

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.description import (
    describe,
    inventory,
)
from ansible_collections.dayzero.spike.tests.support.ansible_run import run_program
from ansible_collections.dayzero.spike.tests.support.custodian_keys import with_age, with_pgp
from ansible_collections.dayzero.spike.tests.support.emergency import lines_of
from ansible_collections.dayzero.spike.tests.support.module_host import Host

pytestmark = pytest.mark.slow


def test_shards_to_custodians_loss_and_restore(host: Host, tmp_path: Path) -> None:
    hosts = tmp_path / "inventory.yml"
    hosts.write_text(inventory(describe(host.sandbox, host.state_dir, host.runtime_dir)))
    assert host.run().result["changed"]
    owners = [with_age("alice"), with_pgp("bob"), with_age("carol")]
    shards = tmp_path / "shards"

    def play(name: str, variables: dict[str, object]) -> tuple[int, str]:
        given = tmp_path / "variables.json"
        given.write_text(json.dumps(variables))
        arguments = ("-i", str(hosts), f"dayzero.spike.{name}", "-e", f"@{given}")
        done = run_program("ansible-playbook", *arguments, environment=host.environment)
        return done.returncode, " ".join((done.stdout + done.stderr).split())

    recovering = {
        "spike_recover_custodians": [owner.option for owner in owners],
        "spike_recover_directory": str(shards),
    }
    status, output = play("recover", recovering)
    assert status == 0, output
    assert "2 of these 3 custodians can give the cluster its key back:" in output
    files = ["recovery.json", "shard-1-alice.age", "shard-2-bob.asc", "shard-3-carol.age"]
    assert sorted(os.listdir(shards)) == files
    assert all(path.stat().st_mode & 0o7777 == 0o600 for path in shards.iterdir())
    description = json.loads((shards / "recovery.json").read_text())
    assert [entry["custodian"] for entry in description["shards"]] == ["alice", "bob", "carol"]

    host.sandbox.restart()
    lines = [
        owner.open((shards / name).read_text())
        for owner, name in zip(owners, files[1:], strict=True)
    ]
    mistyped = [lines[0], lines[1][:-1] + ("1" if lines[1][-1] == "0" else "0")]
    status, output = play("restore", {"spike_restore_shards": mistyped})
    assert status != 0
    assert "Nothing was sent" in output, output[-2500:]
    status, output = play("restore", {"spike_restore_shards": lines[1:]})
    assert status == 0, output
    assert "Nexus proves the root key" in output
    assert not any(line.split(":")[2] in output for line in lines)


def test_the_lines_are_asked_for_and_not_echoed(host: Host, tmp_path: Path) -> None:
    hosts = tmp_path / "inventory.yml"
    hosts.write_text(inventory(describe(host.sandbox, host.state_dir, host.runtime_dir)))
    assert host.run().result["changed"]
    lines = lines_of(host.root_key(1, 2), host.sandbox)
    host.sandbox.restart()
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        ["ansible-playbook", "-i", str(hosts), "dayzero.spike.restore"],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env=host.environment,
        start_new_session=True,
        # Ansible asks only at a terminal that it owns.
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(follower)
    output, typed = b"", 0
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and select.select([leader], [], [], 30)[0]:
        try:
            output += os.read(leader, 65536)
        except OSError:
            break
        if output.count(b"hex digits>") > typed < 2:
            typed += 1
            time.sleep(0.5)
            os.write(leader, lines[typed].encode() + b"\r")
    assert process.wait(30) == 0, output.decode()[-3000:]
    os.close(leader)
    assert b"Nexus proves the root key" in output
    assert not any(line.split(":")[2].encode() in output for line in lines.values())
