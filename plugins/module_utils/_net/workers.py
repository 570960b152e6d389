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
from .._process import processors_are_busy

T = TypeVar("T")

# Attempts need little stack; 1000 default ones would be 8 GiB of address space.
_STACK_BYTES = 512 * 1024
# A thousand TLS handshakes at once only get in each other's way: more than this many begin only
# while the processor has time for them. Reaching 1000 keepers with two processors took a median of
# 1.7 s with 4, 2.1 s with 16, and 3.3 s with no limit.
_SLOTS = 4
_PAUSE_SECONDS = 0.02
# Where none of them ends for so long they hang, whatever else the processor does.
_HUNG_SECONDS = 0.1
# What waits longer is asked again; the kernel's own limits are not far above.
_LONGEST_WAIT_SECONDS = 1_000_000.0
_stack_lock = threading.Lock()


class Workers(Generic[T]):
    """Runs functions on threads and hands back what they return, in the order in which they end.

    For one thread, which starts them and takes what they return. Those that run them are daemons:
    one that hangs in the C library (a name service that does not answer) is left behind and never
    keeps the process from ending.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._jobs: queue.SimpleQueue[Callable[[], T]] = queue.SimpleQueue()
        self._results: queue.Queue[T] = queue.Queue()
        self._started = self._ended = self._threads = 0
        self._capacity = _SLOTS
        # When a job ended last, or there was room for more.
        self._moved = time.monotonic()
        self._look()

    def start(self, job: Callable[[], T]) -> None:
        """Run ``job``, which must not raise, on a thread of its own.

        At once, unless jobs already under way keep the processor busy: then after one of them has
        ended. Jobs that only wait delay nobody for more than a few milliseconds, as long as results
        are waited for. Where this host allows no further thread, the job waits for one of those
        that there are; raises NoThread where there is none.
        """
        if self._jobs.empty():
            self._look()
            self._moved = time.monotonic()
        self._started += 1
        if not self._add_threads():
            self._started -= 1
            raise NoThread(threading.active_count())
        self._jobs.put(job)

    def next_result(self, timeout: float) -> T | None:
        """Wait up to ``timeout`` seconds for the next job to end; None if none did."""
        ends = time.monotonic() + timeout
        while not self._jobs.empty() and self._results.empty():
            # Threads that have more to do are not interrupted by the reader of each result.
            left = ends - time.monotonic()
            if left <= 0:
                return None
            time.sleep(min(left, _PAUSE_SECONDS))
            self._make_room()
        result = _next(self._results, ends - time.monotonic())
        if result is not None:
            self._ended += 1
            self._moved = time.monotonic()
        return result

    def _look(self) -> None:
        self._looked = time.monotonic(), time.process_time()

    def _make_room(self) -> None:
        """Let more jobs run at once, where those under way wait for the network."""
        began, used = self._looked
        self._look()
        now, used_now = self._looked
        idle = used_now - used < (now - began) / 2 and not processors_are_busy()
        if idle or now - self._moved > _HUNG_SECONDS:
            self._moved = now
            self._capacity *= 2
            self._add_threads()

    def _add_threads(self) -> bool:
        """Have a thread for each job, up to the capacity; False where the host allows none."""
        wanted = min(self._started - self._ended, self._capacity)
        while self._threads < wanted and _start_daemon(self._work):
            self._threads += 1
        return self._threads > 0

    def _work(self) -> None:
        while True:
            self._results.put(self._jobs.get()())


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
