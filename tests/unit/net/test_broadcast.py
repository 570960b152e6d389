# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._errors import (
    AttemptFailed,
    Cause,
    Failure,
)
from ansible_collections.dayzero.spike.plugins.module_utils._net.attempt import Attempt
from ansible_collections.dayzero.spike.plugins.module_utils._net.broadcast import (
    Attempted,
    Outcome,
    Schedule,
    broadcast,
)
from ansible_collections.dayzero.spike.plugins.module_utils._net.workers import Workers
from ansible_collections.dayzero.spike.tests.support.virtual_time import (
    Play,
    VirtualTime,
    fails,
    hangs,
    succeeds,
)
from hypothesis import given, settings
from hypothesis import strategies as st

# SPIKE's defaults.
DEFAULTS = Schedule((0.0, 2.0, 6.0, 14.0, 28.0), 30.0)
# The most that an outcome may be late when an attempt does not end with its time.
GRACE = 0.2
REFUSED = Failure(Cause.CONNECTION_REFUSED, "words")


@dataclass
class Run:
    """A broadcast in virtual time: what came out, and everything in the order it happened.

    Times count from the step's begin.
    """

    outcomes: list[Outcome]
    attempts: list[Attempt]
    started: list[tuple[int, int, float]] = field(default_factory=list)
    ended: list[tuple[int, float]] = field(default_factory=list)
    took: float = 0.0


def play(
    *peers: Sequence[Play], schedule: Schedule = DEFAULTS, runner: VirtualTime | None = None
) -> Run:
    runner = runner or VirtualTime()
    begin = runner.now
    run = Run([], runner.attempts)

    def on_attempt(index: int, number: int) -> None:
        run.started.append((index, number, runner.now - begin))

    def on_outcome(index: int, outcome: Outcome) -> None:
        assert index not in [ended for ended, _unused in run.ended]
        run.ended.append((index, runner.now - begin))

    run.outcomes = broadcast(
        [runner.peer(plays) for plays in peers],
        schedule,
        runner,
        on_attempt=on_attempt,
        on_outcome=on_outcome,
    )
    run.took = runner.now - begin
    return run


def has_ended(attempt: Attempt) -> bool:
    try:
        attempt.remaining()
    except AttemptFailed:
        return True
    return False


# -- one peer


def test_a_first_success_is_the_outcome() -> None:
    run = play([succeeds(0.5)])
    assert run.outcomes == [Outcome(1, 0.5, None, sent=True)]
    assert run.took == 0.5


def test_no_peers_are_no_outcomes() -> None:
    run = play()
    assert run.outcomes == []
    assert run.took == 0


def test_attempt_n_starts_when_the_schedule_says() -> None:
    run = play([hangs()])
    assert run.started == [(0, 1, 0), (0, 2, 2), (0, 3, 6), (0, 4, 14), (0, 5, 28)]


def test_an_attempt_that_fails_early_does_not_bring_the_next_forward() -> None:
    run = play([fails(0.001)])
    assert [when for _unused, _unused, when in run.started] == list(DEFAULTS.starts)


def test_a_peer_that_comes_up_in_between_is_reached() -> None:
    run = play([fails(0.25), fails(0.25), fails(0.25), succeeds(0.25)])
    assert run.outcomes == [Outcome(4, 14.25, None, sent=True)]


def test_when_all_attempts_have_failed_nobody_waits_for_the_rest_of_the_time() -> None:
    run = play([fails(0.25)])
    assert run.outcomes == [Outcome(5, 28.25, REFUSED, sent=False)]
    assert run.took == 28.25


def test_an_attempt_that_has_not_sent_is_cut_when_the_next_is_due() -> None:
    run = play([hangs()])
    limits = [(attempt.cut_at - 1024, attempt.ends_at - 1024) for attempt in run.attempts]
    assert limits == [(2, 30), (6, 30), (14, 30), (28, 30), (30, 30)]
    assert run.outcomes[0].attempts == 5
    assert run.took == 30


def test_an_attempt_that_has_sent_runs_beside_the_next_and_the_first_good_answer_wins() -> None:
    run = play([succeeds(9.0, sends=1.0), hangs(sends=0.5), hangs(sends=0.5)])
    assert run.outcomes == [Outcome(3, 9.0, None, sent=True)]


def test_a_hung_request_does_not_cost_the_run() -> None:
    run = play([hangs(sends=0.125), succeeds(0.25)])
    assert run.outcomes == [Outcome(2, 2.25, None, sent=True)]


