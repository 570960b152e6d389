# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can be learnt of a cluster without changing it: the part that a run and a status share."""

from __future__ import annotations

import enum
from collections.abc import Callable

from .._decide.guard import Standing
from .._key.root_key import RootKey, Token
from .._net.attempt import Attempt
from .._spike.nexus import (
    Inquiry,
    Nexus,
    Verdict,
    ask,
    inquire,
)
from .._spike.nexus_data import look_for_database
from .._state.remembered import Remembered
from .session import NexusSession, Session


class Look(enum.Enum):
    """How long Nexus is asked what it says.

    A brief look decides nothing that a second one may not overturn. What lets shards leave is a
    whole one: only then a port that refuses connections has refused them for 5 seconds.
    """

    BRIEF = enum.auto()
    WHOLE = enum.auto()


_SECONDS = {Look.BRIEF: 1.0, Look.WHOLE: 5.0}
# Of a Nexus that nobody listens for a brief look knows enough at once.
_ENOUGH = {
    Look.BRIEF: frozenset({Nexus.NOT_READY, Nexus.REFUSED}),
    Look.WHOLE: frozenset({Nexus.NOT_READY}),
}


def take_standing(session: Session, remembered: Remembered, look: Look) -> Standing:
    """How the cluster stands, given what an earlier run left; asks Nexus.

    Raises ConfigError where ``nexus_data_dir`` is no directory.
    """
    settings = session.settings
    # First: an option that is refused is refused before anybody is contacted.
    database = look_for_database(settings.nexus_data_dir, settings.nexus_database)
    return Standing(
        cluster=settings.cluster,
        record=remembered.record,
        pending_for=remembered.key_for,
        begun_elsewhere=remembered.begun_elsewhere,
        verdict=_hear_nexus(session, remembered, look),
        database=database,
        silence=settings.nexus_silence,
        accept_existing=settings.accept_existing,
    )


def _hear_nexus(session: Session, remembered: Remembered, look: Look) -> Verdict:
    if remembered.record is not None:
        token = remembered.record.token
    elif remembered.key is not None:
        token = remembered.key.seal()
    else:
        # Sealed under a key that nobody else has ever seen, so Nexus can only say whether it
        # holds a key at all.
        with RootKey.draw() as nobodys:
            token = nobodys.seal()
    inquiry = inquire_of_nexus(
        session,
        token,
        session.within(_SECONDS[look]),
        enough=lambda verdict: verdict.nexus in _ENOUGH[look],
    )
    return inquiry.verdict


def inquire_of_nexus(
    session: NexusSession,
    token: Token,
    seconds: float,
    *,
    enough: Callable[[Verdict], bool],
    on_wait: Callable[[Verdict, float], None] = lambda verdict, waited: None,
) -> Inquiry:
    """Ask Nexus about ``token``, as ``inquire`` does, and report what it said last."""
    tools = session.tools

    def ask_once(attempt: Attempt) -> Verdict:
        tools.step("nexus: before question")
        verdict = ask(session.nexus, session.settings.nexus_api_url, token, attempt)
        tools.step("nexus: answered")
        return verdict

    inquiry = inquire(
        ask_once,
        enough,
        seconds=seconds,
        clock=tools.clock,
        sleep=tools.sleep,
        on_wait=on_wait,
    )
    session.report.nexus(
        inquiry.verdict.nexus.state,
        inquiry.verdict.detail,
        attempts=inquiry.attempts,
        elapsed=inquiry.elapsed,
    )
    return inquiry


__all__ = ["Look", "inquire_of_nexus", "take_standing"]
