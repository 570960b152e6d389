# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""May this run draw a key, must it finish another's, or is there nothing to do: pure.

SPIKE Nexus that restarts over data answers like a fresh one, and shards of two keys that meet in
it become a third. So a key is drawn only where nothing speaks against it, and "I could not ask
Nexus" is never taken for "Nexus has no key".
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Union

from .._dataclass import dataclass
from .._options.cluster import Cluster
from .._options.settings import Silence
from .._spike.nexus import Nexus, Verdict
from .._spike.nexus_data import Database
from .._state.journal import Record
from .situation import Situation


class Decision(enum.Enum):
    """What a run does."""

    NOTHING = "nothing"  # finished before, and Nexus proves it
    FINISH = "finish"  # Nexus proves an unfinished run's key and nothing is left to send
    ADOPT = "adopt"  # Nexus proves the key, and its owners have changed the cluster
    ACCEPT = "accept"  # Nexus has a key that nothing is known of here, which will do
    RESUME = "resume"  # send an unfinished run's key again
    DRAW = "draw"  # draw a new key


SENDING = frozenset({Decision.RESUME, Decision.DRAW})


class Past(enum.Enum):
    """What earlier runs left."""

    NOTHING = enum.auto()
    KEY = enum.auto()  # a key that was never sent, or whose journal is gone
    OTHERS_KEY = enum.auto()  # the same, split for other settings
    UNFINISHED = enum.auto()
    KEY_LOST = enum.auto()
    FINISHED = enum.auto()
    CHANGED = enum.auto()  # a journal of other settings


class Word(enum.Enum):
    """What Nexus's answer comes to."""

    PROVED = enum.auto()
    NO_KEY = enum.auto()
    UNCLEAR = enum.auto()
    OTHER_KEY = enum.auto()
    NOT_NEXUS = enum.auto()
    REFUSES_US = enum.auto()


Ruling = Union[Decision, Situation]

_D, _S = Decision, Situation
# What a run does, or why it is refused.
_TABLE: Mapping[Past, Mapping[Word, Ruling]] = {
    Past.NOTHING: {
        # It cannot be: what Nexus is asked then is sealed under a key that nobody has.
        Word.PROVED: _S.UNCLEAR,
        Word.NO_KEY: _D.DRAW,
        Word.UNCLEAR: _S.UNCLEAR,
        Word.OTHER_KEY: _S.BOOTSTRAPPED,
    },
    Past.KEY: {
        Word.PROVED: _D.RESUME,
        Word.NO_KEY: _D.RESUME,
        Word.UNCLEAR: _S.UNCLEAR,
        Word.OTHER_KEY: _S.LOST_RUN,
    },
    Past.OTHERS_KEY: {
        Word.PROVED: _D.ADOPT,
        Word.NO_KEY: _S.KEY_OF_OTHER_SETTINGS,
        Word.UNCLEAR: _S.KEY_OF_OTHER_SETTINGS,
        Word.OTHER_KEY: _S.KEY_OF_OTHER_SETTINGS,
    },
    Past.UNFINISHED: {
        Word.PROVED: _D.RESUME,
        Word.NO_KEY: _D.RESUME,
        Word.UNCLEAR: _S.UNCLEAR,
        Word.OTHER_KEY: _S.LOST_RUN,
    },
    Past.KEY_LOST: {
        Word.PROVED: _D.FINISH,
        Word.NO_KEY: _S.KEY_LOST,
        Word.UNCLEAR: _S.UNCLEAR,
        Word.OTHER_KEY: _S.LOST_RUN,
    },
    Past.FINISHED: {
        Word.PROVED: _D.NOTHING,
        Word.NO_KEY: _S.FORGOTTEN,
        Word.UNCLEAR: _S.FINISHED_UNCLEAR,
        Word.OTHER_KEY: _S.KEY_REPLACED,
    },
    Past.CHANGED: {
        Word.PROVED: _D.ADOPT,
        Word.NO_KEY: _S.SETTINGS_DIFFER,
        Word.UNCLEAR: _S.SETTINGS_DIFFER,
        Word.OTHER_KEY: _S.SETTINGS_DIFFER,
    },
}
_WHATEVER_THE_PAST: Mapping[Word, Ruling] = {
    Word.NOT_NEXUS: _S.NOT_NEXUS,
    Word.REFUSES_US: _S.REFUSES_US,
}
# Nexus's own word, whatever the options say.
_SAID: Mapping[Nexus, Word] = {
    Nexus.PROVED: Word.PROVED,
    Nexus.NOT_READY: Word.NO_KEY,
    Nexus.OTHER_KEY: Word.OTHER_KEY,
    Nexus.NOT_NEXUS: Word.NOT_NEXUS,
    Nexus.REFUSES_US: Word.REFUSES_US,
}
# What each option takes for "no key" besides. An answer that is not SPIKE's never is.
_VOUCHED: Mapping[Silence, frozenset[Nexus]] = {
    Silence.REFUSED: frozenset({Nexus.REFUSED}),
    Silence.NEVER: frozenset(),
    Silence.ACCEPT: frozenset({Nexus.REFUSED, Nexus.SILENT}),
}


