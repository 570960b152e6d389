# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._errors import (
    Cause,
    Failure,
    Finding,
)
from ansible_collections.dayzero.spike.plugins.module_utils._net.transport import Transport
from ansible_collections.dayzero.spike.plugins.module_utils._options.cluster import Keeper
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.authority import Authority
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.cluster import (
    Sandbox,
    SandboxKeeper,
)
from ansible_collections.dayzero.spike.plugins.module_utils._spiffe.svid import Identity
from ansible_collections.dayzero.spike.plugins.module_utils._spike.keeper import deliver, reach
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
    attempt,
    bootstrap_of,
    failure_of,
    identity_with,
    transport_for,
)

AUTHORITY = Authority(DOMAIN)
TLS = server_context(AUTHORITY.issue(KEEPER), AUTHORITY)
SHARD = bytes(range(7, 39))
# Every way in which an answer could give the shard back.
ECHO = json.dumps({"err": ",".join(str(byte) for byte in SHARD), "shard": list(SHARD)}).encode()
BAD_REQUEST = b'{"err":"api_bad_request"}'


@pytest.fixture
def transport() -> Iterator[Transport]:
    with transport_for(bootstrap_of(AUTHORITY)) as transport:
        yield transport


def status(detail: str, *, final: bool) -> Failure:
    return Failure(Cause.HTTP_STATUS, detail, final=final, sent=True)


def bad(detail: str) -> Failure:
    return Failure(Cause.BAD_RESPONSE, detail, sent=True)


# The same answers in both steps.
ANSWERS = [
    pytest.param(301, b"", status("status 301, a redirect, which is never followed", final=True)),
    pytest.param(304, b"", status("status 304, a redirect, which is never followed", final=True)),
    pytest.param(
        307,
        b'{"err":"moved_on"}',
        status("status 307 moved_on, a redirect, which is never followed", final=True),
    ),
    pytest.param(400, b'{"err":"other_error"}', status("status 400 other_error", final=True)),
    pytest.param(400, b"", status("status 400", final=True), id="400 without a body"),
    pytest.param(400, b"[]", status("status 400", final=True), id="400 with a list"),
    pytest.param(
        400, b'{"err":7}', status("status 400", final=True), id="400 with a number for a code"
    ),
    pytest.param(
        400, b'{"err":"Not A Code"}', status("status 400", final=True), id="400 with a text"
    ),
    pytest.param(400, ECHO, status("status 400", final=True), id="400 with the shard"),
    pytest.param(
        401, b'{"err":"access_unauthorized"}', status("status 401 access_unauthorized", final=True)
    ),
    pytest.param(403, b"", status("status 403", final=True)),
    pytest.param(404, b"", status("status 404", final=True)),
    pytest.param(405, b"", status("status 405", final=True)),
    pytest.param(408, b"", status("status 408", final=False)),
    pytest.param(418, b"", status("status 418", final=True)),
    pytest.param(429, b"", status("status 429", final=False)),
    pytest.param(
        500, b'{"err":"api_internal_error"}', status("status 500 api_internal_error", final=False)
    ),
    pytest.param(500, ECHO, status("status 500", final=False), id="500 with the shard"),
    pytest.param(502, b"<html>", status("status 502", final=False)),
    pytest.param(
        503, b'{"err":"state_not_ready"}', status("status 503 state_not_ready", final=False)
    ),
    pytest.param(599, b"", status("status 599", final=False)),
    pytest.param(999, b"", status("status 999", final=False)),
]


@pytest.mark.parametrize(("number", "body", "expected"), ANSWERS)
def test_while_reaching_an_answer_means(
    transport: Transport, number: int, body: bytes, expected: Failure
) -> None:
    with Peer(over_tls(TLS, replying(http_response(number, body)))) as peer:
        failure = failure_of(lambda: reach(transport, Keeper(1, peer.url), attempt()))
    assert failure == expected
    assert len(peer.seen) == 1


