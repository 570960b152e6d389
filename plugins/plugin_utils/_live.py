# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lines of a run while it goes on: looks at its host over a second connection, shown at once.

A connection plugin gives the output of a command when the command has ended, so each look ends as
soon as it has lines. Nothing here can fail a run: where looks are not possible, the lines come from
the result.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ansible_collections.dayzero.spike.plugins.plugin_utils._follower import MORE, NOT_YET, OVER

# How long a run that has ended waits for its last lines, which then come from the result.
_LAST_LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class Seen:
    """What a look has seen: its exit status, one of ``_follower``'s or a failure, and lines."""

    status: int
    lines: Sequence[str]


class Live:
    """Shows the lines of one run, each once and in their order."""

    def __init__(self, look: Callable[[bool], Seen], show: Callable[[str], None]) -> None:
        """``look`` is told whether the run was seen before; ``show`` takes a line."""
        self._look = look
        self._show = show
        self._shown: list[str] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._closed = False
        self._found = False
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def start(self) -> None:
        """Begin to follow the run, which may not have started yet."""
        self._thread.start()

    def end(self, log: Sequence[str]) -> None:
        """The run has ended: show what of its ``log`` was not shown."""
        self._over.set()
        if self._found:
            self._thread.join(_LAST_LOOK_SECONDS)
        with self._lock:
            self._closed = True
        # A line that is not of the log said what was waited for.
        number = 0
        for line in self._shown:
            if number < len(log) and line == log[number]:
                number += 1
        for line in log[number:]:
            self._show(line)

    def _follow(self) -> None:
        while True:
            try:
                seen = self._look(self._found)
            except Exception:
                # Of a connection: the run has one of its own, and will say what is wrong.
                return
            if seen.status == NOT_YET:
                if self._over.is_set():
                    return
                continue
            if seen.status not in (MORE, OVER):
                return
            self._found = True
            with self._lock:
                if self._closed:
                    return
                for line in seen.lines:
                    self._shown.append(line)
                    self._show(line)
            if seen.status == OVER:
                return


__all__ = ["Live", "Seen"]
