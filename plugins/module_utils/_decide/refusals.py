# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From what was found to what the operator is told: a refusal, or a proof that did not come."""

from __future__ import annotations

import os
import pwd
from dataclasses import replace
from datetime import datetime

from .._clock import as_utc
from .._dataclass import dataclass
from .._errors import (
    Advice,
    Cause,
    GuardRefusal,
    NexusFailed,
    StateUnusable,
)
from .._options.cluster import Cluster
from .._spike.nexus import Inquiry, Nexus, Verdict
from .guard import Standing
from .nexus_words import (
    ADVICE,
    GIVE_IT_UP,
    HAD_IT_BEFORE,
    KEYLESS_AT_THE_END,
    NexusWords,
    nexus_words,
)
from .situation import Situation

# What not even force overrides.
_UNUSABLE = (Situation.BEGUN_ELSEWHERE,)
_ONE_ANSWER = NexusWords(
    "Nexus was about to end, or a proxy answered in its place.",
    "Look at Nexus's log.",
)


@dataclass(frozen=True)
class Surroundings:
    """What messages say of the host and of the run's directories.

    ``now`` and ``booted`` are times of day, with their zone; ``booted`` is None where the host does
    not tell.
    """

    url: str
    journal: str
    key: str
    now: datetime
    booted: datetime | None


def refusal(situation: Situation, standing: Standing, surroundings: Surroundings) -> GuardRefusal:
    """The refusal of a run because of ``situation``."""
    verdict = standing.verdict
    advice = ADVICE[situation].about(
        **_of_the_cluster(standing.cluster),
        **_of_the_host(surroundings),
        **_of_nexus(verdict, surroundings),
        **_of_a_lost_key(standing, surroundings),
        silence=standing.silence.value,
        database=standing.database.path if standing.database else "",
        hidden=standing.database.hidden if standing.database else "",
        elsewhere=standing.begun_elsewhere,
        difference=standing.cluster.changes_since(standing.record.cluster)
        if standing.record
        else "",
    )
    if situation is Situation.SETTINGS_DIFFER and standing.unfinished:
        advice = _with_a_way_out(advice)
    kind = StateUnusable if situation in _UNUSABLE else GuardRefusal
    error = kind(advice, code=situation.code)
    error.phase = GuardRefusal.phase
    return error


def unproved(
    inquiry: Inquiry, cluster: Cluster, surroundings: Surroundings, limit: str, before: Nexus
) -> NexusFailed:
    """Nexus did not prove the key of ``cluster`` after the delivery.

    ``limit`` is how long it was waited for, in the operator's words, and ``before`` what Nexus said
    before anything was sent.
    """
    verdict = inquiry.verdict
    said = before is Nexus.NOT_READY
    facts = {
        **_of_the_cluster(cluster),
        **_of_the_host(surroundings),
        **_of_nexus(verdict, surroundings),
        "limit": limit,
        "requests": "1 request" if inquiry.attempts == 1 else f"{inquiry.attempts} requests",
        "heard_before": "(It said before the delivery that it had no key.)" if said else "",
    }
    situation = _at_the_end(verdict)
    advice = ADVICE[situation]
    if situation in (Situation.NOT_NEXUS, Situation.REFUSES_US):
        # The same words as before a delivery; but now shards are out.
        message = advice.msg.replace(" Nothing was sent.", "")
        advice = replace(advice, msg=f"All shards are delivered. {message}")
    if verdict.nexus is Nexus.NOT_READY:
        advice = KEYLESS_AT_THE_END
    if situation is Situation.OTHER_KEY_AT_THE_END and before is Nexus.OTHER_KEY:
        advice = replace(advice, why=(HAD_IT_BEFORE, *advice.why))
    return NexusFailed(advice.about(**facts), code=situation.code)


def _at_the_end(verdict: Verdict) -> Situation:
    if verdict.nexus is Nexus.OTHER_KEY:
        return Situation.OTHER_KEY_AT_THE_END
    if verdict.nexus is Nexus.NOT_NEXUS:
        return Situation.NOT_NEXUS
    if verdict.nexus is Nexus.REFUSES_US:
        return Situation.REFUSES_US
    return Situation.NO_VERIFICATION if verdict.final else Situation.UNPROVED


def _with_a_way_out(advice: Advice) -> Advice:
    *steps, another_cluster = advice.what_to_do
    return replace(advice, what_to_do=(*steps, *GIVE_IT_UP, another_cluster))


def _of_the_cluster(cluster: Cluster) -> dict[str, object]:
    return {
        "numbered": cluster.numbered(),
        "threshold": cluster.threshold,
        "shares": len(cluster.keepers),
        "scheme": cluster.scheme,
    }


def _of_the_host(surroundings: Surroundings) -> dict[str, object]:
    return {
        "url": surroundings.url,
        "journal": surroundings.journal,
        "key": surroundings.key,
        "user": _user(os.geteuid()),
    }


def _of_nexus(verdict: Verdict, surroundings: Surroundings) -> dict[str, object]:
    failure = verdict.failure
    words = nexus_words(failure) if failure is not None else _ONE_ANSWER
    untrusted = failure is not None and failure.cause is Cause.PEER_UNTRUSTED
    now = as_utc(surroundings.now)
    return {
        "detail": verdict.detail,
        "is_what": "is not trusted" if untrusted else "is not Nexus",
        "because": words.why.replace("{now}", now),
        "first_step": words.step,
    }


def _of_a_lost_key(standing: Standing, surroundings: Surroundings) -> dict[str, object]:
    booted, record = surroundings.booted, standing.record
    began = record.run.began if record is not None and record.run is not None else None
    if booted is None or began is None or booted > began:
        since = f" (it runs since {as_utc(booted)})" if booted is not None else ""
        return {
            "rebooted": f"This host was restarted{since}, and {{runtime_dir}} is in memory.",
            "not_rebooted": "",
        }
    return {
        "not_rebooted": (
            f"This host was not restarted: it runs since {as_utc(booted)}, and that run began at"
            f" {as_utc(began)}."
        ),
        "rebooted": "",
    }


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


__all__ = ["Surroundings", "refusal", "unproved"]
