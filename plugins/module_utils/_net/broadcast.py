# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The same step at many peers at once, each with bounded, overlapping attempts.

Knows peers only as callables. One loop owns the schedule; attempts run elsewhere and report to it.
"""

from __future__ import annotations

import functools
import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import field
from typing import Protocol

from .._clock import Clock
from .._dataclass import dataclass
from .._errors import (
    AttemptFailed,
    Cause,
    Failure,
)
from .._uncut import UNCUT
from .attempt import Attempt

# One request to one peer: returns when it succeeded, raises AttemptFailed when it did not.
Request = Callable[[Attempt], None]

# How far an attempt had come that ran out of time; one that failed otherwise had an answer. The
# last attempt has the least time, and its end must not hide what an earlier one found out.
_PROGRESS = {Cause.NAME_RESOLUTION: 0, Cause.CONNECT_TIMEOUT: 1, Cause.TLS_TIMEOUT: 2}
_ANSWERED = 3
# An attempt ends itself when its time does. A thread that is late all the same, on a machine that
# is too busy, is not waited for longer than this; well inside the half second that is promised.
_GRACE_SECONDS = 0.2


@dataclass(frozen=True)
class Schedule:
    """When attempts start, and when all of them end: seconds after the step's begin."""

    starts: Sequence[float]
    timeout: float


@dataclass(frozen=True)
class Outcome:
    """How one peer's step ended.

    ``attempts`` were really started. ``elapsed`` is in seconds. ``failure`` is None on success.
    ``sent``: a request may have been received by the peer, whatever came back.
    """

    attempts: int
    elapsed: float
    failure: Failure | None
    sent: bool


@dataclass(frozen=True)
class Attempted:
    """What one attempt reports: which it was, and its failure or None."""

    peer: int
    attempt: Attempt
    failure: Failure | None


class Runner(Protocol):
    """What attempts run on."""

    clock: Clock

    def start(self, job: Callable[[], Attempted]) -> None:
        """Run ``job`` at once, next to all others."""

    def next_result(self, timeout: float) -> Attempted | None:
        """The next report; None when none came within ``timeout`` seconds."""


@dataclass
class _Peer:
    request: Request
    running: list[Attempt] = field(default_factory=list)
    started: int = 0
    sent: bool = False
    failure: Failure | None = None
    outcome: Outcome | None = None

    def most_telling(self, failure: Failure) -> Failure:
        """The failure that came furthest, the last of those that came as far."""
        if self.failure is None or failure.final or _progress(failure) >= _progress(self.failure):
            self.failure = failure
        return self.failure

    def end_attempts(self) -> None:
        for attempt in self.running:
            attempt.end()


def broadcast(
    requests: Sequence[Request],
    schedule: Schedule,
    runner: Runner,
    *,
    on_attempt: Callable[[int, int], None],
    on_outcome: Callable[[int, Outcome], None],
    on_pause: Callable[[], float] = lambda: math.inf,
) -> list[Outcome]:
    """Make every request, each with the attempts of ``schedule``, and return how each ended.

    A peer has succeeded with the first attempt that does, and has failed with a final failure or
    when all its attempts have failed; nobody waits for the rest of the time. An attempt that has
    sent its request runs on next to the next one; another is cut when the next is due.

    ``on_attempt(index, number)`` is called before each attempt starts, ``on_outcome(index,
    outcome)`` as each peer's outcome is known, and ``on_pause()`` before each wait for others: it
    returns the clock's reading at which it wants to be called again at the latest. All of them on
    the caller's thread.
    """
    step = _Step(requests, schedule, runner, on_attempt, on_outcome, on_pause)
    return step.run()


