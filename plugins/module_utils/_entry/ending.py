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
from types import FrameType

from .._uncut import UNCUT

# What a run takes at most to end after it was told to: attempts end at once, the journal is noted,
# the result is printed.
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


class Ending:
    """What ends a run early: between ``hear`` and ``settle`` by raising ``Ended``, once.

    It is raised in the main thread, outside of blocks that are not to be cut (``UNCUT``). After
    ``settle`` only the result is to be printed, and no signal may lose it. Whoever is told to end
    and has not some seconds later is ended by the kernel, which frees the lock; the journal is
    whole at any moment.
    """

    def __init__(self, output: int) -> None:
        """``output`` is the descriptor that somebody reads."""
        self._output = output
        self._told = False
        self._settled = threading.Event()

    def hear(self) -> None:
        """From now on end on SIGINT, SIGTERM, SIGHUP, and when nobody reads the output any more.

        A signal that is ignored stays so. Does nothing outside the main thread.
        """
        if threading.current_thread() is not threading.main_thread():
            return
        # What our parent ignores is ignored on: nohup, or a shell's command in the background.
        heard = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        for number in (*heard, _GONE):
            signal.signal(number, self._end)
        watch = threading.Thread(target=self._watch, args=(threading.get_ident(),), daemon=True)
        _start(watch)

    def settle(self) -> None:
        """The work is over: raise nothing any more, until the process ends."""
        self._settled.set()

    def _end(self, number: int, _frame: FrameType | None) -> None:
        if self._told:
            # It is ending already, and must be let note what it has done.
            return
        self._told = True
        # The kernel's own end of a process that does not come to one: nothing of ours has to run.
        signal.setitimer(signal.ITIMER_REAL, _PATIENCE_SECONDS)
        if self._settled.is_set():
            return
        if number == _GONE:
            UNCUT.end(Ended("The controller is gone.", unheard=True))
        else:
            UNCUT.end(Ended(_SIGNALS[signal.Signals(number)]))

    def _watch(self, main_thread: int) -> None:
        poll = select.poll()
        # No event is asked for: errors and hang-ups are always told (poll(2)).
        poll.register(self._output, 0)
        if not poll.poll() or self._settled.is_set():
            return
        # To the main thread itself: one that waits in the C library is woken by nothing else.
        signal.pthread_kill(main_thread, _GONE)
        # That thread may hang where no Python runs.
        if not self._settled.wait(_PATIENCE_SECONDS):
            os._exit(1)


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


__all__ = ["Ended", "Ending"]
