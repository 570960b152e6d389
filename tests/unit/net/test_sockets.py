# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._attempt import Attempt
from ansible_collections.dayzero.spike.plugins.module_utils._errors import AttemptFailed, Cause
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox._authority import Authority
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox._port import Port, PortState
from ansible_collections.dayzero.spike.plugins.module_utils._sockets import (
    Address,
    DeadlineTlsSocket,
    Resolve,
    open_connection,
    resolve_with_system,
)
from ansible_collections.dayzero.spike.plugins.module_utils._spiffe_tls import PeerTls
from ansible_collections.dayzero.spike.tests.support.loopback_peer import (
    Conversation,
    Peer,
    needs_ipv6,
    over_tls,
    server_context,
)
from ansible_collections.dayzero.spike.tests.support.spiffe_side import (
    DOMAIN,
    KEEPER,
    KEEPER_RULE,
    SLACK,
    attempt,
    bootstrap_of,
    failure_of,
    timed_failure_of,
)

AUTHORITY = Authority(DOMAIN)
US = bootstrap_of(AUTHORITY)


@pytest.fixture
def refusing() -> Iterator[Address]:
    port = Port()
    yield socket.AF_INET, (port.address, port.number)
    port.close()


@pytest.fixture
def blackhole() -> Iterator[Address]:
    port = Port()
    port.turn(PortState.SWALLOWING)
    yield socket.AF_INET, (port.address, port.number)
    port.close()


@pytest.fixture
def peer() -> Iterator[Peer]:
    with Peer(Conversation.hang) as peer:
        yield peer


def to(*addresses: Address) -> Resolve:
    return lambda host, port: list(addresses)


def must_not_resolve(host: str, port: int) -> list[Address]:
    raise AssertionError("an address needs no name service")


def test_an_address_is_not_looked_up(peer: Peer) -> None:
    with open_connection("127.0.0.1", peer.port, attempt(), must_not_resolve) as connection:
        assert connection.getpeername() == ("127.0.0.1", peer.port)


@needs_ipv6
def test_an_ipv6_address_is_not_looked_up() -> None:
    with Peer(Conversation.hang, address="::1") as peer:
        with open_connection("::1", peer.port, attempt(), must_not_resolve) as connection:
            assert connection.getpeername()[:2] == ("::1", peer.port)


class Watched(Attempt):
    """An attempt that keeps all that it was ever doing."""

    def __init__(self) -> None:
        self.done: list[Cause] = []
        ends_at = time.monotonic() + 5
        super().__init__(1, cut_at=ends_at, ends_at=ends_at, clock=time.monotonic)

    def __setattr__(self, name: str, value: object) -> None:
        if name == "doing" and isinstance(value, Cause):
            self.done.append(value)
        super().__setattr__(name, value)


def test_an_attempt_looks_up_a_name_only_where_there_is_one(peer: Peer) -> None:
    by_address, by_name = Watched(), Watched()
    open_connection("127.0.0.1", peer.port, by_address, must_not_resolve).close()
    assert set(by_address.done) == {Cause.CONNECT_TIMEOUT}
    address = (socket.AF_INET, ("127.0.0.1", peer.port))
    open_connection("keeper1", 1, by_name, to(address)).close()
    assert by_name.done[-2:] == [Cause.NAME_RESOLUTION, Cause.CONNECT_TIMEOUT]


def test_the_system_knows_localhost(peer: Peer) -> None:
    with open_connection("localhost", peer.port, attempt(), resolve_with_system) as connection:
        assert connection.getpeername()[1] == peer.port


def test_small_requests_leave_at_once(peer: Peer) -> None:
    with open_connection("127.0.0.1", peer.port, attempt(), must_not_resolve) as connection:
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_name_that_the_name_service_does_not_know_is_told_in_its_words() -> None:
    def resolve(host: str, port: int) -> list[Address]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    failure = failure_of(lambda: open_connection("keeper1", 1, attempt(), resolve))
    assert failure.cause is Cause.NAME_RESOLUTION
    assert failure.detail == "keeper1: Name or service not known"
    assert not failure.final
    assert not failure.sent


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "a..b"], ids=["long label", "no label"])
def test_what_cannot_be_a_host_name_is_an_unknown_name(host: str) -> None:
    failure = failure_of(lambda: open_connection(host, 1, attempt(), resolve_with_system))
    assert failure.cause is Cause.NAME_RESOLUTION
    assert failure.detail == f"{host}: not a host name"


@pytest.mark.timing
def test_a_name_service_that_never_answers_is_not_waited_for() -> None:
    never = threading.Event()

    def resolve(host: str, port: int) -> list[Address]:
        never.wait()
        return []

    try:
        timed = timed_failure_of(
            lambda: open_connection("keeper1", 1, attempt(5, cut=0.2), resolve)
        )
    finally:
        never.set()
    assert timed.failure.cause is Cause.NAME_RESOLUTION
    assert timed.failure.detail == "the name service did not answer in time"
    assert 0.2 <= timed.elapsed < 0.2 + SLACK


def test_a_refused_connection_is_refused_at_once(refusing: Address) -> None:
    with pytest.raises(ConnectionRefusedError):
        open_connection("keeper1", 1, attempt(), to(refusing))


def test_a_name_without_addresses_is_an_error() -> None:
    with pytest.raises(OSError, match="no address"):
        open_connection("keeper1", 1, attempt(), to())


def test_the_next_address_is_tried_when_one_refuses(refusing: Address, peer: Peer) -> None:
    second = (socket.AF_INET, ("127.0.0.1", peer.port))
    with open_connection("keeper1", 1, attempt(), to(refusing, second)) as connection:
        assert connection.getpeername()[1] == peer.port