@pytest.mark.parametrize(
    ("number", "body", "expected"),
    [
        *ANSWERS,
        pytest.param(400, BAD_REQUEST, status("status 400 api_bad_request", final=True)),
        pytest.param(201, b"{}", bad("status 201")),
        pytest.param(204, b"", bad("status 204")),
        pytest.param(200, b"", bad("status 200 without SPIKE's empty answer"), id="200 without"),
        pytest.param(200, b"{", bad("status 200 without SPIKE's empty answer"), id="200 half"),
        pytest.param(200, b"[]", bad("status 200 without SPIKE's empty answer"), id="200 list"),
        pytest.param(200, b'""', bad("status 200 without SPIKE's empty answer"), id="200 text"),
        pytest.param(200, b"<html>", bad("status 200 without SPIKE's empty answer"), id="200 HTML"),
        pytest.param(
            200, BAD_REQUEST, bad("status 200 without SPIKE's empty answer"), id="200 with an error"
        ),
        pytest.param(
            200, ECHO, bad("status 200 without SPIKE's empty answer"), id="200 with the shard"
        ),
    ],
)
def test_while_delivering_an_answer_means(
    transport: Transport, number: int, body: bytes, expected: Failure
) -> None:
    with Peer(over_tls(TLS, replying(http_response(number, body)))) as peer:
        failure = failure_of(
            lambda: deliver(transport, Keeper(1, peer.url), bytearray(SHARD), attempt())
        )
    assert failure == expected
    assert len(peer.seen) == 1


@pytest.mark.parametrize("number", [200, 201, 204])
@pytest.mark.parametrize("body", [b"{}", ECHO, b"<html>"], ids=["empty", "echo", "HTML"])
def test_a_peer_that_accepts_no_shard_at_all_is_no_keeper(
    transport: Transport, number: int, body: bytes
) -> None:
    response = http_response(number, b"" if number == 204 else body)
    with Peer(over_tls(TLS, replying(response))) as peer:
        failure = failure_of(lambda: reach(transport, Keeper(1, peer.url), attempt()))
    assert failure == status(
        f"status {number} to a request without a shard, so this is not a SPIKE Keeper", final=True
    )


@pytest.mark.parametrize("request_of", [reach, None], ids=["reach", "deliver"])
def test_garbage_is_retried(transport: Transport, request_of) -> None:
    def garbage(conversation: Conversation) -> None:
        assert conversation.request() is not None
        conversation.send(b"\x00" * 100)

    with Peer(over_tls(TLS, garbage)) as peer:
        keeper = Keeper(1, peer.url)
        if request_of is None:
            failure = failure_of(lambda: deliver(transport, keeper, bytearray(SHARD), attempt()))
        else:
            failure = failure_of(lambda: reach(transport, keeper, attempt()))
    assert failure == bad("the answer is not valid HTTP")


def test_a_shard_is_an_array_of_32_numbers(transport: Transport) -> None:
    shard = bytearray([0, 255, *range(30)])
    with Peer(over_tls(TLS, replying(http_response(200, b"{}")))) as peer:
        deliver(transport, Keeper(1, peer.url), shard, attempt())
    (request,) = peer.seen
    assert request.head.startswith(b"POST /v1/store/contribute HTTP/1.1\r\n")
    body = json.loads(request.body)
    assert list(body) == ["shard"]
    assert body["shard"] == list(shard)
    assert [type(number) for number in body["shard"]] == [int] * 32


@pytest.mark.parametrize(
    "body", [b"{}", b' { "err": "" } ', b'{"new_field": 1}'], ids=["empty", "no error", "newer"]
)
def test_a_shard_is_taken_where_no_error_is_answered(transport: Transport, body: bytes) -> None:
    with Peer(over_tls(TLS, replying(http_response(200, body)))) as peer:
        deliver(transport, Keeper(1, peer.url), bytearray(SHARD), attempt())
    assert len(peer.seen) == 1


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_shard_of_another_size_is_never_sent(transport: Transport, size: int) -> None:
    with Peer(over_tls(TLS, replying(http_response(200)))) as peer:
        with pytest.raises(ValueError, match="32 bytes"):
            deliver(transport, Keeper(1, peer.url), bytearray(size), attempt())
    assert peer.connections == 0


# Against the embedded SPIKE.


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with Sandbox(tmp_path_factory.mktemp("sandbox"), keepers=2) as sandbox:
        # Its Nexus would take the shards away from these tests.
        sandbox.nexus.stop()
        yield sandbox


@pytest.fixture
def keeper(sandbox: Sandbox) -> Iterator[SandboxKeeper]:
    keeper = sandbox.keepers[0]
    yield keeper
    keeper.heal()
    keeper.restart()


