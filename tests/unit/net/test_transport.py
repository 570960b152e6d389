# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import concurrent.futures
import errno
import hashlib
import itertools
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from ansible_collections.dayzero.spike.plugins.module_utils._errors import (
    Cause,
    Failure,
    Finding,
)
from ansible_collections.dayzero.spike.plugins.module_utils._net.sockets import (
    Address,
    DeadlineTlsSocket,
    Resolve,
)
from ansible_collections.dayzero.spike.plugins.module_utils._net.transport import (
    MOST_BYTES,
    Answer,
    Endpoint,
    Transport,
)
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.authority import Authority
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.port import Port, PortState
from ansible_collections.dayzero.spike.plugins.module_utils._spiffe.spiffe_id import (
    KEEPER_PATH,
    IdRule,
)
from ansible_collections.dayzero.spike.tests.support.interpreter import run_python
from ansible_collections.dayzero.spike.tests.support.loopback_peer import (
    Conversation,
    Peer,
    Talk,
    http_response,
    needs_ipv6,
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
    failure_of,
    identity_with,
    timed_failure_of,
    transport_for,
)
from hypothesis import given, settings
from hypothesis import strategies as st

AUTHORITY = Authority(DOMAIN)
US = bootstrap_of(AUTHORITY)
TLS = server_context(AUTHORITY.issue(KEEPER), AUTHORITY)
OK = http_response(200)
# What must not be found in a failure.
SECRET = b'{"shard":[1,2,3]}'


@pytest.fixture
def transport() -> Iterator[Transport]:
    with transport_for(US) as transport:
        yield transport


def tls_peer(talk: Talk) -> Peer:
    return Peer(over_tls(TLS, talk))


def answering(data: bytes, *, then_leave: bool = False) -> Talk:
    """Answers the first request with ``data``, byte by byte as given, and waits or leaves."""

    def talk(conversation: Conversation) -> None:
        assert conversation.request() is not None
        conversation.send(data)
        if not then_leave:
            conversation.hang()

    return talk


# The request on the wire, and the answer.


def test_a_post_is_what_spike_expects(transport: Transport) -> None:
    with tls_peer(replying(http_response(201, b'{"a":1}'))) as peer:
        answer = transport.post(f"{peer.url}/v1/some/route", b"{}", attempt())
    assert answer == Answer(201, b'{"a":1}')
    (request,) = peer.seen
    assert request.head.split(b"\r\n")[0] == b"POST /v1/some/route HTTP/1.1"
    assert request.body == b"{}"
    assert f"Host: 127.0.0.1:{peer.port}".encode() in request.head
    assert request.names == {
        "host",
        "content-type",
        "content-length",
        "accept-encoding",
        "user-agent",
    }


@pytest.mark.parametrize(
    "response",
    [
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n",
            id="chunked",
        ),
        pytest.param(
            b"HTTP/1.1 100 Continue\r\n\r\n" + http_response(200, b"body"), id="after 100"
        ),
        pytest.param(b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nbody", id="HTTP/1.0"),
        pytest.param(
            http_response(200, b"body", "Content-Encoding: gzip"), id="encoding not looked at"
        ),
    ],
)
def test_an_answer_may_come_in_any_form_of_http(transport: Transport, response: bytes) -> None:
    with tls_peer(answering(response, then_leave=True)) as peer:
        assert transport.post(peer.url, b"{}", attempt()) == Answer(200, b"body")


@pytest.mark.parametrize("body", [b"", b"x" * MOST_BYTES], ids=["empty", "longest"])
def test_a_body_may_have_any_length_up_to_the_limit(transport: Transport, body: bytes) -> None:
    with tls_peer(replying(http_response(200, body))) as peer:
        assert transport.post(peer.url, b"{}", attempt()).body == body


def test_an_answer_shows_no_body() -> None:
    assert SECRET.decode() not in repr(Answer(200, SECRET))


@needs_ipv6
def test_a_keeper_can_have_an_ipv6_address(transport: Transport) -> None:
    with Peer(over_tls(TLS, replying(OK)), address="::1") as peer:
        assert transport.post(f"{peer.url}/v1", b"{}", attempt()).status == 200
    assert f"Host: [::1]:{peer.port}".encode() in peer.seen[0].head


