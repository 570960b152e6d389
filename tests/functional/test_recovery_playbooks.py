# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbooks of an emergency, as an operator runs them."""

from __future__ import annotations

import json
import os
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
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
from ansible_collections.dayzero.spike.tests.support.module_run import files_below
from ansible_collections.dayzero.spike.tests.support.snapshot import snapshot
from ansible_collections.dayzero.spike.tests.support.spellings import (
    of_processes,
    shown_in,
    spellings,
)
from ansible_collections.dayzero.spike.tests.support.spire_server import FakeSpireServer
from ansible_collections.dayzero.spike.tests.support.terminal import typed

pytestmark = pytest.mark.slow


class Operator:
    """Who runs the playbooks against the cluster of ``host``."""

    def __init__(self, host: Host, directory: Path) -> None:
        self.host = host
        self.directory = directory
        self.owners = [with_age("alice"), with_pgp("bob"), with_age("carol")]
        self.shards = directory / "shards"
        self.inventory = directory / "inventory.yml"
        described = describe(host.sandbox, host.state_dir, host.runtime_dir)
        self.inventory.write_text(inventory(described))

    def play(self, name: str, *flags: str, **variables: object) -> tuple[int, str]:
        """Run a playbook; its status, and its output in one line."""
        given = self.directory / "variables.json"
        given.write_text(json.dumps(variables))
        done = run_program(
            "ansible-playbook",
            *("-i", str(self.inventory), f"dayzero.spike.{name}", "-e", f"@{given}", *flags),
            environment=self.host.environment,
        )
        return done.returncode, " ".join((done.stdout + done.stderr).split())

    def recover(self, *flags: str, **variables: object) -> tuple[int, str]:
        return self.play(
            "recover",
            *flags,
            **{
                "spike_recover_custodians": [owner.option for owner in self.owners],
                "spike_recover_directory": str(self.shards),
                **variables,
            },
        )

    def lines(self) -> list[str]:
        """What the custodians decrypt."""
        description = json.loads((self.shards / "recovery.json").read_text())
        files = [self.shards / entry["file"] for entry in description["shards"]]
        return [
            owner.open(path.read_text()) for owner, path in zip(self.owners, files, strict=True)
        ]


@pytest.fixture
def operator(host: Host, tmp_path: Path) -> Operator:
    """An operator with a finished cluster."""
    assert host.run().result["changed"]
    return Operator(host, tmp_path)


def changes(output: str) -> int:
    """How many tasks have changed something, for the bootstrap host."""
    found = re.search(r"bootstrap : ok=\d+ changed=(\d+)", output)
    assert found, output
    return int(found[1])


def mistyped(line: str) -> str:
    return line[:-1] + ("1" if line[-1] == "0" else "0")


def test_shards_to_custodians_loss_and_restore(operator: Operator) -> None:
    host, shards = operator.host, operator.shards
    status, output = operator.recover()
    assert status == 0, output
    assert "2 of these 3 custodians can give the cluster its key back:" in output
    files = ["recovery.json", "shard-1-alice.age", "shard-2-bob.asc", "shard-3-carol.age"]
    assert sorted(os.listdir(shards)) == files
    assert all(path.stat().st_mode & 0o7777 == 0o600 for path in shards.iterdir())
    description = json.loads((shards / "recovery.json").read_text())
    assert [entry["custodian"] for entry in description["shards"]] == ["alice", "bob", "carol"]
    assert description["written"]

    host.sandbox.restart()
    lines = operator.lines()
    status, output = operator.play("restore", spike_restore_shards=[lines[0], mistyped(lines[1])])
    assert status != 0
    assert "Nothing was sent" in output, output[-2500:]
    assert "Check that spike_bootstrap_shamir_threshold (2) is that of Nexus." in output
    assert "Rerun the playbook dayzero.spike.restore." in output
    status, output = operator.play("restore", spike_restore_shards=lines[1:])
    assert status == 0, output
    assert "Nexus proves the root key" in output
    assert not any(line.split(":")[2] in output for line in lines)


@pytest.mark.long
def test_a_second_recovery_writes_what_has_changed_and_nothing_else(operator: Operator) -> None:
    assert operator.recover()[0] == 0
    before = snapshot(operator.shards)
    status, output = operator.recover()
    assert status == 0
    assert changes(output) == 0
    assert snapshot(operator.shards) == before

    (operator.shards / "shard-3-carol.age").write_text("nonsense")
    assert changes(operator.recover()[1]) > 0
    lines = operator.lines()

    # Alice leaves, and her file goes.
    operator.owners[0] = with_age("dave")
    assert operator.recover()[0] == 0
    files = ["recovery.json", "shard-1-dave.age", "shard-2-bob.asc", "shard-3-carol.age"]
    assert sorted(os.listdir(operator.shards)) == files
    assert operator.lines() == lines


