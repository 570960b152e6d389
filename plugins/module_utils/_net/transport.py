# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One POST over requests, on a connection that SPIFFE's rules allow and that knows its deadline."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.client
import queue
import ssl
import threading
from dataclasses import field
from typing import Any, Protocol, cast
from urllib.parse import urlsplit

from .._dataclass import dataclass
from .._errors import (
    AttemptFailed,
    Cause,
    Failure,
)
from .._steps import StepHook, ignore_step
from .._third_party import HTTPAdapter, requests, urllib3
from .attempt import Attempt
from .failures import translate
from .peer_tls import PeerTls
from .sockets import (
    DeadlineTlsSocket,
    Lookups,
    open_connection,
)

# SPIKE's answers are under 200 bytes; what is longer is not one, and must not fill the memory.
MOST_BYTES = 64 * 1024


@dataclass(frozen=True)
class Answer:
    """What a peer answered: the HTTP status, and the whole body, which may echo what was sent."""

    status: int
    body: bytes = field(repr=False)


@dataclass(frozen=True)
class Endpoint:
    """Where a connection ended: the address and port, and the hash of the certificate shown."""

    address: str
    port: int
    certificate: str


class TlsSource(Protocol):
    """Where the TLS of each new connection comes from."""

    def current(self, attempt: Attempt) -> PeerTls:
        """The TLS to open a connection with."""

    def may_try_again(self, failure: Failure, attempt: Attempt) -> bool:
        """Whether ``failure`` may be due to an identity that has been replaced since."""

    def explained(self, failure: Failure) -> Failure:
        """``failure`` with what our own identity says about it."""


