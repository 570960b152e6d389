# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Union

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._clock import as_utc
from ansible_collections.dayzero.spike.plugins.module_utils._errors import (
    Cause,
    DayZeroError,
    Failure,
    Finding,
    IdentityError,
    OutOfTime,
)
from ansible_collections.dayzero.spike.plugins.module_utils._net.attempt import Attempt
from ansible_collections.dayzero.spike.plugins.module_utils._net.credentials import (
    Credentials,
    LiveTls,
)
from ansible_collections.dayzero.spike.plugins.module_utils._net.transport import Transport
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.authority import Authority
from ansible_collections.dayzero.spike.plugins.module_utils._spiffe.svid import Identity, validity
from ansible_collections.dayzero.spike.tests.support.hand_clock import HandClock
from ansible_collections.dayzero.spike.tests.support.loopback_peer import (
    Conversation,
    Peer,
    http_response,
    over_tls,
    replying,
    server_context,
)
from ansible_collections.dayzero.spike.tests.support.spiffe_side import (
    BOOTSTRAP,
    DOMAIN,
    KEEPER,
    KEEPER_RULE,
    SLACK,
    attempt,
    bootstrap_of,
    failure_of,
    identity_with,
    transport_for,
)

# What a source hands over when it is asked once.
Offered = Union[Identity, DayZeroError]

# Both are trust domain spike.ist, before and after its authority was replaced.
OLD = Authority(DOMAIN)
NEW = Authority(DOMAIN)
# Whoever trusts both authorities; which of them has signed the own SVID is what differs.
BOTH = {DOMAIN.replace(".", "_"): OLD.bundle_pem() + NEW.bundle_pem()}
FIRST = identity_with(OLD.issue(BOOTSTRAP), **BOTH)
SECOND = identity_with(NEW.issue(BOOTSTRAP), **BOTH)
# 500 of 3000 seconds are left.
ENDING = identity_with(
    OLD.issue(BOOTSTRAP, lifetime_seconds=60_000, not_before_offset=-50_000), **BOTH
)
EXPIRED = identity_with(OLD.issue(BOOTSTRAP, lifetime_seconds=-60), **BOTH)
OK = http_response(200)
TLS_VERSIONS = pytest.mark.parametrize(
    "version",
    [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3],
    ids=["TLS 1.2", "TLS 1.3"],
)


class Source:
    """Hands over what it is given, one at a time; the last one again and again."""

    def __init__(self, *offered: Offered) -> None:
        self.asked = 0
        self._offered = offered

    def __call__(self, stopped: Callable[[], bool] = lambda: False) -> Identity:
        self.asked += 1
        offered = self._offered[min(self.asked, len(self._offered)) - 1]
        if isinstance(offered, DayZeroError):
            raise offered
        return offered


class HangingSource(Source):
    """Answers at once the first time, and afterwards only when it is told to."""

    def __init__(self, *offered: Offered) -> None:
        super().__init__(*offered)
        self.answers = threading.Event()

    def __call__(self, stopped: Callable[[], bool] = lambda: False) -> Identity:
        if self.asked:
            assert self.answers.wait(10)
        return super().__call__(stopped)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def hanging() -> Iterator[Callable[..., HangingSource]]:
    """Makes sources that hang until the test is over, unless it tells them to answer."""
    made: list[HangingSource] = []

    def make(*offered: Offered) -> HangingSource:
        made.append(HangingSource(*offered))
        return made[-1]

    yield make
    for source in made:
        source.answers.set()


def now() -> datetime:
    return datetime.now(timezone.utc)


def credentials_of(
    source: Callable[..., Identity], clock: HandClock, at: Callable[[], datetime] = now
) -> Credentials:
    """Credentials that have just been taken, and the second after which they may be again."""
    made = Credentials(source, clock=clock, now=at)
    clock.now += 1.0
    return made


def seconds_before_the_end(identity: Identity, seconds: float) -> Callable[[], datetime]:
    ends = validity(identity.chain[0])[1]
    return lambda: ends - timedelta(seconds=seconds)


# An identity that is about to expire.


