# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The decision on a run, as a whole table: every past, every word of Nexus, every option."""

from __future__ import annotations

import dataclasses
import itertools
from typing import NamedTuple

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._decide.guard import (
    SENDING,
    Abandonment,
    Decision,
    Judgement,
    Past,
    Standing,
    decide,
    decide_abandonment,
)
from ansible_collections.dayzero.spike.plugins.module_utils._decide.situation import Situation
from ansible_collections.dayzero.spike.plugins.module_utils._key.root_key import Token
from ansible_collections.dayzero.spike.plugins.module_utils._options.cluster import Cluster
from ansible_collections.dayzero.spike.plugins.module_utils._options.settings import Silence
from ansible_collections.dayzero.spike.plugins.module_utils._spike.nexus import Nexus, Verdict
from ansible_collections.dayzero.spike.plugins.module_utils._spike.nexus_data import Database
from ansible_collections.dayzero.spike.plugins.module_utils._state.journal import Record

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
    silence: Silence
    accept: bool

    def standing(self) -> Standing:
        record = RECORDS[self.record]
        if self.key == "no key":
            pending_for = None
        elif self.key == "its key":
            pending_for = (record.cluster if record else CLUSTER).fingerprint()
        else:
            pending_for = OTHERS["threshold"].fingerprint()
        return Standing(
            CLUSTER,
            record,
            pending_for,
            Verdict(self.nexus, "its words"),
            self.database,
            silence=self.silence,
            accept_existing=self.accept,
        )

    @property
    def says_no_key(self) -> bool:
        """What the contract lets stand for "Nexus has no key"."""
        if self.nexus is Nexus.NOT_READY:
            return True
        if self.nexus is Nexus.REFUSED:
            return self.silence in (Silence.REFUSED, Silence.ACCEPT)
        return self.nexus is Nexus.SILENT and self.silence is Silence.ACCEPT


def _possible(case: Case) -> bool:
    # A kept key that does not open the journal's token is dropped before the guard.
    return case.record == "no record" or case.key != "other cluster's key"


CASES = [
    case
    for case in itertools.starmap(
        Case, itertools.product(RECORDS, KEYS, Nexus, DATABASES, Silence, (False, True))
    )
    if _possible(case)
]
BOTH = (False, True)


def expected(case: Case) -> Decision | Situation:
    """What a run does without force, or why it is refused: the contract, case by case."""
    has_key = case.key != "no key"
    unknown = case.record == "no record" and not has_key
    changed = "other cluster" in case.record
    if case.nexus is Nexus.NOT_NEXUS:
        return Situation.NOT_NEXUS
    if case.nexus is Nexus.REFUSES_US:
        return Situation.REFUSES_US
    if case.nexus is Nexus.PROVED:
        if unknown:
            # Nobody can prove a key that nobody has.
            return Situation.UNCLEAR
        if changed or case.key == "other cluster's key":
            return Decision.ADOPT
        if case.record.startswith("finished"):
            return Decision.NOTHING
        if not has_key or case.record == "unfinished, all delivered":
            return Decision.FINISH
        return Decision.RESUME
    if changed:
        return Situation.SETTINGS_DIFFER
    if case.key == "other cluster's key":
        return Situation.KEY_OF_OTHER_SETTINGS
    if case.nexus is Nexus.OTHER_KEY:
        if unknown:
            return Decision.ACCEPT if case.accept else Situation.BOOTSTRAPPED
        return Situation.KEY_REPLACED if case.record.startswith("finished") else Situation.LOST_RUN
    if case.record.startswith("finished"):
        return Situation.FORGOTTEN if case.nexus is Nexus.NOT_READY else Situation.FINISHED_UNCLEAR
    if not case.says_no_key:
        return Situation.UNCLEAR
    if case.record == "no record":
        if case.database is not None:
            # Whose data it is, and under which key, nobody can tell.
            return Situation.DATABASE_HIDDEN if case.database.hidden else Situation.DATABASE
        return Decision.RESUME if has_key else Decision.DRAW
    return Decision.RESUME if has_key else Situation.KEY_LOST


def found(judgement: Judgement) -> Decision | Situation | None:
    """The decision or the refusal: one of them there is, and only one."""
    assert (judgement.decision is None) != (judgement.refusal is None)
    return judgement.decision or judgement.refusal


def test_the_table_holds_every_possible_case() -> None:
    assert len(CASES) == (1 * 3 + 6 * 2) * len(Nexus) * len(DATABASES) * len(Silence) * 2


@pytest.mark.parametrize("record", RECORDS)
def test_every_standing_is_decided_as_promised(record: str) -> None:
    for case in CASES:
        if case.record == record:
            assert found(decide(case.standing(), force=False)) == expected(case), case


