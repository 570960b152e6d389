# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""TCP connections and TLS sockets that know their deadline."""

from __future__ import annotations

import errno
import ipaddress
import socket
import ssl
from collections.abc import Callable
from typing import Any

from .._errors import (
    AttemptFailed,
    Cause,
    Failure,
    NoThread,
)
from .attempt import Attempt
from .workers import SharedCalls

# (family, socket address), as getaddrinfo gives them; the port in it means nothing.
Address = tuple[int, Any]
Resolve = Callable[[str], list[Address]]

_NO_SUCH_ADDRESS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.ENETUNREACH)


def resolve_with_system(host: str) -> list[Address]:
    """The addresses of ``host``, from the C library; may take as long as it likes.

    Raises OSError, socket.gaierror in most cases.
    """
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [(int(family), address) for family, _kind, _protocol, _name, address in found]


class Lookups:
    """Looks names up, each of them once at a time; safe to use from many threads."""

    def __init__(self, resolve: Resolve = resolve_with_system) -> None:
        self._resolve = resolve
        self._calls: SharedCalls[list[Address] | OSError] = SharedCalls()

    def addresses(self, host: str, attempt: Attempt) -> list[Address]:
        """The addresses of ``host``, a name or an address, before the attempt is cut.

        Raises AttemptFailed when time runs out or the name has none, OSError where this host lacks
        what it takes to ask.
        """
        for family in (socket.AF_INET, socket.AF_INET6):
            try:
                socket.inet_pton(family, host)
            except OSError:
                continue
            return [(family, (host, 0))]
        attempt.doing = Cause.NAME_RESOLUTION
        try:
            found = self._calls.result(host, lambda: self._look_up(host), attempt.remaining())
        except NoThread:
            words = "this host allows no further thread (ulimit -u, TasksMax or pids limit)"
            raise AttemptFailed(Failure(Cause.LOCAL, words)) from None
        if found is None:
            raise AttemptFailed(attempt.out_of_time())
        if isinstance(found, socket.gaierror):
            text = found.strerror or "unknown"
            raise AttemptFailed(Failure(Cause.NAME_RESOLUTION, f"{host}: {text}"))
        if isinstance(found, OSError):
            raise found
        return found

    def _look_up(self, host: str) -> list[Address] | OSError:
        try:
            return self._resolve(host)
        except OSError as error:
            return error
        except UnicodeError:
            # The idna codec refuses labels that are empty or longer than 63 characters.
            return socket.gaierror(socket.EAI_NONAME, "not a host name")


def open_connection(host: str, port: int, attempt: Attempt, lookups: Lookups) -> socket.socket:
    """Connect to the first address of ``host`` that accepts, before the attempt is cut.

    Raises AttemptFailed when time runs out or the name is unknown, OSError when no address
    accepts: ConnectionRefusedError only when all of them refuse.
    """
    addresses = lookups.addresses(host, attempt)
    attempt.doing = Cause.CONNECT_TIMEOUT
    refused: OSError | None = None
    other: OSError | AttemptFailed | None = None
    for left, (family, address) in zip(range(len(addresses), 0, -1), addresses):
        try:
            return _connect(family, (address[0], port, *address[2:]), attempt, left)
        except (OSError, AttemptFailed) as error:
            if _refuses(address[0], error):
                refused = ConnectionRefusedError(errno.ECONNREFUSED, "connection refused")
            elif other is None or not isinstance(error, OSError) or error.errno is None:
                # Time that ran out says more than an address that cannot be used.
                other = error
    if refused is not None and isinstance(other, OSError) and other.errno is not None:
        # One address refuses and another cannot be reached: it is not known that nobody listens.
        words = f"connection refused; at another address {(other.strerror or 'failed').lower()}"
        raise AttemptFailed(Failure(Cause.CONNECTION_REFUSED, words))
    raise other or refused or OSError("no address")


def _refuses(host: str, error: OSError | AttemptFailed) -> bool:
    """Whether it is certain that nobody listens at the address ``host``."""
    if isinstance(error, ConnectionRefusedError):
        return True
    # A loopback address that this host does not have: "localhost" is ::1 also without IPv6.
    return (
        isinstance(error, OSError)
        and error.errno in _NO_SUCH_ADDRESS
        and ipaddress.ip_address(host.partition("%")[0]).is_loopback
    )


def _connect(family: int, address: Any, attempt: Attempt, left: int) -> socket.socket:
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        attempt.uses(connection)
        # An address that drops packets must not use up the time of the next one.
        connection.settimeout(attempt.remaining() / left)
        connection.connect(address)
        # Requests are small and answered one by one: waiting to fill a packet only delays.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        connection.close()
        raise
    return connection


class DeadlineTlsSocket(ssl.SSLSocket):
    """A TLS socket that never waits beyond the attempt it works for.

    http.client reads through ``recv_into`` and writes through ``sendall``, which calls ``send``:
    a timeout set once would start again with every byte of a response that drips.
    """

    attempt: Attempt
    _peer_left = False

    def work_for(self, attempt: Attempt) -> None:
        """From now on, the limits are those of ``attempt``."""
        self.attempt = attempt
        attempt.uses(self)

    def do_handshake(self, block: bool = False) -> None:
        """The TLS handshake, within the attempt's time."""
        self.settimeout(self.attempt.remaining())
        super().do_handshake(block)

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        """Read, within the attempt's time."""
        self.settimeout(self.attempt.remaining())
        return super().recv_into(*args, **kwargs)

    def send(self, data: Any, *args: Any, **kwargs: Any) -> int:
        """Write, within the attempt's time; to a peer that has closed, say that it was written."""
        self.settimeout(self.attempt.remaining())
        if not self._peer_left:
            try:
                return super().send(data, *args, **kwargs)
            except (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
                # A peer that refuses our certificate under TLS 1.3 says so after our handshake has
                # ended, and closes: the write can fail before the alert was read. What the peer
                # said last is still there, and the caller gets it as soon as it reads. Since 3.10
                # Python shows the failed write as an SSLEOFError.
                self._peer_left = True
        return len(data)


__all__ = [
    "Address",
    "DeadlineTlsSocket",
    "Lookups",
    "Resolve",
    "open_connection",
    "resolve_with_system",
]
