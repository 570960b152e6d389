# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import itertools
import json

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._decide.errand import Errand
from ansible_collections.dayzero.spike.plugins.module_utils._decide.keeper_words import (
    FailedKeeper,
    advice_on,
    words_for,
)
from ansible_collections.dayzero.spike.plugins.module_utils._errors import (
    Advice,
    Cause,
    Failure,
    Finding,
    Phase,
)
from ansible_collections.dayzero.spike.plugins.module_utils._naming import Naming
from ansible_collections.dayzero.spike.plugins.module_utils._net.broadcast import Outcome
from ansible_collections.dayzero.spike.plugins.module_utils._options.cluster import Keeper
from ansible_collections.dayzero.spike.plugins.module_utils._run.report import (
    KeeperState,
    RunReport,
)
from ansible_collections.dayzero.spike.plugins.module_utils._spike.nexus_state import NexusState

PEERS = [Keeper(i, f"https://keeper{i}:8443") for i in (1, 2, 3)]
NEXUS = "https://nexus:8553"
ENSURE = "Ensure all keepers are running and rerun bootstrap."
REFUSED = Failure(Cause.CONNECTION_REFUSED, "connection refused")
HUNG = Failure(Cause.RESPONSE_TIMEOUT, "the request was sent, no complete answer came", sent=True)
STRANGER = Failure(
    Cause.PEER_IDENTITY, "it is spiffe://spike.ist/spike/nexus", final=True, sent=False
)
ALWAYS = {"changed", "phase", "failed_keepers", "keepers", "nexus", "resumed", "forced", "log"}


@pytest.fixture
def report() -> Told:
    return Told()


def failed(failure: Failure, attempts: int = 5, *, sent: bool | None = None) -> Outcome:
    return Outcome(attempts, 28.0004, failure, failure.sent if sent is None else sent)


def succeeded(attempts: int = 1) -> Outcome:
    return Outcome(attempts, 0.1234, None, True)


class Told(RunReport):
    """A report that also keeps who failed, as a step at the keepers does."""

    def __init__(self) -> None:
        super().__init__(PEERS, NEXUS)
        self.failed: dict[int, FailedKeeper] = {}

    def outcome(self, errand: Errand, keeper: Keeper, outcome: Outcome) -> None:
        super().outcome(errand, keeper, outcome)
        if outcome.failure is not None:
            self.failed[keeper.id] = FailedKeeper(keeper, outcome.attempts, outcome.failure)


def advice_of(report: Told, errand: Errand, timeout: str = "30s") -> Advice:
    failed = [report.failed[number] for number in sorted(report.failed)]
    return advice_on(errand, failed, len(PEERS), timeout).spelt(Naming.OPTIONS)


def message_of(report: Told, errand: Errand, timeout: str) -> str:
    return advice_of(report, errand, timeout).msg


# -- messages


def test_one_keeper_that_cannot_be_reached_is_one_sentence(report: Told) -> None:
    report.outcome(Errand.REACH, PEERS[0], failed(REFUSED))
    assert message_of(report, Errand.REACH, "30s") == (
        "Failed to reach keeper 1 at https://keeper1:8443 after 5 attempts (30s timeout):"
        f" connection refused. {ENSURE}"
    )


def test_several_keepers_are_a_sentence_each_in_id_order(report: Told) -> None:
    report.outcome(Errand.REACH, PEERS[2], failed(HUNG, attempts=4))
    report.outcome(Errand.REACH, PEERS[1], succeeded())
    report.outcome(Errand.REACH, PEERS[0], failed(REFUSED))
    assert message_of(report, Errand.REACH, "1m30s").splitlines() == [
        "Failed to reach 2 of 3 keepers:",
        "Failed to reach keeper 1 at https://keeper1:8443 after 5 attempts (1m30s timeout):"
        f" connection refused. {ENSURE}",
        "Failed to reach keeper 3 at https://keeper3:8443 after 4 attempts (1m30s timeout): no"
        f" response in time (the request was sent, no complete answer came). {ENSURE}",
    ]


