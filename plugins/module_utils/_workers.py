# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Daemon threads that are used again, and one queue through which they report."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

# Attempts need little stack; 1000 default ones would be 8 GiB of address space.
_STACK_BYTES = 512 * 1024
_stack_lock = threading.Lock()


class Workers(Generic[T]):
    """Runs functions on threads and hands back what they return, in the order in which they end.

    The threads are daemons: one that hangs in the C library (a name service that does not answer)
    is left behind and never keeps the process from ending.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._jobs: queue.SimpleQueue[Callable[[], T]] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[T] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0

    def start(self, job: Callable[[], T]) -> None:
        """Run ``job``, which must not raise, on a thread of its own, at once."""
        with self._lock:
            fresh = self._idle == 0
            if not fresh:
                self._idle -= 1
        self._jobs.put(job)
        if fresh:
            _start_daemon(self._work)

    def next_result(self, timeout: float) -> T | None:
        """Wait up to ``timeout`` seconds for the next job to end; None if none did."""
        try:
            return self._results.get(timeout=max(0.0, timeout))
        except queue.Empty:
            return None

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            result = job()
            # Idle before reporting: whoever reads the result may start the next job on us.
            with self._lock:
                self._idle += 1
            self._results.put(result)
            del job, result


def call_with_deadline(job: Callable[[], T], timeout: float) -> T | None:
    """Run ``job``, which must not raise, for at most ``timeout`` seconds; None if it is not done.

    For calls that cannot be bounded otherwise, such as ``getaddrinfo``.
    """
    workers: Workers[T] = Workers()
    results = workers._results
    _start_daemon(lambda: results.put(job()))
    return workers.next_result(timeout)


def _start_daemon(target: Callable[[], None]) -> None:
    thread = threading.Thread(target=target, daemon=True)
    # The stack size is the process's, so it is put back for whoever starts threads next.
    with _stack_lock:
        before = threading.stack_size(_STACK_BYTES)
        try:
            thread.start()
        finally:
            threading.stack_size(before)


__all__ = ["Workers", "call_with_deadline"]
