# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The key is lost and restored on real hosts, by users who are there for nothing else."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.dayzero.spike.tests.hosts.cluster import Cluster
from ansible_collections.dayzero.spike.tests.hosts.machines import Site, wait_for
from ansible_collections.dayzero.spike.tests.support.custodian_keys import Owner, with_age

# SPIRE's server is asked on a host that has no other part in this.
SPIRE_HOST = "keeper1"
SERVER = "/usr/local/bin/spire-server-of-this-site"
_SERVER = """#!/bin/sh
GOSPIKE_ENTRIES=/var/lib/spire/entries.json exec spire-server "$@"
"""


class Custodied(Cluster):
    """A cluster with three custodians, and with the host of SPIRE's server in its inventory."""

    def __init__(self, site: Site, nexus: str, directory: Path) -> None:
        super().__init__(site, nexus, directory)
        self.owners: list[Owner] = [with_age(name) for name in ("alice", "bob", "carol")]
        self.shards = directory / "shards"
        site.machines[SPIRE_HOST].write(SERVER, _SERVER, mode=0o755)
        _give_pyrage(self.nexus.root)

    def inventory(self, **changes: Any) -> dict[str, Any]:
        inventory = super().inventory(
            **{
                "spire_agent_id": self.nexus.agent_id,
                "spike_recover_custodians": [owner.option for owner in self.owners],
                "spike_recover_directory": str(self.shards),
                # The hosts reach no package index.
                "spike_recover_venv": "",
                **changes,
            }
        )
        address = self.site.machines[SPIRE_HOST].address
        inventory["all"]["children"]["spike_entries"] = {
            "hosts": {SPIRE_HOST: {"ansible_host": address, "spike_entries_spire_server": SERVER}}
        }
        return inventory

    def lines(self) -> list[str]:
        """What the custodians decrypt."""
        return [
            owner.open((self.shards / f"shard-{number}-{owner.name}.age").read_text())
            for number, owner in enumerate(self.owners, 1)
        ]

    def pilots(self) -> list[str]:
        """The entries of SPIRE's for those who act in an emergency."""
        entries = json.loads(self.site.entries.read_text())
        paths = [entry["spiffe_id"]["path"] for entry in entries]
        return [path for path in paths if path.startswith("/spike/pilot")]

    def lose_everything(self) -> None:
        """Restart all at once."""
        self.nexus.run("systemctl", "stop", "spike-nexus")
        for keeper in self.keepers:
            keeper.run("systemctl", "restart", "spike-keeper")
        self.start_nexus()

    def where_shown(self, text: str) -> str:
        """The files of the bootstrap host that hold ``text``."""
        places = ["/etc", "/home", "/opt", "/root", "/run", "/tmp", "/var", "/dev/shm"]
        found = self.nexus.run("grep", "-rlsI", text, *places, check=False)
        journal = self.nexus.run("sh", "-c", "journalctl --no-pager | cat")
        return found + ("the host's journal" if text in journal else "")


def _give_pyrage(root: Path) -> None:
    found = importlib.util.find_spec("pyrage")
    assert found is not None
    assert found.origin is not None
    source = Path(found.origin).parent
    for packages in root.glob("usr/lib/python3*"):
        place = root / "usr/local/lib" / packages.name / "dist-packages" / "pyrage"
        if packages.name != "python3":
            shutil.copytree(source, place, dirs_exist_ok=True)


@pytest.fixture
def custodied(site: Site, tmp_path: Path) -> Custodied:
    cluster = Custodied(site, "nexus1", tmp_path)
    cluster.fresh()
    run = cluster.play("day_zero")
    assert run.returncode == 0, run.output
    return cluster


def test_the_key_is_lost_and_restored_and_no_identity_stays(custodied: Custodied) -> None:
    run = custodied.play("recover")
    assert run.returncode == 0, run.output
    assert custodied.pilots() == []
    owner = custodied.nexus.run("stat", "-c", "%U %a", "/var/lib/spike-recover/journal.json")
    assert owner == "spike-recover 600\n"
    again = custodied.play("recover")
    assert again.returncode == 0, again.output
    # SPIRE's entry comes and goes; nothing is written.
    assert re.search(r"^nexus1 +: ok=\d+ +changed=2 ", again.output, re.MULTILINE), again.output

    custodied.lose_everything()
    lines = custodied.lines()
    mistyped = lines[1][:-1] + ("1" if lines[1][-1] == "0" else "0")
    refused = custodied.play("restore", spike_restore_shards=[lines[0], mistyped])
    assert refused.returncode == 2
    assert "Nothing was sent" in " ".join(refused.output.split()), refused.output
    assert custodied.pilots() == []

    restored = custodied.play("restore", spike_restore_shards=[lines[0], lines[2]])
    assert restored.returncode == 0, restored.output
    assert "Nexus proves the root key" in restored.output
    assert custodied.pilots() == []
    for line in lines:
        digits = line.split(":")[2]
        assert digits not in refused.output + restored.output
        assert custodied.where_shown(digits) == ""
    # The keepers have their shards back, so a Nexus that restarts finds its key.
    wait_for("the keepers' shards", lambda: _proves_after_a_restart(custodied))


def _proves_after_a_restart(cluster: Custodied) -> bool:
    cluster.nexus.run("systemctl", "restart", "spike-nexus")
    wait_for("Nexus", lambda: ":8553 " in cluster.nexus.run("ss", "-Hltn"))
    return cluster.play("day_zero").returncode == 0


def test_a_check_of_a_host_that_was_never_prepared_ends_well(custodied: Custodied) -> None:
    custodied.nexus.run(
        "sh", "-c", "userdel spike-recover; rm -rf /var/lib/spike-recover", check=False
    )
    check = custodied.play("recover", "--check")
    assert check.returncode == 0, check.output
    assert custodied.pilots() == []
    assert not custodied.shards.exists()