def test_a_slow_peer_has_its_whole_time() -> None:
    run = play([succeeds(29.5, sends=0.1), hangs(sends=0.1)])
    assert run.outcomes == [Outcome(5, 29.5, None, sent=True)]


def test_after_the_last_attempt_has_failed_one_that_has_sent_may_still_succeed() -> None:
    run = play([succeeds(29.0, sends=0.1), fails(0.5)])
    assert run.outcomes == [Outcome(5, 29.0, None, sent=True)]


def test_the_failure_that_ended_last_is_told() -> None:
    run = play([fails(0.5, words="first"), fails(0.5), fails(0.5), fails(0.5, words="last")])
    assert run.outcomes[0].failure == Failure(Cause.CONNECTION_REFUSED, "last")


def test_a_last_attempt_that_is_cut_does_not_hide_what_others_found_out() -> None:
    run = play([fails(0.5, words="refused"), hangs()])
    assert run.outcomes[0].failure == Failure(Cause.CONNECTION_REFUSED, "refused")


def test_of_attempts_that_ran_out_of_time_the_one_that_came_furthest_is_told() -> None:
    def ran_out(cause: Cause) -> Play:
        return Play(None, 0.5, Failure(cause, cause.value))

    run = play(
        [ran_out(Cause.TLS_TIMEOUT), ran_out(Cause.CONNECT_TIMEOUT), ran_out(Cause.NAME_RESOLUTION)]
    )
    assert run.outcomes[0].failure == Failure(Cause.TLS_TIMEOUT, "tls_timeout")


def test_a_final_failure_ends_the_peer_at_once() -> None:
    run = play([fails(0.5), fails(0.25, final=True)])
    assert run.outcomes[0].attempts == 2
    assert run.outcomes[0].failure is not None
    assert run.outcomes[0].failure.final
    assert run.took == 2.25


def test_a_final_failure_stops_the_attempts_that_still_run() -> None:
    run = play([hangs(sends=0.1), fails(0.25, final=True)], [succeeds(10.0)])
    assert has_ended(run.attempts[0])
    assert [number for index, number, _unused in run.started if index == 0] == [1, 2]


def test_a_success_stops_the_attempts_that_still_run() -> None:
    run = play([hangs(sends=0.1), hangs(sends=0.1), succeeds(0.5)])
    first, second, _third = run.attempts
    assert has_ended(first)
    assert has_ended(second)


@pytest.mark.parametrize(
    ("plays", "sent"),
    [
        pytest.param([fails(0.5)], False, id="never"),
        pytest.param([hangs()], False, id="never, hanging"),
        pytest.param([fails(0.5, sends=0.2), fails(0.5)], True, id="by the first only"),
        pytest.param([hangs(sends=0.2), fails(0.5, final=True)], True, id="by one that still ran"),
        pytest.param([hangs(sends=2.5), fails(0.5)], False, id="cut before it would have sent"),
        pytest.param([fails(0.5)] * 4 + [hangs(sends=1.0, deaf=True)], True, id="by a deaf one"),
    ],
)
def test_the_outcome_says_whether_a_request_may_have_been_received(
    plays: list[Play], sent: bool
) -> None:
    outcome = play(plays).outcomes[0]
    assert outcome.failure is not None
    assert outcome.sent is sent


@pytest.mark.parametrize("sends", [None, 0.5], ids=["not sent", "sent"])
def test_an_attempt_that_its_time_does_not_end_is_waited_for_no_longer_than_the_grace(
    sends: float | None,
) -> None:
    run = play([hangs(sends=sends, deaf=True)])
    assert run.took == pytest.approx(30 + GRACE)
    outcome = run.outcomes[0]
    assert outcome.attempts == 5
    assert outcome.elapsed == pytest.approx(30 + GRACE)
    assert outcome.failure is not None
    assert outcome.failure.sent is (sends is not None)


def test_an_answer_within_the_grace_still_counts() -> None:
    class Sluggish(VirtualTime):
        """Reports arrive a tenth of a second after the attempt has ended."""

        def next_result(self, timeout: float) -> Attempted | None:
            report = super().next_result(timeout)
            if report is not None:
                self.now += 0.1
            return report

    run = play([succeeds(29.95), hangs(sends=0.1)], runner=Sluggish())
    assert run.outcomes == [Outcome(5, pytest.approx(30.05), None, sent=True)]


