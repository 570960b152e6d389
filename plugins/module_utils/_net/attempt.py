# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One attempt at one peer: its limits, how far it has come, and how to end it."""

from __future__ import annotations

import socket
import threading

from .._clock import Clock
from .._errors import (
    AttemptFailed,
    Cause,
    Failure,
)

# Longer waits overflow what the kernel's poll takes, 2^31 milliseconds; nobody waits so long.
_LONGEST_WAIT_SECONDS = 1_000_000.0
# What each cause of running out of time says; ``doing`` is always one of these.
_OUT_OF_TIME = {
    Cause.NAME_RESOLUTION: "the name service did not answer in time",
    Cause.CONNECT_TIMEOUT: "nothing answered the TCP connection",
    Cause.TLS_TIMEOUT: "the TLS handshake did not end in time",
    Cause.RESPONSE_TIMEOUT: "the request was sent, no complete answer came",
}


class Attempt:
    """One attempt, shared by the loop that started it and the thread that makes it.

    ``cut_at``: the clock's reading at which the attempt ends unless its request has been sent.
    ``ends_at``: the reading at which it ends in any case. ``doing``: the cause it fails with when
    its time ends now. ``sent``: the peer may have received the request. ``shown``: the identity
    that it has shown to the peer, None before there was a connection.
    """

    def __init__(self, number: int, *, cut_at: float, ends_at: float, clock: Clock) -> None:
        self.number = number
        self.cut_at = cut_at
        self.ends_at = ends_at
        self.doing = Cause.CONNECT_TIMEOUT
        self.sent = False
        self.shown: object = None
        self._clock = clock
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._over = False

    def remaining(self) -> float:
        """Seconds left to this attempt; raises AttemptFailed when there are none."""
        left = (self.ends_at if self.sent else self.cut_at) - self._clock()
        if left <= 0 or self._over:
            raise AttemptFailed(self.out_of_time())
        return min(left, _LONGEST_WAIT_SECONDS)

    def out_of_time(self) -> Failure:
        """The failure of this attempt if its time ends now."""
        return Failure(self.doing, _OUT_OF_TIME[self.doing], sent=self.sent)

    def mark_sent(self) -> None:
        """The peer may have the request from now on; the attempt has until ``ends_at``."""
        self.doing = Cause.RESPONSE_TIMEOUT
        self.sent = True

    def uses(self, connection: socket.socket) -> None:
        """Remember the socket, so that ``end`` can wake the thread that waits on it."""
        with self._lock:
            self._socket = connection
            over = self._over
        if over:
            _wake(connection)

    def end(self) -> None:
        """End the attempt from another thread: its outcome no longer matters."""
        with self._lock:
            self._over = True
            connection = self._socket
        if connection is not None:
            _wake(connection)


def _wake(connection: socket.socket) -> None:
    try:
        # Not SSLSocket.shutdown: it drops the TLS state under the thread that is using it.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
    except OSError:
        # Already closed by its own thread: nobody is left waiting on it.
        return


__all__ = ["Attempt", "Clock"]
