# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a run is ended from outside: by a signal, or because nobody waits for its result any more.

A module that outlives its controller would hold the lock, and keep a rerun waiting.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
from collections.abc import Iterator
from types import FrameType

# What a run takes at most to end after it was told to: attempts end at once, the journal is noted.
_PATIENCE_SECONDS = 10.0
_SIGNALS = {
    signal.SIGINT: "Interrupted.",
    signal.SIGTERM: "Ended by SIGTERM.",
    signal.SIGHUP: "Ended by SIGHUP, as when a terminal or a connection is closed.",
}
_GONE = signal.SIGUSR1


class Ended(KeyboardInterrupt):
    """The run is to end now. ``words`` says why; ``unheard``: nobody reads what it prints."""

    def __init__(self, words: str, *, unheard: bool = False) -> None:
        super().__init__(words)
        self.words = words
        self.unheard = unheard


@contextlib.contextmanager
def endable(output: int) -> Iterator[None]:
    """Raise ``Ended``, once, in the main thread when the block is to end early.

    That is on SIGINT, SIGTERM and SIGHUP, unless they are ignored, and when nobody is left who
    reads ``output``, a descriptor. If the block has not ended some seconds after that, the process
    does: the kernel frees the lock, and the journal is whole at any moment. Does nothing outside
    the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    told = False

    def end(number: int, _frame: FrameType | None) -> None:
        nonlocal told
        if told:
            # It is ending already, and must be let note what it has done.
            return
        told = True
        if number == _GONE:
            raise Ended("The controller is gone.", unheard=True)
        raise Ended(_SIGNALS[signal.Signals(number)])

    over = threading.Event()
    # What our parent ignores is ignored on: nohup, or a shell's command in the background.
    heard = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, end) for number in (*heard, _GONE)}
    _start(threading.Thread(target=_watch, args=(output, threading.get_ident(), over), daemon=True))
    try:
        yield
    finally:
        over.set()
        # Once told, it stays deaf: a second Ctrl-C would cut off the result of the first.
        for number, handler in ({} if told else before).items():
            signal.signal(number, handler)


def _start(watch: threading.Thread) -> None:
    """Start ``watch`` where the host allows another thread next to it: the run needs one."""
    started = threading.Event()
    spare = threading.Thread(target=started.wait, daemon=True)
    # Where it does not, what starts the run's own threads says so.
    with contextlib.suppress(RuntimeError):
        spare.start()
        try:
            watch.start()
        finally:
            started.set()
            spare.join()


def _watch(output: int, main_thread: int, over: threading.Event) -> None:
    poll = select.poll()
    # No event is asked for: errors and hang-ups are always told (poll(2)).
    poll.register(output, 0)
    if not poll.poll() or over.is_set():
        return
    # To the main thread itself: one that waits in the C library is woken by nothing else.
    signal.pthread_kill(main_thread, _GONE)
    if not over.wait(_PATIENCE_SECONDS):
        os._exit(1)


__all__ = ["Ended", "endable"]
