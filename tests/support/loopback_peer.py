# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A peer on loopback that does whatever a test tells it to, over real TCP and real TLS."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.authority import (
    Authority,
    IssuedSvid,
)

_JOIN_SECONDS = 5.0


def _has_ipv6() -> bool:
    with contextlib.suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        return True
    return False


needs_ipv6 = pytest.mark.skipif(not _has_ipv6(), reason="this host has no IPv6 loopback")


@dataclass(frozen=True)
class Request:
    """A request as it arrived: the request line with the headers, and the body."""

    head: bytes
    body: bytes

    @property
    def names(self) -> set[str]:
        """The names of its headers, in lower case."""
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        return {line.partition(":")[0].lower() for line in lines if line}


class Conversation:
    """One accepted connection: plain until ``secure``.

    ``peer`` is whose it is; ``received`` counts the bytes that came as data.
    """

    def __init__(self, peer: Peer, accepted: socket.socket) -> None:
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.peer = peer
        self._socket: socket.socket = accepted
        self.received = 0
        self._unread = b""

    def secure(self, context: ssl.SSLContext) -> None:
        """Do the TLS handshake; raises OSError."""
        self._socket = context.wrap_socket(
            self._socket, server_side=True, do_handshake_on_connect=False
        )
        self._socket.do_handshake()
        self.peer.count(handshakes=1)

    def receive(self) -> bytes:
        """What arrived, after TLS; empty when the client has left."""
        data = self._socket.recv(65536)
        self.received += len(data)
        self.peer.count(received=len(data))
        return data

    def request(self) -> Request | None:
        """The next request; None when the client has left."""
        head = self._until(lambda: self._unread.find(b"\r\n\r\n") + 1)
        if not head:
            return None
        text = self._unread[: head + 1]
        self._unread = self._unread[head + 3 :]
        length = next(
            int(line.partition(b":")[2])
            for line in text.split(b"\r\n")
            if line.lower().startswith(b"content-length:")
        )
        if not self._until(lambda: len(self._unread) >= length):
            return None
        request = Request(text, self._unread[:length])
        self._unread = self._unread[length:]
        self.peer.requested(request)
        return request

    def requests(self) -> Iterator[Request]:
        """The requests that come, until the client leaves."""
        while True:
            request = self.request()
            if request is None:
                return
            yield request

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def pause(self, seconds: float) -> bool:
        """Wait; False as soon as the peer is closed."""
        return not self.peer.closing.wait(seconds)

    def hang(self) -> None:
        """Say nothing until the client leaves."""
        while self.receive():
            pass

    def reset(self) -> None:
        """Close with a TCP reset, as a server does that leaves something unread."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def finish(self) -> None:
        """Send nothing more, and still listen: half of the connection is closed."""
        socket.socket.shutdown(self._socket, socket.SHUT_WR)

    def abort(self) -> None:
        """End what blocks, from another thread."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        self._socket.close()

    def _until(self, enough: Callable[[], int]) -> int:
        found = enough()
        while not found:
            data = self.receive()
            if not data:
                return 0
            self._unread += data
            found = enough()
        return found


Talk = Callable[[Conversation], None]


class Peer:
    """Listens on loopback and has one ``talk`` with each client, on a thread of its own.

    A client that leaves (OSError) is no fault; anything else that a talk raises is raised by
    ``close``. ``received`` counts the bytes that came as data: after TLS, where there is TLS.
    """

    def __init__(self, talk: Talk, address: str = "127.0.0.1", port: int = 0) -> None:
        self.connections = 0
        self.handshakes = 0
        self.received = 0
        self.seen: list[Request] = []
        self.ended = 0
        self.closing = threading.Event()
        self._talk = talk
        self._changed = threading.Condition()
        self._open: dict[Conversation, threading.Thread] = {}
        self._errors: list[Exception] = []
        six = ":" in address
        self._listener = socket.create_server(
            (address, port), family=socket.AF_INET6 if six else socket.AF_INET, backlog=64
        )
        self.port: int = self._listener.getsockname()[1]
        self.url = f"https://[{address}]:{self.port}" if six else f"https://{address}:{self.port}"
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End every connection and thread; the counters are final afterwards."""
        self.closing.set()
        # What accept() waits for; closing the listener would not wake it.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(_JOIN_SECONDS)
        self._listener.close()
        with self._changed:
            open_ = dict(self._open)
        for conversation, thread in open_.items():
            conversation.abort()
            thread.join(_JOIN_SECONDS)
        if self._errors:
            raise self._errors[0]

    def count(self, *, handshakes: int = 0, received: int = 0) -> None:
        with self._changed:
            self.handshakes += handshakes
            self.received += received
            self._changed.notify_all()

    def requested(self, request: Request) -> None:
        with self._changed:
            self.seen.append(request)
            self._changed.notify_all()

    def wait_for(self, predicate: Callable[[Peer], bool], timeout: float = 5) -> None:
        """Wait until ``predicate`` holds for the counters."""
        with self._changed:
            assert self._changed.wait_for(lambda: predicate(self), timeout)

    def _accept(self) -> None:
        while True:
            try:
                accepted, _address = self._listener.accept()
            except OSError:
                return
            conversation = Conversation(self, accepted)
            thread = threading.Thread(target=self._serve, args=(conversation,), daemon=True)
            with self._changed:
                self.connections += 1
                self._open[conversation] = thread
                self._changed.notify_all()
            thread.start()

    def _serve(self, conversation: Conversation) -> None:
        try:
            self._talk(conversation)
        except OSError:
            pass
        except Exception as error:
            self._errors.append(error)
        conversation.close()
        with self._changed:
            del self._open[conversation]
            self.ended += 1
            self._changed.notify_all()


def over_tls(context: ssl.SSLContext, talk: Talk) -> Talk:
    """The same talk, after a TLS handshake."""

    def secured(conversation: Conversation) -> None:
        conversation.secure(context)
        talk(conversation)

    return secured


def replying(*responses: bytes) -> Talk:
    """A talk that answers each request with the next of ``responses``; the last one repeats."""

    def talk(conversation: Conversation) -> None:
        for number, _request in enumerate(conversation.requests()):
            conversation.send(responses[min(number, len(responses) - 1)])

    return talk


def http_response(status: int, body: bytes = b"{}", *headers: str) -> bytes:
    """A complete response of HTTP/1.1."""
    lines = [f"HTTP/1.1 {status} Text", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def server_context(
    svid: IssuedSvid,
    clients: Authority,
    *,
    minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
    maximum: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED,
) -> ssl.SSLContext:
    """The server's side of mutual TLS with ``svid``; clients come from ``clients``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = minimum
    context.maximum_version = maximum
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=clients.bundle_pem().decode("ascii"))
    load_svid(context, svid)
    return context


def load_svid(context: ssl.SSLContext, svid: IssuedSvid) -> None:
    """Give the context a certificate and its key without a file on a disk."""
    with os.fdopen(os.memfd_create("test"), "wb") as memory:
        memory.write(svid.key_pem + svid.chain_pem)
        memory.flush()
        context.load_cert_chain(f"/proc/self/fd/{memory.fileno()}")


__all__ = [
    "Conversation",
    "Peer",
    "Request",
    "Talk",
    "http_response",
    "load_svid",
    "needs_ipv6",
    "over_tls",
    "replying",
    "server_context",
]
