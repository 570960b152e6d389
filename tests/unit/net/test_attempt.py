# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._errors import (
    AttemptFailed,
    Cause,
    Failure,
)
from ansible_collections.dayzero.spike.plugins.module_utils._net.attempt import Attempt
from ansible_collections.dayzero.spike.tests.support.hand_clock import HandClock

OUT_OF_TIME = {
    Cause.NAME_RESOLUTION: "the name service did not answer in time",
    Cause.CONNECT_TIMEOUT: "nothing answered the TCP connection",
    Cause.TLS_TIMEOUT: "the TLS handshake did not end in time",
    Cause.RESPONSE_TIMEOUT: "the request was sent, no complete answer came",
}


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def attempt(clock: HandClock) -> Attempt:
    return Attempt(1, cut_at=102.0, ends_at=130.0, clock=clock)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def failure_of(attempt: Attempt) -> Failure:
    with pytest.raises(AttemptFailed) as caught:
        attempt.remaining()
    return caught.value.failure


def test_until_the_request_is_sent_an_attempt_has_the_time_to_the_next(
    attempt: Attempt, clock: HandClock
) -> None:
    assert attempt.remaining() == 2.0
    clock.now = 101.5
    assert attempt.remaining() == 0.5


def test_once_the_request_is_sent_an_attempt_has_its_keepers_whole_time(
    attempt: Attempt, clock: HandClock
) -> None:
    clock.now = 101.0
    attempt.mark_sent()
    assert attempt.remaining() == 29.0


@pytest.mark.parametrize("late", [0.0, 1.0])
def test_an_attempt_that_has_not_sent_is_cut_when_the_next_is_due(
    attempt: Attempt, clock: HandClock, late: float
) -> None:
    clock.now = 102.0 + late
    # As a connection, which every attempt makes; whoever looks up a name first says so.
    assert failure_of(attempt) == Failure(
        Cause.CONNECT_TIMEOUT, OUT_OF_TIME[Cause.CONNECT_TIMEOUT], final=False, sent=False
    )


@pytest.mark.parametrize("late", [0.0, 1.0])
def test_an_attempt_that_has_sent_ends_with_its_keepers_time(
    attempt: Attempt, clock: HandClock, late: float
) -> None:
    attempt.mark_sent()
    clock.now = 130.0 + late
    assert failure_of(attempt) == Failure(
        Cause.RESPONSE_TIMEOUT, OUT_OF_TIME[Cause.RESPONSE_TIMEOUT], final=False, sent=True
    )


@pytest.mark.parametrize(("doing", "words"), list(OUT_OF_TIME.items()), ids=str)
def test_out_of_time_says_what_the_attempt_was_doing(
    attempt: Attempt, doing: Cause, words: str
) -> None:
    attempt.doing = doing
    assert attempt.out_of_time() == Failure(doing, words)


def test_an_ended_attempt_has_no_time_left(attempt: Attempt) -> None:
    attempt.end()
    assert failure_of(attempt).cause is Cause.CONNECT_TIMEOUT


def test_before_there_was_a_connection_no_identity_was_shown(attempt: Attempt) -> None:
    assert attempt.shown is None


def test_ending_wakes_the_thread_that_waits_for_the_peer(
    attempt: Attempt, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, _theirs = pair
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(ours.recv(1)), daemon=True)
    attempt.uses(ours)
    reader.start()
    attempt.end()
    reader.join(10)
    assert received == [b""]


def test_a_socket_that_comes_after_the_end_is_shut_at_once(
    attempt: Attempt, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    attempt.end()
    attempt.uses(ours)
    theirs.settimeout(10)
    assert theirs.recv(1) == b""


def test_ending_an_attempt_whose_socket_is_closed_is_quiet(
    attempt: Attempt, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, _theirs = pair
    attempt.uses(ours)
    ours.close()
    attempt.end()
    attempt.end()
    assert failure_of(attempt).sent is False


def test_the_latest_socket_is_the_one_that_is_shut(
    attempt: Attempt, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    first, first_peer = socket.socketpair()
    with first, first_peer:
        attempt.uses(first)
        attempt.uses(ours)
        attempt.end()
        theirs.settimeout(10)
        assert theirs.recv(1) == b""
        first_peer.send(b"x")
        assert first.recv(1) == b"x"
