# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SPIRE's server is asked by its own program, and what it refuses is told."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._hosts.entries import (
    Act,
    Existing,
    Step,
)
from ansible_collections.dayzero.spike.plugins.module_utils._hosts.spire_server import (
    ServerFailed,
    SpireServer,
)

ENTRY = Existing(
    "dayzero-spike-1",
    "spiffe://example.org/spike/keeper",
    "spiffe://example.org/spire/agent/k1",
    frozenset(["unix:user:spike-keeper", "unix:sha256:ab"]),
    3600,
    0,
    {"federates_with": ["other.org"], "dns_names": ["k1"], "admin": True, "hint": "keeper"},
)


class Program:
    """A spire-server that notes how it was called, and says what it is told to say."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "spire-server"
        self.called = directory / "called"

    def says(self, output: Any, status: int = 0, complaint: str = "") -> SpireServer:
        text = output if isinstance(output, str) else json.dumps(output)
        self.path.write_text(
            f"#!{sys.executable}\n"
            "import json, sys\n"
            f"open({str(self.called)!r}, 'a').write(json.dumps(sys.argv[1:]) + '\\n')\n"
            f"sys.stdout.write({text!r})\n"
            f"sys.stderr.write({complaint!r})\n"
            f"sys.exit({status})\n"
        )
        self.path.chmod(0o755)
        return SpireServer(str(self.path), "/run/spire/api.sock")

    @property
    def arguments(self) -> list[str]:
        last: list[str] = json.loads(self.called.read_text().splitlines()[-1])
        return last


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path)


ANSWER = {"results": [{"status": {"code": 0, "message": "OK"}, "entry": {}}]}


def test_it_is_asked_for_the_entries_of_a_spiffe_id(program: Program) -> None:
    assert program.says({"entries": []}).show("spiffe://example.org/spike/keeper") == []
    assert program.arguments == [
        "entry",
        "show",
        "-socketPath",
        "/run/spire/api.sock",
        "-output",
        "json",
        "-spiffeID",
        "spiffe://example.org/spike/keeper",
    ]


@pytest.mark.parametrize("act", [Act.CREATE, Act.UPDATE])
def test_a_whole_entry_is_given_also_what_is_not_managed(act: Act, program: Program) -> None:
    program.says(ANSWER).take(Step(act, ENTRY, ENTRY))
    command, *rest = program.arguments[1:]
    assert command == {Act.CREATE: "create", Act.UPDATE: "update"}[act]
    text = " ".join(rest)
    for part in (
        "-entryID dayzero-spike-1",
        "-spiffeID spiffe://example.org/spike/keeper",
        "-parentID spiffe://example.org/spire/agent/k1",
        "-selector unix:sha256:ab -selector unix:user:spike-keeper",
        "-x509SVIDTTL 3600",
        "-federatesWith spiffe://other.org",
        "-dns k1",
        "-admin",
        "-hint keeper",
    ):
        assert part in text
    assert "-jwtSVIDTTL" not in text
    assert "-downstream" not in text


def test_a_deletion_names_the_entry(program: Program) -> None:
    program.says(ANSWER).take(Step(Act.DELETE, ENTRY, None))
    assert program.arguments[1] == "delete"
    assert program.arguments[-2:] == ["-entryID", "dayzero-spike-1"]


def test_an_entry_that_is_refused_fails_although_the_program_ends_well(program: Program) -> None:
    refused = {"results": [{"status": {"code": 6, "message": "similar entry already exists"}}]}
    with pytest.raises(ServerFailed, match="similar entry already exists"):
        program.says(refused).take(Step(Act.CREATE, None, ENTRY))


def test_a_server_that_does_not_run_is_told_with_what_to_do(program: Program) -> None:
    server = program.says("", 1, "Error: rpc error: connection refused\n")
    with pytest.raises(ServerFailed, match=r"connection refused.*SPIRE's server is running"):
        server.show("spiffe://example.org/spike/keeper")


def test_a_program_that_is_not_there_is_told_with_what_to_do() -> None:
    with pytest.raises(ServerFailed, match=r"no such file.*spike_entries_spire_server"):
        SpireServer("/nonexistent/spire-server", None).show("spiffe://example.org/spike/keeper")


def test_an_answer_that_is_no_json_is_told(program: Program) -> None:
    with pytest.raises(ServerFailed, match="did not print JSON"):
        program.says("Found 0 entries\n").show("spiffe://example.org/spike/keeper")
