# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which process is ours, and how it is ended.

A process is known by its number, the time at which it started and the boot in which it did: the
number alone is given to somebody else after a while. Source: proc(5), /proc/[pid]/stat.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from .._dataclass import dataclass
from .port import SandboxError

_POLL_SECONDS = 0.02
_KILL_SECONDS = 5.0


@dataclass(frozen=True)
class ProcessId:
    """One process; ``start_ticks`` is its start in clock ticks since the boot ``boot_id``."""

    pid: int
    start_ticks: int
    boot_id: str

    @classmethod
    def of(cls, pid: int) -> ProcessId | None:
        """Return the process that has this number now, or None if it has ended."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
            boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except (FileNotFoundError, ProcessLookupError):
            return None
        # The name before the last parenthesis may hold anything, parentheses and blanks too.
        fields = stat.rpartition(")")[2].split()
        # One that has ended stays in the table until its parent asks for it.
        if fields[0] in "ZX":
            return None
        return cls(pid, int(fields[19]), boot_id)

    @property
    def alive(self) -> bool:
        return ProcessId.of(self.pid) == self

    def end(self, grace_seconds: float = 5) -> None:
        """Ask it to end, then kill it; return when it has ended.

        Raises SandboxError if it belongs to somebody else or cannot be killed.
        """
        for number, seconds in ((signal.SIGTERM, grace_seconds), (signal.SIGKILL, _KILL_SECONDS)):
            if self.alive:
                self._signal(number)
            deadline = time.monotonic() + seconds
            while self.alive and time.monotonic() < deadline:
                time.sleep(_POLL_SECONDS)
            if not self.alive:
                return
        raise SandboxError(f"process {self.pid} does not end")

    def _signal(self, number: signal.Signals) -> None:
        try:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)
        except PermissionError:
            raise SandboxError(f"process {self.pid} belongs to another user") from None


__all__ = ["ProcessId"]