@pytest.mark.parametrize(
    ("left", "asked"), [(20_001, 1), (20_000, 1), (19_999, 2), (0, 2), (-1, 2), (-3600, 2)]
)
def test_an_identity_is_taken_again_when_less_than_a_third_of_its_life_is_left(
    clock: HandClock, left: int, asked: int
) -> None:
    source = Source(ENDING, SECOND)
    credentials = credentials_of(source, clock, seconds_before_the_end(ENDING, left))
    assert credentials.for_connection(attempt()) is (SECOND if asked == 2 else ENDING)
    assert source.asked == asked


def test_an_identity_that_lives_for_seconds_is_taken_again_just_as_well(clock: HandClock) -> None:
    brief = identity_with(OLD.issue(BOOTSTRAP, lifetime_seconds=3, not_before_offset=-1), **BOTH)
    moment = [seconds_before_the_end(brief, 2.0)()]
    source = Source(brief, SECOND)
    credentials = credentials_of(source, clock, lambda: moment[0])
    assert credentials.for_connection(attempt()) is brief
    moment[0] += timedelta(seconds=1.5)
    assert credentials.for_connection(attempt()) is SECOND


def test_a_source_that_has_no_newer_identity_is_asked_once_a_second(clock: HandClock) -> None:
    source = Source(ENDING)
    credentials = Credentials(source, clock=clock, now=now)
    asked = []
    for _unused in range(6):
        assert credentials.for_connection(attempt()) is ENDING
        asked.append(source.asked)
        clock.now += 0.5
    assert asked == [1, 1, 2, 2, 3, 3]


def test_a_newer_identity_that_lives_long_is_kept(clock: HandClock) -> None:
    source = Source(ENDING, SECOND, IdentityError("asked for no reason"))
    credentials = credentials_of(source, clock)
    for _unused in range(3):
        assert credentials.for_connection(attempt()) is SECOND
        clock.now += 10.0
    assert source.asked == 2


@pytest.mark.parametrize(
    "error",
    [IdentityError("the agent is down"), OutOfTime("no time")],
    ids=["of the identity", "of the whole run"],
)
def test_a_renewal_that_fails_leaves_the_identity_in_use(
    clock: HandClock, error: DayZeroError
) -> None:
    credentials = credentials_of(Source(ENDING, error, SECOND), clock)
    assert credentials.for_connection(attempt()) is ENDING
    clock.now += 1.0
    assert credentials.for_connection(attempt()) is SECOND


def test_a_defect_in_a_renewal_leaves_the_identity_in_use(clock: HandClock) -> None:
    def source(_stopped: Callable[[], bool]) -> Identity:
        asked.append(clock.now)
        if len(asked) == 2:
            raise ZeroDivisionError
        return ENDING if len(asked) == 1 else SECOND

    asked: list[float] = []
    credentials = credentials_of(source, clock)
    assert credentials.for_connection(attempt()) is ENDING
    clock.now += 1.0
    assert credentials.for_connection(attempt()) is SECOND


def test_closing_ends_a_renewal_that_is_under_way_and_waits_for_it(clock: HandClock) -> None:
    ended = threading.Event()

    def source(stopped: Callable[[], bool]) -> Identity:
        if begun.is_set():
            assert closing.wait(10)
            assert stopped()
            ended.set()
        begun.set()
        return ENDING

    begun, closing = threading.Event(), threading.Event()
    credentials = credentials_of(source, clock)
    credentials.for_connection(attempt(0.2))
    threading.Timer(0.2, closing.set).start()
    credentials.close()
    assert ended.is_set()


def test_the_first_identity_must_be_had(clock: HandClock) -> None:
    with pytest.raises(IdentityError, match="the agent is down"):
        Credentials(Source(IdentityError("the agent is down")), clock=clock, now=now)


def test_an_identity_is_renewed_only_where_a_thread_can_be_started(
    clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    source = Source(ENDING, SECOND)
    credentials = credentials_of(source, clock)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        assert credentials.for_connection(attempt()) is ENDING
        assert not credentials.renewed_since(ENDING, attempt())
    assert source.asked == 1


# Many connections at the same moment.

THREADS = 20


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Threads take turns as often as they can: what is not locked shows."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def all_at_once(act: Callable[[], object]) -> list[object]:
    """What ``act`` gives to each of many threads that call it at the same moment."""
    together = threading.Barrier(THREADS)

    def meet(_number: int) -> object:
        together.wait(10)
        return act()

    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(meet, range(THREADS)))


