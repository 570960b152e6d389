# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How much memory a Python process has had at its peak, by its own account."""

from __future__ import annotations

from pathlib import Path

_PRELUDE = """
import atexit
def _write_peak():
    with open("/proc/self/status") as status, open({!r}, "w") as peak:
        peak.write(next(line for line in status if line.startswith("VmHWM")).split()[1])
atexit.register(_write_peak)
"""


class Peak:
    """The peak of a process that executes ``prelude`` before anything else.

    The kernel's count for a process that has ended (ru_maxrss) will not do: up to the moment in
    which that one is another program, it has the size of the process that started it.
    """

    def __init__(self, path: Path) -> None:
        """``path`` is where the process notes it."""
        self._path = path
        self.prelude = _PRELUDE.format(str(path))

    @property
    def kibibytes(self) -> int:
        """The peak of the process, which has ended."""
        return int(self._path.read_text())


__all__ = ["Peak"]
