# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import itertools
import json

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._broadcast import Outcome
from ansible_collections.dayzero.spike.plugins.module_utils._errors import Cause, Failure, Phase
from ansible_collections.dayzero.spike.plugins.module_utils._report import (
    KeeperState,
    NexusState,
    RunReport,
    Step,
)
from ansible_collections.dayzero.spike.plugins.module_utils._settings import Peer

PEERS = [Peer(i, f"https://keeper{i}:8443") for i in (1, 2, 3)]
NEXUS = "https://nexus:8553"
ENSURE = "Ensure all keepers are running and rerun bootstrap."
REFUSED = Failure(Cause.CONNECTION_REFUSED, "connection refused")
HUNG = Failure(Cause.RESPONSE_TIMEOUT, "the request was sent, no complete answer came", sent=True)
STRANGER = Failure(
    Cause.PEER_IDENTITY, "it is spiffe://spike.ist/spike/nexus", final=True, sent=False
)
ALWAYS = {"changed", "phase", "failed_keepers", "keepers", "nexus", "resumed", "log"}


@pytest.fixture
def report() -> RunReport:
    return RunReport(PEERS, NEXUS)


def failed(failure: Failure, attempts: int = 5, *, sent: bool | None = None) -> Outcome:
    return Outcome(attempts, 28.0004, failure, failure.sent if sent is None else sent)


def succeeded(attempts: int = 1) -> Outcome:
    return Outcome(attempts, 0.1234, None, True)


# -- messages


def test_one_keeper_that_cannot_be_reached_is_one_sentence(report: RunReport) -> None:
    report.outcome(Step.REACH, PEERS[0], failed(REFUSED))
    assert report.keepers_message(Step.REACH, "30s") == (
        "Failed to reach keeper 1 at https://keeper1:8443 after 5 attempts (30s timeout):"
        f" connection refused. {ENSURE}"
    )


def test_several_keepers_are_a_sentence_each_in_id_order(report: RunReport) -> None:
    report.outcome(Step.REACH, PEERS[2], failed(HUNG, attempts=4))
    report.outcome(Step.REACH, PEERS[1], succeeded())
    report.outcome(Step.REACH, PEERS[0], failed(REFUSED))
    assert report.keepers_message(Step.REACH, "1m30s").splitlines() == [
        "Failed to reach 2 of 3 keepers:",
        "Failed to reach keeper 1 at https://keeper1:8443 after 5 attempts (1m30s timeout):"
        f" connection refused. {ENSURE}",
        "Failed to reach keeper 3 at https://keeper3:8443 after 4 attempts (1m30s timeout): no"
        f" response in time (the request was sent, no complete answer came). {ENSURE}",
    ]


def test_while_delivering_one_keeper_is_said_not_to_have_its_shard(report: RunReport) -> None:
    report.outcome(Step.DELIVER, PEERS[1], failed(REFUSED))
    assert report.keepers_message(Step.DELIVER, "30s") == (
        "Failed to send the shard to keeper 2 at https://keeper2:8443 after 5 attempts"
        f" (30s timeout): connection refused. {ENSURE}"
    )


def test_while_delivering_several_keepers_are_counted_in_the_same_form(report: RunReport) -> None:
    for peer in PEERS[:2]:
        report.outcome(Step.DELIVER, peer, failed(REFUSED))
    head, *sentences = report.keepers_message(Step.DELIVER, "30s").splitlines()
    assert head == "Failed to send the shard to 2 of 3 keepers:"
    assert len(sentences) == 2


def test_a_single_attempt_is_not_plural(report: RunReport) -> None:
    report.outcome(Step.REACH, PEERS[0], failed(REFUSED, attempts=1))
    assert " after 1 attempt (30s timeout): " in report.keepers_message(Step.REACH, "30s")


def test_a_final_failure_says_what_waiting_cannot_mend(report: RunReport) -> None:
    report.outcome(Step.REACH, PEERS[0], failed(STRANGER, attempts=1))
    hint = report.result()["keepers"][0]["hint"]
    assert report.keepers_message(Step.REACH, "30s") == (
        "Failed to reach keeper 1 at https://keeper1:8443 after 1 attempt (30s timeout): wrong"
        f" SPIFFE ID (it is spiffe://spike.ist/spike/nexus). {hint} {ENSURE}"
    )


