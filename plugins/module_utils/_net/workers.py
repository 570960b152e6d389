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

from .._errors import NoThread

T = TypeVar("T")

# Attempts need little stack; 1000 default ones would be 8 GiB of address space.
_STACK_BYTES = 512 * 1024
# A thousand TLS handshakes at once only get in each other's way: more than this many begin only
# while the processor has time for them. Reaching 1000 keepers with two processors took a median of
# 1.7 s with 4, 2.1 s with 16, and 3.3 s with no limit.
_SLOTS = 4
_PAUSE_SECONDS = 0.02
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
            # Those under way wait for the network: there is room for as many more.
            for _slot in range(self._capacity):
                self._slots.release()
            self._capacity *= 2
        return False

    def _add_threads(self, missing: int) -> bool:
        """Start ``missing`` threads, or as many as the host allows; False where there is none."""
        for _thread in range(missing):
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
        # Idle before reporting: the reader of the result may start the next job on us.
        self._leave(has_slot)
        self._results.put(result)


class SharedCalls(Generic[T]):
    """Calls that cannot be cut short: one at a time for each key, shared by all who want it.

    A call that outlasts its first caller goes on, and serves the next who ask: a name service that
    takes 5 s costs 5 s once, and not every attempt that it outlasts.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[str, _SharedCall[T]] = {}

    def result(self, key: str, job: Callable[[], T], timeout: float) -> T | None:
        """What ``job``, which must not raise, returns; None if it has not within ``timeout`` s.

        Where a call with this ``key`` is under way, its result instead. Raises NoThread where this
        host allows no further thread.
        """
        with self._lock:
            call = self._under_way.get(key)
            if call is None:
                call = self._under_way[key] = _SharedCall()
                if not _start_daemon(lambda: self._run(key, job)):
                    del self._under_way[key]
                    raise NoThread(threading.active_count())
        call.ended.wait(min(max(0.0, timeout), _LONGEST_WAIT_SECONDS))
        return call.result

    def settle(self, key: str, timeout: float) -> None:
        """Wait up to ``timeout`` seconds until no call with this ``key`` is under way."""
        with self._lock:
            call = self._under_way.get(key)
        if call is not None:
            call.ended.wait(timeout)

    def _run(self, key: str, job: Callable[[], T]) -> None:
        result = job()
        with self._lock:
            call = self._under_way.pop(key)
        call.result = result
        call.ended.set()


class _SharedCall(Generic[T]):
    def __init__(self) -> None:
        self.ended = threading.Event()
        self.result: T | None = None


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
    # The stack size is the process's, so it is put back for the next thread.
    with _stack_lock:
        before = threading.stack_size(_STACK_BYTES)
        try:
            thread.start()
        except RuntimeError:
            return False
        finally:
            threading.stack_size(before)
    return True


__all__ = ["SharedCalls", "Workers"]
