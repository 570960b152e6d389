# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A runner on which time passes only while somebody waits: no threads, no sleeps, no chance.

An attempt is played from a script. Its whole course is known when it starts, because all that
limits it is: when it is cut, and when its peer's time ends. What happens later (its request is
sent, its report arrives) is put into the future, which ``next_result`` then walks through.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ansible_collections.dayzero.spike.plugins.module_utils._clock import Clock
from ansible_collections.dayzero.spike.plugins.module_utils._errors import (
    AttemptFailed,
    Cause,
    Failure,
)
from ansible_collections.dayzero.spike.plugins.module_utils._net.attempt import Attempt
from ansible_collections.dayzero.spike.plugins.module_utils._net.broadcast import Attempted, Request


@dataclass(frozen=True)
class Play:
    """What one attempt does, in seconds from its start.

    It sends its request after ``sends`` (None: never), and ends after ``ends`` (None: it hangs
    until its limits end it) with ``failure`` or, where that is None, with success.
    ``deaf``: not even its limits end it, like a thread that gets no processor.
    """

    sends: float | None
    ends: float | None
    failure: Failure | None = None
    deaf: bool = False


def succeeds(after: float, *, sends: float = 0.0) -> Play:
    """The good answer comes ``after`` seconds."""
    return Play(sends, after)


def fails(
    after: float, *, sends: float | None = None, final: bool = False, words: str = "words"
) -> Play:
    """A failure ``after`` seconds; the request was sent before, where ``sends`` says when."""
    failure = Failure(Cause.CONNECTION_REFUSED, words, final=final, sent=sends is not None)
    return Play(sends, after, failure)


def hangs(*, sends: float | None = None, deaf: bool = False) -> Play:
    """Nothing happens, before the request is sent or after."""
    return Play(sends, None, deaf=deaf)


class VirtualTime:
    """The runner, its clock (in seconds), and every attempt that it has seen."""

    clock: Clock

    def __init__(self, now: float = 1024.0) -> None:
        self.now = now
        self.clock = lambda: self.now
        self.attempts: list[Attempt] = []
        self._future: list[tuple[float, int, Callable[[], Attempted | None]]] = []
        self._order = itertools.count()
        self._ends_after: float | None = None

    def start(self, job: Callable[[], Attempted]) -> None:
        """Play an attempt: its report is known at once, and handed out when its time has come."""
        self._ends_after = None
        report = job()
        if self._ends_after is not None:
            self._later(self._ends_after, lambda: report)

    def next_result(self, timeout: float) -> Attempted | None:
        """Let time pass up to ``timeout`` seconds, or to the next report."""
        until = self.now + max(0.0, timeout)
        while self._future and self._future[0][0] <= until:
            self.now, _unused, happens = heapq.heappop(self._future)
            report = happens()
            if report is not None:
                return report
        self.now = until
        return None

    def peer(self, plays: Sequence[Play]) -> Request:
        """A peer that answers attempt *n* with the *n*-th play, and all further with the last."""

        def request(attempt: Attempt) -> None:
            self.attempts.append(attempt)
            self._play(plays[min(attempt.number, len(plays)) - 1], attempt)

        return request

    def _play(self, play: Play, attempt: Attempt) -> None:
        until_cut, until_end = attempt.cut_at - self.now, attempt.ends_at - self.now
        sends = play.sends if play.sends is not None and play.sends < until_cut else None
        if sends is not None:
            self._later(sends, attempt.mark_sent)
        limit = until_cut if sends is None else until_end
        if play.ends is not None and play.ends < limit:
            self._ends_after = play.ends
            if play.failure is not None:
                raise AttemptFailed(play.failure)
            return
        if not play.deaf:
            self._ends_after = limit
        cause = Cause.CONNECT_TIMEOUT if sends is None else Cause.RESPONSE_TIMEOUT
        raise AttemptFailed(Failure(cause, "out of time", sent=sends is not None))

    def _later(self, after: float, happens: Callable[[], Attempted | None]) -> None:
        heapq.heappush(self._future, (self.now + after, next(self._order), happens))


__all__ = ["Play", "VirtualTime", "fails", "hangs", "succeeds"]