@pytest.mark.long
def test_custodians_come_one_by_one(operator: Operator) -> None:
    assert operator.recover()[0] == 0
    operator.host.sandbox.restart()
    lines = operator.lines()
    part = {"spike_restore_complete": False}
    status, output = operator.play("restore", spike_restore_shards=lines[2:], **part)
    assert status == 0, output
    assert "Nexus proves the root key" not in output
    status, output = operator.play("restore", spike_restore_shards=lines[:1], **part)
    assert status == 0, output
    assert "Nexus proves the root key" in output


@pytest.mark.long
def test_while_a_restore_waits_its_lines_are_in_no_file_argument_or_environment(
    operator: Operator,
) -> None:
    host = operator.host
    lines = list(lines_of(host.root_key(1, 2), host.sandbox).values())[:2]
    secrets = [host.root_key(1, 2), *host.shards().values()]
    forms = [form for secret in secrets for form in spellings(secret)]
    host.sandbox.restart()
    host.sandbox.nexus.inject({"delay": "3s"})
    with ThreadPoolExecutor(1) as aside:
        # The operator's own file with them is not looked at.
        running = aside.submit(operator.play, "restore", spike_restore_shards=lines)
        assert host.sandbox.nexus.stats.wait_for(lambda stats: stats.restore_requests > 0, 60)
        texts = files_below(host.state_dir, host.runtime_dir, host.home, host.temporary)
        processes = of_processes()
        status, output = running.result()
    assert status == 0, output
    assert any(b"dayzero.spike.restore" in text for text in processes.values())
    assert shown_in({**texts, **processes, "output": output.encode()}, forms) == []


@pytest.mark.long
def test_lines_may_come_from_a_vault(operator: Operator) -> None:
    host = operator.host
    lines = list(lines_of(host.root_key(1, 2), host.sandbox).values())
    host.sandbox.restart()
    password, vault = operator.directory / "password", operator.directory / "lines.yml"
    password.write_text("a password for this test")
    vault.write_text(json.dumps({"spike_restore_shards": lines[:2]}))
    opened = f"--vault-password-file={password}"
    sealed = run_program(
        "ansible-vault", "encrypt", str(vault), opened, environment=host.environment
    )
    assert sealed.returncode == 0, sealed.stderr
    assert "spike" not in vault.read_text()
    status, output = operator.play("restore", "-e", f"@{vault}", opened)
    assert status == 0, output
    assert "Nexus proves the root key" in output


# -- SPIRE's entry


AGENT = "spiffe://spike.ist/spire/agent/x509pop/4f1c"


@pytest.fixture
def spire(operator: Operator, tmp_path: Path) -> FakeSpireServer:
    """SPIRE's server, whose host is in the operator's inventory."""
    place = tmp_path / "spire"
    place.mkdir()
    server = FakeSpireServer(place)
    variables = {
        "ansible_connection": "local",
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
        "spike_entries_spire_server": str(server.path),
    }
    with operator.inventory.open("a") as text:
        text.write(f"spike_entries: {{hosts: {{spire: {json.dumps(variables)}}}}}\n")
        text.write(f"all: {{vars: {{spire_agent_id: {json.dumps(AGENT)}}}}}\n")
    return server


@pytest.mark.long
def test_the_entry_is_there_for_as_long_as_it_takes(
    operator: Operator, spire: FakeSpireServer
) -> None:
    began = time.time()
    status, output = operator.recover()
    assert status == 0, output
    assert spire.asked() == ["show", "create", "show", "delete"]
    assert spire.entries == []
    given = {flag: spire.argument("create", flag) for flag in ("-spiffeID", "-parentID")}
    assert given == {
        "-spiffeID": "spiffe://spike.ist/spike/pilot/role/recover",
        "-parentID": AGENT,
    }
    assert spire.argument("create", "-selector") == "unix:user:spike-recover"
    # Should the run be killed, SPIRE deletes it.
    assert 3000 < int(spire.argument("create", "-entryExpiry")) - began < 3700

    operator.host.sandbox.restart()
    status, output = operator.play("restore", spike_restore_shards=operator.lines()[:2])
    assert status == 0, output
    assert spire.asked()[4:] == ["show", "create", "show", "delete"]
    assert spire.argument("create", "-selector") == "unix:user:spike-restore"
    assert spire.entries == []


