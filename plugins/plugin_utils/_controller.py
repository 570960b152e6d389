# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""That a run ends with the ansible-playbook that started it, however that ends, and at once.

Ansible runs a task in a worker: a process that it has forked, which leads a session of its own. It
ends its workers by signals, whose handlers take the session with them.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import select
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

# How soon it is noticed that the parent is gone, or that a signal was not acted on.
_LOOK_SECONDS = 1.0
# How long a signal waits for a line that is being shown.
_LINE_SECONDS = 5.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_Handler = Callable[[int, "FrameType | None"], object]
Whole = Callable[[Callable[[], None]], None]


@contextmanager
def ended_in_order() -> Iterator[Whole]:
    """End this worker when it is told to, or when the process that forked it is gone.

    A worker whose parent was killed would go on, and with it the module on the target, which holds
    the lock. It ends as Ansible ends it, by SIGTERM, which also ends its connection; the module
    notices that nobody reads its output.

    Yields what shows a line whole: a worker that ends in the middle of one keeps the lock of
    Ansible's queue, and ansible-playbook never ends.
    """
    parent = multiprocessing.parent_process()
    if parent is None or parent.pid is None:
        yield lambda act: act()
        return
    lines = _Lines()
    with lines.in_front_of_handlers(), _woken() as signals:
        over = threading.Event()
        main = threading.main_thread().ident
        watch = threading.Thread(target=_watch, args=(parent.pid, main, signals, over), daemon=True)
        watch.start()
        try:
            yield lines.whole
        finally:
            over.set()


class _Lines:
    """Lines that no signal cuts: it is acted on before or after one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Of the main thread, which also runs the handlers.
        self._showing = False
        self._ending = False
        self._due: Callable[[], object] | None = None

    def whole(self, act: Callable[[], None]) -> None:
        """Do ``act``, and be ended afterwards at the earliest."""
        if threading.current_thread() is not threading.main_thread():
            with self._lock:
                act()
            return
        self._showing = True
        try:
            with self._lock:
                act()
        finally:
            self._showing = False
            if self._due is not None:
                self._due()

    @contextmanager
    def in_front_of_handlers(self) -> Iterator[None]:
        """Have what Ansible does on a signal wait for a line that is being shown."""
        before = {number: signal.getsignal(number) for number in _SIGNALS}
        for number, handler in before.items():
            if callable(handler):
                signal.signal(number, self._after_a_line(handler))
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _after_a_line(self, handler: _Handler) -> _Handler:
        def handle(number: int, frame: FrameType | None) -> None:
            if self._showing:
                self._due = lambda: handler(number, frame)
            elif not self._ending:
                self._ending = True
                # Kept: whatever would be shown from here on is not begun.
                self._lock.acquire(timeout=_LINE_SECONDS)
                handler(number, frame)

        return handle


@contextmanager
def _woken() -> Iterator[int]:
    """A descriptor that has the number of each signal that arrives, whichever thread it wakes."""
    read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    before = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    try:
        yield read
    finally:
        signal.set_wakeup_fd(before)
        os.close(write)


def _watch(parent: int, main_thread: int, signals: int, over: threading.Event) -> None:
    poll = select.poll()
    poll.register(signals, select.POLLIN)
    while not over.is_set():
        poll.poll(_LOOK_SECONDS * 1000)
        number = 0
        with contextlib.suppress(BlockingIOError):
            number = int.from_bytes(os.read(signals, 1), "big")
        if not number and os.getppid() != parent:
            number = signal.SIGTERM
        # A signal that came just before the main thread began to wait for the connection has not
        # woken it, and only the main thread acts on signals.
        if number in _SIGNALS and not over.wait(_LOOK_SECONDS):
            signal.pthread_kill(main_thread, number)
    os.close(signals)


__all__ = ["Whole", "ended_in_order"]