def test_while_delivering_one_keeper_is_said_not_to_have_its_shard(report: Told) -> None:
    report.outcome(Errand.DELIVER, PEERS[1], failed(REFUSED))
    assert message_of(report, Errand.DELIVER, "30s") == (
        "Failed to send the shard to keeper 2 at https://keeper2:8443 after 5 attempts"
        f" (30s timeout): connection refused. {ENSURE}"
    )


def test_while_delivering_several_keepers_are_counted_in_the_same_form(report: Told) -> None:
    for peer in PEERS[:2]:
        report.outcome(Errand.DELIVER, peer, failed(REFUSED))
    head, *sentences = message_of(report, Errand.DELIVER, "30s").splitlines()
    assert head == "Failed to send the shard to 2 of 3 keepers:"
    assert len(sentences) == 2


def test_a_single_attempt_is_not_plural(report: Told) -> None:
    report.outcome(Errand.REACH, PEERS[0], failed(REFUSED, attempts=1))
    assert " after 1 attempt (30s timeout): " in message_of(report, Errand.REACH, "30s")


def test_a_final_failure_says_what_waiting_cannot_mend(report: Told) -> None:
    report.outcome(Errand.REACH, PEERS[0], failed(STRANGER, attempts=1))
    hint = report.result()["keepers"][0]["hint"]
    assert message_of(report, Errand.REACH, "30s") == (
        "Failed to reach keeper 1 at https://keeper1:8443 after 1 attempt (30s timeout): wrong"
        f" SPIFFE ID (it is spiffe://spike.ist/spike/nexus). {hint}"
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
    Cause.LOCAL: "this host cannot connect",
}
# Nothing answered, or too late: a keeper that is started can help.
IF_STARTED = {
    Cause.CONNECTION_REFUSED,
    Cause.CONNECT_TIMEOUT,
    Cause.TLS_TIMEOUT,
    Cause.RESPONSE_TIMEOUT,
}
FOUND = [(cause, finding) for cause in Cause for finding in (None, *Finding)]


@pytest.mark.parametrize("cause", list(Cause), ids=lambda cause: cause.value)
def test_every_cause_has_its_phrase_and_the_remedy_that_can_help(
    report: Told, cause: Cause
) -> None:
    report.outcome(Errand.REACH, PEERS[0], failed(Failure(cause, "d")))
    hint = report.result()["keepers"][0]["hint"]
    remedy = ENSURE if cause in IF_STARTED else hint
    assert message_of(report, Errand.REACH, "30s").endswith(f": {PHRASES[cause]} (d). {remedy}")


@pytest.mark.parametrize("naming", Naming, ids=lambda naming: naming.value)
@pytest.mark.parametrize(("cause", "finding"), FOUND)
def test_every_hint_is_one_sentence_in_the_readers_own_names(
    cause: Cause, finding: Finding | None, naming: Naming
) -> None:
    report = RunReport(PEERS, NEXUS, naming)
    report.outcome(Errand.REACH, PEERS[0], failed(Failure(cause, "d", finding=finding)))
    hint = report.result()["keepers"][0]["hint"]
    assert hint.endswith(".")
    assert "\n" not in hint
    assert "{" not in hint
    assert ("keeper_peers" in hint) <= (naming is Naming.OPTIONS)


def test_every_cause_has_a_hint_of_its_own() -> None:
    assert len({words_for(Failure(cause, "d")).hint for cause in Cause}) == len(Cause)


@pytest.mark.parametrize(
    ("finding", "words"),
    [
        (Finding.EXPIRED, "Renew that keeper's SVID"),
        (Finding.NOT_YET_VALID, "Set the clocks of both hosts."),
        (Finding.UNKNOWN_AUTHORITY, "Refresh this host's trust bundle"),
    ],
    ids=lambda value: value.name if isinstance(value, Finding) else "",
)
def test_an_svid_a_clock_and_a_bundle_are_named_as_such(finding: Finding, words: str) -> None:
    failure = Failure(Cause.PEER_UNTRUSTED, "d", final=True, finding=finding)
    assert words_for(failure).hint.startswith(words)


