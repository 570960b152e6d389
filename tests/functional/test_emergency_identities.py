# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""In an emergency too an identity comes from SPIRE's agent, by its API or by its own program."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible_collections.dayzero.spike.tests.support.custodian_keys import Owner, with_age
from ansible_collections.dayzero.spike.tests.support.emergency import lines_of, recover, restore
from ansible_collections.dayzero.spike.tests.support.module_host import Host
from ansible_collections.dayzero.spike.tests.support.workload_api import Fault, Grant, WorkloadApi

pytestmark = pytest.mark.slow

SOURCES = ["workload_api", "spire_agent"]
ROLE = "pilot/role/{}"
each_source = pytest.mark.parametrize("source", SOURCES)


class Agent:
    """SPIRE's agent of ``host``, which gives some of SPIKE's identities, or knows no entry."""

    def __init__(self, host: Host, resources: contextlib.ExitStack) -> None:
        self._host = host
        self._resources = resources

    def options(self, source: str, *parts: str) -> dict[str, Any]:
        """The options with which a module asks it for an identity; ``parts`` are what it gives."""
        give = self._api if source == "workload_api" else self._program
        files = dict.fromkeys(("svid_cert", "svid_key", "svid_bundle"))
        return {**files, "svid_source": source, **give(parts)}

    def _api(self, parts: tuple[str, ...]) -> dict[str, str]:
        authority = self._host.sandbox.authority
        grants = [Grant(authority.issue(_id(part)), authority) for part in parts]
        fault = Fault.NONE if parts else Fault.UNREGISTERED
        api = self._resources.enter_context(WorkloadApi(grants, fault=fault))
        return {"spiffe_endpoint_socket": str(api.path)}

    def _program(self, parts: tuple[str, ...]) -> dict[str, str]:
        place = self._host.directory / "agent"
        files = place / "files"
        files.mkdir(parents=True, exist_ok=True)
        for old in files.iterdir():
            old.unlink()
        authority = self._host.sandbox.authority
        for number, part in enumerate(parts):
            authority.write(files, f"svid.{number}", authority.issue(_id(part)))
            (files / f"bundle.{number}.pem").write_bytes(authority.bundle_pem())
        program = place / "spire-agent"
        fetch = f'cp {files}/* "$9"'
        refuse = "echo 'rpc error: code = PermissionDenied desc = no identity issued' >&2; exit 1"
        program.write_text(f"#!/bin/sh\n{fetch if parts else refuse}\n")
        program.chmod(0o755)
        return {"spire_agent_path": str(program), "spiffe_endpoint_socket": self._listener()}

    def _listener(self) -> str:
        path = self._host.temporary / "api.sock"
        if not path.exists():
            listening = self._resources.enter_context(socket.socket(socket.AF_UNIX))
            listening.bind(str(path))
            listening.listen()
        return str(path)


def _id(part: str) -> str:
    return f"spiffe://spike.ist/spike/{part}"


@pytest.fixture
def agent(host: Host) -> Iterator[Agent]:
    with contextlib.ExitStack() as resources:
        yield Agent(host, resources)


@pytest.fixture(scope="module")
def owners() -> list[Owner]:
    return [with_age("alice"), with_age("bob"), with_age("carol")]


@pytest.fixture
def lost(host: Host) -> Callable[[], list[str]]:
    """Loses everything, and gives the custodians' lines."""
    assert host.run().result["changed"]
    lines = lines_of(host.root_key(1, 2), host.sandbox)
    host.sandbox.restart()
    return lambda: [lines[1], lines[3]]


@each_source
def test_shards_are_fetched_with_what_the_agent_gives(
    host: Host, agent: Agent, owners: list[Owner], source: str
) -> None:
    assert host.run().result["changed"]
    options = agent.options(source, "bootstrap", ROLE.format("recover"))
    result = recover(host, owners, **options)
    assert (result["phase"], result["token_opened"]) == ("done", True), result
    assert len(result["shards"]) == 3
    # The agent's program writes files; its key is not left behind.
    assert list(host.runtime_dir.iterdir()) == []


@each_source
def test_who_has_both_identities_restores_and_has_the_proof_at_once(
    host: Host, agent: Agent, lost: Callable[[], list[str]], source: str
) -> None:
    options = agent.options(source, "bootstrap", ROLE.format("restore"))
    result = restore(host, lost(), proof=False, **options)
    assert (result["restored"], result["proved"]) == (True, True), result
    assert list(host.runtime_dir.iterdir()) == []


@each_source
def test_who_has_the_role_alone_restores_and_is_told_to_ask_for_the_proof(
    host: Host, agent: Agent, lost: Callable[[], list[str]], source: str
) -> None:
    result = restore(host, lost(), proof=False, **agent.options(source, ROLE.format("restore")))
    assert (result["restored"], result["proved"]) == (True, False), result
    assert "spike_bootstrap_info" in result["what_to_do"][0]
    assert host.run().result["nexus"]["state"] == "ready"


@each_source
@pytest.mark.parametrize("given", [[], ["bootstrap"]], ids=["no entry", "another identity"])
def test_without_the_role_nothing_is_asked_of_nexus(
    host: Host, agent: Agent, owners: list[Owner], source: str, given: list[str]
) -> None:
    assert host.run().result["changed"]
    options = agent.options(source, *given)
    lines = ["spike:1:" + "5a" * 32, "spike:2:" + "6b" * 32]
    for name, result in (
        ("recover", recover(host, owners, **options)),
        ("restore", restore(host, lines, proof=False, **options)),
    ):
        assert (result["phase"], result["failed"]) == ("identity", True)
        # The entry that is lacking, as it is to be made.
        assert _id(ROLE.format(name)) in result["msg"] + " ".join(result["what_to_do"]), result
    assert host.sandbox.nexus.stats.recover_requests == 0
    assert host.sandbox.nexus.stats.restore_requests == 0
