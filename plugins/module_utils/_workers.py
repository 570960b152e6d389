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
# A thousand TLS handshakes at once only get in each other's way: more than this many begin only
# while the processor has time for them. Reaching 1000 keepers with two processors took a median of
# 1.7 s with 4, 2.1 s with 16, and 3.3 s with no limit.
_SLOTS = 4
_PAUSE_SECONDS = 0.005
_stack_lock = threading.Lock()


class Workers(Generic[T]):
    """Runs functions on threads and hands back what they return, in the order in which they end.

    The threads are daemons: one that hangs in the C library (a name service that does not answer)
    is left behind and never keeps the process from ending.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[T] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0
        self._capacity = _SLOTS
        self._slots = threading.Semaphore(self._capacity)

    def start(self, job: Callable[[], T]) -> None:
        """Run ``job``, which must not raise, on a thread of its own.

        At once, unless jobs already under way keep the processor busy: then after one of them has
        ended, or a few milliseconds. Jobs that only wait delay nobody.
        """
        has_slot = self._take_slot()
        with self._lock:
            fresh = self._idle == 0
            if not fresh:
                self._idle -= 1
        self._jobs.put(lambda: self._run(job, has_slot))
        if fresh:
            _start_daemon(self._work)

    def next_result(self, timeout: float) -> T | None:
        """Wait up to ``timeout`` seconds for the next job to end; None if none did."""
        try:
            return self._results.get(timeout=max(0.0, timeout))
        except queue.Empty:
            return None

    def _take_slot(self) -> bool:
        if self._slots.acquire(blocking=False):
            return True
        began, used = time.monotonic(), time.process_time()
        if self._slots.acquire(timeout=_PAUSE_SECONDS):
            return True
        waited, worked = time.monotonic() - began, time.process_time() - used
        if worked < waited / 2:
            # Those under way wait for the network: there is room for as many beside them.
            for _ in range(self._capacity):
                self._slots.release()
            self._capacity *= 2
        return False

    def _work(self) -> None:
        while True:
            self._jobs.get()()

    def _run(self, job: Callable[[], T], has_slot: bool) -> None:
        result = job()
        # Idle before reporting: whoever reads the result may start the next job on us.
        with self._lock:
            self._idle += 1
        if has_slot:
            self._slots.release()
        self._results.put(result)


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