class _Step:
    def __init__(
        self,
        requests: Sequence[Request],
        schedule: Schedule,
        runner: Runner,
        on_attempt: Callable[[int, int], None],
        on_outcome: Callable[[int, Outcome], None],
        on_pause: Callable[[], float],
    ) -> None:
        self.schedule = schedule
        self.runner = runner
        self.on_attempt = on_attempt
        self.on_outcome = on_outcome
        self.on_pause = on_pause
        self.begin = runner.clock()
        self.ends_at = self.begin + schedule.timeout
        self.peers = [_Peer(request) for request in requests]
        self.under_way: set[Attempt] = set()
        self.unsettled = len(self.peers)
        # (when, peer): the next start of each peer that has one.
        self.due = [(self.begin, index) for index in range(len(self.peers))]

    def run(self) -> list[Outcome]:
        try:
            self._settle_everybody()
        except BaseException:
            # The caller gives up and wipes what the requests send: nobody may go on sending it.
            for peer in self.peers:
                peer.end_attempts()
            self._settle_the_interrupted()
            raise
        return [peer.outcome for peer in self.peers if peer.outcome is not None]

    def _settle_everybody(self) -> None:
        late = self.ends_at + _GRACE_SECONDS
        while self.unsettled:
            self._start_what_is_due()
            wake = min(late, self.on_pause(), self.due[0][0] if self.due else late)
            report = self.runner.next_result(wake - self.runner.clock())
            if report is not None:
                self._take_whole(report)
            elif not self.due and self.runner.clock() >= late:
                # Only now: whatever was in by then counts, however long it was not looked at.
                self._settle_the_late()

    def _start_what_is_due(self) -> None:
        while self.due and self.due[0][0] <= self.runner.clock():
            # A success that is in already makes the next attempt needless, and cutting that one
            # would cost the connection that both would use.
            report = self.runner.next_result(0)
            if report is not None:
                self._take_whole(report)
            else:
                self._start_next(heapq.heappop(self.due)[1])

    def _start_next(self, index: int) -> None:
        peer = self.peers[index]
        if peer.outcome is not None:
            return
        starts = self.schedule.starts
        peer.started += 1
        last = peer.started == len(starts)
        following = self.ends_at if last else self.begin + starts[peer.started]
        if not last:
            heapq.heappush(self.due, (following, index))
        attempt = Attempt(
            peer.started, cut_at=following, ends_at=self.ends_at, clock=self.runner.clock
        )
        peer.running.append(attempt)
        self.under_way.add(attempt)
        self.on_attempt(index, peer.started)
        self.runner.start(functools.partial(_make, index, attempt, peer.request))

    def _take_whole(self, report: Attempted) -> None:
        # A peer that has its request must not look otherwise because the run ended just then.
        with UNCUT:
            self._take(report)

    def _take(self, report: Attempted) -> None:
        if report.attempt not in self.under_way:
            # A runner outlives its steps: an attempt that an earlier step has ended.
            return
        self.under_way.remove(report.attempt)
        peer = self.peers[report.peer]
        # First, so that Ctrl-C between two lines does not lose it.
        peer.sent = peer.sent or report.attempt.sent
        peer.running.remove(report.attempt)
        if peer.outcome is not None:
            return
        failure = report.failure
        if failure is not None:
            failure = peer.most_telling(failure)
        exhausted = not peer.running and peer.started == len(self.schedule.starts)
        if failure is None or failure.final or exhausted:
            self._settle(report.peer, failure)

    def _settle_the_late(self) -> None:
        for index, peer in enumerate(self.peers):
            if peer.outcome is None:
                self._settle(index, peer.most_telling(peer.running[-1].out_of_time()))

    def _settle_the_interrupted(self) -> None:
        # A peer that may have its request must not look as if nothing had been sent.
        for index, peer in enumerate(self.peers):
            if peer.outcome is None and (peer.sent or any(a.sent for a in peer.running)):
                words = "the run ended before an answer came"
                self._settle(index, Failure(Cause.RESPONSE_TIMEOUT, words, sent=True))

    def _settle(self, index: int, failure: Failure | None) -> None:
        peer = self.peers[index]
        # Ended first: none can still send its request after it was asked whether it had.
        peer.end_attempts()
        peer.sent = peer.sent or any(attempt.sent for attempt in peer.running)
        elapsed = self.runner.clock() - self.begin
        peer.outcome = Outcome(peer.started, elapsed, failure, peer.sent)
        self.unsettled -= 1
        self.on_outcome(index, peer.outcome)


def _progress(failure: Failure) -> int:
    return _PROGRESS.get(failure.cause, _ANSWERED)


def _make(index: int, attempt: Attempt, request: Request) -> Attempted:
    try:
        request(attempt)
    except AttemptFailed as error:
        return Attempted(index, attempt, error.failure)
    except BaseException as error:
        # A defect of ours must not look like a keeper that never answers, and its text could hold
        # anything: only its kind is told.
        words = f"unexpected {type(error).__name__}"
        return Attempted(index, attempt, Failure(Cause.BAD_RESPONSE, words, sent=attempt.sent))
    return Attempted(index, attempt, None)


__all__ = ["Attempted", "Outcome", "Request", "Runner", "Schedule", "broadcast"]
