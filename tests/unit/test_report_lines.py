# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an operator reads at the end of a run."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.dayzero.spike.plugins.plugin_utils._report import (
    failed,
    failure,
    message,
    settings,
    status,
    success,
    table,
)

NEXUS = "https://nexus:8553"
READY = {
    "url": NEXUS,
    "state": "ready",
    "attempts": 2,
    "elapsed": 0.1,
    "detail": "Nexus holds the root key",
}
SKIPPED = {"url": NEXUS, "state": "skipped", "attempts": 0, "elapsed": 0.0, "detail": ""}


def keeper(number: int, state: str = "delivered", attempts: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "id": number,
        "url": f"https://keeper{number}:8443",
        "state": state,
        "attempts": attempts,
        "elapsed": 0.04,
        "cause": None,
        "detail": "",
        "hint": "",
        **more,
    }


def result(**changes: Any) -> dict[str, Any]:
    return {
        "changed": True,
        "phase": "done",
        "keepers": [keeper(1), keeper(2), keeper(3)],
        "nexus": READY,
        "resumed": False,
        "forced": None,
        "log": [],
        **changes,
    }


def test_a_first_run_says_what_was_sent_and_reminds_of_recovery_shards() -> None:
    sent, nexus, reminder = success(result(), check=False)
    assert sent == "Sent 3 shards to 3 keepers."
    assert nexus == f"SPIKE Nexus at {NEXUS} holds the root key."
    assert "dayzero.spike.recover" in reminder


def test_a_rerun_says_that_it_has_sent_nothing() -> None:
    known = [keeper(number, attempts=0) for number in (1, 2, 3)]
    assert success(result(changed=False, keepers=known), check=False) == [
        "Nothing was sent: the cluster is bootstrapped.",
        f"SPIKE Nexus at {NEXUS} holds the root key.",
    ]


def test_a_run_that_goes_on_counts_what_it_has_sent_itself() -> None:
    went_on = result(resumed=True, keepers=[keeper(1), keeper(2, attempts=0), keeper(3)])
    assert success(went_on, check=False)[:2] == [
        "Sent 2 shards to 2 keepers (1 had theirs).",
        "It has gone on with the key of an unfinished run.",
    ]


def test_settings_that_were_taken_over_are_no_shards() -> None:
    known = [keeper(number, attempts=0) for number in (1, 2, 3)]
    lines = success(result(keepers=known), check=False)
    assert lines[0] == "Nothing was sent. The journal has the new settings of the cluster."


@pytest.mark.parametrize("changed", [True, False])
def test_a_check_says_that_nothing_was_sent(changed: bool) -> None:
    reached = [keeper(number, "reached") for number in (1, 2, 3)]
    lines = success(result(changed=changed, keepers=reached), check=True)
    assert lines[0].startswith("Checked only, nothing was sent: a real run ")
    assert ("would change the cluster" in lines[0]) is changed
    assert not any("recover" in line for line in lines)


def test_a_key_that_force_has_replaced_is_told_of() -> None:
    lines = success(result(forced="force has overridden a refusal (x)"), check=False)
    assert "Force has overridden a refusal (x)." in lines


def test_without_a_proof_nexus_is_told_of_as_it_is() -> None:
    nexus = {**SKIPPED, "detail": "not asked"}
    assert success(result(nexus=nexus), check=False)[1:] == [
        f"SPIKE Nexus at {NEXUS}: skipped (not asked)."
    ]


def test_a_table_has_a_row_for_each_keeper_and_one_for_nexus() -> None:
    keepers = [keeper(1, "reached"), keeper(2, "unreachable", 5, cause="tls", elapsed=28.04)]
    assert table(result(keepers=keepers)) == [
        "keeper  url                   state        attempts  seconds  cause",
        "1       https://keeper1:8443  reached             1      0.0  -",
        "2       https://keeper2:8443  unreachable         5     28.0  tls",
        "Nexus   https://nexus:8553    ready               2      0.1  -",
    ]


def test_a_nexus_that_was_not_asked_has_no_row() -> None:
    assert not any(line.startswith("Nexus") for line in table(result(nexus=SKIPPED)))


def test_of_many_keepers_those_that_failed_are_shown_and_the_others_counted() -> None:
    keepers = [keeper(number, "reached") for number in range(1, 1001)]
    keepers[6] = keeper(7, "rejected", cause="http_status")
    lines = table(result(keepers=keepers))
    assert [line.split()[0] for line in lines] == ["keeper", "7", "Nexus", "Not"]
    assert lines[-1] == "Not shown: 999 reached."


FAILED = result(
    changed=False,
    phase="reach",
    code="bootstrap_keeper_unreachable",
    msg="Failed to reach keeper 2.",
    keepers=[keeper(1, "reached"), keeper(2, "unreachable", cause="tls", hint="Look.")],
    why=["Keeper 2: It is down."],
    what_to_do=["Keeper 2: Look.", "Rerun bootstrap."],
)


def test_a_failure_says_each_thing_once_and_the_message_alone() -> None:
    lines = failure(FAILED)
    assert lines[-6:] == [
        "This run has sent no shard.",
        "Why:",
        "- Keeper 2: It is down.",
        "What to do:",
        "1. Keeper 2: Look.",
        "2. Rerun bootstrap.",
    ]
    assert message(FAILED) == "Failed to reach keeper 2."
    assert not any("Failed to reach" in line for line in lines)


def test_before_keepers_were_contacted_there_is_no_table() -> None:
    assert failure({**FAILED, "phase": "guard"})[0] == "Why:"


@pytest.mark.parametrize(
    ("died", "words"),
    [
        ({"rc": -9, "module_stderr": "Killed\n"}, "(exit status -9, Killed)"),
        ({"rc": 137}, "(exit status 137)"),
    ],
)
def test_a_process_that_died_is_told_of_in_words(died: dict[str, Any], words: str) -> None:
    assert failed({"failed": True, **died})
    assert failure(died) == []
    assert words in message(died)


def test_what_ansible_refuses_has_its_message() -> None:
    refused = {"failed": True, "msg": "missing required arguments: keeper_peers"}
    assert failed(refused)
    assert [failure(refused), message(refused)] == [[], refused["msg"]]


@pytest.mark.parametrize(
    ("hint", "line"),
    [("", "Finished. Nothing is to be done. Nexus: "), ("Look.", "Finished. Nexus: ")],
)
def test_a_status_is_one_line_with_nexus_and_then_the_keepers(hint: str, line: str) -> None:
    keepers = [keeper(1, "unreachable", hint=hint)]
    lines = status(result(summary="Finished.", next="nothing", keepers=keepers))
    assert lines[0] == f"{line}{NEXUS}"
    assert lines[4:] == ([f"Keeper 1: {hint}"] if hint else [])


def test_settings_that_are_set_are_shown_by_name() -> None:
    given = {"timeout": "0", "keeper_peers": ["a", "b"], "svid_cert": None, "federated": {}}
    assert settings(given) == ["Settings:", "  keeper_peers: a, b", "  timeout: 0"]
