# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._decide.guard import Decision, Standing
from ansible_collections.dayzero.spike.plugins.module_utils._decide.outlook import Next, foresee
from ansible_collections.dayzero.spike.plugins.module_utils._decide.situation import Situation
from ansible_collections.dayzero.spike.plugins.module_utils._errors import Advice
from ansible_collections.dayzero.spike.plugins.module_utils._key.root_key import Token
from ansible_collections.dayzero.spike.plugins.module_utils._options.cluster import Cluster
from ansible_collections.dayzero.spike.plugins.module_utils._spike.nexus import Nexus, Verdict
from ansible_collections.dayzero.spike.plugins.module_utils._state.journal import Record

CLUSTER = Cluster(("https://k1:8443", "https://k2:8443", "https://k3:8443"), 2, "circl-1.6.2")
TOKEN = Token(bytes(12), b"sealed", "00" * 32)
NONE_SENT = Record(CLUSTER, TOKEN)
ONE_SENT = NONE_SENT.with_delivered([1])
ALL_SENT = NONE_SENT.with_delivered([1, 2, 3])
NOW = datetime(2026, 11, 26, 6, 54, tzinfo=timezone.utc)
FINISHED = ALL_SENT.as_finished(NOW)
ELSEWHERE = Cluster(CLUSTER.keepers, 3, CLUSTER.scheme)

PROVED = Verdict(Nexus.PROVED, "Nexus holds the root key", final=True)
NOT_READY = Verdict(Nexus.NOT_READY, "Nexus has no root key yet")
REFUSED = Verdict(Nexus.REFUSED, "connection refused")
OTHER_KEY = Verdict(Nexus.OTHER_KEY, "Nexus holds another root key", final=True)


def standing(record, verdict, *, key=False, accept=False):
    fingerprint = CLUSTER.fingerprint() if key else None
    return Standing(CLUSTER, record, fingerprint, verdict, accept_existing=accept)


def told(situation):
    return Advice(f"told of {situation.words}.", (), ("The first step.", "The second."))


def outlook_of(found, *, unreached=(), running=False):
    return foresee(found, unreached=unreached, running=running, told=told)


@pytest.mark.parametrize(
    ("found", "step", "summary"),
    [
        (
            standing(None, NOT_READY),
            Next.DRAW,
            "Fresh: no run is remembered here, and Nexus has no root key yet; run bootstrap.",
        ),
        (
            standing(None, REFUSED),
            Next.DRAW,
            "Fresh: no run is remembered here, and Nexus cannot be reached (connection refused), as"
            " is normal for one that has not been started; run bootstrap.",
        ),
        (
            standing(None, NOT_READY, key=True),
            Next.RESUME,
            "Unfinished: a root key was drawn and no shard of it is known to have been sent; rerun"
            " bootstrap, it goes on with the same key.",
        ),
        (
            standing(ONE_SENT, NOT_READY, key=True),
            Next.RESUME,
            "Unfinished: keepers 2, 3 are not known to have their shard; rerun bootstrap, it goes"
            " on with the same key.",
        ),
        (
            standing(NONE_SENT.with_delivered([1, 3]), PROVED, key=True),
            Next.RESUME,
            "Unfinished: keeper 2 is not known to have its shard; rerun bootstrap, it goes on with"
            " the same key.",
        ),
        (
            standing(ALL_SENT, NOT_READY, key=True),
            Next.RESUME,
            "Unfinished: every keeper has taken its shard, and Nexus does not prove the root key"
            " yet (Nexus has no root key yet); rerun bootstrap, it goes on with the same key.",
        ),
        (
            standing(ONE_SENT, PROVED),
            Next.FINISH,
            "Unfinished: Nexus proves the root key, and only the journal does not say so yet; rerun"
            " bootstrap, it sends nothing.",
        ),
        (standing(FINISHED, PROVED), Next.NOTHING, "Finished: Nexus proves the root key."),
        (
            standing(FINISHED.of_changed(ELSEWHERE), PROVED),
            Next.ADOPT,
            "Changed: Nexus proves the root key, and the settings are not those of the journal;"
            " rerun bootstrap, it takes the new settings over and sends nothing.",
        ),
        (
            standing(None, OTHER_KEY, accept=True),
            Next.ACCEPT,
            "Bootstrapped elsewhere: Nexus holds a root key of which nothing is known here, and"
            " {accept_existing} accepts it. Nothing is to be done.",
        ),
    ],
    ids=[
        "fresh",
        "fresh, Nexus not started",
        "drawn and not sent",
        "two keepers lack it",
        "one keeper lacks it",
        "all sent and not proved",
        "key lost and proved",
        "finished",
        "changed since",
        "accepted",
    ],
)
def test_the_summary_says_how_it_stands_and_what_to_do(found, step, summary):
    outlook = outlook_of(found)
    assert (outlook.next, outlook.summary) == (step, summary)


@pytest.mark.parametrize(
    ("found", "situation"),
    [
        (standing(ONE_SENT, NOT_READY), Situation.KEY_LOST),
        (standing(FINISHED, NOT_READY), Situation.FORGOTTEN),
        (standing(None, OTHER_KEY), Situation.BOOTSTRAPPED),
    ],
    ids=["key lost", "Nexus lost its key", "bootstrapped elsewhere"],
)
def test_a_refusal_is_told_in_the_words_of_the_run_that_would_refuse(found, situation):
    outlook = outlook_of(found, unreached=[2])
    assert outlook.next is Next.REFUSE
    assert outlook.summary == (
        f"Refused: told of {situation.words}. The first step. Not reached: keeper 2, see the hints."
    )


@pytest.mark.parametrize(
    ("found", "unreached", "warning"),
    [
        (
            standing(None, NOT_READY),
            [2, 3],
            "It sends nothing before it reaches keepers 2, 3: see the hints.",
        ),
        (
            standing(ONE_SENT, NOT_READY, key=True),
            [1],
            "It sends nothing before it reaches keeper 1: see the hints.",
        ),
        (standing(FINISHED, PROVED), [3], "Not reached: keeper 3, see the hints."),
        (
            standing(FINISHED, PROVED),
            [1, 3],
            "Not reached: keepers 1, 3. A Nexus that restarts now finds 1 keepers and needs 2 to"
            " recover its key: see the hints.",
        ),
    ],
    ids=["fresh", "unfinished", "finished", "finished, below the threshold"],
)
def test_keepers_that_were_not_reached_are_named_with_what_it_means(found, unreached, warning):
    summary = outlook_of(found, unreached=unreached).summary
    assert summary == f"{outlook_of(found).summary} {warning}"


def test_a_run_that_is_at_work_is_what_the_summary_says():
    outlook = outlook_of(standing(ONE_SENT, NOT_READY, key=True), unreached=[2], running=True)
    assert outlook.next is Next.RESUME
    assert outlook.summary == (
        "Running: a bootstrap run is at work here. 1 of 3 keepers are known to have their shard."
        " Ask again when it has ended."
    )


def test_a_long_list_of_keepers_is_cut():
    many = Cluster(tuple(f"https://k{i}:8443" for i in range(1, 21)), 2, "circl-1.6.2")
    found = Standing(many, None, None, NOT_READY)
    summary = outlook_of(found, unreached=list(range(1, 15))).summary
    assert summary.endswith("keepers 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 4 more: see the hints.")


def test_whatever_a_run_can_decide_is_a_next_step():
    assert {step.value for step in Next} == {decision.value for decision in Decision} | {"refuse"}
