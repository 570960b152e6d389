# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One POST over requests, on a connection that SPIFFE's rules allow and that knows its deadline."""

from __future__ import annotations

import http.client
import threading
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from ansible_collections.dayzero.spike.plugins.module_utils._attempt import Attempt
from ansible_collections.dayzero.spike.plugins.module_utils._durable_file import Step, ignore_step
from ansible_collections.dayzero.spike.plugins.module_utils._errors import (
    AttemptFailed,
    Cause,
    Failure,
)
from ansible_collections.dayzero.spike.plugins.module_utils._failures import translate
from ansible_collections.dayzero.spike.plugins.module_utils._sockets import (
    DeadlineTlsSocket,
    Resolve,
    open_connection,
    resolve_with_system,
)
from ansible_collections.dayzero.spike.plugins.module_utils._spiffe_tls import PeerTls
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict

# SPIKE's answers are under 200 bytes; what is longer is not one, and must not fill the memory.
MOST_BYTES = 64 * 1024


@dataclass(frozen=True)
class Answer:
    """What a peer answered: the HTTP status, and the whole body, which may echo what was sent."""

    status: int
    body: bytes = field(repr=False)


class Transport:
    """POSTs to peers of one kind; safe to use from many threads.

    It speaks through a requests adapter and without a requests Session, which would add the
    environment's proxies, .netrc, CA bundles, cookies, and redirects.
    """

    def __init__(
        self, tls: PeerTls, *, resolve: Resolve = resolve_with_system, step: Step = ignore_step
    ) -> None:
        """``step`` is told when a request has been written and its answer is still to come."""
        self._adapter = _SpiffeAdapter(tls, resolve, step)

    def post(self, url: str, body: bytes, attempt: Attempt) -> Answer:
        """POST ``body``, as JSON, within the attempt's limits.

        The connection of an earlier, completed request to the same host is used again. Raises
        AttemptFailed when no complete answer came, whatever the reason.
        """
        failure = None
        try:
            return self._exchange(url, body, attempt)
        except Exception as error:
            failure = translate(error, attempt)
        # Raised here, where no exception is being handled, so that none becomes its context:
        # requests' exceptions keep the request, and with it the shard.
        raise AttemptFailed(failure)

    def close(self) -> None:
        """Close the connections that wait to be used again."""
        self._adapter.close()

    def _exchange(self, url: str, body: bytes, attempt: Attempt) -> Answer:
        response = self._adapter.send_for(attempt, _prepared(url, body))
        try:
            received = b""
            while True:
                chunk = response.raw.read(MOST_BYTES + 1 - len(received), decode_content=False)
                if not chunk:
                    break
                received += chunk
                if len(received) > MOST_BYTES:
                    raise AttemptFailed(
                        Failure(
                            Cause.BAD_RESPONSE,
                            f"the answer is longer than {MOST_BYTES} bytes",
                            sent=True,
                        )
                    )
            if not _is_complete(response.raw):
                raise http.client.IncompleteRead(b"")
            return Answer(response.status_code, received)
        finally:
            response.close()


def _is_complete(read: Any) -> bool:
    # urllib3 compares the length by itself only from 2.0 on. An answer that ends where its
    # connection does cannot be told from one that was cut short; SPIKE's never do.
    return bool(read.chunked) or read.length_remaining == 0


def _prepared(url: str, body: bytes) -> requests.PreparedRequest:
    # Filled in by hand: requests would parse and quote the URL again, which was validated once,
    # and with a thousand keepers that takes longer than the rest of the request.
    request = requests.PreparedRequest()
    request.method = "POST"
    request.url = url
    request.body = body
    request.headers = CaseInsensitiveDict(
        {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Accept-Encoding": "identity",
            "User-Agent": "dayzero.spike",
        }
    )
    return request


class _Current(threading.local):
    """The attempt that this thread makes.

    No argument of requests and urllib3 reaches a connection in all their releases since 1.26.5;
    an attempt never leaves its thread, so the thread can carry it.
    """

    attempt: Attempt | None = None


