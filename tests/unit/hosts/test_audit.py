# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a keeper has a shard is known from its audit lines."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._hosts.audit import (
    Heard,
    Holds,
    heard,
    shard_of,
    takes_a_shard,
)
from ansible_collections.dayzero.spike.plugins.module_utils._hosts.unit import Unit

PATH = "/v1/store/contribute"
BOOT = Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")


def line(**changes: Any) -> str:
    entry = {
        "Component": "RouteContribute",
        "TrailID": "0a1b",
        "Timestamp": "2026-07-01T10:00:00Z",
        "UserID": "spiffe://spike.ist/spike/nexus",
        "Action": "exit",
        "Path": PATH,
        "Resource": "",
        "SessionID": "",
        "State": "audit-success",
        "Err": "",
        "Duration": 1000,
        **changes,
    }
    return json.dumps({"time": "2026-07-01T10:00:00Z", "audit": entry})


def test_a_shard_that_was_taken_is_recognised() -> None:
    assert takes_a_shard(line())
    assert takes_a_shard(json.dumps({"audit": {"path": PATH, "state": "audit-success"}}))


@pytest.mark.parametrize(
    "message",
    [
        line(State="audit-errored", Err="shamir_nil_shard"),
        line(State="audit-entry-created"),
        line(Path="/v1/store/shard"),
        f"{PATH} audit-success",
        json.dumps([PATH, "audit-success"]),
        json.dumps({"audit": PATH}),
        "",
        None,
        [47, 118],
    ],
    ids=["preflight", "begun", "asked", "text", "list", "no entry", "empty", "large", "bytes"],
)
def test_nothing_else_is_a_shard(message: object) -> None:
    assert not takes_a_shard(message)


def entry(at: float, message: object = "other", **fields: str) -> dict[str, Any]:
    return {
        "MESSAGE": message,
        "__MONOTONIC_TIMESTAMP": str(round(at * 1e6)),
        "_BOOT_ID": BOOT,
        **fields,
    }


def dropped(at: float) -> dict[str, Any]:
    return entry(at, "Suppressed 12 messages", MESSAGE_ID="a596d6fe7bfa4994828e72309e95d61e")


def test_the_newest_entry_that_says_so_counts() -> None:
    assert heard([entry(9), entry(8, line()), entry(7, line())], 5.0) == Heard(8.0, whole=True)


def test_what_another_process_of_that_number_wrote_before_does_not_count() -> None:
    assert heard([entry(4, line())], 5.0) == Heard(None, whole=False)


def unit(pid: int, invocation: str = "ab") -> Unit:
    started_at = 5.0 if pid else None
    return Unit("k.service", True, "active", "", invocation, pid, started_at, None)


def test_a_keeper_that_does_not_run_has_no_shard() -> None:
    assert shard_of(unit(0)).holds is Holds.NONE


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Journal:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return Journal(tmp_path)


class Journal:
    """A journalctl with entries that a test has written: those of the keeper, and the first."""

    def __init__(self, directory: Path) -> None:
        self._own = directory / "own"
        self._first = directory / "first"
        program = directory / "journalctl"
        program.write_text(
            "#!/bin/sh\ncase $* in --sync) ;; *_PID=*) cat "
            f"{self._own} ;; *--system*) cat {self._first} ;; *) exit 1 ;; esac\n"
        )
        program.chmod(0o755)
        self.has([], entry(1))

    def has(self, own: list[dict[str, Any]], first: dict[str, Any]) -> None:
        self._own.write_text("".join(f"{json.dumps(line)}\n" for line in own))
        self._first.write_text(f"{json.dumps(first)}\n")


@pytest.mark.parametrize(
    ("own", "first", "holds"),
    [
        ([entry(7, line())], 1.0, Holds.HELD),
        ([entry(7, line())], 6.0, Holds.HELD),
        ([entry(8), dropped(7), entry(6, line())], 1.0, Holds.HELD),
        ([entry(7)], 1.0, Holds.NONE),
        ([entry(7)], 6.0, Holds.UNKNOWN),
        ([], 1.0, Holds.UNKNOWN),
        ([entry(4)], 1.0, Holds.UNKNOWN),
        ([entry(8), dropped(7), entry(6)], 1.0, Holds.UNKNOWN),
    ],
    ids=[
        "taken",
        "taken, the beginning is lost",
        "taken, then too many",
        "not taken",
        "the beginning is lost",
        "nothing of it",
        "only of another with its number",
        "too many",
    ],
)
def test_a_keeper_has_none_only_where_the_journal_has_all_that_it_wrote(
    own: list[dict[str, Any]], first: float, holds: Holds, journal: Journal
) -> None:
    journal.has(own, entry(first))
    assert shard_of(unit(1)).holds is holds


def test_without_a_journal_it_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert shard_of(unit(1)).holds is Holds.UNKNOWN


def test_a_process_that_systemd_did_not_start_may_have_one() -> None:
    assert shard_of(unit(1, invocation="")).holds is Holds.UNKNOWN


def test_a_process_that_systemd_did_not_start_has_the_one_that_it_took(journal: Journal) -> None:
    journal.has([entry(7)], entry(1))
    assert shard_of(unit(1, invocation="")).holds is Holds.UNKNOWN
    journal.has([entry(7, line())], entry(1))
    assert shard_of(unit(1, invocation="")).holds is Holds.HELD