@pytest.mark.usefixtures("hasty_threads")
def test_whoever_is_doubted_at_the_same_moment_waits_for_one_renewal(clock: HandClock) -> None:
    # What comes between two threads is up to the scheduler: more than one chance for it.
    for _unused in range(20):
        source = Source(FIRST, SECOND)
        credentials = credentials_of(source, clock)
        renewed = all_at_once(lambda one=credentials: one.renewed_since(FIRST, attempt()))
        assert renewed == [True] * THREADS
        assert source.asked == 2


@pytest.mark.usefixtures("hasty_threads")
def test_connections_at_the_same_moment_cause_one_renewal(clock: HandClock) -> None:
    for _unused in range(20):
        source = Source(ENDING)
        credentials = credentials_of(source, clock)
        shown = all_at_once(lambda one=credentials: one.for_connection(attempt()))
        assert shown == [ENDING] * THREADS
        assert source.asked == 2


# An identity that a peer does not accept, or that does not know the peer.


def test_a_doubted_identity_that_is_the_newest_is_not_another(clock: HandClock) -> None:
    source = Source(FIRST)
    assert not credentials_of(source, clock).renewed_since(FIRST, attempt())
    assert source.asked == 2


def test_an_identity_read_a_second_time_is_not_another(clock: HandClock) -> None:
    # As a source hands it over that reads its files again: equal, and not the same object.
    credentials = credentials_of(Source(FIRST, dataclasses.replace(FIRST)), clock)
    assert not credentials.renewed_since(FIRST, attempt())
    assert credentials.identity is FIRST


@pytest.mark.parametrize(
    "bundles",
    [{DOMAIN: FIRST.bundles[DOMAIN][:1]}, {**FIRST.bundles, "b.example": FIRST.bundles[DOMAIN]}],
    ids=["an authority less", "a trust domain more"],
)
def test_the_same_svid_with_another_bundle_is_another_identity(
    clock: HandClock, bundles: dict[str, tuple[object, ...]]
) -> None:
    other = dataclasses.replace(FIRST, bundles=bundles)
    credentials = credentials_of(Source(FIRST, other), clock)
    assert credentials.renewed_since(FIRST, attempt())
    assert credentials.identity is other


def test_an_identity_that_was_replaced_since_is_not_asked_for_again(clock: HandClock) -> None:
    source = Source(FIRST, SECOND)
    credentials = credentials_of(source, clock)
    assert credentials.renewed_since(FIRST, attempt())
    clock.now += 60.0
    assert credentials.renewed_since(FIRST, attempt())
    assert source.asked == 2


def test_a_doubted_identity_is_asked_for_once_in_five_seconds(clock: HandClock) -> None:
    source = Source(FIRST)
    credentials = credentials_of(source, clock)
    asked = []
    for _unused in range(6):
        credentials.renewed_since(FIRST, attempt())
        asked.append(source.asked)
        clock.now += 2.5
    assert asked == [2, 2, 3, 3, 4, 4]


def test_a_doubted_identity_whose_renewal_fails_stays_in_use(clock: HandClock) -> None:
    credentials = credentials_of(Source(FIRST, IdentityError("the agent is down")), clock)
    assert not credentials.renewed_since(FIRST, attempt())
    assert credentials.for_connection(attempt()) is FIRST


def test_whoever_is_doubted_while_it_is_taken_again_gets_what_is_taken(
    clock: HandClock, hanging: Callable[..., HangingSource]
) -> None:
    source = hanging(FIRST, SECOND)
    credentials = credentials_of(source, clock)
    assert not credentials.renewed_since(FIRST, attempt(0.05))
    source.answers.set()
    # It may not be asked again so soon, and need not be: the first answer is waited for.
    assert credentials.renewed_since(FIRST, attempt())
    assert source.asked == 2


# A source that does not answer.


@pytest.mark.timing
def test_a_source_that_hangs_leaves_half_the_time_to_the_identity_in_use(
    clock: HandClock, hanging: Callable[..., HangingSource]
) -> None:
    credentials = credentials_of(hanging(ENDING, SECOND), clock)
    began = time.monotonic()
    assert credentials.for_connection(attempt(5, cut=0.4)) is ENDING
    assert 0.2 <= time.monotonic() - began < 0.2 + SLACK


