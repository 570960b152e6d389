# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._errors import Cause, Failure, Finding
from ansible_collections.dayzero.spike.plugins.module_utils._key.root_key import RootKey, Token
from ansible_collections.dayzero.spike.plugins.module_utils._net.attempt import Attempt
from ansible_collections.dayzero.spike.plugins.module_utils._net.transport import Transport
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.authority import Authority
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.cluster import (
    NEXUS_0_8_0,
    Sandbox,
)
from ansible_collections.dayzero.spike.plugins.module_utils._spiffe.spiffe_id import (
    NEXUS_PATH,
    IdRule,
)
from ansible_collections.dayzero.spike.plugins.module_utils._spike.nexus import (
    Inquiry,
    Nexus,
    Verdict,
    ask,
    inquire,
)
from ansible_collections.dayzero.spike.tests.support.loopback_peer import (
    Conversation,
    Peer,
    http_response,
    over_tls,
    replying,
    server_context,
)
from ansible_collections.dayzero.spike.tests.support.spiffe_side import (
    DOMAIN,
    KEEPER,
    SLACK,
    attempt,
    bootstrap_of,
    identity_with,
    transport_for,
)

AUTHORITY = Authority(DOMAIN)
NEXUS = f"spiffe://{DOMAIN}/spike/nexus"
NEXUS_RULE = IdRule(NEXUS_PATH, (DOMAIN,))
TLS = server_context(AUTHORITY.issue(NEXUS), AUTHORITY)
TOKEN = Token(bytes(range(12)), b"ciphertext", hashlib.sha256(b"text").hexdigest())
KEY = bytes([7] * 32)


@pytest.fixture
def transport() -> Iterator[Transport]:
    with transport_for(bootstrap_of(AUTHORITY), NEXUS_RULE) as transport:
        yield transport


def proof(digest: object) -> bytes:
    return json.dumps({"hash": digest}).encode()


def test_a_token_is_sent_in_base64(transport: Transport) -> None:
    with Peer(over_tls(TLS, replying(http_response(200, proof(TOKEN.digest))))) as peer:
        ask(transport, peer.url, TOKEN, attempt())
    (request,) = peer.seen
    assert request.head.startswith(b"POST /v1/bootstrap/verify HTTP/1.1\r\n")
    assert json.loads(request.body) == {
        "nonce": base64.b64encode(TOKEN.nonce).decode(),
        "ciphertext": base64.b64encode(TOKEN.ciphertext).decode(),
    }


PROVED = Verdict(Nexus.PROVED, "Nexus holds the root key", final=True)
# Of one answer: it is believed when it was heard twice.
OTHER_KEY = Verdict(Nexus.OTHER_KEY, "Nexus holds another root key")
SPIKES_500 = b'{"hash":"","err":"api_internal_error"}'


def answered(status: int, detail: str, *, final: bool = False) -> Verdict:
    failure = Failure(Cause.HTTP_STATUS, detail, final=final, sent=True)
    if status < 300:
        failure = Failure(Cause.BAD_RESPONSE, detail, sent=True)
    return Verdict(Nexus.UNCLEAR, detail, final=final, failure=failure)


