# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._guard import Decision, Standing
from ansible_collections.dayzero.spike.plugins.module_utils._journal import Cluster, Record
from ansible_collections.dayzero.spike.plugins.module_utils._nexus import Nexus, Verdict
from ansible_collections.dayzero.spike.plugins.module_utils._outlook import Next, foresee
from ansible_collections.dayzero.spike.plugins.module_utils._root_key import Token

CLUSTER = Cluster(("https://k1:8443", "https://k2:8443", "https://k3:8443"), 2, "circl-1.6.2")
TOKEN = Token(bytes(12), b"sealed", "00" * 32)
NONE_SENT = Record(CLUSTER, TOKEN)
ONE_SENT = NONE_SENT.with_delivered([1])
ALL_SENT = NONE_SENT.with_delivered([1, 2, 3])
FINISHED = ALL_SENT.as_finished()

PROVED = Verdict(Nexus.PROVED, "Nexus holds the root key", final=True)
NOT_READY = Verdict(Nexus.NOT_READY, "Nexus has no root key yet")
UNREACHABLE = Verdict(Nexus.UNREACHABLE, "connection refused")
OTHER_KEY = Verdict(Nexus.OTHER_KEY, "Nexus holds another root key", final=True)


def standing(record, verdict, *, key=False):
    fingerprint = CLUSTER.fingerprint() if key else None
    return Standing(CLUSTER, "https://nexus:8553", record, fingerprint, verdict, database=None)


@pytest.mark.parametrize(
    ("found", "step", "summary"),
    [
        (
            standing(None, NOT_READY),
            Next.DRAW,
            "Fresh: no run is remembered here, and Nexus has no root key yet; run bootstrap.",
        ),
        (
            standing(None, UNREACHABLE),
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
    ],
)
def test_the_summary_says_how_it_stands_and_what_to_do(found, step, summary):
    outlook = foresee(found, unreached=[], running=False)
    assert (outlook.next, outlook.summary) == (step, summary)


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (
            standing(ONE_SENT, NOT_READY),
            "An earlier run sent shards and its root key is not in runtime_dir",
        ),
        (standing(FINISHED, NOT_READY), "This cluster was bootstrapped before, and Nexus at"),
        (standing(None, OTHER_KEY), "Nexus at https://nexus:8553 already holds a root key"),
    ],
    ids=["key lost", "Nexus lost its key", "bootstrapped elsewhere"],
)
def test_a_refusal_is_told_in_the_words_of_the_run_that_would_refuse(found, reason):
    outlook = foresee(found, unreached=[2], running=False)
    assert outlook.next is Next.REFUSE
    assert outlook.summary.startswith(f"Refused: {reason}")
    assert outlook.summary.endswith(" Not reached: keeper 2, see the hints.")


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
    summary = foresee(found, unreached=unreached, running=False).summary
    assert summary == f"{foresee(found, unreached=[], running=False).summary} {warning}"


def test_a_run_that_is_at_work_is_what_the_summary_says():
    outlook = foresee(standing(ONE_SENT, NOT_READY, key=True), unreached=[2], running=True)
    assert outlook.next is Next.RESUME
    assert outlook.summary == (
        "Running: a bootstrap run is at work here. 1 of 3 keepers are known to have their shard."
        " Ask again when it has ended."
    )


def test_a_long_list_of_keepers_is_cut():
    many = Cluster(tuple(f"https://k{i}:8443" for i in range(1, 21)), 2, "circl-1.6.2")
    found = Standing(many, "https://nexus:8553", None, None, NOT_READY, database=None)
    summary = foresee(found, unreached=list(range(1, 15)), running=False).summary
    assert summary.endswith("keepers 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 4 more: see the hints.")


def test_whatever_a_run_can_decide_is_a_next_step():
    assert {step.value for step in Next} == {decision.value for decision in Decision} | {"refuse"}
