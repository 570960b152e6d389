# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lines for somebody who follows the run, through a FIFO that nobody has to read.

The reader is ``plugin_utils/_follower.py``, on the same host as the same user. What it cannot have
in time it finds in the result.
"""

from __future__ import annotations

import contextlib
import fcntl
import os

# The lines of 1000 keepers; a FIFO has 64 KiB otherwise (fcntl(2), F_SETPIPE_SZ).
_ROOM_BYTES = 1 << 20
_SET_PIPE_SIZE = 1031


class LiveLines:
    """A FIFO at ``path``, from ``open`` to ``close``; one that cannot be made is none.

    It keeps what is told before its reader comes, and no line ever waits: from the first that finds
    no room on, there are none. Its end is what the reader sees when this process ends, however.
    """

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._fifo: int | None = None

    def open(self) -> None:
        """Make the FIFO, for this user alone."""
        if self._path is None:
            return
        # A reader that found it without a writer would take the run for ended.
        unborn = f"{self._path}.new"
        with contextlib.suppress(OSError):
            os.mkfifo(unborn, 0o600)
            # With a reader's side of our own a line can be told before anybody reads (fifo(7)).
            self._fifo = os.open(unborn, os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW)
            os.rename(unborn, self._path)
            fcntl.fcntl(self._fifo, _SET_PIPE_SIZE, _ROOM_BYTES)

    def tell(self, line: str) -> None:
        """Give ``line`` to the reader, now or when it comes."""
        if self._fifo is None:
            return
        try:
            os.write(self._fifo, f"{line}\n".encode())
        except OSError:
            self.close()

    def close(self) -> None:
        """Remove the FIFO; who reads it has its rest."""
        if self._fifo is None or self._path is None:
            return
        fifo, self._fifo = self._fifo, None
        with contextlib.suppress(OSError):
            os.unlink(self._path)
        os.close(fifo)


__all__ = ["LiveLines"]
