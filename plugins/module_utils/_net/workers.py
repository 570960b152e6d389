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

from ansible_collections.dayzero.spike.plugins.module_utils._errors import (
    AttemptFailed,
    Cause,
    Failure,
    NoThread,
)

T = TypeVar("T")

# Attempts need little stack; 1000 default ones would be 8 GiB of address space.
_STACK_BYTES = 512 * 1024
# A thousand TLS handshakes at once only get in each other's way: more than this many begin only
# while the processor has time for them. Reaching 1000 keepers with two processors took a median of
# 1.7 s with 4, 2.1 s with 16, and 3.3 s with no limit.
_SLOTS = 4
_PAUSE_SECONDS = 0.005
# What waits longer is asked again; the kernel's own limits are not far above.
_LONGEST_WAIT_SECONDS = 1_000_000.0
_stack_lock = threading.Lock()


class Workers(Generic[T]):
    """Runs functions on threads and hands back what they return, in the order in which they end.

    The threads are daemons: one that hangs in the C library (a name service that does not answer)
    is left behind and never keeps the process from ending.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._results: queue.Queue[T] = queue.Queue()
        self._lock = threading.Lock()
        # Threads that wait for a job, or below 0 jobs that wait for a thread.
        self._idle = 0
        self._threads = 0
        self._capacity = _SLOTS
        self._slots = threading.Semaphore(self._capacity)

    def start(self, job: Callable[[], T]) -> None:
        """Run ``job``, which must not raise, on a thread of its own.

        At once, unless jobs already under way keep the processor busy: then after one of them has
        ended, or a few milliseconds. Jobs that only wait delay nobody. Where this host allows no
        further thread, the job waits for one of those that there are; raises NoThread where there
        is none.
        """
        has_slot = self._take_slot()
        with self._lock:
            self._idle -= 1
            missing = -self._idle
        if not self._add_threads(missing):
            self._leave(has_slot)
            raise NoThread(threading.active_count())
        self._jobs.put(lambda: self._run(job, has_slot))

    def next_result(self, timeout: float) -> T | None:
        """Wait up to ``timeout`` seconds for the next job to end; None if none did."""
        return _next(self._results, timeout)

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

    def _add_threads(self, missing: int) -> bool:
        """Start ``missing`` threads, or as many as the host allows; False where there is none."""
        for _ in range(missing):
            if not _start_daemon(self._work):
                break
            with self._lock:
                self._threads += 1
                self._idle += 1
        return self._threads > 0

    def _leave(self, has_slot: bool) -> None:
        with self._lock:
            self._idle += 1
        if has_slot:
            self._slots.release()

    def _work(self) -> None:
        while True:
            self._jobs.get()()

    def _run(self, job: Callable[[], T], has_slot: bool) -> None:
        result = job()
        # Idle before reporting: whoever reads the result may start the next job on us.
        self._leave(has_slot)
        self._results.put(result)


def call_with_deadline(job: Callable[[], T], timeout: float) -> T | None:
    """Run ``job``, which must not raise, for at most ``timeout`` seconds; None if it is not done.

    For the one call that cannot be bounded otherwise, ``getaddrinfo``; so where this host allows
    no further thread, it raises AttemptFailed for a name that cannot be looked up.
    """
    results: queue.Queue[T] = queue.Queue()
    if not _start_daemon(lambda: results.put(job())):
        words = "this host allows no further thread (ulimit -u, TasksMax or pids limit)"
        raise AttemptFailed(Failure(Cause.NAME_RESOLUTION, words))
    return _next(results, timeout)


def _next(results: queue.Queue[T], timeout: float) -> T | None:
    # Not a SimpleQueue: when its time is up at the wrong moment, its get() waits for ever. Every
    # CPython from 3.9 to 3.13 does that with a few microseconds, and 3.9 and 3.10 with none.
    try:
        return results.get(timeout=min(max(0.0, timeout), _LONGEST_WAIT_SECONDS))
    except queue.Empty:
        return None


def _start_daemon(target: Callable[[], None]) -> bool:
    """Start a thread; False where the host allows no further one."""
    thread = threading.Thread(target=target, daemon=True)
    # The stack size is the process's, so it is put back for whoever starts threads next.
    with _stack_lock:
        before = threading.stack_size(_STACK_BYTES)
        try:
            thread.start()
        except RuntimeError:
            return False
        finally:
            threading.stack_size(before)
    return True


__all__ = ["Workers", "call_with_deadline"]
