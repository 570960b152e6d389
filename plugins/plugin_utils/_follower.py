# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A look at the lines of a run, on its host: a program of its own, for whatever Python is there.

``_live.py`` gives its text to the target's Python, with the path of the FIFO that the module makes
(``module_utils/_entry/live.py``), and whether it was seen before. It prints the lines that are
there, waits for the next where there are none, and ends within seconds, however that goes.
"""

from __future__ import annotations

import contextlib
import os
import select
import stat
import sys
import time

# Its exit status. 1 and 2 are Python's own.
MORE, OVER, NOT_YET = 0, 10, 11
# Often enough that no firewall takes the connection for a dead one.
_WAIT_SECONDS = 10.0
# For a module that has not started yet.
_START_SECONDS = 2.0
_LOOK_SECONDS = 0.03
_CHUNK_BYTES = 1 << 16


def look(path: str, seen: bool, output: int) -> int:
    """Write the lines that are there to ``output``, and return the exit status."""
    fifo = _open(path, seen)
    if fifo is None:
        return OVER if seen else NOT_YET
    status = os.fstat(fifo)
    if not stat.S_ISFIFO(status.st_mode) or status.st_uid != os.geteuid():
        return OVER
    poll = select.poll()
    poll.register(fifo, select.POLLIN)
    # A reader that is gone is always reported (poll(2)).
    poll.register(output, 0)
    end = time.monotonic() + _WAIT_SECONDS
    lines = b""
    while True:
        try:
            chunk = os.read(fifo, _CHUNK_BYTES)
        except BlockingIOError:
            left = end - time.monotonic()
            if lines or left <= 0 or not _heard(poll, fifo, left):
                return _give(output, lines, MORE)
            continue
        if not chunk:
            # The module has gone; one that was killed has left it.
            with contextlib.suppress(OSError):
                os.unlink(path)
            return _give(output, lines, OVER)
        lines += chunk


def _give(output: int, lines: bytes, status: int) -> int:
    with open(output, "wb", closefd=False) as file:
        file.write(lines)
    return status


def _heard(poll: select.poll, fifo: int, seconds: float) -> bool:
    return [number for number, _event in poll.poll(seconds * 1000)] == [fifo]


def _open(path: str, seen: bool) -> int | None:
    end = time.monotonic() + _START_SECONDS
    while True:
        with contextlib.suppress(OSError):
            return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        if seen or time.monotonic() > end:
            return None
        # The directory is everybody's: there is too much in it that happens.
        time.sleep(_LOOK_SECONDS)


if __name__ == "__main__":
    sys.exit(look(sys.argv[1], sys.argv[2] == "seen", 1))