def test_every_past_occurs() -> None:
    assert {case.standing().past for case in CASES} == set(Past)


def test_without_force_a_key_is_drawn_only_where_nexus_has_no_key_and_nothing_else_is_known() -> (
    None
):
    for case in CASES:
        if decide(case.standing(), force=False).decision is Decision.DRAW:
            assert (case.record, case.key, case.database) == ("no record", "no key", None)
            assert case.says_no_key, case


def test_without_force_shards_leave_only_where_nexus_has_no_key_or_proves_this_one() -> None:
    for case in CASES:
        if decide(case.standing(), force=False).sends:
            assert case.says_no_key or case.nexus is Nexus.PROVED, case


def test_an_answer_that_is_not_spikes_never_stands_for_no_key() -> None:
    for case in CASES:
        if case.nexus is Nexus.UNCLEAR:
            assert not decide(case.standing(), force=False).sends, case


@pytest.mark.parametrize("record", RECORDS)
def test_force_turns_a_refusal_into_a_new_key_or_the_unfinished_one_and_no_more(
    record: str,
) -> None:
    for case in CASES:
        if case.record != record:
            continue
        without = decide(case.standing(), force=False)
        forced = decide(case.standing(), force=True)
        if without.refusal is None:
            assert forced == without, case
            continue
        own = case.record.startswith("unfinished") and case.key == "its key"
        assert forced.decision is (Decision.RESUME if own else Decision.DRAW), case
        assert forced.overridden is without.refusal, case


def test_where_nexus_proves_the_key_of_an_earlier_run_force_changes_nothing_at_all() -> None:
    for case in CASES:
        known = case.record != "no record" or case.key != "no key"
        if case.nexus is Nexus.PROVED and known:
            forced = decide(case.standing(), force=True)
            assert forced == decide(case.standing(), force=False), case
            assert forced.decision is not Decision.DRAW, case


def test_what_force_overrides_is_told_only_where_it_overrides_something() -> None:
    for case in CASES:
        assert decide(case.standing(), force=False).overridden is None


@pytest.mark.parametrize("finished", BOTH, ids=["unfinished", "finished"])
@pytest.mark.parametrize("differs", OTHERS)
@pytest.mark.parametrize("force", BOTH, ids=["", "force"])
def test_a_cluster_that_lives_on_with_other_settings_is_taken_over(
    differs: str, finished: bool, force: bool
) -> None:
    record = Record(OTHERS[differs], TOKEN, ALL, finished=finished)
    proved = Verdict(Nexus.PROVED, "its words", final=True)
    for pending_for in (None, OTHERS[differs].fingerprint()):
        standing = Standing(CLUSTER, record, pending_for, proved)
        assert decide(standing, force=force).decision is Decision.ADOPT


@pytest.mark.parametrize("force", BOTH, ids=["", "force"])
def test_no_key_is_sent_beside_that_of_another_unfinished_run(force: bool) -> None:
    for case in CASES:
        standing = dataclasses.replace(case.standing(), begun_elsewhere=ELSEWHERE)
        plain = decide(case.standing(), force=force)
        begins = plain.decision is Decision.DRAW or (
            plain.decision is Decision.RESUME and case.record == "no record"
        )
        beside = decide(standing, force=force)
        assert beside == (Judgement(None, refusal=Situation.BEGUN_ELSEWHERE) if begins else plain)


def test_shards_are_sent_again_only_with_the_key_they_were_split_from() -> None:
    for case, force in itertools.product(CASES, BOTH):
        if decide(case.standing(), force=force).decision is Decision.RESUME:
            assert case.key == "its key", case


def test_only_what_sends_counts_as_sending() -> None:
    assert {Decision.DRAW, Decision.RESUME} == SENDING


UNFINISHED = ("unfinished", "unfinished, all delivered", "other cluster, unfinished")


@pytest.mark.parametrize("force", BOTH, ids=["", "force"])
def test_an_unfinished_run_is_given_up_only_where_nexus_says_that_it_does_not_have_its_key(
    force: bool,
) -> None:
    for case in CASES:
        decided = decide_abandonment(case.standing(), force=force)
        if case.record not in UNFINISHED and case.key == "no key":
            assert decided is Abandonment.NOTHING, case
        elif case.nexus is Nexus.PROVED:
            assert decided is Situation.ABANDON_PROVED, case
        elif case.nexus in (Nexus.NOT_READY, Nexus.OTHER_KEY) or force:
            assert decided is Abandonment.ABANDON, case
        else:
            assert decided is Situation.ABANDON_UNCLEAR, case
