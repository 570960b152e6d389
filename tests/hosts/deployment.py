# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts with SPIRE's agent and nothing of SPIKE, and the inventory that deploys it to them."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import shutil
from pathlib import Path
from typing import Any

from ansible_collections.dayzero.spike.tests.hosts.machines import (
    Machine,
    Site,
    access,
    wait_for,
)
from ansible_collections.dayzero.spike.tests.support.ansible_run import PlaybookRun, run_playbook

DEPLOY_SUITES = {
    "keeper1": "bookworm",
    "keeper2": "trixie",
    "keeper3": "bookworm",
    "nexus1": "trixie",
}
_SPIRE_SERVER = """#!/bin/sh
GOSPIKE_ENTRIES=/var/lib/spire/entries.json exec /opt/spire/spire-server "$@"
"""


def with_spire(site: Site) -> None:
    """Only SPIRE is there: an agent on each host, and its server on that of Nexus."""
    server = site.machines["nexus1"]
    directory = server.root / "opt/spire"
    directory.mkdir()
    (directory / "spire-server").symlink_to("/usr/local/bin/gospike")
    # The link of every host gives way.
    (server.root / "usr/local/bin/spire-server").unlink()
    server.write("/usr/local/bin/spire-server", _SPIRE_SERVER, mode=0o755)


class Deployment:
    """The cluster that the playbook makes of the hosts, and what its operator has written down."""

    def __init__(self, site: Site, directory: Path) -> None:
        self.site = site
        self.keepers = [site.machines[name] for name in DEPLOY_SUITES if name != "nexus1"]
        self.nexus = site.machines["nexus1"]
        self.directory = directory
        self._numbers = itertools.count()
        self.binary = directory / "spike"
        shutil.copy(site.gospike, self.binary)
        digest = _sha256(self.binary)
        # What every run has, until a test changes it.
        self.variables: dict[str, Any] = {
            "spike_keeper_binary": str(self.binary),
            "spike_keeper_binary_sha256": digest,
            "spike_nexus_binary": str(self.binary),
            "spike_nexus_binary_sha256": digest,
            "spike_nexus_keeper_update_interval": "2s",
            "spike_nexus_environment": {"SPIKE_NEXUS_RECOVERY_MAX_INTERVAL": "2s"},
            "spike_bootstrap_nexus_api_url": "https://nexus1:8553",
            "spike_bootstrap_svid_source": "spire_agent",
            "spike_bootstrap_spiffe_endpoint_socket": "unix:///run/spire/agent.sock",
            "spike_bootstrap_init_verification_timeout": "60s",
        }

    def inventory(self) -> dict[str, Any]:
        """What the operator has written down."""
        nexus = {
            "ansible_host": self.nexus.address,
            "spire_agent_id": self.nexus.agent_id,
        }
        return {
            "all": {
                "vars": {**access(self.site), **self.variables},
                "children": {
                    "spike_keepers": {
                        "hosts": {
                            keeper.name: {
                                "ansible_host": keeper.address,
                                "spike_keeper_url": f"https://{keeper.name}:8443",
                                "spire_agent_id": keeper.agent_id,
                            }
                            for keeper in self.keepers
                        }
                    },
                    "spike_nexus": {"hosts": {"nexus1": nexus}},
                    "spike_bootstrap": {"hosts": {"nexus1": {}}},
                    "spike_entries": {"hosts": {"nexus1": {}}},
                },
            }
        }

    def play(self, *arguments: str, playbook: str = "deploy", **changes: Any) -> PlaybookRun:
        """Run a playbook of the collection; ``changes`` are for this run."""
        number = next(self._numbers)
        inventory = self.directory / f"inventory{number}.json"
        inventory.write_text(json.dumps(self.inventory()))
        extra = ("--extra-vars", json.dumps(changes)) if changes else ()
        return run_playbook(
            f"dayzero.spike.{playbook}",
            inventory,
            *arguments,
            *extra,
            environment={**self.site.environment, "ANSIBLE_PIPELINING": "true"},
            kept=self.directory / f"kept{number}",
        )

    def process(self, machine: Machine) -> str:
        """The process of the keeper or of Nexus, and when it began; another after a restart."""
        unit = "spike-nexus" if machine is self.nexus else "spike-keeper"
        shown = machine.run(
            "systemctl", "show", unit, "--property=MainPID,ExecMainStartTimestampMonotonic"
        )
        return " ".join(sorted(shown.split()))

    def processes(self) -> dict[str, str]:
        """The processes of all keepers, by host."""
        return {keeper.name: self.process(keeper) for keeper in self.keepers}

    def history(self, keeper: Machine) -> list[tuple[float, str]]:
        """When the keeper was started, and when it took a shard, in seconds: ``(when, what)``."""
        text = keeper.run("journalctl", "--unit=spike-keeper", "--output=json", "--no-pager")
        found = []
        for line in text.splitlines():
            entry = json.loads(line)
            message = str(entry.get("MESSAGE"))
            when = int(entry["__REALTIME_TIMESTAMP"]) / 1e6
            if message.startswith("Started "):
                found.append((when, "started"))
            elif message.startswith("Stopping "):
                found.append((when, "stopped"))
            elif "/v1/store/contribute" in message and "audit-success" in message:
                found.append((when, "shard"))
        return found

    def entry_of(self, path: str) -> dict[str, Any]:
        """The registration entry for ``path``, as SPIRE's server has it."""
        entries: list[dict[str, Any]] = json.loads(self.site.entries.read_text())
        (found,) = [entry for entry in entries if entry["spiffe_id"]["path"] == path]
        return found

    def exchange_programs(self) -> None:
        """Give the operator another build of SPIKE's programs."""
        other = self.directory / "spike-next"
        # A program ends where its sections do.
        other.write_bytes(self.binary.read_bytes() + b"next")
        other.chmod(0o755)
        for part in ("keeper", "nexus"):
            self.variables[f"spike_{part}_binary"] = str(other)
            self.variables[f"spike_{part}_binary_sha256"] = _sha256(other)

    def programs(self) -> set[str]:
        """The digests of SPIKE's programs that are installed."""
        installed = [keeper.root / "usr/local/bin/spike-keeper" for keeper in self.keepers]
        installed.append(self.nexus.root / "usr/local/bin/spike-nexus")
        return {_sha256(path) for path in installed}

    def await_shards(self) -> None:
        """Return when every keeper has taken a shard since it was started."""
        for keeper in self.keepers:
            wait_for(
                f"a shard of {keeper.name}",
                lambda keeper=keeper: self.history(keeper)[-1][1] == "shard",  # type: ignore[misc]
            )


def recap(run: PlaybookRun) -> dict[str, dict[str, int]]:
    """The numbers of the recap, by host."""
    lines = re.findall(r"^(\S+) +: (ok=.*)$", run.output, re.MULTILINE)
    return {
        host: {name: int(number) for name, number in re.findall(r"(\w+)=(\d+)", numbers)}
        for host, numbers in lines
    }


def changed(run: PlaybookRun) -> dict[str, int]:
    """How many tasks have changed each host, as the recap says; hosts without are left out."""
    return {host: numbers["changed"] for host, numbers in recap(run).items() if numbers["changed"]}


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


__all__ = ["DEPLOY_SUITES", "Deployment", "changed", "recap", "with_spire"]