def test_answers_that_came_in_time_count_however_late_the_loop_looks() -> None:
    runner = VirtualTime()
    outcomes: list[Outcome] = []

    def on_outcome(index: int, outcome: Outcome) -> None:
        # As if noting the first outcome took longer than all the time that was left.
        runner.now += 60 if not outcomes else 0
        outcomes.append(outcome)

    broadcast(
        [runner.peer([succeeds(1.0)]), runner.peer([succeeds(1.5)]), runner.peer([fails(0.5)])],
        Schedule((0.0,), 30.0),
        runner,
        on_attempt=lambda index, number: None,
        on_outcome=on_outcome,
    )
    assert [outcome.failure for outcome in outcomes] == [REFUSED, None, None]


def test_a_machine_that_slept_through_the_whole_time_still_makes_every_attempt() -> None:
    class Slept(VirtualTime):
        """The first time that nothing is to be had, an hour has passed."""

        def next_result(self, timeout: float) -> Attempted | None:
            report = super().next_result(timeout)
            if report is None and timeout > 0 and self.now < 1024 + 3600:
                self.now += 3600
            return report

    run = play([fails(0.5)], [fails(0.25)], runner=Slept())
    assert [outcome.attempts for outcome in run.outcomes] == [5, 5]
    assert all(outcome.failure is not None for outcome in run.outcomes)


# -- many peers


def test_one_slow_peer_delays_no_other() -> None:
    run = play([hangs(sends=0.1)], [succeeds(0.5)], [fails(0.1), succeeds(0.5)], [hangs()])
    assert run.ended[:2] == [(1, 0.5), (2, 2.5)]
    assert [outcome.failure is None for outcome in run.outcomes] == [False, True, True, False]


def test_outcomes_come_in_the_order_of_the_peers() -> None:
    run = play([succeeds(0.75)], [succeeds(0.5)], [succeeds(0.25)])
    assert [index for index, _unused in run.ended] == [2, 1, 0]
    assert [outcome.elapsed for outcome in run.outcomes] == [0.75, 0.5, 0.25]


def test_a_thousand_peers_start_at_the_same_moment() -> None:
    run = play(*[[hangs()]] * 1000, schedule=Schedule((0.0, 1.0), 2.0))
    assert len(run.started) == 2000
    assert {when for _unused, _unused, when in run.started} == {0.0, 1.0}
    assert run.took == 2


def test_a_report_of_an_earlier_step_on_the_same_runner_is_not_taken_for_one_of_this() -> None:
    runner = VirtualTime()
    # Each leaves an attempt behind that reports only after the step is over.
    reach = play(*[[hangs(sends=0.1), succeeds(0.5)]] * 3, runner=runner)
    assert [outcome.attempts for outcome in reach.outcomes] == [2, 2, 2]
    deliver = play([hangs(sends=0.1)], runner=runner)
    assert deliver.outcomes[0].attempts == 5
    assert deliver.outcomes[0].elapsed == 30


class Broken(Exception):
    """The caller's own failure, such as a journal that cannot be written."""


def test_when_noting_an_outcome_fails_every_attempt_is_ended() -> None:
    def on_outcome(index: int, outcome: Outcome) -> None:
        raise Broken

    runner = VirtualTime()
    with pytest.raises(Broken):
        broadcast(
            [runner.peer([hangs(sends=0.1)]), runner.peer([hangs()]), runner.peer([succeeds(1.0)])],
            DEFAULTS,
            runner,
            on_attempt=lambda index, number: None,
            on_outcome=on_outcome,
        )
    assert runner.now == 1024 + 1
    assert [has_ended(attempt) for attempt in runner.attempts[:2]] == [True, True]


def test_when_noting_an_attempt_fails_those_before_it_are_ended() -> None:
    def on_attempt(index: int, number: int) -> None:
        if (index, number) == (0, 2):
            raise Broken

    runner = VirtualTime()
    with pytest.raises(Broken):
        broadcast(
            [runner.peer([hangs(sends=0.1)]), runner.peer([hangs(sends=0.1)])],
            DEFAULTS,
            runner,
            on_attempt=on_attempt,
            on_outcome=lambda index, outcome: None,
        )
    assert [has_ended(attempt) for attempt in runner.attempts] == [True, True]


ENDED_EARLY = Failure(
    Cause.RESPONSE_TIMEOUT, "the run ended before an answer came", final=False, sent=True
)