def test_a_source_that_hangs_fails_no_request(
    clock: HandClock, hanging: Callable[..., HangingSource]
) -> None:
    live = LiveTls(credentials_of(hanging(ENDING, SECOND), clock), KEEPER_RULE)
    with keeper_of(OLD) as peer, speaking(live) as transport:
        assert transport.post(peer.url, b"{}", attempt(5, cut=0.8)).status == 200


def test_what_a_slow_source_answers_serves_the_next_connection(
    clock: HandClock, hanging: Callable[..., HangingSource]
) -> None:
    source = hanging(ENDING, SECOND)
    credentials = credentials_of(source, clock)
    assert credentials.for_connection(attempt(0.1)) is ENDING
    source.answers.set()
    assert credentials.for_connection(attempt()) is SECOND
    assert source.asked == 2


# What is said of a failure.


def test_an_svid_that_has_expired_is_told_where_a_peer_refuses_it() -> None:
    with keeper_of(OLD) as peer, transport_for(EXPIRED) as transport:
        failure = failure_of(lambda: transport.post(peer.url, b"{}", attempt()))
    expired = as_utc(validity(EXPIRED.chain[0])[1])
    assert (failure.cause, failure.finding) == (Cause.IDENTITY_REFUSED, Finding.OURS_EXPIRED)
    assert failure.detail == f"TLS alert certificate_expired; our SVID expired at {expired}"
    assert failure.final


@pytest.mark.parametrize(
    "cause",
    [cause for cause in Cause if cause is not Cause.IDENTITY_REFUSED],
    ids=lambda cause: cause.value,
)
def test_an_svid_that_has_expired_explains_nothing_else(clock: HandClock, cause: Cause) -> None:
    credentials = credentials_of(Source(EXPIRED), clock)
    failure = Failure(cause, "detail", final=True, sent=True)
    assert credentials.explained(failure) is failure


@pytest.mark.parametrize("left", [1, 0])
def test_an_svid_that_is_still_valid_explains_nothing(clock: HandClock, left: int) -> None:
    credentials = credentials_of(Source(ENDING), clock, seconds_before_the_end(ENDING, left))
    failure = Failure(Cause.IDENTITY_REFUSED, "detail", final=True)
    assert credentials.explained(failure) is failure


# Requests over real connections, while the identity is renewed.


def keeper_of(clients: Authority, svid: Authority = OLD, **versions: ssl.TLSVersion) -> Peer:
    """A keeper with an SVID of one authority that admits only clients of the other."""
    context = server_context(svid.issue(KEEPER), clients, **versions)
    return Peer(over_tls(context, replying(OK)))


@contextlib.contextmanager
def speaking(live: LiveTls) -> Iterator[Transport]:
    transport = Transport(live)
    try:
        yield transport
    finally:
        transport.close()


def live_of(*offered: Offered) -> tuple[Source, LiveTls]:
    source = Source(*offered)
    return source, LiveTls(credentials_of(source, HandClock()), KEEPER_RULE)


@TLS_VERSIONS
def test_a_request_that_was_refused_succeeds_in_the_same_attempt_with_a_newer_identity(
    version: ssl.TLSVersion,
) -> None:
    source, live = live_of(FIRST, SECOND)
    limits = attempt()
    with keeper_of(NEW, minimum=version, maximum=version) as peer, speaking(live) as transport:
        assert transport.post(peer.url, b"{}", limits).status == 200
    assert limits.shown is SECOND
    assert source.asked == 2
    # The keeper saw the request once, on the second of two connections.
    assert (peer.connections, peer.handshakes, len(peer.seen)) == (2, 1, 1)


def test_a_keeper_that_was_not_known_is_spoken_to_with_a_newer_bundle() -> None:
    older = bootstrap_of(OLD)
    newer = dataclasses.replace(older, bundles={DOMAIN: FIRST.bundles[DOMAIN]})
    source, live = live_of(older, newer)
    with keeper_of(OLD, svid=NEW) as peer, speaking(live) as transport:
        assert transport.post(peer.url, b"{}", attempt()).status == 200
    assert (source.asked, peer.connections, len(peer.seen)) == (2, 2, 1)


@TLS_VERSIONS
def test_where_there_is_no_newer_identity_the_refusal_stands(version: ssl.TLSVersion) -> None:
    source, live = live_of(FIRST)
    with keeper_of(NEW, minimum=version, maximum=version) as peer, speaking(live) as transport:
        failure = failure_of(lambda: transport.post(peer.url, b"{}", attempt()))
    assert (failure.cause, failure.final) == (Cause.IDENTITY_REFUSED, True)
    assert failure.detail == "TLS alert unknown_ca"
    assert failure.finding is None
    assert (source.asked, peer.connections, peer.received) == (2, 1, 0)


