# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import concurrent.futures
import contextlib
import errno
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._errors import AttemptFailed, Cause
from ansible_collections.dayzero.spike.plugins.module_utils._net.attempt import Attempt
from ansible_collections.dayzero.spike.plugins.module_utils._net.peer_tls import PeerTls
from ansible_collections.dayzero.spike.plugins.module_utils._net.sockets import (
    Address,
    DeadlineTlsSocket,
    Lookups,
    open_connection,
)
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.authority import Authority
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.port import Port, PortState
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


# On Linux all of 127.0.0.0/8 is this host: where nobody listens, it refuses.
REFUSING: Address = (socket.AF_INET, ("127.0.0.2", 0))
SILENT: Address = (socket.AF_INET, ("127.0.0.3", 0))
LISTENING: Address = (socket.AF_INET, ("127.0.0.1", 0))
# A broadcast address: Linux has no route for TCP to it, on whatever network a host is.
UNREACHABLE: Address = (socket.AF_INET, ("255.255.255.255", 0))
# Like ::1 on a host without IPv6: a loopback address that cannot be used.
NO_SUCH_LOOPBACK: Address = (socket.AF_UNSPEC, ("::1", 0, 0, 0))


@pytest.fixture
def peer() -> Iterator[Peer]:
    """A peer at LISTENING; at the same port SILENT swallows connections, and REFUSING refuses."""
    with contextlib.ExitStack() as resources:
        while True:
            port = Port("127.0.0.3")
            resources.callback(port.close)
            # Another process may have the port on that address.
            with contextlib.suppress(OSError):
                peer = resources.enter_context(Peer(Conversation.hang, port=port.number))
                break
        port.turn(PortState.SWALLOWING)
        yield peer


@pytest.fixture
def port(peer: Peer) -> int:
    """The port of ``peer``."""
    return peer.port


def to(*addresses: Address) -> Lookups:
    return Lookups(lambda host: list(addresses))


def _must_not_resolve(host: str) -> list[Address]:
    raise AssertionError("an address needs no name service")


must_not_resolve = Lookups(_must_not_resolve)


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
    open_connection("keeper1", peer.port, by_name, to(LISTENING)).close()
    assert by_name.done[-2:] == [Cause.NAME_RESOLUTION, Cause.CONNECT_TIMEOUT]


def test_the_system_knows_localhost(peer: Peer) -> None:
    with open_connection("localhost", peer.port, attempt(), Lookups()) as connection:
        assert connection.getpeername()[1] == peer.port


def test_small_requests_leave_at_once(peer: Peer) -> None:
    with open_connection("127.0.0.1", peer.port, attempt(), must_not_resolve) as connection:
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def unknown_name(host: str) -> list[Address]:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def test_a_name_that_the_name_service_does_not_know_is_told_in_its_words() -> None:
    lookups = Lookups(unknown_name)
    failure = failure_of(lambda: open_connection("keeper1", 1, attempt(), lookups))
    assert failure.cause is Cause.NAME_RESOLUTION
    assert failure.detail == "keeper1: Name or service not known"
    assert not failure.final
    assert not failure.sent


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "a..b"], ids=["long label", "no label"])
def test_what_cannot_be_a_host_name_is_an_unknown_name(host: str) -> None:
    failure = failure_of(lambda: open_connection(host, 1, attempt(), Lookups()))
    assert failure.cause is Cause.NAME_RESOLUTION
    assert failure.detail == f"{host}: not a host name"


def test_what_this_host_lacks_to_look_a_name_up_is_not_the_names_fault() -> None:
    def resolve(host: str) -> list[Address]:
        raise OSError(errno.EMFILE, "Too many open files")

    with pytest.raises(OSError, match="Too many open files"):
        open_connection("keeper1", 1, attempt(), Lookups(resolve))


class NameService:
    """Answers when it is told to, and keeps what it was asked."""

    def __init__(self, *addresses: Address) -> None:
        self.asked: list[str] = []
        self.answers = threading.Event()
        self._changed = threading.Condition()
        self._addresses = addresses

    def __call__(self, host: str) -> list[Address]:
        with self._changed:
            self.asked.append(host)
            self._changed.notify_all()
        assert self.answers.wait(10)
        return list(self._addresses)

    def wait_until_asked(self, times: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.asked) >= times, 10)


@pytest.fixture
def names() -> Iterator[NameService]:
    names = NameService(LISTENING)
    yield names
    names.answers.set()


