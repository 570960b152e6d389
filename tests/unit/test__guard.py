# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import itertools
from typing import NamedTuple

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._errors import (
    Cause,
    GuardRefusal,
    Phase,
    StateUnusable,
)
from ansible_collections.dayzero.spike.plugins.module_utils._guard import (
    Decision,
    Standing,
    decide,
    not_nexus,
)
from ansible_collections.dayzero.spike.plugins.module_utils._journal import Cluster, Record
from ansible_collections.dayzero.spike.plugins.module_utils._nexus import Nexus, Verdict
from ansible_collections.dayzero.spike.plugins.module_utils._nexus_data import Database
from ansible_collections.dayzero.spike.plugins.module_utils._root_key import Token

URL = "https://nexus:8553"
DATABASE = Database("/var/lib/nexus/data/spike.db")
HIDDEN = Database("/var/lib/nexus/data/spike.db", "permission denied")
DATABASES = (None, DATABASE, HIDDEN)
ELSEWHERE = "/run/spike-bootstrap/root-key-0123456789abcdef"
CLUSTER = Cluster(("https://k1", "https://k2", "https://k3"), 2, "circl-1.6.2")
OTHERS = {
    "keepers": Cluster(("https://k1", "https://k3", "https://k2"), 2, "circl-1.6.2"),
    "threshold": Cluster(CLUSTER.keepers, 3, "circl-1.6.2"),
    "scheme": Cluster(CLUSTER.keepers, 2, "circl-1.6.1"),
}
TOKEN = Token(bytes(12), bytes(80), "00" * 32)
ALL = frozenset({1, 2, 3})

RECORDS = {
    "no record": None,
    "unfinished": Record(CLUSTER, TOKEN, frozenset({1})),
    "unfinished, all delivered": Record(CLUSTER, TOKEN, ALL),
    "finished": Record(CLUSTER, TOKEN, ALL, finished=True),
    "finished, one not known": Record(CLUSTER, TOKEN, frozenset({1, 2}), finished=True),
    "other cluster, unfinished": Record(OTHERS["scheme"], TOKEN, frozenset({1})),
    "other cluster, finished": Record(OTHERS["scheme"], TOKEN, ALL, finished=True),
}
KEYS = ("no key", "its key", "other cluster's key")


class Case(NamedTuple):
    record: str
    key: str
    nexus: Nexus
    database: Database | None

    def standing(self) -> Standing:
        record = RECORDS[self.record]
        if self.key == "no key":
            pending_for = None
        elif self.key == "its key":
            pending_for = (record.cluster if record else CLUSTER).fingerprint()
        else:
            pending_for = OTHERS["threshold"].fingerprint()
        verdict = Verdict(self.nexus, "its words")
        return Standing(CLUSTER, URL, record, pending_for, verdict, self.database)


def _possible(case: Case) -> bool:
    # A kept key that does not open the journal's token is dropped before the guard.
    if case.record != "no record" and case.key == "other cluster's key":
        return False
    # What Nexus is asked without a journal or a key is sealed under a key that nobody has.
    asked_nothing = case.record == "no record" and case.key == "no key"
    return not (asked_nothing and case.nexus is Nexus.PROVED)


CASES = [
    case
    for case in itertools.starmap(Case, itertools.product(RECORDS, KEYS, Nexus, DATABASES))
    if _possible(case)
]


def expected(case: Case) -> Decision | None:
    """What a run may do without force; None: it is refused."""
    has_key = case.key != "no key"
    proved = case.nexus is Nexus.PROVED
    if "other cluster" in case.record or case.key == "other cluster's key":
        return None
    if case.nexus not in (Nexus.PROVED, Nexus.NOT_READY, Nexus.UNREACHABLE):
        return None
    if case.record == "no record":
        if case.database and not proved:
            # Whose data it is, and under which key, nobody can tell.
            return None
        return Decision.RESUME if has_key else Decision.DRAW
    if case.record.startswith("finished"):
        return Decision.NOTHING if proved else None
    if not has_key:
        return Decision.FINISH if proved else None
    if proved and case.record == "unfinished, all delivered":
        return Decision.FINISH
    return Decision.RESUME