def interrupted(*peers: Sequence[Play], after: float) -> list[tuple[int, Outcome]]:
    """The outcomes, in the order in which they were told, of a step that Ctrl-C ends."""

    class Interrupted(VirtualTime):
        """Ctrl-C reaches the thread that waits, once ``after`` seconds have passed."""

        def next_result(self, timeout: float) -> Attempted | None:
            left = 1024 + after - self.now
            report = super().next_result(min(timeout, left))
            if report is None and self.now >= 1024 + after:
                raise KeyboardInterrupt
            return report

    runner = Interrupted()
    told: list[tuple[int, Outcome]] = []
    with pytest.raises(KeyboardInterrupt):
        broadcast(
            [runner.peer(plays) for plays in peers],
            DEFAULTS,
            runner,
            on_attempt=lambda index, number: None,
            on_outcome=lambda index, outcome: told.append((index, outcome)),
        )
    assert runner.now == 1024 + after
    return told


def test_a_step_that_is_interrupted_tells_who_may_have_its_request() -> None:
    told = interrupted([succeeds(0.5)], [hangs(sends=0.25)], [hangs()], after=1.0)
    assert told == [
        (0, Outcome(1, 0.5, None, sent=True)),
        (1, Outcome(1, 1.0, ENDED_EARLY, sent=True)),
    ]


def test_a_step_that_is_interrupted_tells_of_requests_whose_attempt_has_failed() -> None:
    told = interrupted([fails(0.5, sends=0.25)], [fails(0.5)], after=1.0)
    assert told == [(0, Outcome(1, 1.0, ENDED_EARLY, sent=True))]


def test_a_step_that_is_interrupted_tells_of_requests_that_run_beside_others() -> None:
    told = interrupted([hangs(sends=0.25), hangs()], after=3.0)
    assert told == [(0, Outcome(2, 3.0, ENDED_EARLY, sent=True))]


def test_when_noting_an_outcome_fails_the_others_that_may_have_their_request_are_told() -> None:
    told: list[tuple[int, Outcome]] = []

    def on_outcome(index: int, outcome: Outcome) -> None:
        told.append((index, outcome))
        if outcome.failure is None:
            raise Broken

    runner = VirtualTime()
    with pytest.raises(Broken):
        broadcast(
            [runner.peer([succeeds(1.0)]), runner.peer([hangs(sends=0.5)]), runner.peer([hangs()])],
            DEFAULTS,
            runner,
            on_attempt=lambda index, number: None,
            on_outcome=on_outcome,
        )
    # Each of them once.
    assert told == [
        (0, Outcome(1, 1.0, None, sent=True)),
        (1, Outcome(1, 1.0, ENDED_EARLY, sent=True)),
    ]


def test_before_each_wait_it_pauses_and_is_back_when_it_was_told_to_be() -> None:
    runner = VirtualTime()
    paused: list[float] = []

    def on_pause() -> float:
        paused.append(runner.now - 1024)
        return runner.now + 0.75 if len(paused) < 3 else math.inf

    broadcast(
        [runner.peer([succeeds(5.0)])],
        Schedule((0.0,), 30.0),
        runner,
        on_attempt=lambda index, number: None,
        on_outcome=lambda index, outcome: None,
        on_pause=on_pause,
    )
    assert paused == [0, 0.75, 1.5]


# -- defects of ours


def test_an_unexpected_exception_fails_the_attempt_and_shows_only_its_kind() -> None:
    def broken(attempt: Attempt) -> None:
        attempt.mark_sent()
        raise LookupError("with a secret")

    outcomes = broadcast(
        [broken],
        Schedule((0.0,), 30.0),
        Workers(),
        on_attempt=lambda index, number: None,
        on_outcome=lambda index, outcome: None,
    )
    assert outcomes[0].failure == Failure(Cause.BAD_RESPONSE, "unexpected LookupError", sent=True)


def test_real_threads_run_the_attempts_beside_each_other() -> None:
    together = threading.Barrier(10)

    def request(attempt: Attempt) -> None:
        together.wait(10)
        attempt.mark_sent()

    outcomes = broadcast(
        [request] * 10,
        Schedule((0.0, 20.0), 30.0),
        Workers(),
        on_attempt=lambda index, number: None,
        on_outcome=lambda index, outcome: None,
    )
    assert [(outcome.attempts, outcome.failure) for outcome in outcomes] == [(1, None)] * 10