PHRASES = {
    Cause.CONNECTION_REFUSED: "connection refused",
    Cause.CONNECT_TIMEOUT: "connection timed out",
    Cause.NAME_RESOLUTION: "name resolution failed",
    Cause.TLS: "TLS handshake failed",
    Cause.TLS_TIMEOUT: "TLS handshake timed out",
    Cause.PEER_UNTRUSTED: "its certificate is not trusted",
    Cause.PEER_IDENTITY: "wrong SPIFFE ID",
    Cause.IDENTITY_REFUSED: "it refused our SVID",
    Cause.HTTP_STATUS: "unexpected HTTP answer",
    Cause.BAD_RESPONSE: "invalid response",
    Cause.RESPONSE_TIMEOUT: "no response in time",
}


@pytest.mark.parametrize("cause", list(Cause), ids=lambda cause: cause.value)
def test_every_cause_has_its_phrase(report: RunReport, cause: Cause) -> None:
    report.outcome(Step.REACH, PEERS[0], failed(Failure(cause, "d")))
    assert f": {PHRASES[cause]} (d). {ENSURE}" in report.keepers_message(Step.REACH, "30s")


def test_every_cause_has_a_hint_of_its_own() -> None:
    hints = set()
    for cause in Cause:
        report = RunReport(PEERS, NEXUS)
        report.outcome(Step.REACH, PEERS[0], failed(Failure(cause, "d")))
        hint = report.result()["keepers"][0]["hint"]
        assert hint.endswith(".")
        assert "\n" not in hint
        hints.add(hint)
    assert len(hints) == len(Cause)


@pytest.mark.parametrize(
    ("step", "line"),
    [
        (Step.REACH, "Reaching keeper 1 at https://keeper1:8443... (attempt 1/5)"),
        (Step.DELIVER, "Sending shard to keeper 1 at https://keeper1:8443... (attempt 1/5)"),
    ],
    ids=["reach", "deliver"],
)
def test_an_attempt_line_says_which_attempt_of_how_many(
    report: RunReport, step: Step, line: str
) -> None:
    report.attempt(step, PEERS[0], 1, 5)
    assert report.result()["log"] == [line]


def test_the_log_keeps_the_order_in_which_things_happened(report: RunReport) -> None:
    report.attempt(Step.REACH, PEERS[1], 1, 5)
    report.attempt(Step.REACH, PEERS[0], 2, 5)
    report.attempt(Step.DELIVER, PEERS[1], 1, 5)
    assert report.result()["log"] == [
        "Reaching keeper 2 at https://keeper2:8443... (attempt 1/5)",
        "Reaching keeper 1 at https://keeper1:8443... (attempt 2/5)",
        "Sending shard to keeper 2 at https://keeper2:8443... (attempt 1/5)",
    ]


def test_the_log_holds_attempts_and_nothing_else(report: RunReport) -> None:
    report.already_delivered(frozenset({1}))
    report.outcome(Step.REACH, PEERS[1], succeeded())
    report.outcome(Step.DELIVER, PEERS[1], failed(HUNG))
    report.nexus(NexusState.READY, "Nexus holds the root key", attempts=1, elapsed=0.1)
    report.proof_skipped("/run/spike-bootstrap", replaced=False)
    assert report.result()["log"] == []


# -- states