# Routes and habits that a Session or the environment would add.


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_an_answer_and_not_followed(transport: Transport, status: int) -> None:
    with tls_peer(replying(OK)) as elsewhere:
        redirect = http_response(status, b"", f"Location: {elsewhere.url}/v1")
        with tls_peer(replying(redirect)) as peer:
            assert transport.post(peer.url, SECRET, attempt()).status == status
        assert len(peer.seen) == 1
    assert elsewhere.connections == 0


def test_cookies_are_not_kept(transport: Transport) -> None:
    response = http_response(200, b"{}", "Set-Cookie: a=b; Path=/")
    with tls_peer(replying(response)) as peer:
        for _unused in range(2):
            transport.post(peer.url, b"{}", attempt())
    assert len(peer.seen) == 2
    assert not any("cookie" in request.names for request in peer.seen)


@pytest.mark.parametrize("no_proxy", ["", "other.example"], ids=["no NO_PROXY", "NO_PROXY"])
def test_the_environment_sets_no_route(monkeypatch, transport: Transport, no_proxy: str) -> None:
    with Peer(Conversation.hang) as proxy, tls_peer(replying(OK)) as peer:
        for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("NO_PROXY", no_proxy)
        # The control: requests would go there.
        assert "https" in requests.utils.get_environ_proxies(peer.url)
        assert transport.post(peer.url, b"{}", attempt()).status == 200
    assert proxy.connections == 0


def test_a_netrc_adds_no_credentials(monkeypatch, transport: Transport, tmp_path: Path) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login someone password something\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NETRC", raising=False)
    with tls_peer(replying(OK)) as peer:
        # The control: requests would find them.
        assert requests.utils.get_netrc_auth(peer.url) == ("someone", "something")
        transport.post(peer.url, b"{}", attempt())
    assert "authorization" not in peer.seen[0].names


# Answers that are none.


@pytest.mark.parametrize(
    ("response", "detail"),
    [
        pytest.param(
            b"", "the connection was closed before a complete answer", id="closed without answer"
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Le",
            "the connection was closed before a complete answer",
            id="closed in the headers",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}",
            "the connection was closed before a complete answer",
            id="closed in the body",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n",
            "the connection was closed before a complete answer",
            id="closed before the body",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
            "the connection was closed before a complete answer",
            id="closed before the last chunk",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\n\r\n{}",
            "the connection was closed before a complete answer",
            id="perhaps closed in the body",
        ),
        pytest.param(
            b"\x16\x00this is not HTTP\r\n\r\n", "the answer is not valid HTTP", id="garbage"
        ),
        pytest.param(b"HTTP/1.1 abc OK\r\n\r\n", "the answer is not valid HTTP", id="no status"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
            "the answer is not valid HTTP",
            id="a huge header",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 1000 + b"\r\n",
            "the answer is not valid HTTP",
            id="many headers",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
            "the answer is not valid HTTP",
            id="two lengths",
        ),
        pytest.param(
            http_response(200, b"x" * (MOST_BYTES + 1)),
            f"the answer is longer than {MOST_BYTES} bytes",
            id="too long",
        ),
    ],
)
def test_an_answer_that_is_none_is_a_bad_response(
    transport: Transport, response: bytes, detail: str
) -> None:
    with tls_peer(answering(response, then_leave=True)) as peer:
        failure = failure_of(lambda: transport.post(peer.url, SECRET, attempt()))
    assert (failure.cause, failure.detail) == (Cause.BAD_RESPONSE, detail)
    assert not failure.final
    assert failure.sent


@pytest.mark.timing
def test_an_endless_answer_is_cut_off_at_the_limit(transport: Transport) -> None:
    def pour(conversation: Conversation) -> None:
        assert conversation.request() is not None
        conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
        for _unused in range(1000):
            conversation.send(b"x" * 65536)

    with tls_peer(pour) as peer:
        timed = timed_failure_of(lambda: transport.post(peer.url, SECRET, attempt()))
    assert timed.failure.cause is Cause.BAD_RESPONSE
    assert timed.failure.detail == f"the answer is longer than {MOST_BYTES} bytes"
    assert timed.elapsed < 1


LINES = st.sampled_from(
    [
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 204 No Content",
        b"HTTP/1.1 304",
        b"HTTP/1.0 599 x",
        b"HTTP/9.9 200 OK",
        b"Content-Length: 2",
        b"Content-Length: -1",
        b"Content-Length: x",
        b"Content-Type: application/json; charset=",
        b"Content-Type: ;;=",
        b"Transfer-Encoding: chunked",
        b"Set-Cookie: =;;",
        b"Set-Cookie: a=b; expires=never; Max-Age=x",
        b"Location: http://[::1",
        b"Connection: close, keep-alive",
        b": nothing",
        b" folded",
        b"",
        b"{}",
        b"2",
        b"zz",
    ]
)