@pytest.mark.parametrize(
    ("number", "body", "expected"),
    [
        pytest.param(200, proof(TOKEN.digest), PROVED, id="the right hash"),
        pytest.param(200, proof(TOKEN.digest.upper()), PROVED, id="the right hash in capitals"),
        pytest.param(
            200,
            proof(hashlib.sha256(b"other").hexdigest()),
            Verdict(Nexus.OTHER_KEY, "its hash is of another text", final=True),
            id="another hash",
        ),
        pytest.param(
            200,
            proof(""),
            Verdict(Nexus.OTHER_KEY, "its hash is of another text", final=True),
            id="an empty hash",
        ),
        *(
            pytest.param(200, body, answered(200, "status 200 without a hash"), id=name)
            for name, body in {
                "no hash": b"{}",
                "a number for a hash": proof(7),
                "a list for a hash": proof([]),
                "no ASCII": proof("\u00e9"),
                "no object": b"[]",
                "no JSON": b"<html>",
                "no body": b"",
            }.items()
        ),
        pytest.param(500, SPIKES_500, OTHER_KEY, id="500 as SPIKE has it"),
        pytest.param(
            500,
            b' {"err": "api_internal_error", "hash": ""}\n',
            OTHER_KEY,
            id="500 as SPIKE has it, spaced otherwise",
        ),
        *(
            pytest.param(500, body, answered(500, detail), id=f"500, {name}")
            for name, body, detail in [
                ("nothing in it", b"", "status 500"),
                ("a proxy's", b"<html>Internal Server Error</html>", "status 500"),
                ("no hash", b'{"err":"api_internal_error"}', "status 500 api_internal_error"),
                (
                    "a hash",
                    b'{"hash":"00","err":"api_internal_error"}',
                    "status 500 api_internal_error",
                ),
                (
                    "no shards",
                    b'{"shards":null,"err":"api_internal_error"}',
                    "status 500 api_internal_error",
                ),
                (
                    "something more",
                    b'{"hash":"","err":"api_internal_error","more":1}',
                    "status 500 api_internal_error",
                ),
                ("another error", b'{"hash":"","err":"other_error"}', "status 500 other_error"),
            ]
        ),
        pytest.param(
            503,
            b'{"err":"state_not_ready"}',
            Verdict(Nexus.NOT_READY, "Nexus has no root key yet"),
            id="503 as SPIKE has it",
        ),
        pytest.param(503, b"", answered(503, "status 503"), id="503 of something in between"),
        pytest.param(
            503,
            b'{"err":"other_error"}',
            answered(503, "status 503 other_error"),
            id="503 for another reason",
        ),
        pytest.param(
            401,
            b'{"err":"access_unauthorized"}',
            dataclasses.replace(
                answered(401, "status 401 access_unauthorized", final=True),
                nexus=Nexus.REFUSES_US,
            ),
            id="401",
        ),
        pytest.param(
            403,
            b"",
            dataclasses.replace(answered(403, "status 403", final=True), nexus=Nexus.REFUSES_US),
            id="403",
        ),
        pytest.param(
            400,
            b'{"err":"api_bad_request"}',
            answered(400, "status 400 api_bad_request", final=True),
            id="400 of a lite backend",
        ),
        pytest.param(404, b"", answered(404, "status 404", final=True), id="404"),
        pytest.param(429, b"", answered(429, "status 429"), id="429"),
        pytest.param(502, b"", answered(502, "status 502"), id="502"),
        pytest.param(
            307,
            b"",
            answered(307, "status 307, a redirect, which is never followed", final=True),
            id="a redirect",
        ),
        pytest.param(204, b"", answered(204, "status 204"), id="204"),
    ],
)
def test_an_answer_means(transport: Transport, number: int, body: bytes, expected: Verdict) -> None:
    with Peer(over_tls(TLS, replying(http_response(number, body)))) as peer:
        assert ask(transport, peer.url, TOKEN, attempt()) == expected
    assert len(peer.seen) == 1


def test_a_nexus_that_hangs_gives_no_answer(transport: Transport) -> None:
    with Peer(over_tls(TLS, Conversation.hang)) as peer:
        verdict = ask(transport, peer.url, TOKEN, attempt(0.2))
    words = "the request was sent, no complete answer came"
    failure = Failure(Cause.RESPONSE_TIMEOUT, words, sent=True)
    assert verdict == Verdict(Nexus.SILENT, words, failure=failure)


@pytest.mark.parametrize(
    ("spiffe_id", "authority", "failure"),
    [
        (
            KEEPER,
            AUTHORITY,
            Failure(Cause.PEER_IDENTITY, f"found {KEEPER}, expected {NEXUS}", final=True),
        ),
        (
            NEXUS,
            Authority(DOMAIN),
            Failure(
                Cause.PEER_UNTRUSTED,
                "it is signed by an authority that is not in the trust bundle",
                final=True,
                finding=Finding.UNKNOWN_AUTHORITY,
            ),
        ),
    ],
    ids=["a keeper", "a stranger"],
)
def test_whoever_is_not_nexus_is_asked_nothing(
    transport: Transport, spiffe_id: str, authority: Authority, failure: Failure
) -> None:
    context = server_context(authority.issue(spiffe_id), AUTHORITY)
    with Peer(over_tls(context, Conversation.hang)) as peer:
        verdict = ask(transport, peer.url, TOKEN, attempt())
    assert verdict == Verdict(Nexus.NOT_NEXUS, failure.detail, final=True, failure=failure)
    assert peer.received == 0


