# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""TCP connections and TLS sockets that know their deadline."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from typing import Any

from ansible_collections.dayzero.spike.plugins.module_utils._attempt import Attempt
from ansible_collections.dayzero.spike.plugins.module_utils._errors import (
    AttemptFailed,
    Cause,
    Failure,
)
from ansible_collections.dayzero.spike.plugins.module_utils._workers import call_with_deadline

# (family, socket address), as getaddrinfo gives them.
Address = tuple[int, Any]
Resolve = Callable[[str, int], list[Address]]


def resolve_with_system(host: str, port: int) -> list[Address]:
    """The addresses of ``host``, from the C library; may take as long as it likes.

    Raises OSError, socket.gaierror in most cases.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(int(family), address) for family, _kind, _protocol, _name, address in found]


def open_connection(host: str, port: int, attempt: Attempt, resolve: Resolve) -> socket.socket:
    """Connect to the first address of ``host`` that accepts, before the attempt is cut.

    Raises AttemptFailed when time runs out or the name is unknown, OSError when every address
    refuses.
    """
    addresses = _resolve_in_time(host, port, attempt, resolve)
    attempt.doing = Cause.CONNECT_TIMEOUT
    problem: OSError | AttemptFailed | None = None
    for left, (family, address) in zip(range(len(addresses), 0, -1), addresses):
        try:
            return _connect(family, address, attempt, left)
        except (OSError, AttemptFailed) as error:
            problem = error
    raise problem or OSError("no address")


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


def _resolve_in_time(host: str, port: int, attempt: Attempt, resolve: Resolve) -> list[Address]:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except OSError:
            continue
        return [(family, (host, port))]

    attempt.doing = Cause.NAME_RESOLUTION

    def lookup() -> list[Address] | OSError:
        try:
            return resolve(host, port)
        except OSError as error:
            return error
        except UnicodeError:
            # The idna codec refuses labels that are empty or longer than 63 characters.
            return socket.gaierror(socket.EAI_NONAME, "not a host name")

    found = call_with_deadline(lookup, attempt.remaining())
    if found is None:
        raise AttemptFailed(attempt.out_of_time())
    if isinstance(found, OSError):
        text = found.strerror or "unknown"
        raise AttemptFailed(Failure(Cause.NAME_RESOLUTION, f"{host}: {text}"))
    return found


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


__all__ = ["Address", "DeadlineTlsSocket", "Resolve", "open_connection", "resolve_with_system"]
