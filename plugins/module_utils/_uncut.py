# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stretches of a run that an end from outside does not cut in two.

A signal's exception comes between any two instructions of the main thread: also between the start
of a program and the note that it must be ended again, or while a key's file is being removed.
"""

from __future__ import annotations

import contextlib
import threading
from types import TracebackType


class _Uncut:
    """A block of the main thread in which an end is kept until it is over; may be nested.

    Elsewhere it does nothing: Python runs signal handlers in the main thread only.
    """

    def __init__(self) -> None:
        self._depth = 0
        self._kept: BaseException | None = None

    @property
    def told(self) -> bool:
        """Whether an end waits for a block to be over: one that waits itself looks here."""
        return self._kept is not None

    def end(self, end: BaseException) -> None:
        """Raise ``end``, on the main thread: now, or when the outermost block is over."""
        if self._depth:
            self._kept = end
        else:
            raise end

    def __enter__(self) -> None:
        if _on_main_thread():
            self._depth += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not _on_main_thread():
            return
        self._depth -= 1
        if not self._depth and self._kept is not None:
            kept, self._kept = self._kept, None
            raise kept


UNCUT = _Uncut()


class Resources(contextlib.ExitStack):
    """What is given back when the block ends, all of it, whatever signal comes meanwhile."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        with UNCUT:
            return super().__exit__(kind, error, traceback)


def _on_main_thread() -> bool:
    return threading.get_ident() == threading.main_thread().ident


__all__ = ["UNCUT", "Resources"]
