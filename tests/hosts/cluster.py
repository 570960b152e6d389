# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A SPIKE on real hosts, and Ansible's programs as an operator of theirs runs them."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from ansible_collections.dayzero.spike.tests.hosts.machines import (
    Machine,
    Site,
    access,
    wait_for,
)
from ansible_collections.dayzero.spike.tests.support.ansible_run import PlaybookRun, run_playbook

KEEPERS = ("keeper1", "keeper2", "keeper3")
_UNIT = """[Unit]
After=spire-agent.service
[Service]
User=spike-{name}
ExecStart=/usr/local/bin/gospike {name}
EnvironmentFile=/etc/spike-{name}.env
Restart=on-failure
RestartSec=300ms
[Install]
WantedBy=multi-user.target
"""
_SOCKET = "unix:///run/spire/agent.sock"
_ENVIRONMENT = {
    "SPIFFE_ENDPOINT_SOCKET": _SOCKET,
    "SPIKE_NEXUS_KEEPER_PEERS": ",".join(f"https://{name}:8443" for name in KEEPERS),
    "SPIKE_NEXUS_SHAMIR_THRESHOLD": "2",
    "SPIKE_NEXUS_SHAMIR_SHARES": "3",
    "SPIKE_NEXUS_DATA_DIR": "/var/lib/spike",
    "SPIKE_NEXUS_KEEPER_UPDATE_INTERVAL": "5s",
    "SPIKE_NEXUS_RECOVERY_MAX_INTERVAL": "2s",
    # As SPIKE's own programs do, it wants to know where its user is at home.
    "HOME": "/var/lib/spike",
}


class Cluster:
    """Three keepers, and a Nexus on the host that also bootstraps them."""

    def __init__(self, site: Site, nexus: str, directory: Path) -> None:
        self.site = site
        self.nexus = site.machines[nexus]
        self.keepers = [site.machines[name] for name in KEEPERS]
        # Ansible's own default is without it, which takes more than twice as long.
        self.pipelining = True
        self._directory = directory
        self._numbers = itertools.count()

    def fresh(self) -> None:
        """Take every shard, the data of Nexus, and what the role has made, from the hosts."""
        # First whatever Nexus there is: it would give the keepers their shards back.
        for machine in self.site.machines.values():
            if machine not in self.keepers:
                machine.run("systemctl", "stop", "spike-nexus")
        for keeper in self.keepers:
            keeper.run("systemctl", "restart", "spike-keeper")
        self.nexus.run(
            "sh",
            "-c",
            "rm -rf /var/lib/spike /var/lib/spike-bootstrap /run/spike-bootstrap /etc/spike;"
            "userdel spike-bootstrap; groupdel spike-bootstrap;"
            "install -d -o spike-nexus -g spike-nexus -m 0700 /var/lib/spike",
            check=False,
        )
        self.start_nexus()

    def start_nexus(self) -> None:
        """Start Nexus, and return when it listens."""
        self.nexus.run("systemctl", "start", "spike-nexus")
        wait_for("Nexus", lambda: ":8553 " in self.nexus.run("ss", "-Hltn"))

    def inventory(self, **changes: Any) -> dict[str, Any]:
        """What the operator has written down."""
        variables = {
            "spike_bootstrap_nexus_api_url": f"https://{self.nexus.name}:8553",
            "spike_bootstrap_nexus_data_dir": "/var/lib/spike",
            "spike_bootstrap_svid_source": "spire_agent",
            "spike_bootstrap_spiffe_endpoint_socket": _SOCKET,
            "spike_bootstrap_keeper_timeout": "6s",
            "spike_bootstrap_init_verification_timeout": "60s",
            **changes,
        }
        return {
            "all": {
                "vars": access(self.site),
                "children": {
                    "spike_keepers": {
                        "hosts": {
                            keeper.name: {
                                "ansible_host": keeper.address,
                                "spike_keeper_url": f"https://{keeper.name}:8443",
                            }
                            for keeper in self.keepers
                        }
                    },
                    "spike_bootstrap": {
                        "hosts": {self.nexus.name: {"ansible_host": self.nexus.address}},
                        "vars": variables,
                    },
                },
            }
        }

    def _written(self, changes: dict[str, Any]) -> tuple[Path, Path]:
        number = next(self._numbers)
        inventory = self._directory / f"inventory{number}.json"
        inventory.write_text(json.dumps(self.inventory(**changes)))
        return inventory, self._directory / f"kept{number}"

    def play(self, playbook: str, *arguments: str, **changes: Any) -> PlaybookRun:
        """Run one of the collection's playbooks; ``changes`` are variables of the inventory."""
        inventory, kept = self._written(changes)
        return run_playbook(
            f"dayzero.spike.{playbook}",
            inventory,
            *arguments,
            environment=self._environment(),
            kept=kept,
        )

    def _environment(self) -> dict[str, str]:
        return {**self.site.environment, "ANSIBLE_PIPELINING": str(self.pipelining)}

    def start_play(self, playbook: str, **changes: Any) -> subprocess.Popen[str]:
        """Start one, for somebody else to end."""
        inventory, _kept = self._written(changes)
        program = Path(sys.executable).parent / "ansible-playbook"
        return subprocess.Popen(
            [str(program), "-i", str(inventory), f"dayzero.spike.{playbook}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self._environment(),
            start_new_session=True,
        )

    def journal(self) -> dict[str, Any]:
        """The journal on the bootstrap host; empty where there is none."""
        text = self.nexus.run("cat", "/var/lib/spike-bootstrap/journal.json", check=False)
        journal: dict[str, Any] = json.loads(text) if text else {}
        return journal

    def delivered(self) -> bool:
        """Whether every keeper has its shard, as the journal says."""
        return len(self.journal().get("delivered", [])) == len(self.keepers)

    def lock_is_free(self) -> bool:
        """Whether no run holds the lock."""
        lock = "/var/lib/spike-bootstrap/lock"
        return "free" in self.nexus.run("sh", "-c", f"flock -n {lock} echo free || true")


def prepare(site: Site) -> None:
    """What SPIKE's owners have installed before anybody thinks of day zero: before the boot."""
    for machine in site.machines.values():
        if machine.name in KEEPERS:
            _service(machine, "keeper")
            site.entry(machine.name, "/spike/keeper", "unix:user:spike-keeper")
        else:
            _service(machine, "nexus")
            site.entry(machine.name, "/spike/nexus", "unix:user:spike-nexus")
            site.entry(machine.name, "/spike/bootstrap", "unix:user:spike-bootstrap")


def _service(machine: Machine, name: str) -> None:
    user = f"useradd --system --no-create-home spike-{name}"
    subprocess.run(["chroot", str(machine.root), *user.split()], check=True)
    machine.write(f"/etc/systemd/system/spike-{name}.service", _UNIT.format(name=name))
    lines = [f"{key}={value}" for key, value in _ENVIRONMENT.items()]
    machine.write(f"/etc/spike-{name}.env", "\n".join(lines) + "\n")
    if name == "keeper":
        machine.enable("spike-keeper")


__all__ = ["KEEPERS", "Cluster", "prepare"]
