# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one thread that accepts the connections of every server and keeps their timers."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import selectors
import socket
import threading
import time
from collections.abc import Callable

# A longer wait overflows what the kernel takes, 2^31 milliseconds; the thread just looks again.
_LONGEST_WAIT_SECONDS = 86400.0


class Acceptor:
    """Calls back when a listener has a connection, or when a time has come.

    Listeners are watched and unwatched by any thread that holds ``lock``, and their callbacks run
    with it; timers run without it. A callback never waits for a peer.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._selector = selectors.DefaultSelector()
        self._watched: dict[socket.socket, Callable[[], None]] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._ended = False
        self._waker, self._wakened = socket.socketpair()
        self._waker.setblocking(False)
        self._wakened.setblocking(False)
        self._selector.register(self._wakened, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="sandbox-acceptor", daemon=True)
        self._thread.start()

    def watch(self, listener: socket.socket, callback: Callable[[], None]) -> None:
        with self.lock:
            self._watched[listener] = callback
            self._selector.register(listener, selectors.EVENT_READ, callback)
            self._wake()

    def unwatch(self, listener: socket.socket) -> None:
        with self.lock:
            del self._watched[listener]
            self._selector.unregister(listener)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        with self.lock:
            entry = (time.monotonic() + seconds, next(self._order), callback)
            heapq.heappush(self._timers, entry)
            self._wake()

    def close(self) -> None:
        """End the thread; from a timer, it ends after that."""
        with self.lock:
            if self._ended:
                return
            self._ended = True
            self._wake()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        while not self._ended:
            ready = self._selector.select(self._time_to_next())
            for key, _events in ready:
                if key.fileobj is self._wakened:
                    self._drain()
                    continue
                with self.lock:
                    # It may have been unwatched since select().
                    if isinstance(key.fileobj, socket.socket) and key.fileobj in self._watched:
                        key.data()
            for callback in self._due():
                callback()
        self._selector.close()
        self._waker.close()
        self._wakened.close()

    def _wake(self) -> None:
        # A full buffer means that it is awake already.
        with contextlib.suppress(BlockingIOError):
            self._waker.send(b"x")

    def _drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._wakened.recv(4096):
                pass

    def _time_to_next(self) -> float | None:
        with self.lock:
            if not self._timers:
                return None
            return min(max(0.0, self._timers[0][0] - time.monotonic()), _LONGEST_WAIT_SECONDS)

    def _due(self) -> list[Callable[[], None]]:
        due = []
        with self.lock:
            while self._timers and self._timers[0][0] <= time.monotonic():
                due.append(heapq.heappop(self._timers)[2])
        return due


__all__ = ["Acceptor"]