def test_keepers_that_failed_alike_are_told_of_in_one_line(report: Told) -> None:
    report.outcome(Errand.REACH, PEERS[0], failed(REFUSED))
    report.outcome(Errand.REACH, PEERS[1], failed(STRANGER))
    report.outcome(Errand.REACH, PEERS[2], failed(REFUSED))
    advice = advice_of(report, Errand.REACH)
    assert [line.partition(":")[0] for line in advice.why] == ["Keepers 1, 3", "Keeper 2"]
    assert [line.partition(":")[0] for line in advice.what_to_do] == [
        "Keepers 1, 3",
        "Keeper 2",
        "Rerun bootstrap.",
    ]


def test_each_cause_comes_with_its_evidence(report: Told) -> None:
    report.outcome(Errand.REACH, PEERS[1], failed(STRANGER))
    (why,) = advice_of(report, Errand.REACH).why
    assert why.endswith(" (it is spiffe://spike.ist/spike/nexus)")


def test_where_all_keepers_fail_alike_this_host_is_looked_at_first(report: Told) -> None:
    for peer in PEERS:
        report.outcome(Errand.REACH, peer, failed(REFUSED))
    assert advice_of(report, Errand.REACH).why[0].startswith("All keepers failed in the same way")


def test_after_a_delivery_that_failed_the_rerun_goes_on_with_the_same_key(
    report: Told,
) -> None:
    report.outcome(Errand.DELIVER, PEERS[0], failed(REFUSED))
    last = advice_of(report, Errand.DELIVER).what_to_do[-1]
    assert last == "Rerun bootstrap: it goes on with the same key."


@pytest.mark.parametrize(
    ("errand", "line"),
    [
        (Errand.REACH, "Reaching keeper 1 at https://keeper1:8443... (attempt 1/5)"),
        (Errand.DELIVER, "Sending shard to keeper 1 at https://keeper1:8443... (attempt 1/5)"),
    ],
    ids=["reach", "deliver"],
)
def test_an_attempt_line_says_which_attempt_of_how_many(
    report: Told, errand: Errand, line: str
) -> None:
    report.attempt(errand, PEERS[0], 1, 5)
    assert report.result()["log"] == [line]


def test_the_log_keeps_the_order_in_which_things_happened(report: Told) -> None:
    report.attempt(Errand.REACH, PEERS[1], 1, 5)
    report.attempt(Errand.REACH, PEERS[0], 2, 5)
    report.attempt(Errand.DELIVER, PEERS[1], 1, 5)
    assert report.result()["log"] == [
        "Reaching keeper 2 at https://keeper2:8443... (attempt 1/5)",
        "Reaching keeper 1 at https://keeper1:8443... (attempt 2/5)",
        "Sending shard to keeper 2 at https://keeper2:8443... (attempt 1/5)",
    ]


def test_the_log_holds_attempts_and_nothing_else(report: Told) -> None:
    report.have_their_shard(frozenset({1}))
    report.outcome(Errand.REACH, PEERS[1], succeeded())
    report.outcome(Errand.DELIVER, PEERS[1], failed(HUNG))
    report.nexus(NexusState.READY, "Nexus holds the root key", attempts=1, elapsed=0.1)
    report.proof_skipped("/run/spike-bootstrap", replaced=False)
    assert report.result()["log"] == []


# -- states