@pytest.mark.parametrize(
    ("step", "outcome", "state"),
    [
        (Step.REACH, succeeded(), KeeperState.REACHED),
        (Step.REACH, failed(REFUSED), KeeperState.UNREACHABLE),
        (Step.REACH, failed(HUNG), KeeperState.UNREACHABLE),
        (Step.REACH, failed(STRANGER), KeeperState.REJECTED),
        (Step.DELIVER, succeeded(), KeeperState.DELIVERED),
        (Step.DELIVER, failed(REFUSED), KeeperState.UNREACHABLE),
        (Step.DELIVER, failed(HUNG), KeeperState.UNKNOWN),
        (Step.DELIVER, failed(REFUSED, sent=True), KeeperState.UNKNOWN),
        (Step.DELIVER, failed(STRANGER), KeeperState.REJECTED),
        (Step.DELIVER, failed(STRANGER, sent=True), KeeperState.REJECTED),
    ],
)
def test_an_outcome_is_a_state(
    report: RunReport, step: Step, outcome: Outcome, state: KeeperState
) -> None:
    report.outcome(step, PEERS[1], outcome)
    assert [entry["state"] for entry in report.result()["keepers"]] == [
        "pending",
        state.value,
        "pending",
    ]


def test_a_keepers_entry_is_of_the_step_in_which_it_ended(report: RunReport) -> None:
    report.outcome(Step.REACH, PEERS[0], succeeded(attempts=3))
    report.outcome(Step.DELIVER, PEERS[0], failed(HUNG, attempts=5))
    entry = report.result()["keepers"][0]
    assert entry.pop("hint")
    assert entry == {
        "id": 1,
        "url": "https://keeper1:8443",
        "state": "unknown",
        "attempts": 5,
        "elapsed": 28.0,
        "cause": "response_timeout",
        "detail": "the request was sent, no complete answer came",
    }


def test_a_keeper_that_needs_no_shard_is_shown_as_delivered(report: RunReport) -> None:
    report.outcome(Step.REACH, PEERS[1], succeeded())
    report.already_delivered(frozenset({2}))
    assert [entry["state"] for entry in report.result()["keepers"]] == [
        "pending",
        "delivered",
        "pending",
    ]


def test_failed_keepers_are_listed_and_the_first_is_named(report: RunReport) -> None:
    report.outcome(Step.REACH, PEERS[2], failed(REFUSED))
    report.outcome(Step.REACH, PEERS[1], failed(STRANGER))
    result = report.result()
    assert result["failed_keepers"] == [2, 3]
    assert result["keeper_id"] == 2
    assert result["keeper_url"] == "https://keeper2:8443"


# -- the shape


def _results() -> list[dict[str, object]]:
    results = []
    for outcome, step, phase in itertools.product(
        (None, succeeded(), failed(REFUSED), failed(STRANGER)), Step, Phase
    ):
        report = RunReport(PEERS, NEXUS)
        report.phase = phase
        if outcome is not None:
            report.outcome(step, PEERS[0], outcome)
        results.append(report.result())
    return results


def test_the_shape_of_the_result_is_the_same_however_the_run_ends() -> None:
    for result in _results():
        extra = {"keeper_id", "keeper_url"} if result["failed_keepers"] else set()
        assert set(result) == ALWAYS | extra
        keepers = result["keepers"]
        assert isinstance(keepers, list)
        assert [entry["id"] for entry in keepers] == [1, 2, 3]
        for entry in keepers:
            assert set(entry) == {
                "id",
                "url",
                "state",
                "attempts",
                "elapsed",
                "cause",
                "detail",
                "hint",
            }
        nexus = result["nexus"]
        assert isinstance(nexus, dict)
        assert set(nexus) == {"url", "state", "attempts", "elapsed", "detail"}
        assert json.loads(json.dumps(result)) == result


def test_a_run_that_did_nothing_says_so() -> None:
    assert RunReport([], None).result() == {
        "changed": False,
        "phase": "config",
        "failed_keepers": [],
        "keepers": [],
        "nexus": {"url": None, "state": "skipped", "attempts": 0, "elapsed": 0.0, "detail": ""},
        "resumed": False,
        "log": [],
    }


def test_what_nexus_said_last_is_shown(report: RunReport) -> None:
    report.nexus(NexusState.UNREACHABLE, "connection refused", attempts=1, elapsed=0.1)
    report.nexus(NexusState.READY, "Nexus holds the root key", attempts=7, elapsed=6.54321)
    assert report.result()["nexus"] == {
        "url": NEXUS,
        "state": "ready",
        "attempts": 7,
        "elapsed": 6.543,
        "detail": "Nexus holds the root key",
    }