@settings(max_examples=150, deadline=None, database=None, derandomize=True)
@given(lines=st.lists(LINES | st.binary(max_size=30), max_size=12))
def test_whatever_comes_back_is_an_answer_or_a_bad_response(lines: list[bytes]) -> None:
    with transport_for(US) as transport:
        with tls_peer(answering(b"\r\n".join(lines), then_leave=True)) as peer:
            outcome = None
            try:
                outcome = transport.post(peer.url, SECRET, attempt())
            except Exception as error:
                outcome = error
    if not isinstance(outcome, Answer):
        failure = outcome.failure
        assert failure.cause is Cause.BAD_RESPONSE
        assert "unexpected" not in failure.detail


# Deadlines. Each attempt here has two limits: only one of them may be what ends it.


# Longer than any attempt here, and an end for a test that fails.
_DROPS = 300


def dripping(*start: bytes, drop: bytes = b"x", tls: bool = True) -> Talk:
    """Sends the start at once and then one drop after the other."""

    def talk(conversation: Conversation) -> None:
        if tls:
            assert conversation.request() is not None
        else:
            conversation.receive()
        conversation.send(b"".join(start))
        for _unused in range(_DROPS):
            if conversation.pause(0.01):
                conversation.send(drop)

    return talk


HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.timing
@pytest.mark.parametrize(
    "talk",
    [
        pytest.param(Conversation.hang, id="no answer"),
        pytest.param(dripping(HEAD, b"Content-Length: 1000\r\n\r\n"), id="body drips"),
        pytest.param(dripping(HEAD, b"\r\n"), id="body drips without a length"),
        pytest.param(
            dripping(HEAD, b"Transfer-Encoding: chunked\r\n\r\n", drop=b"1\r\nx\r\n"),
            id="chunks drip",
        ),
        pytest.param(
            dripping(HEAD, b"Transfer-Encoding: chunked\r\n\r\n", drop=b"1"),
            id="a chunk's size drips",
        ),
        pytest.param(
            dripping(HEAD, b"Transfer-Encoding: chunked\r\n\r\n0\r\n", drop=b"X: x\r\n"),
            id="trailers without end",
        ),
        pytest.param(dripping(HEAD, b"X: "), id="a header drips"),
        pytest.param(dripping(b"HTTP/1.1 "), id="the status line drips"),
        pytest.param(dripping(drop=b"HTTP/1.1 100 Continue\r\n\r\n"), id="100 without end"),
    ],
)
def test_an_answer_that_does_not_end_has_until_the_keepers_time_ends(
    transport: Transport, talk: Talk
) -> None:
    with tls_peer(talk) as peer:
        limits = attempt(1.2, cut=0.6)
        timed = timed_failure_of(lambda: transport.post(peer.url, SECRET, limits))
        assert peer.handshakes == 1
    assert timed.failure.cause is Cause.RESPONSE_TIMEOUT
    assert timed.failure.detail == "the request was sent, no complete answer came"
    assert timed.failure.sent
    assert not timed.failure.final
    assert 1.19 <= timed.elapsed < 1.2 + SLACK


@pytest.mark.timing
def test_a_flood_of_100_continue_does_not_outlive_the_attempt(transport: Transport) -> None:
    def flood(conversation: Conversation) -> None:
        assert conversation.request() is not None
        for _unused in range(10_000):
            conversation.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)

    with tls_peer(flood) as peer:
        timed = timed_failure_of(lambda: transport.post(peer.url, SECRET, attempt(0.3)))
    assert timed.failure.cause in (Cause.RESPONSE_TIMEOUT, Cause.BAD_RESPONSE)
    assert timed.elapsed < 0.3 + SLACK


def never_resolves(until: threading.Event) -> Resolve:
    def resolve(host: str) -> list[Address]:
        until.wait()
        return []

    return resolve


def test_a_name_is_looked_up_as_it_was_given() -> None:
    asked: list[str] = []

    def resolve(host: str) -> list[Address]:
        asked.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    with transport_for(US, resolve=resolve) as transport:
        failure_of(lambda: transport.post("https://keeper1.example.org.:8443", b"{}", attempt()))
    # Without its dot, search domains would be tried.
    assert asked == ["keeper1.example.org."]