# -- whatever happens

STARTS = st.lists(st.integers(1, 28), max_size=5, unique=True).map(
    lambda later: tuple(float(start) for start in [0, *sorted(later)])
)
# Whole seconds are starts; quarters are sends, and halves with a part of its own for each attempt
# are ends: no two things that decide anything happen at once, and floats hold them all exactly.
QUARTERS = st.integers(0, 30).map(lambda whole: whole + 0.25)
HALVES = st.integers(0, 30).map(lambda whole: whole + 0.5)


def _plays(number: int) -> st.SearchStrategy[Play]:
    ends = HALVES.map(lambda half: half + number / 64)
    return st.one_of(
        st.builds(
            lambda after, sends: succeeds(after, sends=min(sends, after - 0.25)), ends, QUARTERS
        ),
        st.builds(
            lambda after, sends, final: fails(
                after, sends=None if sends is None or sends > after else sends, final=final
            ),
            ends,
            st.none() | QUARTERS,
            st.booleans(),
        ),
        st.builds(
            lambda sends, deaf: hangs(sends=sends, deaf=deaf), st.none() | QUARTERS, st.booleans()
        ),
    )


PEERS = st.lists(st.tuples(*map(_plays, range(1, 7))), min_size=1, max_size=4)


def expected(peer: Sequence[Play], starts: Sequence[float], timeout: float) -> Outcome:
    """What the promise says of one peer, worked out without a loop over time."""
    sent_at, ends = [], []
    for number, start in enumerate(starts):
        script = peer[number]
        cut = starts[number + 1] if number + 1 < len(starts) else timeout
        sends = script.sends is not None and start + script.sends < cut
        sent_at.append(start + (script.sends or 0) if sends else float("inf"))
        limit = timeout if sends else cut
        if script.ends is not None and start + script.ends < limit:
            ends.append((start + script.ends, script.failure is None, script.failure))
        else:
            over = timeout + GRACE if script.deaf else limit
            ends.append((over, False, Failure(Cause.CONNECT_TIMEOUT, "")))
    decisive = [end for end in ends if end[1] or (end[2] is not None and end[2].final)]
    decided_at, good, _unused = min(
        [*decisive, max(ends, key=lambda end: end[0])], key=lambda e: e[0]
    )
    return Outcome(
        attempts=sum(start < decided_at for start in starts),
        elapsed=decided_at,
        failure=None if good else REFUSED,
        sent=any(when <= decided_at for when in sent_at),
    )


@settings(max_examples=120, deadline=None)
@given(PEERS, STARTS)
def test_every_peer_ends_as_promised_whatever_the_others_do(
    scripts: list[tuple[Play, ...]], starts: tuple[float, ...]
) -> None:
    run = play(*scripts, schedule=Schedule(starts, 30.0))
    for script, outcome in zip(scripts, run.outcomes):
        promised = expected(script, starts, 30.0)
        assert outcome.attempts == promised.attempts
        assert outcome.elapsed == pytest.approx(promised.elapsed)
        assert (outcome.failure is None) == (promised.failure is None)
        assert outcome.sent == promised.sent


@settings(max_examples=120, deadline=None)
@given(PEERS, STARTS)
def test_every_attempt_that_started_is_counted_and_started_on_time(
    scripts: list[tuple[Play, ...]], starts: tuple[float, ...]
) -> None:
    run = play(*scripts, schedule=Schedule(starts, 30.0))
    assert len(run.attempts) == len(run.started) == sum(o.attempts for o in run.outcomes)
    for index, outcome in enumerate(run.outcomes):
        mine = [(number, when) for peer, number, when in run.started if peer == index]
        assert mine == list(enumerate(starts[: outcome.attempts], 1))


@settings(max_examples=120, deadline=None)
@given(PEERS, STARTS)
def test_every_outcome_is_known_by_the_timeout_and_the_grace(
    scripts: list[tuple[Play, ...]], starts: tuple[float, ...]
) -> None:
    run = play(*scripts, schedule=Schedule(starts, 30.0))
    assert [index for index, _unused in sorted(run.ended)] == list(range(len(scripts)))
    assert run.took == max(when for _unused, when in run.ended)
    assert run.took <= 30 + GRACE + 1e-9
    # What is told of a peer is what it took.
    assert [outcome.elapsed for outcome in run.outcomes] == [
        when for _unused, when in sorted(run.ended)
    ]