def decided(case: Case, *, force: bool) -> Decision | None:
    try:
        return decide(case.standing(), force=force)
    except GuardRefusal:
        return None


def refusal(case: Case) -> GuardRefusal:
    with pytest.raises(GuardRefusal) as caught:
        decide(case.standing(), force=False)
    return caught.value


def test_the_table_holds_every_possible_case() -> None:
    assert len(CASES) == ((1 * 3 + 6 * 2) * len(Nexus) - 1) * len(DATABASES)


@pytest.mark.parametrize("record", RECORDS)
def test_every_standing_is_decided_as_promised(record: str) -> None:
    for case in CASES:
        if case.record == record:
            assert decided(case, force=False) == expected(case), case


@pytest.mark.parametrize("record", RECORDS)
def test_force_turns_a_refusal_into_a_new_key_or_the_unfinished_one_and_no_more(
    record: str,
) -> None:
    for case in CASES:
        if case.record == record and case.nexus is not Nexus.PROVED:
            without = decided(case, force=False)
            unfinished = case.record.startswith("unfinished") and case.key == "its key"
            forced = Decision.RESUME if unfinished else Decision.DRAW
            assert decided(case, force=True) == (without or forced), case


def test_where_nexus_proves_the_key_force_changes_nothing_at_all() -> None:
    for case in CASES:
        if case.nexus is Nexus.PROVED:
            assert decided(case, force=True) == decided(case, force=False) != Decision.DRAW, case


@pytest.mark.parametrize("finished", [False, True], ids=["unfinished", "finished"])
@pytest.mark.parametrize("differs", OTHERS)
def test_not_even_force_changes_the_settings_of_a_cluster_that_nexus_proves(
    differs: str, finished: bool
) -> None:
    record = Record(OTHERS[differs], TOKEN, ALL, finished=finished)
    proved = Verdict(Nexus.PROVED, "its words", final=True)
    standing = Standing(CLUSTER, URL, record, None, proved, None)
    with pytest.raises(GuardRefusal, match="Put the settings back"):
        decide(standing, force=True)


@pytest.mark.parametrize("force", [False, True])
def test_no_key_is_sent_beside_that_of_another_unfinished_run(force: bool) -> None:
    for case in CASES:
        standing = dataclasses.replace(case.standing(), begun_elsewhere=ELSEWHERE)
        decision = decided(case, force=force)
        begins = decision is Decision.DRAW or (
            decision is Decision.RESUME and case.record == "no record"
        )
        if begins:
            with pytest.raises(StateUnusable, match="Rerun bootstrap with that state_dir") as error:
                decide(standing, force=force)
            assert ELSEWHERE in error.value.message
        elif decision is not None:
            assert decide(standing, force=force) is decision


def test_the_documentation_of_force_is_named_only_where_force_would_help() -> None:
    for case in CASES:
        if case.key == "other cluster's key":
            named = "documentation of force" in refusal(case).message
            assert named == (case.nexus is not Nexus.PROVED), case


@pytest.mark.parametrize("nexus", [Nexus.NOT_READY, Nexus.UNREACHABLE], ids=lambda n: n.value)
def test_a_kept_key_without_a_journal_is_not_sent_beside_a_database(nexus: Nexus) -> None:
    case = Case("no record", "its key", nexus, DATABASE)
    assert refusal(case).code == "state_already_initialized"
    assert DATABASE.path in refusal(case).message
    assert decided(case, force=True) is Decision.DRAW
    # Without the database it goes on, and so it does with it where Nexus has this very key.
    assert decided(case._replace(database=None), force=False) is Decision.RESUME
    assert decided(case._replace(nexus=Nexus.PROVED), force=False) is Decision.RESUME