@pytest.mark.long
def test_an_agent_that_hears_of_the_entry_later_is_waited_for(
    operator: Operator, spire: FakeSpireServer
) -> None:
    # SPIRE's agents ask their server every few seconds: this one knows no entry at first.
    sandbox, place = operator.host.sandbox, operator.directory
    cert, key = sandbox.recover_svid
    program, asked = place / "spire-agent", place / "asked"
    program.write_text(
        f"""#!/bin/sh
        echo >> {asked}
        if [ $(wc -l < {asked}) -lt 3 ]; then
            echo "rpc error: code = PermissionDenied desc = no identity issued" >&2; exit 1
        fi
        cp {cert} "$9/svid.0.pem"; cp {key} "$9/svid.0.key"
        cp {sandbox.svid_bundle} "$9/bundle.0.pem"
        """
    )
    program.chmod(0o755)
    listening = operator.host.temporary / "api.sock"
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(str(listening))
        agent.listen()
        status, output = operator.recover(
            spike_recover_svid_source="spire_agent",
            spike_recover_spire_agent_path=str(program),
            spike_recover_spiffe_endpoint_socket=str(listening),
        )
    assert status == 0, output
    assert len(asked.read_text()) == 3
    assert spire.entries == []


@pytest.mark.long
def test_the_entry_goes_when_the_run_fails_too(operator: Operator, spire: FakeSpireServer) -> None:
    # Nexus is alive, so both end in a failure: the one at once, the other at the last moment.
    status, output = operator.recover(spike_recover_shamir_threshold=3)
    assert status != 0
    assert "spike_bootstrap_shamir_threshold is not that of Nexus" in output
    assert spire.asked() == ["show", "create", "show", "delete"]
    lines = lines_of(operator.host.root_key(1, 2), operator.host.sandbox)
    status, output = operator.play("restore", spike_restore_shards=[lines[1], lines[2]])
    assert status != 0
    assert "has a root key. A restore would replace it, so nothing was sent" in output
    assert spire.entries == []


@pytest.mark.long
def test_the_entry_that_a_killed_run_left_is_gone_after_the_next(
    operator: Operator, spire: FakeSpireServer
) -> None:
    assert operator.recover()[0] == 0
    left = {
        "id": spire.argument("create", "-entryID"),
        "spiffe_id": {"trust_domain": "spike.ist", "path": "/spike/pilot/role/recover"},
        "parent_id": {"trust_domain": "spike.ist", "path": "/spire/agent/x509pop/4f1c"},
        "selectors": [{"type": "unix", "value": "user:spike-recover"}],
        "expires_at": "1",
    }
    spire.hold(left)
    assert operator.recover()[0] == 0
    # It is prolonged for this run, and then deleted.
    assert spire.asked()[4:] == ["show", "update", "show", "delete"]
    assert spire.entries == []


@pytest.mark.long
def test_an_entry_of_somebody_else_stays(operator: Operator, spire: FakeSpireServer) -> None:
    theirs = {
        "id": "theirs",
        "spiffe_id": {"trust_domain": "spike.ist", "path": "/spike/pilot/role/recover"},
        "parent_id": {"trust_domain": "spike.ist", "path": "/spire/agent/x509pop/4f1c"},
        "selectors": [{"type": "unix", "value": "user:spike-recover"}],
    }
    spire.hold(theirs)
    assert operator.recover()[0] == 0
    assert spire.asked() == ["show", "show"]
    assert spire.entries == [theirs]


def test_a_check_makes_no_entry_and_says_what_it_cannot_see(
    operator: Operator, spire: FakeSpireServer
) -> None:
    status, output = operator.recover("--check")
    assert status == 0, output
    assert "A real run would make SPIRE's entry for the user spike-recover first" in output
    assert spire.asked() == ["show"]
    assert not operator.shards.exists()


def test_without_the_agents_id_nothing_is_begun(operator: Operator, spire: FakeSpireServer) -> None:
    status, output = operator.recover("-e", "spire_agent_id=")
    assert status != 0
    assert "bootstrap has no spire_agent_id" in output
    assert spire.asked() == []


@pytest.mark.long
def test_the_entry_is_somebody_elses_business_where_the_inventory_says_so(
    operator: Operator, spire: FakeSpireServer
) -> None:
    assert operator.recover(spike_recover_manage_entry=False)[0] == 0
    assert spire.asked() == []


# -- prompts


def test_the_lines_are_asked_for_and_not_echoed(operator: Operator) -> None:
    host = operator.host
    lines = list(lines_of(host.root_key(1, 2), host.sandbox).values())
    host.sandbox.restart()
    session = typed(
        ["ansible-playbook", "-i", str(operator.inventory), "dayzero.spike.restore"],
        lines[:2],
        prompt="hex digits>",
        environment=host.environment,
    )
    assert session.returncode == 0, session.output[-3000:]
    assert "Nexus proves the root key" in session.output
    assert not any(line.split(":")[2] in session.output for line in lines)