@pytest.mark.timing
def test_a_name_that_is_not_resolved_is_cut_when_the_next_attempt_is_due() -> None:
    over = threading.Event()
    try:
        with transport_for(US, resolve=never_resolves(over)) as transport:
            timed = timed_failure_of(
                lambda: transport.post("https://keeper1:8443", SECRET, attempt(5, cut=0.2))
            )
    finally:
        over.set()
    assert timed.failure.cause is Cause.NAME_RESOLUTION
    assert not timed.failure.sent
    assert 0.2 <= timed.elapsed < 0.2 + SLACK


@pytest.mark.timing
def test_a_black_hole_is_cut_when_the_next_attempt_is_due(transport: Transport) -> None:
    port = Port()
    try:
        port.turn(PortState.SWALLOWING)
        timed = timed_failure_of(lambda: transport.post(port.url, SECRET, attempt(5, cut=0.2)))
    finally:
        port.close()
    assert timed.failure.cause is Cause.CONNECT_TIMEOUT
    assert timed.failure.detail == "nothing answered the TCP connection"
    assert not timed.failure.sent
    assert 0.2 <= timed.elapsed < 0.2 + SLACK


@pytest.mark.timing
@pytest.mark.parametrize(
    "talk",
    [
        pytest.param(Conversation.hang, id="stalls"),
        pytest.param(dripping(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc", tls=False), id="drips"),
    ],
)
def test_a_handshake_that_does_not_end_is_cut_when_the_next_attempt_is_due(
    transport: Transport, talk: Talk
) -> None:
    with Peer(talk) as peer:
        limits = attempt(5, cut=0.2)
        timed = timed_failure_of(lambda: transport.post(peer.url, SECRET, limits))
    assert timed.failure.cause is Cause.TLS_TIMEOUT
    assert timed.failure.detail == "the TLS handshake did not end in time"
    assert not timed.failure.sent
    assert 0.2 <= timed.elapsed < 0.2 + SLACK


@pytest.mark.timing
def test_two_handshakes_share_one_limit() -> None:
    domains = ("a.example", "b.example")
    a, b = (Authority(domain) for domain in domains)
    svid = a.issue("spiffe://a.example/spike/bootstrap")
    us = identity_with(svid, a_example=a.bundle_pem(), b_example=b.bundle_pem())
    context = server_context(a.issue("spiffe://a.example/spike/keeper"), a)

    def only_the_first(conversation: Conversation) -> None:
        if conversation.peer.connections == 1:
            conversation.secure(context)
        conversation.hang()

    with transport_for(us, IdRule(KEEPER_PATH, domains)) as transport:
        with Peer(only_the_first) as peer:
            limits = attempt(5, cut=1.0)
            timed = timed_failure_of(lambda: transport.post(peer.url, SECRET, limits))
    assert peer.connections == 2
    assert timed.failure.cause is Cause.TLS_TIMEOUT
    assert 1.0 <= timed.elapsed < 1.0 + SLACK


@pytest.mark.timing
def test_a_refused_connection_is_known_at_once(transport: Transport) -> None:
    port = Port()
    try:
        timed = timed_failure_of(lambda: transport.post(port.url, SECRET, attempt()))
    finally:
        port.close()
    assert timed.failure.cause is Cause.CONNECTION_REFUSED
    assert timed.failure.detail == "connection refused"
    assert not timed.failure.final
    assert timed.elapsed < SLACK


# What the kernel says by a number, as it comes out of requests.


def local(detail: str) -> Failure:
    return Failure(Cause.LOCAL, detail)


def to_nobody(host: str) -> list[Address]:
    # A broadcast address: Linux has no route for TCP to it, on whatever network a host is.
    return [(socket.AF_INET, ("255.255.255.255", 0))]


@pytest.mark.timing
def test_a_network_that_cannot_be_reached_is_told_in_the_kernels_words() -> None:
    with transport_for(US, resolve=to_nobody) as transport:
        timed = timed_failure_of(
            lambda: transport.post("https://keeper1:8443", SECRET, attempt(5, cut=2))
        )
    assert timed.failure == Failure(Cause.CONNECT_TIMEOUT, "network is unreachable")
    assert timed.elapsed < SLACK


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.EHOSTUNREACH, Failure(Cause.CONNECT_TIMEOUT, "no route to host")),
        (errno.ENETUNREACH, Failure(Cause.CONNECT_TIMEOUT, "network is unreachable")),
        (errno.EHOSTDOWN, Failure(Cause.CONNECT_TIMEOUT, "host is down")),
        (errno.ENETDOWN, Failure(Cause.CONNECT_TIMEOUT, "network is down")),
        (errno.ETIMEDOUT, Failure(Cause.CONNECT_TIMEOUT, "nothing answered the TCP connection")),
        (errno.EMFILE, local("too many open files in this process (ulimit -n)")),
        (errno.ENFILE, local("too many open files on this host (fs.file-max)")),
        (errno.EACCES, local("a rule of this host forbids the connection (permission denied)")),
        (
            errno.EPERM,
            local("a rule of this host forbids the connection (operation not permitted)"),
        ),
        (errno.ENOBUFS, local("no buffer space is left")),
        (errno.ENOMEM, local("no memory is left")),
        (
            errno.EADDRNOTAVAIL,
            local("no local port is left (net.ipv4.ip_local_port_range)"),
        ),
        (errno.EAFNOSUPPORT, local("this host does not support the address's family")),
        (
            errno.ECONNREFUSED,
            Failure(Cause.CONNECTION_REFUSED, "connection refused", finding=Finding.PORT_REFUSES),
        ),
        (errno.ECONNRESET, Failure(Cause.CONNECTION_REFUSED, "the connection was reset")),
    ],
    ids=lambda value: errno.errorcode[value] if isinstance(value, int) else "",
)
def test_a_connection_that_the_kernel_ends_is_told_by_its_number(
    monkeypatch, transport: Transport, number: int, expected: Failure
) -> None:
    def connect(_connection: socket.socket, _address: object) -> None:
        raise OSError(number, "somebody's words")

    monkeypatch.setattr(socket.socket, "connect", connect)
    # Not on loopback: of an address there, some of them say that this host does not have it.
    assert failure_of(lambda: transport.post("https://192.0.2.1:1", SECRET, attempt())) == expected