def test_a_request_is_made_no_third_time() -> None:
    clock = HandClock()
    source = Source(FIRST, identity_with(OLD.issue(BOOTSTRAP), **BOTH), SECOND)

    def slow(_stopped: Callable[[], bool]) -> Identity:
        # The pause after a doubt is not what keeps it from a third time.
        clock.now += 60.0
        return source()

    live = LiveTls(credentials_of(slow, clock), KEEPER_RULE)
    with keeper_of(NEW) as peer, speaking(live) as transport:
        failure = failure_of(lambda: transport.post(peer.url, b"{}", attempt()))
    assert (failure.cause, failure.final) == (Cause.IDENTITY_REFUSED, True)
    assert (source.asked, peer.connections) == (2, 2)


def test_a_refusal_stands_where_no_time_is_left_to_take_the_identity_again() -> None:
    class Late(LiveTls):
        def may_try_again(self, failure: Failure, attempt: Attempt) -> bool:
            attempt.end()
            return super().may_try_again(failure, attempt)

    source = Source(FIRST, SECOND)
    live = Late(credentials_of(source, HandClock()), KEEPER_RULE)
    with keeper_of(NEW) as peer, speaking(live) as transport:
        failure = failure_of(lambda: transport.post(peer.url, b"{}", attempt()))
    assert (failure.cause, failure.final) == (Cause.IDENTITY_REFUSED, True)
    assert (source.asked, peer.connections) == (1, 1)


def test_requests_that_are_refused_at_the_same_moment_all_succeed_with_one_renewal() -> None:
    source, live = live_of(FIRST, SECOND)
    together = threading.Barrier(10)
    context = server_context(OLD.issue(KEEPER), NEW)

    def refuse_together(conversation: Conversation) -> None:
        # Nobody is refused, and comes again, before all ten are here.
        if conversation.peer.connections <= 10:
            together.wait(5)
        over_tls(context, replying(OK))(conversation)

    with Peer(refuse_together) as peer, speaking(live) as transport:
        with concurrent.futures.ThreadPoolExecutor(10) as pool:
            posted = [
                pool.submit(transport.post, peer.url, b"{}", attempt()) for _unused in range(10)
            ]
            assert [post.result().status for post in posted] == [200] * 10
    assert (source.asked, len(peer.seen)) == (2, 10)
    # On a busy machine the last to come may already have the newer one.
    assert 10 < peer.connections <= 20


def test_an_identity_about_to_expire_is_replaced_before_it_is_shown() -> None:
    source, live = live_of(ENDING, SECOND)
    with keeper_of(NEW) as peer, speaking(live) as transport:
        assert transport.post(peer.url, b"{}", attempt()).status == 200
    assert (source.asked, peer.connections) == (2, 1)


def test_a_newer_identity_that_openssl_refuses_leaves_the_older_one_in_use() -> None:
    useless = dataclasses.replace(SECOND, private_key_pem=FIRST.private_key_pem)
    source, live = live_of(ENDING, useless)
    with keeper_of(OLD) as peer, speaking(live) as transport:
        assert transport.post(peer.url, b"{}", attempt()).status == 200
    assert source.asked == 2


def test_a_connection_that_waits_is_used_again_without_asking_for_an_identity() -> None:
    source, live = live_of(FIRST, SECOND)
    with keeper_of(OLD) as peer, speaking(live) as transport:
        for _unused in range(3):
            assert transport.post(peer.url, b"{}", attempt()).status == 200
    assert (source.asked, peer.connections) == (1, 1)


def test_a_failure_of_another_kind_is_not_tried_again() -> None:
    source, live = live_of(FIRST, SECOND)
    context = server_context(OLD.issue(f"spiffe://{DOMAIN}/spike/nexus"), OLD)
    with Peer(over_tls(context, replying(OK))) as peer, speaking(live) as transport:
        failure = failure_of(lambda: transport.post(peer.url, b"{}", attempt()))
    assert failure.cause is Cause.PEER_IDENTITY
    assert (source.asked, peer.connections) == (1, 1)