@dataclass(frozen=True)
class Standing:
    """All that is known before anything is sent.

    ``pending_for`` is the fingerprint of the cluster that a kept key was split for, None without
    a key that fits the journal. ``verdict`` is what Nexus says of the journal's token, or of the
    kept key's, or of a random one where there is neither. ``database`` is the Nexus database that
    was found, or that may be there. ``begun_elsewhere`` is the path of a key that an unfinished run
    with another state directory keeps for this cluster. ``silence`` and ``accept_existing`` are the
    options.
    """

    cluster: Cluster
    record: Record | None
    pending_for: str | None
    verdict: Verdict
    database: Database | None = None
    begun_elsewhere: str | None = None
    silence: Silence = Silence.REFUSED
    accept_existing: bool = False

    @property
    def past(self) -> Past:
        """What earlier runs left."""
        fingerprint = self.cluster.fingerprint()
        if self.record is None:
            if self.pending_for is None:
                return Past.NOTHING
            return Past.KEY if self.pending_for == fingerprint else Past.OTHERS_KEY
        if self.record.cluster != self.cluster:
            return Past.CHANGED
        if self.record.finished:
            return Past.FINISHED
        return Past.KEY_LOST if self.pending_for is None else Past.UNFINISHED

    @property
    def unfinished(self) -> bool:
        """Whether there is anything that could be finished, or given up."""
        if self.record is not None and not self.record.finished:
            return True
        return self.pending_for is not None

    @property
    def word(self) -> Word:
        """What Nexus's answer comes to, under the option for its silence."""
        if self.verdict.nexus in _SAID:
            return _SAID[self.verdict.nexus]
        vouched = self.verdict.nexus in _VOUCHED[self.silence]
        return Word.NO_KEY if vouched else Word.UNCLEAR


@dataclass(frozen=True)
class Judgement:
    """What a run does, ``decision``, or why it is refused, ``refusal``: one of them is None.

    ``overridden`` is the refusal that ``force`` has overridden.
    """

    decision: Decision | None
    refusal: Situation | None = None
    overridden: Situation | None = None

    @property
    def sends(self) -> bool:
        """Whether shards will be sent."""
        return self.decision in SENDING


def decide(standing: Standing, *, force: bool) -> Judgement:
    """What to do, or why not.

    ``force`` turns a refusal into a new key, or into going on with an unfinished run's where there
    is one, and changes nothing else: a cluster whose Nexus proves its key is never overwritten. Nor
    does it let a key be sent next to that of another unfinished run.
    """
    ruling = _ruling(standing)
    overridden = None
    if isinstance(ruling, Situation) and force:
        # A third key would only add to what can be mixed.
        overridden = ruling
        ruling = Decision.RESUME if standing.past is Past.UNFINISHED else Decision.DRAW
    begins = ruling is Decision.DRAW or (ruling is Decision.RESUME and standing.record is None)
    if begins and standing.begun_elsewhere is not None:
        ruling = Situation.BEGUN_ELSEWHERE
    if isinstance(ruling, Situation):
        return Judgement(None, refusal=ruling)
    return Judgement(ruling, overridden=overridden)


# What a run goes on from although Nexus gave no clear answer: a second look will decide.
_GOES_ON_FROM = frozenset({Past.NOTHING, Past.KEY, Past.UNFINISHED})


def goes_on(standing: Standing, judgement: Judgement) -> bool:
    """Whether keepers are reached after a first look, which was brief.

    Nexus is asked again afterwards, and what it says then decides: an answer that was not clear
    refuses nothing yet where shards could be sent at all.
    """
    unclear = judgement.refusal is Situation.UNCLEAR
    return judgement.sends or (unclear and standing.past in _GOES_ON_FROM)


def _ruling(standing: Standing) -> Ruling:
    past, word = standing.past, standing.word
    ruling = _WHATEVER_THE_PAST.get(word) or _TABLE[past][word]
    if ruling is Situation.BOOTSTRAPPED and standing.accept_existing:
        return Decision.ACCEPT
    if ruling is Situation.FORGOTTEN and standing.verdict.nexus is not Nexus.NOT_READY:
        # Vouched for or not: a Nexus of a finished cluster that is silent has not lost its key.
        return Situation.FINISHED_UNCLEAR
    unknown = standing.record is None and word is Word.NO_KEY
    if unknown and ruling in SENDING and standing.database is not None:
        return Situation.DATABASE_HIDDEN if standing.database.hidden else Situation.DATABASE
    if ruling is Decision.RESUME and word is Word.PROVED and _all_delivered(standing.record):
        return Decision.FINISH
    return ruling


def _all_delivered(record: Record | None) -> bool:
    return record is not None and len(record.delivered) == len(record.cluster.keepers)


class Abandonment(enum.Enum):
    """What ``state: abandoned`` does."""

    NOTHING = enum.auto()  # there is nothing unfinished
    ABANDON = enum.auto()


def decide_abandonment(standing: Standing, *, force: bool) -> Abandonment | Situation:
    """Whether an unfinished run may be given up, or why not.

    Only Nexus can say that it does not have that run's key; silence does not, whatever stands for
    it elsewhere. ``force`` takes the place of its word, and never of its proof.
    """
    if not standing.unfinished:
        return Abandonment.NOTHING
    if standing.verdict.nexus is Nexus.PROVED:
        return Situation.ABANDON_PROVED
    if standing.verdict.nexus in (Nexus.NOT_READY, Nexus.OTHER_KEY) or force:
        return Abandonment.ABANDON
    return Situation.ABANDON_UNCLEAR


__all__ = [
    "SENDING",
    "Abandonment",
    "Decision",
    "Judgement",
    "Past",
    "Standing",
    "Word",
    "decide",
    "decide_abandonment",
    "goes_on",
]
