# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A worker of Ansible's ends when it is told to, and not in the middle of a line.

Each test forks a worker with a handler like Ansible's, which ends the process.
"""

from __future__ import annotations

import multiprocessing
import os
import select
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

import pytest
from ansible_collections.dayzero.spike.plugins.plugin_utils._controller import (
    Whole,
    ended_in_order,
)

_ENDED = 7
_PATIENCE_SECONDS = 20.0
Work = Callable[[Whole, Callable[[str], None]], None]


def _ends(number: int, frame: FrameType | None) -> None:
    os._exit(_ENDED)


class Worker:
    """A forked process that does ``work``, which is given what it can say to the test."""

    def __init__(self, work: Work) -> None:
        self._heard, self._words = os.pipe()
        self.process = multiprocessing.get_context("fork").Process(target=self._run, args=(work,))
        self.process.start()
        os.close(self._words)

    def _run(self, work: Work) -> None:
        os.close(self._heard)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _ends)
        with ended_in_order() as whole:
            work(whole, lambda word: void(os.write(self._words, f"{word}\n".encode())))

    def signal(self, number: int) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def hear(self) -> str:
        """The next word; empty at its end."""
        word = b""
        while not word.endswith(b"\n"):
            assert select.select([self._heard], [], [], _PATIENCE_SECONDS)[0]
            read = os.read(self._heard, 1)
            if not read:
                break
            word += read
        return word.decode().strip()

    def status(self) -> int | None:
        self.process.join(_PATIENCE_SECONDS)
        os.close(self._heard)
        return self.process.exitcode


def void(_value: object) -> None:
    """Nothing, of something."""


def wait_in_c() -> None:
    """Wait as for a connection: in one call, which only a signal to this thread interrupts."""
    select.poll().poll(_PATIENCE_SECONDS * 2000)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("thread", ["main", "another"])
def test_a_line_that_is_being_shown_is_shown_whole(number: int, thread: str) -> None:
    def work(whole: Whole, say: Callable[[str], None]) -> None:
        def line() -> None:
            say("begun")
            # The signal is there, and its handler runs, before the line goes on.
            time.sleep(0.3)
            say("shown")

        if thread == "main":
            whole(line)
        else:
            threading.Thread(target=whole, args=(line,)).start()
        wait_in_c()

    worker = Worker(work)
    assert worker.hear() == "begun"
    worker.signal(number)
    assert worker.hear() == "shown"
    assert worker.status() == _ENDED


def test_a_signal_that_another_thread_took_ends_the_worker_all_the_same() -> None:
    def work(whole: Whole, say: Callable[[str], None]) -> None:
        def take_it() -> None:
            say("ready")
            # Where the main thread is waiting by now, nothing interrupts that.
            time.sleep(0.2)
            signal.pthread_kill(threading.get_ident(), signal.SIGINT)

        threading.Thread(target=take_it, daemon=True).start()
        wait_in_c()

    worker = Worker(work)
    assert worker.hear() == "ready"
    assert worker.status() == _ENDED


def test_without_a_signal_nothing_ends_and_the_handlers_are_as_before() -> None:
    def work(whole: Whole, say: Callable[[str], None]) -> None:
        whole(lambda: say("a line"))
        say("done")

    worker = Worker(work)
    assert [worker.hear(), worker.hear(), worker.hear()] == ["a line", "done", ""]
    assert worker.status() == 0
