# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lines of a run, each shown once: those of looks, and from the result what no look has seen."""

from __future__ import annotations

import queue
import threading

import pytest
from ansible_collections.dayzero.spike.plugins.plugin_utils._follower import MORE, NOT_YET, OVER
from ansible_collections.dayzero.spike.plugins.plugin_utils._live import Live, Seen

_PATIENCE_SECONDS = 30
LOG = ["Reaching keeper 1", "Reaching keeper 2", "Sending shard to keeper 1"]


class Looks:
    """Looks whose outcomes a test decides."""

    def __init__(self, *outcomes: Seen | Exception) -> None:
        self.outcomes: queue.Queue[Seen | Exception] = queue.Queue()
        for outcome in outcomes:
            self.outcomes.put(outcome)
        self.told: list[bool] = []

    def __call__(self, found: bool) -> Seen:
        self.told.append(found)
        outcome = self.outcomes.get(timeout=_PATIENCE_SECONDS)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


class Shown:
    """What was shown; ``wait_for`` returns when there are so many lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._changed = threading.Condition()

    def __call__(self, line: str) -> None:
        with self._changed:
            self.lines.append(line)
            self._changed.notify_all()

    def wait_for(self, number: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.lines) >= number, _PATIENCE_SECONDS)


@pytest.fixture
def shown() -> Shown:
    return Shown()


def test_a_line_is_shown_before_the_run_ends(shown: Shown) -> None:
    looks = Looks(Seen(MORE, LOG[:1]))
    live = Live(looks, shown)
    live.start()
    shown.wait_for(1)
    looks.outcomes.put(Seen(OVER, LOG[1:]))
    shown.wait_for(3)
    live.end(LOG)
    assert shown.lines == LOG
    assert looks.told == [False, True]


def test_what_no_look_has_seen_comes_from_the_result(shown: Shown) -> None:
    live = Live(Looks(Seen(MORE, LOG[:2]), Seen(OVER, [])), shown)
    live.start()
    shown.wait_for(2)
    live.end(LOG)
    assert shown.lines == LOG


def test_what_was_waited_for_is_shown_and_is_no_line_of_the_result(shown: Shown) -> None:
    live = Live(Looks(Seen(MORE, LOG[:1]), Seen(OVER, ["Waiting"])), shown)
    live.start()
    shown.wait_for(2)
    live.end(LOG)
    assert shown.lines == [LOG[0], "Waiting", *LOG[1:]]


def test_a_run_that_has_not_begun_is_looked_for_again(shown: Shown) -> None:
    looks = Looks(Seen(NOT_YET, []), Seen(NOT_YET, []), Seen(OVER, LOG))
    live = Live(looks, shown)
    live.start()
    shown.wait_for(3)
    live.end(LOG)
    assert looks.told == [False, False, False]


@pytest.mark.parametrize("failure", [OSError("no connection"), Seen(1, []), Seen(255, ["?"])])
def test_where_a_look_fails_the_lines_come_from_the_result(
    failure: Seen | Exception, shown: Shown
) -> None:
    live = Live(Looks(failure), shown)
    live.start()
    live.end(LOG)
    assert shown.lines == LOG


def test_a_look_that_hangs_does_not_keep_the_result(shown: Shown) -> None:
    looks = Looks(Seen(MORE, LOG[:1]))
    live = Live(looks, shown)
    live.start()
    shown.wait_for(1)
    live.end(LOG)
    assert shown.lines == LOG
    # It comes too late, and is dropped.
    looks.outcomes.put(Seen(OVER, LOG[1:]))
    live.end(LOG[:1])
    assert shown.lines == LOG


def test_a_run_without_lines_shows_none(shown: Shown) -> None:
    live = Live(Looks(Seen(OVER, [])), shown)
    live.start()
    live.end([])
    assert shown.lines == []