@pytest.mark.timing
def test_the_next_address_is_tried_when_one_is_silent(blackhole: Address, peer: Peer) -> None:
    second = (socket.AF_INET, ("127.0.0.1", peer.port))
    began = time.monotonic()
    with open_connection("keeper1", 1, attempt(0.4), to(blackhole, second)) as connection:
        assert connection.getpeername()[1] == peer.port
    # Half the time for the first of two.
    assert 0.2 <= time.monotonic() - began < 0.2 + SLACK


def test_the_next_address_is_tried_when_this_host_lacks_the_family_of_one(peer: Peer) -> None:
    # Like ::1 on a host without IPv6.
    unknown = (socket.AF_UNSPEC, ("::1", 1, 0, 0))
    second = (socket.AF_INET, ("127.0.0.1", peer.port))
    with open_connection("keeper1", 1, attempt(), to(unknown, second)) as connection:
        assert connection.getpeername()[1] == peer.port


def test_the_last_address_says_why_none_could_be_reached(
    blackhole: Address, refusing: Address
) -> None:
    with pytest.raises(ConnectionRefusedError):
        open_connection("keeper1", 1, attempt(0.2), to(blackhole, refusing))


@pytest.mark.timing
def test_silent_addresses_share_the_time_that_there_is(blackhole: Address) -> None:
    began = time.monotonic()
    with pytest.raises(socket.timeout):
        open_connection("keeper1", 1, attempt(5, cut=0.3), to(*[blackhole] * 3))
    assert 0.3 <= time.monotonic() - began < 0.3 + SLACK


def test_no_time_means_no_connection(peer: Peer) -> None:
    failure = failure_of(
        lambda: open_connection("127.0.0.1", peer.port, attempt(0), must_not_resolve)
    )
    assert failure.cause is Cause.CONNECT_TIMEOUT
    assert peer.connections == 0


@pytest.mark.timing
def test_ending_an_attempt_wakes_it_while_it_connects(blackhole: Address) -> None:
    the_attempt = attempt(5)
    began = time.monotonic()
    timer = threading.Timer(0.1, the_attempt.end)
    timer.start()
    with pytest.raises(ConnectionResetError):
        open_connection("keeper1", 1, the_attempt, to(blackhole))
    assert 0.1 <= time.monotonic() - began < 0.1 + SLACK
    timer.join()


def test_an_attempt_that_was_ended_tries_no_further_address(blackhole: Address, peer: Peer) -> None:
    the_attempt = attempt(5)
    timer = threading.Timer(0.1, the_attempt.end)
    timer.start()
    second = (socket.AF_INET, ("127.0.0.1", peer.port))
    failure = failure_of(lambda: open_connection("keeper1", 1, the_attempt, to(blackhole, second)))
    assert failure.cause is Cause.CONNECT_TIMEOUT
    assert peer.connections == 0
    timer.join()


# The TLS socket on its own; what a whole request makes of it is in test__transport.py.


def read_to_the_end(sock: DeadlineTlsSocket) -> None:
    buffer = bytearray(1)
    while sock.recv_into(buffer):
        pass


@pytest.mark.timing
def test_each_read_has_only_the_time_that_is_left() -> None:
    def drip(conversation: Conversation) -> None:
        # Much longer than the attempt, and an end for a test that fails.
        for _ in range(100):
            if conversation.pause(0.02):
                conversation.send(b"x")

    context = server_context(AUTHORITY.issue(KEEPER), AUTHORITY)
    with Peer(over_tls(context, drip)) as peer:
        began = time.monotonic()
        limits = attempt(1.0)
        plain = open_connection("127.0.0.1", peer.port, limits, must_not_resolve)
        with PeerTls(US, KEEPER_RULE).handshake(plain, limits) as sock:
            with pytest.raises((socket.timeout, AttemptFailed)):
                read_to_the_end(sock)
            assert 1.0 <= time.monotonic() - began < 1.0 + SLACK


@pytest.mark.timing
def test_a_peer_that_reads_nothing_is_not_written_to_for_ever() -> None:
    def deaf(conversation: Conversation) -> None:
        conversation.peer.closing.wait()

    limits = attempt(0.3)
    with Peer(over_tls(server_context(AUTHORITY.issue(KEEPER), AUTHORITY), deaf)) as peer:
        plain = open_connection("127.0.0.1", peer.port, limits, must_not_resolve)
        with PeerTls(US, KEEPER_RULE).handshake(plain, limits) as sock:
            began = time.monotonic()
            with pytest.raises(socket.timeout):
                sock.sendall(bytes(64 * 1024 * 1024))
            assert time.monotonic() - began < 0.3 + SLACK


def test_an_early_answer_survives_a_write_that_came_too_late() -> None:
    answered = threading.Event()

    def early(conversation: Conversation) -> None:
        conversation.send(b"too much")
        conversation.reset()
        answered.set()

    limits = attempt()
    with Peer(over_tls(server_context(AUTHORITY.issue(KEEPER), AUTHORITY), early)) as peer:
        plain = open_connection("127.0.0.1", peer.port, limits, must_not_resolve)
        with PeerTls(US, KEEPER_RULE).handshake(plain, limits) as sock:
            assert answered.wait(5)
            sock.sendall(b"head")
            sock.sendall(b"a longer body")
            buffer = bytearray(100)
            assert sock.recv_into(buffer) == len(b"too much")
            assert buffer.startswith(b"too much")
            assert sock.recv_into(buffer) == 0