@pytest.mark.parametrize(
    ("errand", "outcome", "state"),
    [
        (Errand.REACH, succeeded(), KeeperState.REACHED),
        (Errand.REACH, failed(REFUSED), KeeperState.UNREACHABLE),
        (Errand.REACH, failed(HUNG), KeeperState.UNREACHABLE),
        (Errand.REACH, failed(STRANGER), KeeperState.REJECTED),
        (Errand.DELIVER, succeeded(), KeeperState.DELIVERED),
        (Errand.DELIVER, failed(REFUSED), KeeperState.UNREACHABLE),
        (Errand.DELIVER, failed(HUNG), KeeperState.UNKNOWN),
        (Errand.DELIVER, failed(REFUSED, sent=True), KeeperState.UNKNOWN),
        (Errand.DELIVER, failed(STRANGER), KeeperState.REJECTED),
        (Errand.DELIVER, failed(STRANGER, sent=True), KeeperState.REJECTED),
    ],
)
def test_an_outcome_is_a_state(
    report: Told, errand: Errand, outcome: Outcome, state: KeeperState
) -> None:
    report.outcome(errand, PEERS[1], outcome)
    assert [entry["state"] for entry in report.result()["keepers"]] == [
        "pending",
        state.value,
        "pending",
    ]


def test_a_keepers_entry_is_of_the_step_in_which_it_ended(report: Told) -> None:
    report.outcome(Errand.REACH, PEERS[0], succeeded(attempts=3))
    report.outcome(Errand.DELIVER, PEERS[0], failed(HUNG, attempts=5))
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


def test_a_keeper_that_needs_no_shard_is_shown_as_delivered(report: Told) -> None:
    report.outcome(Errand.REACH, PEERS[1], succeeded())
    report.have_their_shard(frozenset({2}))
    assert [entry["state"] for entry in report.result()["keepers"]] == [
        "pending",
        "delivered",
        "pending",
    ]


def test_failed_keepers_are_listed_and_the_first_is_named(report: Told) -> None:
    report.outcome(Errand.REACH, PEERS[2], failed(REFUSED))
    report.outcome(Errand.REACH, PEERS[1], failed(STRANGER))
    result = report.result()
    assert result["failed_keepers"] == [2, 3]
    assert result["keeper_id"] == 2
    assert result["keeper_url"] == "https://keeper2:8443"


# -- the shape


def _results() -> list[dict[str, object]]:
    results = []
    for outcome, errand, phase in itertools.product(
        (None, succeeded(), failed(REFUSED), failed(STRANGER)), Errand, Phase
    ):
        report = RunReport(PEERS, NEXUS)
        report.phase = phase
        if outcome is not None:
            report.outcome(errand, PEERS[0], outcome)
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
        "forced": None,
        "log": [],
    }


def test_what_nexus_said_last_is_shown(report: Told) -> None:
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
    report: Told, replaced: bool, state: str
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
    ("errand", "outcome", "changed"),
    [
        pytest.param(Errand.REACH, succeeded(), False, id="reached"),
        pytest.param(Errand.REACH, failed(HUNG), False, id="hung while reaching"),
        pytest.param(Errand.DELIVER, succeeded(), True, id="delivered"),
        pytest.param(Errand.DELIVER, failed(REFUSED), False, id="refused while delivering"),
        pytest.param(Errand.DELIVER, failed(STRANGER), False, id="not a keeper while delivering"),
        pytest.param(Errand.DELIVER, failed(HUNG), True, id="sent and not answered"),
        pytest.param(Errand.DELIVER, failed(REFUSED, sent=True), True, id="sent by an earlier one"),
        pytest.param(Errand.DELIVER, failed(STRANGER, sent=True), True, id="sent and rejected"),
    ],
)
def test_only_a_shard_that_may_have_been_received_is_a_change(
    report: Told, errand: Errand, outcome: Outcome, changed: bool
) -> None:
    report.outcome(errand, PEERS[0], outcome)
    assert report.result()["changed"] is changed


def test_a_shard_that_was_sent_stays_a_change_whatever_the_other_keepers_do(
    report: Told,
) -> None:
    report.outcome(Errand.DELIVER, PEERS[0], succeeded())
    report.outcome(Errand.DELIVER, PEERS[1], failed(REFUSED))
    assert report.result()["changed"] is True