def test_a_nexus_that_refuses_our_svid_refuses_us(transport: Transport) -> None:
    context = server_context(AUTHORITY.issue(NEXUS), Authority(DOMAIN))
    with Peer(over_tls(context, Conversation.hang)) as peer:
        verdict = ask(transport, peer.url, TOKEN, attempt())
    assert (verdict.nexus, verdict.final) == (Nexus.REFUSES_US, True)
    assert verdict.detail == "TLS alert unknown_ca"


# Against the embedded SPIKE.


def token_of(key: bytes) -> Token:
    with RootKey(key) as root_key:
        return root_key.seal()


def to_nexus_of(sandbox: Sandbox, role: str = "bootstrap"):
    svid = sandbox.authority.issue(f"spiffe://{DOMAIN}/spike/{role}")
    identity = identity_with(svid, spike_ist=sandbox.authority.bundle_pem())
    return transport_for(identity, NEXUS_RULE)


def test_nexus_is_not_ready_and_then_proves_its_key_only(tmp_path: Path) -> None:
    with Sandbox(tmp_path, keepers=2) as sandbox, to_nexus_of(sandbox) as transport:
        url = sandbox.nexus.url
        assert ask(transport, url, token_of(KEY), attempt()).nexus is Nexus.NOT_READY
        sandbox.nexus.hold(KEY)
        assert ask(transport, url, token_of(KEY), attempt()) == PROVED
        assert ask(transport, url, token_of(bytes([8] * 32)), attempt()) == OTHER_KEY
        with to_nexus_of(sandbox, "pilot") as stranger:
            verdict = ask(stranger, url, token_of(KEY), attempt())
        assert verdict.nexus is Nexus.REFUSES_US


def test_a_nexus_of_v0_8_0_refuses_until_it_has_its_key(tmp_path: Path) -> None:
    with Sandbox(tmp_path, keepers=2, nexus_behaviour=NEXUS_0_8_0) as sandbox:
        with to_nexus_of(sandbox) as transport:
            url = sandbox.nexus.url
            verdict = ask(transport, url, token_of(KEY), attempt())
            assert (verdict.nexus, verdict.detail) == (Nexus.REFUSED, "connection refused")
            sandbox.nexus.hold(KEY)
            assert ask(transport, url, token_of(KEY), attempt()) == PROVED


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"refuse": True}, Nexus.REFUSED),
        ({"blackhole": True}, Nexus.SILENT),
        ({"stall_tls": True}, Nexus.SILENT),
        ({"plain_http": True}, Nexus.SILENT),
        ({"untrusted": True}, Nexus.NOT_NEXUS),
        ({"expired": True}, Nexus.NOT_NEXUS),
        ({"wrong_identity": KEEPER}, Nexus.NOT_NEXUS),
        ({"refuse_identity": True}, Nexus.REFUSES_US),
        ({"drip": True}, Nexus.SILENT),
        ({"close": True}, Nexus.UNCLEAR),
        ({"garbage": True}, Nexus.UNCLEAR),
        ({"bad_json": True}, Nexus.UNCLEAR),
        ({"status": 500}, Nexus.UNCLEAR),
        ({"other_key": True}, Nexus.OTHER_KEY),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_a_faulty_nexus_is(tmp_path: Path, fault: dict, expected: Nexus) -> None:
    with Sandbox(tmp_path, keepers=2, faults={"nexus": fault}) as sandbox:
        with to_nexus_of(sandbox) as transport:
            verdict = ask(transport, sandbox.nexus.url, TOKEN, attempt(1.5))
    assert verdict.nexus is expected


# Asking again, in virtual time.