class _SpiffeConnection(urllib3.connection.HTTPSConnection):
    """A connection that we open: urllib3 never sees, and so cannot add to, the TLS context."""

    place: tuple[str, int]
    tls: PeerTls
    resolve: Resolve
    step: Step
    current: _Current

    def connect(self) -> None:
        attempt = self._attempt()
        trust_domain = None
        if self.tls.needs_introduction:
            connection = open_connection(*self.place, attempt, self.resolve)
            trust_domain = self.tls.claimed_trust_domain(connection, attempt)
        connection = open_connection(*self.place, attempt, self.resolve)
        self.sock = self.tls.handshake(connection, attempt, trust_domain)
        # Without this urllib3 warns: it cannot know that the peer has been verified.
        self.is_verified = True

    def request(self, *args: Any, **kwargs: Any) -> Any:
        attempt = self._attempt()
        if self.sock is None:
            self.connect()
        sock = self.sock
        assert isinstance(sock, DeadlineTlsSocket)
        sock.work_for(attempt)
        attempt.mark_sent()
        written = super().request(*args, **kwargs)
        host, port = self.place
        self.step(f"{host}:{port}: request written")
        return written

    def _attempt(self) -> Attempt:
        attempt = self.current.attempt
        assert attempt is not None
        return attempt


class _SpiffePool(urllib3.HTTPSConnectionPool):
    """The connections to one peer: one waits to be used again, others are opened beside it."""

    def __init__(self, host: str, port: int, connection_class: type[_SpiffeConnection]) -> None:
        # An instance attribute, which urllib3 looks up when it makes a connection. The connection
        # is told its place, because urllib3 drops the dot at the end of a name, and with it what
        # tells an absolute name from a relative one.
        self.ConnectionCls = type("_PlacedConnection", (connection_class,), {"place": (host, port)})
        super().__init__(host, port, maxsize=1, block=False)

    def _put_conn(self, conn: Any) -> None:
        # urllib3 also puts back the place of a connection that failed: beside an attempt that was
        # cut, it would take the place of the good one.
        if conn is None or conn.sock is None:
            return
        if self.pool is None or self.pool.full():
            conn.close()
            return
        super()._put_conn(conn)


class _SpiffeAdapter(HTTPAdapter):
    """A requests adapter whose connections are ours; one pool a peer."""

    def __init__(self, tls: PeerTls, resolve: Resolve, step: Step) -> None:
        self._current = _Current()
        self._connection_class = type(
            "_BoundConnection",
            (_SpiffeConnection,),
            {
                "tls": tls,
                "resolve": staticmethod(resolve),
                "step": staticmethod(step),
                "current": self._current,
            },
        )
        self._pools: dict[tuple[str, int], _SpiffePool] = {}
        self._pools_lock = threading.Lock()
        super().__init__(max_retries=0)

    def send_for(self, attempt: Attempt, request: requests.PreparedRequest) -> requests.Response:
        """Send ``request`` for ``attempt``; the body of the answer is still to be read."""
        self._current.attempt = attempt
        try:
            return self.send(request, stream=True, timeout=None, verify=False, proxies=None)
        finally:
            self._current.attempt = None

    def get_connection(self, url: Any, proxies: Any = None) -> Any:
        # requests < 2.32 asks here, newer ones below.
        parts = urlsplit(url)
        place = (parts.hostname or "", parts.port or 443)
        with self._pools_lock:
            pool = self._pools.get(place)
            if pool is None:
                pool = self._pools[place] = _SpiffePool(*place, self._connection_class)
        return pool

    def get_connection_with_tls_context(
        self, request: Any, verify: Any, proxies: Any = None, cert: Any = None
    ) -> Any:
        return self.get_connection(request.url, proxies)

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        # requests would put its CA bundle, or none, on the pool: not its decision here.
        return

    def close(self) -> None:
        with self._pools_lock:
            for pool in self._pools.values():
                pool.close()
        super().close()


__all__ = ["MOST_BYTES", "Answer", "Transport"]