def test_without_force_a_key_is_drawn_only_where_nothing_is_known_of_another() -> None:
    drawn = {case for case in CASES if decided(case, force=False) is Decision.DRAW}
    assert drawn == {
        Case("no record", "no key", Nexus.NOT_READY, None),
        Case("no record", "no key", Nexus.UNREACHABLE, None),
    }


def test_not_even_force_draws_over_a_key_that_is_proved_or_can_be_finished() -> None:
    for case in CASES:
        if decided(case, force=False) in (Decision.NOTHING, Decision.FINISH, Decision.RESUME):
            assert decided(case, force=True) is not Decision.DRAW, case


def test_shards_are_sent_again_only_with_the_key_they_were_split_from() -> None:
    for case, force in itertools.product(CASES, (False, True)):
        if decided(case, force=force) is Decision.RESUME:
            assert case.key == "its key", case


@pytest.mark.parametrize(
    "case",
    [case for case in CASES if expected(case) is None],
    ids=lambda case: f"{case.record}, {case.key}",
)
def test_a_refusal_is_one_line_with_its_phase_and_a_remedy(case: Case) -> None:
    error = refusal(case)
    assert error.phase is Phase.GUARD
    assert error.code
    assert "\n" not in error.message
    assert error.message.endswith(".")
    remedies = ("Correct", "Put ", "compare", "Look at", "Start", "Restart", "Running with force")
    remedies += ("Let the running user", "rerun bootstrap")
    assert any(remedy in error.message for remedy in remedies), error.message


@pytest.mark.parametrize(
    ("case", "code", "parts"),
    [
        pytest.param(
            Case("no record", "no key", Nexus.NOT_NEXUS, None),
            "spiffe_invalid_spiffe_id",
            [URL, "is not Nexus: its words", "Correct nexus_api_url, trust_root_nexus"],
            id="not Nexus",
        ),
        pytest.param(
            Case("no record", "no key", Nexus.REFUSES_US, None),
            "access_unauthorized",
            [URL, "refuses this host's SVID: its words", "trust_root_bootstrap"],
            id="it refuses us",
        ),
        pytest.param(
            Case("no record", "no key", Nexus.OTHER_KEY, None),
            "state_already_initialized",
            [URL, "already holds a root key.", "nothing was sent", "force would make all"],
            id="a cluster of somebody else",
        ),
        pytest.param(
            Case("finished", "no key", Nexus.OTHER_KEY, None),
            "state_already_initialized",
            [URL, "another root key than the one that was drawn here", "nothing was sent"],
            id="another key than ours",
        ),
        pytest.param(
            Case("unfinished", "its key", Nexus.OTHER_KEY, None),
            "state_already_initialized",
            [
                URL,
                "holds another root key than the unfinished run's",
                "Nothing was sent",
                "restart neither it nor a keeper until",
                "move its database away, restart the keepers, start Nexus and rerun bootstrap",
            ],
            id="another key than the unfinished run's",
        ),
        pytest.param(
            Case("no record", "no key", Nexus.UNCLEAR, None),
            "state_not_ready",
            [URL, "no clear answer (its words)", "Nothing was sent", "lite backend"],
            id="unclear",
        ),
        pytest.param(
            Case("finished", "no key", Nexus.NOT_READY, None),
            "state_not_ready",
            [URL, "has no root key in memory (its words)", "nothing was sent", "Start Nexus"],
            id="finished, and Nexus has lost its memory",
        ),
        pytest.param(
            Case("finished", "no key", Nexus.UNREACHABLE, None),
            "state_not_ready",
            [URL, "cannot be reached (its words)", "nothing was sent", "Start Nexus"],
            id="finished, and Nexus is away",
        ),
        pytest.param(
            Case("unfinished", "no key", Nexus.NOT_READY, None),
            "root_key_missing",
            ["its root key is not in", f"Restart Nexus at {URL} and every keeper", "with force"],
            id="the key is lost",
        ),
        pytest.param(
            Case("no record", "no key", Nexus.UNREACHABLE, DATABASE),
            "state_already_initialized",
            [DATABASE.path, "Nothing was sent", "Start Nexus", "move the database away"],
            id="a database",
        ),
        pytest.param(
            Case("no record", "no key", Nexus.UNREACHABLE, HIDDEN),
            "state_already_initialized",
            ["nexus_data_dir", HIDDEN.path, "permission denied", "nothing was sent", "setfacl"],
            id="what may be a database",
        ),
        pytest.param(
            Case("no record", "other cluster's key", Nexus.NOT_READY, None),
            "store_invalid_configuration",
            ["kept in runtime_dir", CLUSTER.describe(), "Put both", "force"],
            id="a kept key for another cluster",
        ),
    ],
)
def test_a_refusal_says_what_is_wrong_and_what_to_do(
    case: Case, code: str, parts: list[str]
) -> None:
    error = refusal(case)
    assert error.code == code
    for part in parts:
        assert part in error.message