def test_where_no_thread_can_be_started_to_look_a_name_up_this_host_lacks_it(
    monkeypatch: pytest.MonkeyPatch, transport: Transport
) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    failure = failure_of(lambda: transport.post("https://keeper1:8443", SECRET, attempt()))
    assert failure == local(
        "this host allows no further thread (ulimit -u, TasksMax or pids limit)"
    )


def test_a_process_that_may_open_no_further_file_says_so() -> None:
    output = run_python(
        f"""
        import resource
        from ansible_collections.dayzero.spike.plugins.module_utils._errors import AttemptFailed
        from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.authority import (
            Authority)
        from ansible_collections.dayzero.spike.tests.support.spiffe_side import (
            attempt, bootstrap_of, transport_for)

        with transport_for(bootstrap_of(Authority("{DOMAIN}"))) as transport:
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
            try:
                transport.post("https://127.0.0.1:1", b"x", attempt())
            except AttemptFailed as error:
                print(error.failure.cause.value, error.failure.detail)
        """
    )
    assert output == "local too many open files in this process (ulimit -n)\n"


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.EHOSTUNREACH, Failure(Cause.BAD_RESPONSE, "no route to host", sent=True)),
        (errno.EIO, Failure(Cause.BAD_RESPONSE, "input/output error", sent=True)),
        (errno.ENOBUFS, Failure(Cause.BAD_RESPONSE, "no buffer space available", sent=True)),
        (
            errno.ETIMEDOUT,
            Failure(
                Cause.RESPONSE_TIMEOUT, "the request was sent, no complete answer came", sent=True
            ),
        ),
        (
            errno.ECONNRESET,
            Failure(
                Cause.BAD_RESPONSE, "the connection was closed before a complete answer", sent=True
            ),
        ),
    ],
    ids=lambda value: errno.errorcode[value] if isinstance(value, int) else "",
)
def test_a_request_whose_answer_the_kernel_ends_stays_sent(
    monkeypatch, transport: Transport, number: int, expected: Failure
) -> None:
    def recv_into(*_arguments: object) -> int:
        raise OSError(number, "somebody's words")

    with tls_peer(Conversation.hang) as peer:
        monkeypatch.setattr(DeadlineTlsSocket, "recv_into", recv_into)
        failure = failure_of(lambda: transport.post(peer.url, SECRET, attempt()))
        peer.wait_for(lambda seen: seen.received > 0)
    assert failure == expected