@pytest.mark.parametrize(
    ("replaced", "state"), [(False, "skipped"), (True, "other_key")], ids=["skipped", "replaced"]
)
def test_a_proof_that_is_left_out_says_where_the_key_stays(
    report: RunReport, replaced: bool, state: str
) -> None:
    report.nexus(NexusState.NOT_READY, "Nexus has no root key yet", attempts=1, elapsed=0.25)
    report.proof_skipped("/run/spike-bootstrap", replaced=replaced)
    # The attempts are the guard's: it did ask.
    assert report.result()["nexus"] == {
        "url": NEXUS,
        "state": state,
        "attempts": 1,
        "elapsed": 0.25,
        "detail": (
            "not asked to prove the root key (verify: false), which stays in /run/spike-bootstrap"
            " until a run with verify ends well"
        ),
    }


@pytest.mark.parametrize(
    ("step", "outcome", "changed"),
    [
        pytest.param(Step.REACH, succeeded(), False, id="reached"),
        pytest.param(Step.REACH, failed(HUNG), False, id="hung while reaching"),
        pytest.param(Step.DELIVER, succeeded(), True, id="delivered"),
        pytest.param(Step.DELIVER, failed(REFUSED), False, id="refused while delivering"),
        pytest.param(Step.DELIVER, failed(STRANGER), False, id="not a keeper while delivering"),
        pytest.param(Step.DELIVER, failed(HUNG), True, id="sent and not answered"),
        pytest.param(Step.DELIVER, failed(REFUSED, sent=True), True, id="sent by an earlier one"),
        pytest.param(Step.DELIVER, failed(STRANGER, sent=True), True, id="sent and rejected"),
    ],
)
def test_only_a_shard_that_may_have_been_received_is_a_change(
    report: RunReport, step: Step, outcome: Outcome, changed: bool
) -> None:
    report.outcome(step, PEERS[0], outcome)
    assert report.result()["changed"] is changed


def test_a_shard_that_was_sent_stays_a_change_whatever_the_other_keepers_do(
    report: RunReport,
) -> None:
    report.outcome(Step.DELIVER, PEERS[0], succeeded())
    report.outcome(Step.DELIVER, PEERS[1], failed(REFUSED))
    assert report.result()["changed"] is True


def test_a_result_does_not_change_afterwards(report: RunReport) -> None:
    before = report.result()
    report.attempt(Step.REACH, PEERS[0], 1, 5)
    report.outcome(Step.REACH, PEERS[0], succeeded())
    assert before["log"] == []
    assert before["keepers"][0]["state"] == "pending"


# -- diff mode


def states(*values: str) -> dict[str, str]:
    return {peer.url: value for peer, value in zip(PEERS, values)}


def test_the_diff_of_a_first_run_begins_with_pending(report: RunReport) -> None:
    report.already_delivered(frozenset())
    for peer in PEERS:
        report.outcome(Step.REACH, peer, succeeded())
    report.outcome(Step.DELIVER, PEERS[0], succeeded())
    report.outcome(Step.DELIVER, PEERS[1], failed(HUNG))
    assert report.diff(would_deliver=False) == {
        "before": states("pending", "pending", "pending"),
        "after": states("delivered", "unknown", "reached"),
    }


def test_the_diff_of_a_resumed_run_begins_with_what_was_delivered(report: RunReport) -> None:
    report.already_delivered(frozenset({1, 3}))
    for peer in PEERS:
        report.outcome(Step.REACH, peer, succeeded())
    report.already_delivered(frozenset({1}))
    assert report.diff(would_deliver=False) == {
        "before": states("delivered", "pending", "delivered"),
        "after": states("delivered", "reached", "reached"),
    }


def test_the_diff_of_check_mode_ends_with_what_a_real_run_would_deliver(report: RunReport) -> None:
    assert report.diff(would_deliver=True) == {
        "before": states("pending", "pending", "pending"),
        "after": states("delivered", "delivered", "delivered"),
    }