def test_a_result_does_not_change_afterwards(report: Told) -> None:
    before = report.result()
    report.attempt(Errand.REACH, PEERS[0], 1, 5)
    report.outcome(Errand.REACH, PEERS[0], succeeded())
    assert before["log"] == []
    assert before["keepers"][0]["state"] == "pending"


# -- diff mode


def states(*values: str) -> dict[str, str]:
    return {f"keeper {peer.id}": value for peer, value in zip(PEERS, values)}


def test_the_diff_of_a_first_run_begins_with_pending(report: Told) -> None:
    report.begins(with_shard=frozenset())
    for peer in PEERS:
        report.outcome(Errand.REACH, peer, succeeded())
    report.outcome(Errand.DELIVER, PEERS[0], succeeded())
    report.outcome(Errand.DELIVER, PEERS[1], failed(HUNG))
    assert report.diff(would_deliver=False) == {
        "before": states("pending", "pending", "pending"),
        "after": states("delivered", "unknown", "reached"),
    }


def test_the_diff_of_a_resumed_run_begins_with_what_was_delivered(report: Told) -> None:
    report.begins(with_shard=frozenset({1, 3}))
    for peer in PEERS:
        report.outcome(Errand.REACH, peer, succeeded())
    report.have_their_shard(frozenset({1}))
    assert report.diff(would_deliver=False) == {
        "before": states("delivered", "pending", "delivered"),
        "after": states("delivered", "reached", "reached"),
    }


def test_the_diff_of_check_mode_ends_with_what_a_real_run_would_deliver(report: Told) -> None:
    assert report.diff(would_deliver=True) == {
        "before": states("pending", "pending", "pending"),
        "after": states("delivered", "delivered", "delivered"),
    }


@pytest.mark.parametrize(
    ("check", "words"),
    [(False, "replaces the root key"), (True, "would replace the root key")],
    ids=["run", "check"],
)
def test_force_is_never_quiet(report: Told, check: bool, words: str) -> None:
    report.force_overrides("a database", check=check)
    assert words in report.result()["forced"]
    assert "a database" in report.result()["forced"]
    assert report.diff(would_deliver=check)["after"]["root key"].startswith("replaced by force")
    (warning,) = report.warnings
    assert words in warning
    assert "becomes unreadable" in warning


def test_a_run_that_was_given_up_warns_of_its_shards(report: Told) -> None:
    report.abandoned("/var/lib/spike-bootstrap/journal-abandoned-20261126T065400Z.json")
    (warning,) = report.warnings
    assert "journal-abandoned-20261126T065400Z.json" in warning
    assert "Restart Nexus and every keeper" in warning


def test_a_key_that_was_never_sent_is_given_up_without_a_warning(report: Told) -> None:
    report.abandoned(None)
    assert report.warnings == []


def test_an_attempt_is_told_as_it_happens() -> None:
    report = RunReport(PEERS, NEXUS)
    told: list[str] = []
    report.live = told.append
    report.attempt(Errand.REACH, PEERS[0], 1, 5)
    assert told == report.result()["log"]
    assert len(told) == 1


def test_every_ten_seconds_a_line_says_that_nexus_is_waited_for_and_what_it_said_last() -> None:
    report = RunReport(PEERS, NEXUS)
    told: list[str] = []
    report.live = told.append
    for waited in (0.1, 5.0, 9.9, 10.4, 11.4, 19.9, 20.0, 47.2, 48.0, 50.1):
        report.waiting_for_nexus("Nexus has no root key yet", waited)
    assert told == [
        f"Waiting for SPIKE Nexus at {NEXUS} to prove the root key... ({seconds} s; Nexus has no"
        " root key yet)"
        for seconds in (10, 20, 47, 50)
    ]
    assert report.result()["log"] == []
