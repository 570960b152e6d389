# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One server of the sandbox: a port, its connections, and the fault that it is under."""

from __future__ import annotations

import contextlib
import threading
from typing import Protocol

from .acceptor import Acceptor
from .connection import Connection
from .faults import (
    Fault,
    Kind,
    Level,
    Step,
    When,
)
from .http import (
    BadRequestError,
    Request,
    RequestReader,
    Response,
)
from .misbehave import misbehave
from .port import Port, PortState
from .stats import Stats
from .tls import (
    ServerIdentity,
    peer_id,
)

_JOIN_SECONDS = 2.0


class Service(Protocol):
    """What is served; called by many threads."""

    def admits(self, peer: str | None) -> bool:
        """Tell whether a client with this SPIFFE ID may speak at all."""

    def note(self, request: Request) -> Step:
        """Count the request, which may yet meet a fault, and tell what it is for."""

    def answer(self, request: Request, peer: str | None) -> Response:
        """Act upon the request and answer it."""


class Server:
    """Serves ``service`` at ``url``, which stays the same whatever happens to the server.

    Begins stopped: a client is refused until ``start``.
    """

    def __init__(
        self,
        acceptor: Acceptor,
        identity: ServerIdentity,
        service: Service,
        stats: Stats,
        address: str,
    ) -> None:
        self.stats = stats
        self._acceptor = acceptor
        self._identity = identity
        self._service = service
        self._port = Port(address)
        self.url = self._port.url
        self._running = False
        self._connections: dict[Connection, threading.Thread] = {}
        self._fault: Fault | None = None
        self._begun = False
        self._failures_left: int | None = None
        self._faulty_tls = identity.right

    @property
    def reachable(self) -> bool:
        """Whether a peer could speak to it now."""
        with self._acceptor.lock:
            broken = self._begun_fault(Level.CONNECTION) is not None
            return self._port.state is PortState.LISTENING and not broken

    @property
    def is_well(self) -> bool:
        """Whether it is under no fault."""
        with self._acceptor.lock:
            return self._fault is None

    def start(self) -> None:
        with self._acceptor.lock:
            self._running = True
            self._turn_port()

    def stop(self) -> None:
        """Refuse connections and end those that are open."""
        with self._acceptor.lock:
            self._running = False
            self._turn_port()
            open_ = dict(self._connections)
        _end(open_)

    def inject(self, fault: Fault) -> None:
        """Put the server under ``fault`` from now on, instead of the one that it was under."""
        context = self._identity.for_fault(fault)
        armed = fault.kind.level is not Level.REQUEST and fault.when is When.DELIVER
        with self._acceptor.lock:
            self._fault = fault
            self._failures_left = fault.failures
            self._faulty_tls = context
            self._begun = False
            if not armed:
                self._begin(fault)
            # A fault on new connections must not be passed by on an old one.
            ends_open = not armed and fault.kind.level is not Level.REQUEST
            open_ = dict(self._connections) if ends_open else {}
        _end(open_)

    def heal(self) -> None:
        """End the fault; a server that refused listens from now on."""
        with self._acceptor.lock:
            self._fault = None
            self._begun = False
            self._turn_port()

    def close(self) -> None:
        self.stop()
        with self._acceptor.lock:
            self._port.close()

    def _begin(self, fault: Fault) -> None:
        self._begun = True
        self._turn_port()
        if fault.until is not None:
            self._acceptor.call_later(fault.until, lambda: self._heal_from(fault))

    def _heal_from(self, fault: Fault) -> None:
        with self._acceptor.lock:
            if self._fault is fault:
                self.heal()

    def _begun_fault(self, level: Level) -> Fault | None:
        fault = self._fault
        if fault is None or not self._begun or fault.kind.level is not level:
            return None
        return fault if self._failures_left is None or self._failures_left > 0 else None

    def _take_fault(self, level: Level, step: Step | None = None) -> Fault | None:
        """Return the fault that the next connection or request meets, and count it."""
        with self._acceptor.lock:
            fault = self._begun_fault(level)
            if fault is None or (step is not None and not fault.hits(step)):
                return None
            if self._failures_left is not None:
                self._failures_left -= 1
            return fault

    def _turn_port(self) -> None:
        fault = self._begun_fault(Level.PORT)
        state = PortState.LISTENING
        if not self._running or (fault is not None and fault.kind is Kind.REFUSE):
            state = PortState.REFUSING
        elif fault is not None:
            state = PortState.SWALLOWING
        if state is self._port.state:
            return
        if self._port.state is PortState.LISTENING:
            self._acceptor.unwatch(self._port.socket)
        self._port.turn(state)
        if state is PortState.LISTENING:
            self._acceptor.watch(self._port.socket, self._accept)

    def _accept(self) -> None:
        try:
            accepted, _peer = self._port.socket.accept()
        except OSError:
            # The client has already left.
            return
        self.stats.connected()
        connection = Connection(accepted)
        fault = self._take_fault(Level.CONNECTION)
        thread = threading.Thread(
            target=self._serve, args=(connection, fault), name="sandbox-connection", daemon=True
        )
        self._connections[connection] = thread
        thread.start()

    def _serve(self, connection: Connection, fault: Fault | None) -> None:
        # An OSError is the client that left, or the sandbox that ends the connection.
        with contextlib.suppress(OSError):
            if fault is not None and fault.kind is Kind.RESET:
                connection.reset()
            elif fault is not None and fault.kind is Kind.STALL_TLS:
                while connection.receive():
                    pass
            elif fault is not None and fault.kind is Kind.PLAIN_HTTP:
                connection.receive()
                connection.send(Response.json(400, {"err": "api_bad_request"}).encode())
            else:
                self._converse(connection, fault)
        connection.close()
        with self._acceptor.lock:
            self._connections.pop(connection, None)

    def _converse(self, connection: Connection, fault: Fault | None) -> None:
        context = self._identity.right if fault is None else self._faulty_tls
        peer = peer_id(connection.secure(context))
        self.stats.shook_hands()
        if not self._service.admits(peer):
            # SPIKE sends a TLS alert. Python's ssl can neither send one nor take part in the
            # decision on a chain, so here the connection is reset instead, before any HTTP.
            connection.reset()
            return

        def receive() -> bytes:
            data = connection.receive()
            self.stats.received(len(data))
            return data

        reader = RequestReader(receive)
        try:
            request = reader.read()
            while request is not None and self._respond(connection, request, peer):
                request = reader.read()
        except BadRequestError:
            bad = Response(400, b'{"err":"api_bad_request"}', {"Connection": "close"})
            connection.send(bad.encode())

    def _respond(self, connection: Connection, request: Request, peer: str | None) -> bool:
        step = self._service.note(request)
        fault = self._take_fault(Level.REQUEST, step)
        if fault is not None:
            open_ = misbehave(fault, connection, lambda: self._service.answer(request, peer))
            return open_ and request.keep_alive
        response = self._service.answer(request, peer)
        ending = self._begin_after_reach() if step is Step.REACH else {}
        ends = ending.pop(connection, None) is not None
        # Before the answer: a client that has it must not get one more healthy connection.
        _end(ending)
        connection.send(response.encode())
        if ends:
            connection.abort()
        return request.keep_alive and not ends

    def _begin_after_reach(self) -> dict[Connection, threading.Thread]:
        """Begin a fault that waited for this request; return the connections that it ends."""
        with self._acceptor.lock:
            if self._fault is None or self._begun:
                return {}
            self._begin(self._fault)
            return dict(self._connections)


def _end(connections: dict[Connection, threading.Thread]) -> None:
    for connection in connections:
        connection.abort()
    for thread in connections.values():
        if thread is not threading.current_thread():
            thread.join(_JOIN_SECONDS)


__all__ = ["Server", "Service"]
