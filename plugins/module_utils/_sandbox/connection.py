# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One accepted connection, served by a thread of its own and ended from any other."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading


class Connection:
    """A blocking socket, plain at first and TLS after ``secure``.

    One thread reads and writes. ``abort`` may come from any thread: what blocks then ends, with
    an OSError or the end of the stream.
    """

    def __init__(self, accepted: socket.socket) -> None:
        accepted.setblocking(True)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._lock = threading.Lock()
        self._socket: socket.socket | None = accepted
        self._ended = threading.Event()

    def secure(self, context: ssl.SSLContext) -> ssl.SSLSocket:
        """Do the TLS handshake. Raises OSError."""
        # Wrapping moves the descriptor to a new object: abort must see the one or the other.
        with self._lock:
            if self._socket is None:
                raise OSError("the connection was closed")
            secured = context.wrap_socket(
                self._socket, server_side=True, do_handshake_on_connect=False
            )
            self._socket = secured
        secured.do_handshake()
        return secured

    def receive(self, size: int = 65536) -> bytes:
        return self._open().recv(size)

    def send(self, data: bytes) -> None:
        self._open().sendall(data)

    def pause(self, seconds: float) -> bool:
        """Wait; False as soon as the connection is aborted."""
        return not self._ended.wait(seconds)

    def abort(self) -> None:
        """End the connection, whoever uses it."""
        self._ended.set()
        with self._lock, contextlib.suppress(OSError):
            if self._socket is not None:
                # The method of SSLSocket takes the TLS state away from the thread that uses it.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def reset(self) -> None:
        """End the connection with a TCP reset."""
        self._open().setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        with self._lock:
            if self._socket is not None:
                self._socket.close()
                self._socket = None

    def _open(self) -> socket.socket:
        if self._socket is None:
            raise OSError("the connection is closed")
        return self._socket


__all__ = ["Connection"]