def test_a_nexus_that_is_not_trusted_is_not_said_to_be_something_else() -> None:
    verdict = Verdict(
        Nexus.NOT_NEXUS, "the certificate has expired", final=True, cause=Cause.PEER_UNTRUSTED
    )
    with pytest.raises(GuardRefusal) as caught:
        decide(Standing(CLUSTER, URL, None, None, verdict, None), force=False)
    assert caught.value.code == "spiffe_invalid_spiffe_id"
    assert caught.value.message == (
        f"What answers at {URL} is not trusted: the certificate has expired. Check that Nexus has"
        " a valid SVID from its agent, that the clocks of both hosts agree, and that our trust"
        " bundle for trust_root_nexus is current. Nothing was sent."
    )


@pytest.mark.parametrize("cause", [cause for cause in Cause if cause is not Cause.PEER_UNTRUSTED])
def test_whoever_is_trusted_and_not_nexus_is_said_to_be_something_else(cause: Cause) -> None:
    verdict = Verdict(Nexus.NOT_NEXUS, "its words", final=True, cause=cause)
    assert not_nexus(URL, verdict) == (
        f"What answers at {URL} is not Nexus: its words. Correct nexus_api_url, trust_root_nexus"
        " or Nexus's SPIRE entry."
    )


@pytest.mark.parametrize(
    ("finished", "way_on"),
    [
        (False, "Put the settings back and finish that run, or see the documentation of force."),
        (
            True,
            "Put the settings back: a cluster that has its key needs no bootstrap for other keepers"
            " or another threshold, Nexus splits its key by itself for those in its own settings.",
        ),
    ],
    ids=["unfinished", "finished"],
)
def test_other_settings_are_put_back_for_the_reason_that_there_is(
    finished: bool, way_on: str
) -> None:
    record = Record(OTHERS["threshold"], TOKEN, ALL, finished=finished)
    verdict = Verdict(Nexus.NOT_READY, "its words")
    with pytest.raises(GuardRefusal) as caught:
        decide(Standing(CLUSTER, URL, record, None, verdict, None), force=False)
    assert caught.value.message.endswith(
        f"nothing was sent. {way_on} If this is another cluster, give it a state_dir of its own."
    )


@pytest.mark.parametrize("differs", OTHERS)
@pytest.mark.parametrize("finished", [False, True])
def test_settings_that_differ_from_the_journals_are_refused_showing_both(
    differs: str, finished: bool
) -> None:
    other = OTHERS[differs]
    record = Record(other, TOKEN, ALL, finished=finished)
    for nexus in Nexus:
        standing = Standing(CLUSTER, URL, record, None, Verdict(nexus, "words"), None)
        with pytest.raises(GuardRefusal) as caught:
            decide(standing, force=False)
        assert caught.value.code == "store_invalid_configuration"
        assert other.describe() in caught.value.message
        assert CLUSTER.describe() in caught.value.message
