# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a recovery and a restore have in common: the journal's token, and questions to Nexus."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

from .._decide.emergency_words import Trouble, trouble
from .._errors import AttemptFailed, Failure, StateUnusable
from .._key.root_key import Token
from .._net.attempt import Attempt
from .._state.journal import NAME, Journal
from .._state.run_lock import open_state_dir
from .session import NexusSession

Answer = TypeVar("Answer")

# How long Nexus is asked for one thing, and how long it is waited between two attempts.
_SECONDS = 10.0
_CONNECT_SECONDS = 5.0
_FIRST_INTERVAL_SECONDS = 0.2
_LONGEST_INTERVAL_SECONDS = 2.0
_LEAST_SECONDS = 0.1


def journal_path(session: NexusSession) -> str:
    """Where the journal is, or would be."""
    return os.path.join(session.settings.state_dir, NAME)


def token_of_journal(session: NexusSession) -> Token | None:
    """The token of the bootstrap's journal, None without a journal; reads, and locks nothing."""
    descriptor = open_state_dir(session.settings.state_dir, create=False)
    if descriptor is None:
        return None
    problem = ""
    try:
        record = Journal(descriptor, session.settings.state_dir).load()
    except StateUnusable as unusable:
        problem = unusable.message.partition(". ")[0].partition(".json ")[2] + "."
    finally:
        os.close(descriptor)
    if problem:
        raise trouble(Trouble.JOURNAL, journal=journal_path(session), problem=problem)
    return None if record is None else record.token


def until_answered(session: NexusSession, ask: Callable[[Attempt], Answer]) -> Answer | Failure:
    """What Nexus answers, asked again for a while; or why it never did.

    A request that was sent may be sent again: Nexus takes the same shard only once.
    """
    tools = session.tools
    began = tools.clock()
    ends_at = began + session.within(_SECONDS)
    interval = _FIRST_INTERVAL_SECONDS
    number = 0
    while True:
        number += 1
        cut_at = min(ends_at, tools.clock() + _CONNECT_SECONDS)
        try:
            return ask(Attempt(number, cut_at=cut_at, ends_at=ends_at, clock=tools.clock))
        except AttemptFailed as error:
            failure = error.failure
        if failure.final or tools.clock() + interval >= ends_at - _LEAST_SECONDS:
            return failure
        tools.sleep(interval)
        interval = min(2 * interval, _LONGEST_INTERVAL_SECONDS)


__all__ = ["journal_path", "token_of_journal", "until_answered"]