class World:
    """A clock that only moves when somebody sleeps or a request takes its time."""

    def __init__(self, answers: Callable[[int], Verdict], takes: float = 0.0) -> None:
        self.now = 1000.0
        self.asked_at: list[float] = []
        self.attempts: list[Attempt] = []
        self._answers = answers
        self._takes = takes

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.now += seconds

    def ask_once(self, one: Attempt) -> Verdict:
        self.asked_at.append(self.now - 1000)
        self.attempts.append(one)
        self.now = min(self.now + self._takes, one.ends_at)
        return self._answers(len(self.attempts))

    def inquire(
        self, seconds: float, enough: Callable[[Verdict], bool] = lambda verdict: False
    ) -> Inquiry:
        return inquire(self.ask_once, enough, seconds=seconds, clock=self.clock, sleep=self.sleep)


NOT_READY = Verdict(Nexus.NOT_READY, "Nexus has no root key yet")
REFUSED = Verdict(Nexus.REFUSED, "connection refused")
UNCLEAR = Verdict(Nexus.UNCLEAR, "status 503")
# When an inquiry that hears nothing better asks, with answers that take no time.
GROWING = [0, 0.05, 0.15, 0.35, 0.75, 1.55, 2.55, 3.55, 4.55, 4.9]


@pytest.mark.parametrize("verdict", [NOT_READY, REFUSED, UNCLEAR], ids=lambda v: v.nexus.value)
def test_nexus_is_asked_ever_more_slowly_for_as_long_as_there_is_time(verdict: Verdict) -> None:
    world = World(lambda number: verdict)
    inquiry = world.inquire(5)
    # The last question has what is left, and is not left out for being early.
    assert world.asked_at == pytest.approx(GROWING)
    assert inquiry == Inquiry(verdict, len(GROWING), pytest.approx(4.9))


@pytest.mark.parametrize(
    ("seconds", "asked_at"),
    [
        (1, [*GROWING[:5], 0.9]),
        (2.5, [*GROWING[:6], 2.4]),
        (0.1, [0]),
        (0.3, [0, 0.05, 0.15, 0.2]),
    ],
    ids=str,
)
def test_nobody_gives_up_before_the_time_is_nearly_up(
    seconds: float, asked_at: list[float]
) -> None:
    world = World(lambda number: NOT_READY)
    inquiry = world.inquire(seconds)
    assert world.asked_at == pytest.approx(asked_at)
    assert inquiry.attempts == len(asked_at)


def test_a_nexus_that_is_ready_soon_is_heard_soon() -> None:
    world = World(lambda number: NOT_READY if world.now < 1000.3 else PROVED)
    assert world.inquire(1800).elapsed == pytest.approx(0.35)


def test_a_nexus_that_is_ready_late_is_heard_within_a_second() -> None:
    world = World(lambda number: NOT_READY if world.now < 1000 + 1500.9 else PROVED)
    assert world.inquire(1800).elapsed < 1501.9


def test_a_nexus_that_is_ready_in_the_last_second_is_heard() -> None:
    world = World(lambda number: NOT_READY if world.now < 1002.6 else PROVED)
    assert world.inquire(3).verdict is PROVED
    assert world.asked_at[-1] == pytest.approx(2.9)


def test_a_slow_answer_is_followed_by_the_next_request_at_once() -> None:
    world = World(lambda number: UNCLEAR, takes=2.5)
    assert world.inquire(8).attempts == 4
    assert world.asked_at == pytest.approx([0, 2.5, 5, 7.5])


@pytest.mark.parametrize(
    "verdict",
    [
        PROVED,
        Verdict(Nexus.OTHER_KEY, "its hash is of another text", final=True),
        Verdict(Nexus.NOT_NEXUS, "found another"),
        Verdict(Nexus.REFUSES_US, "TLS alert unknown_ca"),
    ],
    ids=lambda verdict: verdict.nexus.value,
)
def test_a_definite_answer_ends_the_asking_at_once(verdict: Verdict) -> None:
    world = World(lambda number: verdict if number == 3 else NOT_READY)
    inquiry = world.inquire(1800)
    assert inquiry == Inquiry(verdict, 3, pytest.approx(0.15))


def test_an_answer_that_waiting_cannot_mend_is_asked_for_again_all_the_same() -> None:
    world = World(lambda number: Verdict(Nexus.UNCLEAR, "status 404", final=True))
    assert world.inquire(5).attempts == len(GROWING)