def ending(transport: Transport, url: str, ready: Callable[[], object]) -> None:
    """Post, end the attempt from outside when ``ready`` returns, and see that it ended then."""
    limits = attempt(10)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        posted = pool.submit(failure_of, lambda: transport.post(url, SECRET, limits))
        ready()
        ended = time.monotonic()
        limits.end()
        posted.result(5)
        assert time.monotonic() - ended < SLACK


def test_an_attempt_that_waits_for_an_answer_can_be_ended(transport: Transport) -> None:
    with tls_peer(answering(b"")) as peer:
        ending(transport, peer.url, lambda: peer.wait_for(lambda seen: len(seen.seen) == 1))


def test_an_attempt_in_the_handshake_can_be_ended(transport: Transport) -> None:
    with Peer(Conversation.hang) as peer:
        ending(transport, peer.url, lambda: peer.wait_for(lambda seen: seen.received > 0))


def test_an_attempt_that_connects_can_be_ended(transport: Transport) -> None:
    port = Port()
    connecting = threading.Event()

    def resolve(host: str) -> list[Address]:
        connecting.set()
        return [(socket.AF_INET, (port.address, 0))]

    try:
        port.turn(PortState.SWALLOWING)
        with transport_for(US, resolve=resolve) as to_name:
            ending(to_name, f"https://keeper1:{port.number}", lambda: connecting.wait(5))
    finally:
        port.close()


# Connections.


def test_a_connection_is_used_again(transport: Transport) -> None:
    with tls_peer(replying(http_response(400), OK)) as peer:
        statuses = [transport.post(peer.url, b"{}", attempt()).status for _unused in range(3)]
    assert statuses == [400, 200, 200]
    assert (peer.connections, peer.handshakes) == (1, 1)


@pytest.mark.timing
def test_a_connection_used_again_has_the_limits_of_its_new_attempt(transport: Transport) -> None:
    def talk(conversation: Conversation) -> None:
        answering(OK)(conversation)

    with tls_peer(talk) as peer:
        transport.post(peer.url, b"{}", attempt(10))
        timed = timed_failure_of(lambda: transport.post(peer.url, SECRET, attempt(0.2)))
    assert peer.connections == 1
    assert timed.failure.cause is Cause.RESPONSE_TIMEOUT
    assert 0.2 <= timed.elapsed < 0.2 + SLACK


@pytest.mark.parametrize("leave", [Conversation.close, Conversation.reset], ids=["close", "reset"])
def test_a_connection_that_was_closed_in_between_is_replaced(
    transport: Transport, leave: Talk
) -> None:
    def once(conversation: Conversation) -> None:
        assert conversation.request() is not None
        conversation.send(OK)
        leave(conversation)

    with tls_peer(once) as peer:
        for number in range(1, 4):
            assert transport.post(peer.url, b"{}", attempt()).status == 200
            peer.wait_for(lambda seen, number=number: seen.ended == number)
    assert peer.connections == 3


@pytest.mark.parametrize(
    "response",
    [
        pytest.param(b"", id="answered too late"),
        pytest.param(http_response(200, b"x" * (MOST_BYTES + 2)), id="too long"),
        pytest.param(HEAD + b"Content-Length: 100\r\n\r\n{}", id="incomplete"),
    ],
)
def test_a_connection_is_not_used_again_after_a_failure(
    transport: Transport, response: bytes
) -> None:
    with tls_peer(replying(response)) as peer:
        for _unused in range(2):
            failure_of(lambda: transport.post(peer.url, b"{}", attempt(1.0)))
    assert peer.connections == 2
    assert len(peer.seen) == 2


def test_what_follows_an_answer_is_not_taken_for_the_next_one(transport: Transport) -> None:
    numbers = itertools.count(1)

    def generous(conversation: Conversation) -> None:
        for _request in conversation.requests():
            conversation.send(http_response(200, b"%d" % next(numbers)) + http_response(500))

    with tls_peer(generous) as peer:
        answers = [transport.post(peer.url, b"{}", attempt()) for _unused in range(2)]
    assert answers == [Answer(200, b"1"), Answer(200, b"2")]


