# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a cluster's state means to its operator, and what a run would do about it: pure."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence

from .._dataclass import dataclass
from .._errors import Advice, StateUnusable
from .._spike.nexus import Nexus
from .guard import (
    Decision,
    Standing,
    decide,
)
from .keeper_words import named
from .situation import Situation


class Next(enum.Enum):
    """What a run without force would do now; the values are the result's ``next``."""

    NOTHING = Decision.NOTHING.value
    FINISH = Decision.FINISH.value
    ADOPT = Decision.ADOPT.value
    ACCEPT = Decision.ACCEPT.value
    RESUME = Decision.RESUME.value
    DRAW = Decision.DRAW.value
    REFUSE = "refuse"


@dataclass(frozen=True)
class Outlook:
    """What a run would do now, and one line on what it all means and what to do."""

    next: Next
    summary: str


def foresee(
    standing: Standing,
    *,
    unreached: Sequence[int],
    running: bool,
    told: Callable[[Situation], Advice],
) -> Outlook:
    """What a run would do, by the very rules that it follows.

    ``unreached`` are the ids of the keepers that failed the preflight. ``running``: a run is at
    work at this moment, so the standing will be another one soon. ``told`` gives what a refusal
    tells.
    """
    judgement = decide(standing, force=False)
    if judgement.decision is not None:
        step = Next(judgement.decision.value)
        meaning = _meaning(standing, step)
    elif judgement.refusal is not None:
        step = Next.REFUSE
        advice = told(judgement.refusal)
        meaning = " ".join([f"Refused: {advice.msg}", *advice.what_to_do[:1]])
    if running:
        return Outlook(step, _progress(standing))
    warning = _warning(standing, step, unreached)
    return Outlook(step, f"{meaning} {warning}" if warning else meaning)


def foresee_blindly(standing: Standing, unusable: StateUnusable) -> Outlook:
    """What a run would do where the journal or the key of an unfinished run cannot be read.

    ``standing`` is that of a host without either: it reports only what Nexus says.
    """
    if standing.verdict.nexus is Nexus.OTHER_KEY:
        found = "Nexus holds a root key, so a run without the journal would be refused as well"
    else:
        found = f"Of Nexus is known: {standing.verdict.detail}"
    return Outlook(Next.REFUSE, f"Refused: {unusable.message} {found}.")


def _progress(standing: Standing) -> str:
    record = standing.record
    so_far = ""
    if record is not None and not record.finished:
        total = len(record.cluster.keepers)
        so_far = f" {len(record.delivered)} of {total} keepers are known to have their shard."
    return f"Running: a bootstrap run is at work here.{so_far} Ask again when it has ended."


def _meaning(standing: Standing, step: Next) -> str:
    if step is Next.NOTHING:
        return "Finished: Nexus proves the root key."
    if step is Next.FINISH:
        return (
            "Unfinished: Nexus proves the root key, and only the journal does not say so yet;"
            " rerun bootstrap, it sends nothing."
        )
    if step is Next.ADOPT:
        return (
            "Changed: Nexus proves the root key, and the settings are not those of the journal;"
            " rerun bootstrap, it takes the new settings over and sends nothing."
        )
    if step is Next.ACCEPT:
        return (
            "Bootstrapped elsewhere: Nexus holds a root key of which nothing is known here, and"
            " {accept_existing} accepts it. Nothing is to be done."
        )
    if step is Next.DRAW:
        return f"Fresh: no run is remembered here, and {_nexus_of_a_fresh_one(standing)}."
    record = standing.record
    if record is None:
        return (
            "Unfinished: a root key was drawn and no shard of it is known to have been sent; rerun"
            " bootstrap, it goes on with the same key."
        )
    lacking = [i for i in range(1, len(record.cluster.keepers) + 1) if i not in record.delivered]
    if lacking:
        have = "is not known to have its" if len(lacking) == 1 else "are not known to have their"
        return (
            f"Unfinished: {named(lacking)} {have} shard; rerun bootstrap, it goes on with the"
            " same key."
        )
    return (
        "Unfinished: every keeper has taken its shard, and Nexus does not prove the root key yet"
        f" ({standing.verdict.detail}); rerun bootstrap, it goes on with the same key."
    )


def _nexus_of_a_fresh_one(standing: Standing) -> str:
    if standing.verdict.nexus is Nexus.NOT_READY:
        return "Nexus has no root key yet; run bootstrap"
    return (
        f"Nexus cannot be reached ({standing.verdict.detail}), as is normal for one that has not"
        " been started; run bootstrap"
    )


_WITH_A_KEY = (Next.NOTHING, Next.FINISH, Next.ADOPT, Next.ACCEPT)


def _warning(standing: Standing, step: Next, unreached: Sequence[int]) -> str:
    if not unreached:
        return ""
    if step in (Next.DRAW, Next.RESUME):
        return f"It sends nothing before it reaches {named(unreached)}: see the hints."
    left = len(standing.cluster.keepers) - len(unreached)
    if step in _WITH_A_KEY and left < standing.cluster.threshold:
        return (
            f"Not reached: {named(unreached)}. A Nexus that restarts now finds {left} keepers and"
            f" needs {standing.cluster.threshold} to recover its key: see the hints."
        )
    return f"Not reached: {named(unreached)}, see the hints."


__all__ = ["Next", "Outlook", "foresee", "foresee_blindly"]