def test_an_answer_that_is_enough_ends_the_asking_at_once() -> None:
    world = World(lambda number: NOT_READY if number == 2 else REFUSED)
    inquiry = world.inquire(1800, lambda verdict: verdict.nexus is Nexus.NOT_READY)
    assert inquiry.verdict is NOT_READY
    assert inquiry.attempts == 2


def test_nexus_is_asked_once_even_if_there_is_no_time() -> None:
    world = World(lambda number: REFUSED)
    assert world.inquire(0) == Inquiry(REFUSED, 1, 0.0)


def test_no_request_has_more_than_ten_seconds_or_than_is_left() -> None:
    world = World(lambda number: UNCLEAR, takes=60)
    inquiry = world.inquire(25)
    assert inquiry.attempts == 3
    assert inquiry.elapsed == pytest.approx(25)
    limits = [(one.cut_at - 1000, one.ends_at - 1000) for one in world.attempts]
    assert limits == [(10, 10), (20, 20), (25, 25)]
    assert [one.number for one in world.attempts] == [1, 2, 3]


def test_the_last_request_has_time_for_an_answer() -> None:
    # A request that is cut at once would hide what Nexus said before.
    world = World(lambda number: NOT_READY, takes=0.001)
    inquiry = world.inquire(3.01)
    assert world.asked_at[-1] == pytest.approx(2.91)
    assert world.attempts[-1].ends_at - 1000 == pytest.approx(3.01)
    assert inquiry.verdict is NOT_READY


def test_another_key_is_believed_when_it_was_heard_twice_half_a_second_apart() -> None:
    world = World(lambda number: OTHER_KEY)
    assert world.inquire(5) == Inquiry(OTHER_KEY, 2, pytest.approx(0.5))
    assert world.asked_at == pytest.approx([0, 0.5])


def test_slow_answers_are_half_a_second_apart_as_well() -> None:
    world = World(lambda number: OTHER_KEY, takes=0.3)
    assert world.inquire(5).verdict is OTHER_KEY
    # From the end of the first answer to the next question.
    assert world.asked_at == pytest.approx([0, 0.8])


@pytest.mark.parametrize(
    ("then", "expected"),
    [(NOT_READY, NOT_READY), (PROVED, PROVED)],
    ids=["it has no key", "it proves the key"],
)
def test_what_was_heard_once_does_not_outlast_another_answer(
    then: Verdict, expected: Verdict
) -> None:
    world = World(lambda number: OTHER_KEY if number == 1 else then)
    enough = {Nexus.NOT_READY}
    assert world.inquire(5, lambda verdict: verdict.nexus in enough).verdict is expected


@pytest.mark.parametrize("between", [REFUSED, UNCLEAR], ids=lambda v: v.nexus.value)
def test_another_answer_in_between_begins_the_hearing_anew(between: Verdict) -> None:
    world = World(lambda number: between if number == 2 else OTHER_KEY)
    assert world.inquire(5).verdict is OTHER_KEY
    first, second, third, fourth = world.asked_at
    assert (second - first, fourth - third) == pytest.approx((0.5, 0.5))


def test_another_key_that_was_heard_once_before_the_time_was_up_is_unclear() -> None:
    world = World(lambda number: OTHER_KEY if world.now > 1004.6 else UNCLEAR)
    verdict = world.inquire(5).verdict
    assert verdict.nexus is Nexus.UNCLEAR
    assert verdict.detail.startswith("it said once that it holds another root key")


def test_another_key_is_never_enough_after_one_answer() -> None:
    world = World(lambda number: OTHER_KEY)
    assert world.inquire(5, lambda verdict: True).attempts == 2


@pytest.mark.timing
def test_an_inquiry_is_bounded_in_real_time(transport: Transport) -> None:
    with Peer(over_tls(TLS, Conversation.hang)) as peer:
        began = time.monotonic()
        inquiry = inquire(
            lambda one: ask(transport, peer.url, TOKEN, one),
            lambda verdict: False,
            seconds=0.3,
            clock=time.monotonic,
            sleep=time.sleep,
        )
        assert time.monotonic() - began < 0.3 + SLACK
    assert inquiry.verdict.nexus is Nexus.SILENT
    assert inquiry.attempts == 1