@pytest.mark.timing
def test_a_name_service_that_never_answers_is_not_waited_for(names: NameService) -> None:
    timed = timed_failure_of(
        lambda: open_connection("keeper1", 1, attempt(5, cut=0.2), Lookups(names))
    )
    assert timed.failure.cause is Cause.NAME_RESOLUTION
    assert timed.failure.detail == "the name service did not answer in time"
    assert 0.2 <= timed.elapsed < 0.2 + SLACK


@pytest.mark.timing
def test_a_lookup_that_outlasts_an_attempt_serves_the_next_one(
    names: NameService, peer: Peer
) -> None:
    lookups = Lookups(names)
    began = time.monotonic()
    timer = threading.Timer(0.6, names.answers.set)
    timer.start()
    failure_of(lambda: open_connection("keeper1", peer.port, attempt(5, cut=0.4), lookups))
    with open_connection("keeper1", peer.port, attempt(5, cut=0.4), lookups) as connection:
        assert connection.getpeername() == ("127.0.0.1", peer.port)
    # Its time was spent once, by both attempts together.
    assert 0.6 <= time.monotonic() - began < 0.6 + SLACK
    assert names.asked == ["keeper1"]
    timer.join()


def test_one_lookup_serves_all_who_ask_for_the_same_host_at_the_same_time(
    names: NameService,
) -> None:
    lookups = Lookups(names)

    def cut(_number: int) -> Cause:
        late = attempt(5, cut=0.05)
        return failure_of(lambda: open_connection("keeper1", 1, late, lookups)).cause

    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        assert set(pool.map(cut, range(5))) == {Cause.NAME_RESOLUTION}
    assert names.asked == ["keeper1"]


def test_two_hosts_are_looked_up_side_by_side(names: NameService) -> None:
    lookups = Lookups(names)
    for host in ("keeper1", "keeper2"):
        failure_of(lambda host=host: open_connection(host, 1, attempt(5, cut=0.01), lookups))
    names.wait_until_asked(2)
    assert sorted(names.asked) == ["keeper1", "keeper2"]


def test_a_name_that_was_unknown_is_asked_for_anew(peer: Peer) -> None:
    answers = iter([unknown_name, lambda host: [LISTENING]])

    def look_up(host: str) -> list[Address]:
        return next(answers)(host)

    lookups = Lookups(look_up)
    failure = failure_of(lambda: open_connection("keeper1", peer.port, attempt(), lookups))
    assert failure.cause is Cause.NAME_RESOLUTION
    open_connection("keeper1", peer.port, attempt(), lookups).close()


@pytest.mark.parametrize(
    "addresses",
    [
        [REFUSING],
        [REFUSING, REFUSING],
        [NO_SUCH_LOOPBACK, REFUSING],
        [REFUSING, NO_SUCH_LOOPBACK],
        [NO_SUCH_LOOPBACK],
    ],
    ids=["one", "two", "no such loopback first", "no such loopback last", "no such loopback"],
)
def test_a_connection_is_refused_only_where_every_address_refuses(
    port: int, addresses: list[Address]
) -> None:
    with pytest.raises(ConnectionRefusedError):
        open_connection("keeper1", port, attempt(), to(*addresses))


@pytest.mark.parametrize("number", [errno.EADDRNOTAVAIL, errno.ENETUNREACH])
@pytest.mark.parametrize("host", ["127.0.0.9", "::1", "::1%lo"])
def test_a_loopback_address_that_this_host_does_not_have_refuses(
    monkeypatch: pytest.MonkeyPatch, number: int, host: str
) -> None:
    def connect(_connection: socket.socket, _address: object) -> None:
        raise OSError(number, "somebody's words")

    monkeypatch.setattr(socket.socket, "connect", connect)
    with pytest.raises(ConnectionRefusedError):
        open_connection("keeper1", 1, attempt(), to((socket.AF_INET, (host, 0))))


def test_an_address_elsewhere_that_this_host_has_no_family_for_does_not_refuse() -> None:
    no_family: Address = (socket.AF_UNSPEC, ("2001:db8::1", 0, 0, 0))
    with pytest.raises(OSError, match="family not supported"):
        open_connection("keeper1", 1, attempt(), to(no_family))