def identity_of(sandbox: Sandbox) -> Identity:
    svid = sandbox.authority.issue(f"spiffe://{DOMAIN}/spike/bootstrap")
    return identity_with(svid, spike_ist=Path(sandbox.svid_bundle).read_bytes())


@pytest.fixture
def to_sandbox(sandbox: Sandbox) -> Iterator[Transport]:
    with transport_for(identity_of(sandbox)) as transport:
        yield transport


def test_reaching_a_keeper_changes_nothing(keeper: SandboxKeeper, to_sandbox: Transport) -> None:
    before = keeper.stats.reach_requests
    reach(to_sandbox, Keeper(1, keeper.url), attempt())
    assert keeper.stats.reach_requests == before + 1
    assert keeper.shard is None


def test_a_keeper_holds_the_last_shard_that_it_was_given(
    keeper: SandboxKeeper, to_sandbox: Transport
) -> None:
    before = keeper.stats.connections
    reach(to_sandbox, Keeper(1, keeper.url), attempt())
    for shard in (bytes([1] * 32), SHARD):
        deliver(to_sandbox, Keeper(1, keeper.url), bytearray(shard), attempt())
        assert keeper.shard == shard
    assert keeper.stats.connections == before + 1


@pytest.mark.parametrize(
    ("fault", "cause", "final", "finding"),
    [
        ({"refuse": True}, Cause.CONNECTION_REFUSED, False, Finding.PORT_REFUSES),
        ({"blackhole": True}, Cause.CONNECT_TIMEOUT, False, None),
        ({"stall_tls": True}, Cause.TLS_TIMEOUT, False, None),
        ({"plain_http": True}, Cause.TLS, False, None),
        ({"wrong_identity": f"spiffe://{DOMAIN}/spike/nexus"}, Cause.PEER_IDENTITY, True, None),
        ({"untrusted": True}, Cause.PEER_UNTRUSTED, True, Finding.UNKNOWN_AUTHORITY),
        ({"expired": True}, Cause.PEER_UNTRUSTED, True, Finding.EXPIRED),
        ({"refuse_identity": True}, Cause.IDENTITY_REFUSED, True, None),
        ({"status": 503}, Cause.HTTP_STATUS, False, None),
        ({"status": 404}, Cause.HTTP_STATUS, True, None),
        ({"redirect": "https://127.0.0.1:1/"}, Cause.HTTP_STATUS, True, None),
        ({"accept_empty": True}, Cause.HTTP_STATUS, True, None),
        ({"close": True}, Cause.BAD_RESPONSE, False, None),
        ({"garbage": True}, Cause.BAD_RESPONSE, False, None),
        ({"bad_json": True}, Cause.HTTP_STATUS, True, None),
        ({"drip": True}, Cause.RESPONSE_TIMEOUT, False, None),
        ({"huge_body": True}, Cause.BAD_RESPONSE, False, None),
        ({"delay": 60}, Cause.RESPONSE_TIMEOUT, False, None),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_a_faulty_keeper_is_known_by_its_cause(
    keeper: SandboxKeeper,
    to_sandbox: Transport,
    fault: dict,
    cause: Cause,
    final: bool,
    finding: Finding | None,
) -> None:
    keeper.inject(fault)
    failure = failure_of(lambda: reach(to_sandbox, Keeper(1, keeper.url), attempt(1.5)))
    assert (failure.cause, failure.final, failure.finding) == (cause, final, finding)
    assert keeper.shard is None


def test_a_keeper_admits_nobody_but_a_bootstrap(sandbox: Sandbox) -> None:
    svid = sandbox.authority.issue(f"spiffe://{DOMAIN}/spike/pilot/role/recover")
    other = identity_with(svid, spike_ist=sandbox.authority.bundle_pem())
    keeper = sandbox.keepers[1]
    with transport_for(other) as transport:
        failure = failure_of(
            lambda: deliver(transport, Keeper(2, keeper.url), bytearray(SHARD), attempt())
        )
    # The sandbox cannot send the alert that a SPIKE Keeper sends, only the reset after it.
    assert failure == bad("the connection was closed before a complete answer")
    assert keeper.stats.http_bytes == 0
    assert keeper.shard is None