def test_two_posts_at_once_have_a_connection_each(transport: Transport) -> None:
    def together(conversation: Conversation) -> None:
        for _request in conversation.requests():
            conversation.peer.wait_for(lambda seen: len(seen.seen) >= 2)
            conversation.send(OK)

    with tls_peer(together) as peer:
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            posted = [
                pool.submit(transport.post, peer.url, b"{}", attempt()) for _unused in range(2)
            ]
            assert [post.result(5).status for post in posted] == [200, 200]
        assert peer.handshakes == 2
        # One of them waits to be used again, the other is not kept.
        peer.wait_for(lambda seen: seen.ended == 1)
        assert transport.post(peer.url, b"{}", attempt()).status == 200
    assert peer.handshakes == 2


def test_two_keepers_never_share_a_connection(transport: Transport) -> None:
    with tls_peer(replying(OK)) as one, tls_peer(replying(OK)) as two:
        for peer in (one, two, one, two):
            transport.post(peer.url, b"{}", attempt())
    assert (one.connections, two.connections) == (1, 1)
    assert (len(one.seen), len(two.seen)) == (2, 2)


def test_closing_ends_the_connections_that_wait(transport: Transport) -> None:
    with tls_peer(replying(OK)) as peer:
        transport.post(peer.url, b"{}", attempt())
        assert peer.ended == 0
        transport.close()
        peer.wait_for(lambda seen: seen.ended == 1)


# Where a connection ended.


def test_two_names_of_one_keeper_lead_to_one_endpoint(transport: Transport) -> None:
    with tls_peer(replying(OK)) as peer:
        by_name = peer.url.replace("127.0.0.1", "localhost")
        for url in (peer.url, by_name):
            transport.post(url, b"{}", attempt())
        assert transport.endpoint(peer.url) == transport.endpoint(by_name)


def test_two_keepers_with_one_certificate_are_two_endpoints(transport: Transport) -> None:
    with tls_peer(replying(OK)) as one, tls_peer(replying(OK)) as other:
        for url in (one.url, other.url):
            transport.post(url, b"{}", attempt())
        assert transport.endpoint(one.url) != transport.endpoint(other.url)


def test_an_endpoint_is_an_address_a_port_and_the_hash_of_the_certificate(
    transport: Transport,
) -> None:
    svid = AUTHORITY.issue(KEEPER)
    der = ssl.PEM_cert_to_DER_cert(svid.chain_pem.decode())
    with Peer(over_tls(server_context(svid, AUTHORITY), replying(OK))) as peer:
        transport.post(f"{peer.url}/v1/some/route", b"{}", attempt())
        expected = Endpoint("127.0.0.1", peer.port, hashlib.sha256(der).hexdigest())
        # The route is not part of the place.
        assert transport.endpoint(f"{peer.url}/v1/other/route") == expected


def test_the_endpoint_is_that_of_the_last_connection(transport: Transport) -> None:
    svids = [AUTHORITY.issue(KEEPER) for _unused in range(2)]
    contexts = iter([server_context(svid, AUTHORITY) for svid in svids])

    def once(conversation: Conversation) -> None:
        conversation.secure(next(contexts))
        answering(OK, then_leave=True)(conversation)

    seen = []
    with Peer(once) as peer:
        for number in (1, 2):
            transport.post(peer.url, b"{}", attempt())
            seen.append(transport.endpoint(peer.url))
            peer.wait_for(lambda peer, number=number: peer.ended == number)
    assert [endpoint.certificate for endpoint in seen if endpoint] == [
        hashlib.sha256(ssl.PEM_cert_to_DER_cert(svid.chain_pem.decode())).hexdigest()
        for svid in svids
    ]


def test_a_peer_that_is_not_believed_is_no_endpoint(transport: Transport) -> None:
    stranger = server_context(Authority(DOMAIN).issue(KEEPER), AUTHORITY)
    with Peer(over_tls(stranger, replying(OK))) as peer:
        failure_of(lambda: transport.post(peer.url, b"{}", attempt()))
        assert transport.endpoint(peer.url) is None


# Secrets.


def test_no_secret_is_left_in_a_failure(transport: Transport, caplog) -> None:
    def echo(conversation: Conversation) -> None:
        request = conversation.request()
        assert request is not None
        conversation.send(b"HTTP/1.1 " + request.body + b"\r\n\r\n")

    with caplog.at_level(0), tls_peer(echo) as peer:
        failure = failure_of(lambda: transport.post(peer.url, SECRET, attempt()))
    assert peer.seen[0].body == SECRET
    assert SECRET.decode() not in repr(failure)
    assert "shard" not in repr(failure)
    assert SECRET.decode() not in caplog.text