@pytest.mark.parametrize(
    "addresses",
    [
        [SILENT, REFUSING],
        [REFUSING, SILENT],
        [SILENT, UNREACHABLE],
        [UNREACHABLE, SILENT],
        [UNREACHABLE, SILENT, REFUSING],
    ],
    ids=["silent first", "silent last", "before unreachable", "after unreachable", "between both"],
)
def test_an_address_that_is_silent_says_more_than_any_other(
    port: int, addresses: list[Address]
) -> None:
    with pytest.raises(socket.timeout):
        open_connection("keeper1", port, attempt(0.2), to(*addresses))


@pytest.mark.parametrize(
    "addresses",
    [[UNREACHABLE, REFUSING], [REFUSING, UNREACHABLE]],
    ids=["unreachable first", "unreachable last"],
)
def test_beside_an_address_that_cannot_be_reached_it_is_not_known_that_nobody_listens(
    port: int, addresses: list[Address]
) -> None:
    failure = failure_of(lambda: open_connection("keeper1", port, attempt(), to(*addresses)))
    assert failure.cause is Cause.CONNECTION_REFUSED
    assert failure.finding is None
    assert failure.detail == "connection refused; at another address network is unreachable"


def test_an_address_keeps_its_scope_and_gets_the_port(monkeypatch: pytest.MonkeyPatch) -> None:
    connected: list[object] = []

    def connect(_connection: socket.socket, address: object) -> None:
        connected.append(address)

    monkeypatch.setattr(socket.socket, "connect", connect)
    # No IPv6 is needed for what is only handed on.
    link_local: Address = (socket.AF_INET, ("fe80::1", 0, 0, 7))
    open_connection("keeper1", 8443, attempt(), to(link_local)).close()
    assert connected == [("fe80::1", 8443, 0, 7)]


def test_a_name_without_addresses_is_an_error() -> None:
    with pytest.raises(OSError, match="no address"):
        open_connection("keeper1", 1, attempt(), to())


def test_the_next_address_is_tried_when_one_refuses(peer: Peer) -> None:
    with open_connection("k1", peer.port, attempt(), to(REFUSING, LISTENING)) as connection:
        assert connection.getpeername() == ("127.0.0.1", peer.port)


@pytest.mark.timing
def test_the_next_address_is_tried_when_one_is_silent(peer: Peer) -> None:
    began = time.monotonic()
    with open_connection("k1", peer.port, attempt(0.4), to(SILENT, LISTENING)) as connection:
        assert connection.getpeername() == ("127.0.0.1", peer.port)
    # Half the time for the first of two.
    assert 0.2 <= time.monotonic() - began < 0.2 + SLACK


def test_the_next_address_is_tried_when_this_host_lacks_the_family_of_one(peer: Peer) -> None:
    lookups = to(NO_SUCH_LOOPBACK, LISTENING)
    with open_connection("keeper1", peer.port, attempt(), lookups) as connection:
        assert connection.getpeername() == ("127.0.0.1", peer.port)


@pytest.mark.timing
def test_silent_addresses_share_the_time_that_there_is(port: int) -> None:
    began = time.monotonic()
    with pytest.raises(socket.timeout):
        open_connection("keeper1", port, attempt(5, cut=0.3), to(*[SILENT] * 3))
    assert 0.3 <= time.monotonic() - began < 0.3 + SLACK


def test_no_time_means_no_connection(peer: Peer) -> None:
    failure = failure_of(
        lambda: open_connection("127.0.0.1", peer.port, attempt(0), must_not_resolve)
    )
    assert failure.cause is Cause.CONNECT_TIMEOUT
    assert peer.connections == 0


@pytest.mark.timing
def test_ending_an_attempt_wakes_it_while_it_connects(port: int) -> None:
    the_attempt = attempt(5)
    began = time.monotonic()
    timer = threading.Timer(0.1, the_attempt.end)
    timer.start()
    with pytest.raises(ConnectionResetError):
        open_connection("keeper1", port, the_attempt, to(SILENT))
    assert 0.1 <= time.monotonic() - began < 0.1 + SLACK
    timer.join()


def test_an_attempt_that_was_ended_tries_no_further_address(peer: Peer) -> None:
    the_attempt = attempt(5)
    timer = threading.Timer(0.1, the_attempt.end)
    timer.start()
    lookups = to(SILENT, LISTENING)
    failure = failure_of(lambda: open_connection("k1", peer.port, the_attempt, lookups))
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
        for _unused in range(100):
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