class Transport:
    """POSTs to peers of one kind; safe to use from many threads.

    It speaks through a requests adapter and without a requests Session, which would add the
    environment's proxies, .netrc, CA bundles, cookies, and redirects.
    """

    def __init__(
        self, tls: TlsSource, *, lookups: Lookups | None = None, step: StepHook = ignore_step
    ) -> None:
        """``step`` is told when a request has been written and its answer is still to come."""
        self._tls = tls
        self._adapter = _SpiffeAdapter(tls, lookups or Lookups(), step)

    def post(
        self, url: str, body: bytes, attempt: Attempt, *, most_bytes: int = MOST_BYTES
    ) -> Answer:
        """POST ``body``, as JSON, within the attempt's limits; the answer has ``most_bytes``.

        The connection of an earlier, completed request to the same host is used again. Raises
        AttemptFailed when no complete answer came, whatever the reason.
        """
        outcome = self._exchanged(url, body, attempt, most_bytes)
        if isinstance(outcome, Failure) and self._renewed(outcome, attempt):
            outcome = self._exchanged(url, body, attempt, most_bytes)
        if isinstance(outcome, Failure):
            # Raised here, where no exception is being handled, so that none becomes its context:
            # requests' exceptions keep the request, and with it the shard.
            raise AttemptFailed(self._tls.explained(outcome))
        return outcome

    def endpoint(self, url: str) -> Endpoint | None:
        """Where the last connection to the host and port of ``url`` ended; None without one."""
        return self._adapter.endpoints.get(_target(url).place)

    def close(self) -> None:
        """Close the connections that wait to be used again."""
        self._adapter.close()

    def _renewed(self, failure: Failure, attempt: Attempt) -> bool:
        try:
            return self._tls.may_try_again(failure, attempt)
        except AttemptFailed:
            # No time is left for it: what the peer said stands.
            return False

    def _exchanged(
        self, url: str, body: bytes, attempt: Attempt, most_bytes: int
    ) -> Answer | Failure:
        try:
            return self._exchange(url, body, attempt, most_bytes)
        except Exception as error:
            return translate(error, attempt)

    def _exchange(self, url: str, body: bytes, attempt: Attempt, most_bytes: int) -> Answer:
        response = self._adapter.send_for(attempt, _prepared(url, body))
        try:
            received = b""
            while response.raw.length_remaining != 0:
                chunk = response.raw.read(most_bytes + 1 - len(received), decode_content=False)
                if not chunk:
                    break
                received += chunk
                if len(received) > most_bytes:
                    raise AttemptFailed(
                        Failure(
                            Cause.BAD_RESPONSE,
                            f"the answer is longer than {most_bytes} bytes",
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


@dataclass(frozen=True)
class _Target:
    """What a URL says: host and port to connect to, and what to ask for there."""

    place: tuple[str, int]
    asked: str


# Each URL is asked for again and again, by requests too.
@functools.lru_cache(maxsize=4096)
def _target(url: str) -> _Target:
    parts = urlsplit(url)
    asked = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    return _Target((parts.hostname or "", parts.port or 443), asked)


def _prepared(url: str, body: bytes) -> requests.PreparedRequest:
    # Filled in by hand: requests would parse and quote the URL again, which was validated once,
    # and with a thousand keepers that takes longer than the rest of the request.
    request = requests.PreparedRequest()
    request.method = "POST"
    request.url = url
    request.body = body
    headers = {
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Accept-Encoding": "identity",
        "User-Agent": "dayzero.spike",
    }
    # Filling requests' own kind of dictionary takes longer than all of this.
    request.headers = cast(Any, headers)
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
    source: TlsSource
    lookups: Lookups
    step: StepHook
    current: _Current
    endpoints: dict[tuple[str, int], Endpoint]
    unsent: list[bytes]

    def connect(self) -> None:
        attempt = self._attempt()
        tls = self.source.current(attempt)
        trust_domain = None
        if tls.needs_introduction:
            connection = open_connection(*self.place, attempt, self.lookups)
            trust_domain = tls.claimed_trust_domain(connection, attempt)
        sock = self.sock = self._trusted(tls, attempt, trust_domain)
        # Without it, the peer has left already, and no request will be answered.
        with contextlib.suppress(OSError):
            address, port = sock.getpeername()[:2]
            certificate = sock.getpeercert(binary_form=True) or b""
            self.endpoints[self.place] = Endpoint(
                address, port, hashlib.sha256(certificate).hexdigest()
            )
        # Without this urllib3 warns: it cannot know that the peer has been verified.
        self.is_verified = True

    def _trusted(
        self, tls: PeerTls, attempt: Attempt, trust_domain: str | None
    ) -> DeadlineTlsSocket:
        def shake_hands(way: int) -> DeadlineTlsSocket:
            connection = open_connection(*self.place, attempt, self.lookups)
            return tls.handshake(connection, attempt, trust_domain, way=way)

        try:
            return shake_hands(0)
        except ssl.SSLCertVerificationError:
            for way in range(1, tls.ways(trust_domain)):
                with contextlib.suppress(ssl.SSLCertVerificationError):
                    return shake_hands(way)
            # What the whole bundle says of the peer is what is reported.
            raise

    def request(self, *args: Any, **kwargs: Any) -> Any:
        attempt = self._attempt()
        if self.sock is None:
            self.connect()
        cast(DeadlineTlsSocket, self.sock).work_for(attempt)
        attempt.mark_sent()
        self.unsent = []
        written = super().request(*args, **kwargs)
        self.sock.sendall(b"".join(self.unsent))
        self.unsent = []
        host, port = self.place
        self.step(f"{host}:{port}: request written")
        return written

    def send(self, data: Any) -> None:
        """Keep the headers, then the body: one packet is less work, for the peer too, than two."""
        self.unsent.append(data)

    def _attempt(self) -> Attempt:
        attempt = self.current.attempt
        if attempt is None:
            raise RuntimeError("a connection is used outside an attempt")
        return attempt


class _OnePlace:
    """Where a pool keeps the connection that waits: what a queue costs is a third of a peer's."""

    def __init__(self, _maxsize: int) -> None:
        self._waiting: list[Any] = []

    def full(self) -> bool:
        return bool(self._waiting)

    def put(self, connection: Any, block: bool = False) -> None:
        self._waiting.append(connection)

    def get(self, block: bool = False, timeout: float | None = None) -> Any:
        try:
            return self._waiting.pop()
        except IndexError:
            raise queue.Empty from None


class _SpiffePool(urllib3.HTTPSConnectionPool):
    """The connections to one peer: one waits to be used again, others are opened next to it."""

    QueueCls = cast(Any, _OnePlace)

    def __init__(self, host: str, port: int, connection_class: type[_SpiffeConnection]) -> None:
        # An instance attribute, which urllib3 looks up when it makes a connection.
        self.ConnectionCls = connection_class
        self._place = (host, port)
        super().__init__(host, port, maxsize=1, block=False)

    def _new_conn(self) -> Any:
        connection: Any = super()._new_conn()
        # urllib3 drops the dot at the end of a name, and with it what distinguishes an absolute
        # name from a relative one.
        connection.place = self._place
        return connection

    def _put_conn(self, conn: Any) -> None:
        # urllib3 also puts back the place of a connection that failed: next to an attempt that was
        # cut, it would take the place of the good one.
        if conn is None or conn.sock is None:
            return
        if self.pool is None or self.pool.full():
            conn.close()
            return
        super()._put_conn(conn)


class _SpiffeAdapter(HTTPAdapter):
    """A requests adapter whose connections are ours; one pool a peer."""

    def __init__(self, source: TlsSource, lookups: Lookups, step: StepHook) -> None:
        self._current = _Current()
        self.endpoints: dict[tuple[str, int], Endpoint] = {}
        self._connection_class = type(
            "_BoundConnection",
            (_SpiffeConnection,),
            {
                "source": source,
                "lookups": lookups,
                "step": staticmethod(step),
                "current": self._current,
                "endpoints": self.endpoints,
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
        place = _target(url).place
        with self._pools_lock:
            pool = self._pools.get(place)
            if pool is None:
                pool = self._pools[place] = _SpiffePool(*place, self._connection_class)
        return pool

    def get_connection_with_tls_context(
        self, request: Any, verify: Any, proxies: Any = None, cert: Any = None
    ) -> Any:
        return self.get_connection(request.url, proxies)

    # For these requests would parse the URL once more, and look for cookies, a character set and a
    # history, which no answer of SPIKE has and nobody here would read.

    def request_url(self, request: Any, proxies: Any) -> str:
        return _target(request.url).asked

    def build_response(self, req: Any, resp: Any) -> requests.Response:
        response = requests.Response()
        response.status_code = resp.status
        response.raw = resp
        return response

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        # requests would put its CA bundle, or none, on the pool: not its decision here.
        return

    def close(self) -> None:
        with self._pools_lock:
            for pool in self._pools.values():
                pool.close()
        super().close()


__all__ = ["MOST_BYTES", "Answer", "Endpoint", "TlsSource", "Transport"]
