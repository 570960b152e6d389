# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a keeper has a shard is known from its audit lines."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._hosts import audit
from ansible_collections.dayzero.spike.plugins.module_utils._hosts.audit import (
    Holds,
    last_taken,
    shard_of,
    takes_a_shard,
)
from ansible_collections.dayzero.spike.plugins.module_utils._hosts.unit import Unit

PATH = "/v1/store/contribute"


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


def test_the_first_entry_that_says_so_counts() -> None:
    entries = [
        {"MESSAGE": "other", "__MONOTONIC_TIMESTAMP": "9000000"},
        {"MESSAGE": line(), "__MONOTONIC_TIMESTAMP": "8000000"},
        {"MESSAGE": line(), "__MONOTONIC_TIMESTAMP": "7000000"},
    ]
    assert last_taken(entries) == 8.0
    assert last_taken(entries[:1]) is None


def unit(pid: int, invocation: str = "ab") -> Unit:
    started_at = 5.0 if pid else None
    return Unit("k.service", True, "active", "", invocation, pid, started_at, None)


def test_a_keeper_that_does_not_run_has_no_shard() -> None:
    assert shard_of(unit(0)).holds is Holds.NONE


@pytest.mark.parametrize(
    ("taken_at", "reaches", "holds"),
    [
        (7.0, True, Holds.HELD),
        (7.0, False, Holds.HELD),
        (None, True, Holds.NONE),
        (None, False, Holds.UNKNOWN),
    ],
)
def test_a_keeper_has_none_only_where_the_journal_has_all_that_it_wrote(
    taken_at: float | None, reaches: bool, holds: Holds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "_last_taken", lambda invocation: taken_at)
    monkeypatch.setattr(audit, "_reaches_back_to", lambda moment: reaches)
    assert shard_of(unit(1)).holds is holds


def test_without_a_journal_it_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert shard_of(unit(1)).holds is Holds.UNKNOWN


def test_a_process_that_systemd_did_not_start_may_have_one() -> None:
    assert shard_of(unit(1, invocation="")).holds is Holds.UNKNOWN
