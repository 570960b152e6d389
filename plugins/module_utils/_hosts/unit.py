# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What systemd knows of a unit, and the setting with which its process was started.

Source: org.freedesktop.systemd1(5), systemd.exec(5).
"""

from __future__ import annotations

import os
import time

from .._dataclass import dataclass
from . import program

# The unit's file gives its process this variable: a digest of the binary, the settings and the unit
# that it was started with. Timestamps would not survive a binary that is older than its host.
STARTED_WITH = "DAYZERO_SPIKE_STARTED_WITH"

_PROPERTIES = (
    "LoadState",
    "ActiveState",
    "SubState",
    "MainPID",
    "InvocationID",
    "ExecMainStartTimestampMonotonic",
    "Result",
    "ExecMainStatus",
)
_MICROSECOND = 1e-6


@dataclass(frozen=True)
class Unit:
    """A unit as it is now.

    ``started_at`` is in seconds of the monotonic clock, None where nothing runs. ``started_with``
    is the value of ``STARTED_WITH`` of its process; None where it has none.
    """

    name: str
    exists: bool
    state: str
    detail: str
    invocation: str
    pid: int
    started_at: float | None
    started_with: str | None

    def runs(self, path: str) -> bool:
        """Whether its process was started from the file that is at ``path`` now."""
        try:
            return os.path.samefile(f"/proc/{self.pid}/exe", path)
        except OSError:
            return False

    @property
    def running(self) -> bool:
        """Whether it has a process, which may hold a shard."""
        return self.pid > 0

    @property
    def given_up(self) -> bool:
        """Whether systemd starts it no more by itself."""
        return not self.running and self.state in ("failed", "inactive")

    @property
    def uptime(self) -> float | None:
        """For how many seconds its process has been running."""
        if self.started_at is None:
            return None
        return max(0.0, time.clock_gettime(time.CLOCK_MONOTONIC) - self.started_at)


def look_at(name: str) -> Unit:
    """Ask systemd for a unit; raises ProgramFailed where it cannot be asked."""
    asked = program.run(["systemctl", "show", f"--property={','.join(_PROPERTIES)}", "--", name])
    if asked.status != 0:
        raise program.ProgramFailed(f"systemctl show {name}: {asked.last_line}")
    return read(name, asked.output)


def read(name: str, output: str) -> Unit:
    """The unit that ``systemctl show`` has described."""
    shown = dict(line.split("=", 1) for line in output.splitlines() if "=" in line)
    pid = int(shown.get("MainPID") or 0)
    started = int(shown.get("ExecMainStartTimestampMonotonic") or 0) * _MICROSECOND
    state = shown.get("ActiveState", "")
    result, status = shown.get("Result", ""), shown.get("ExecMainStatus", "")
    ended = f", result {result}, exit status {status}" if result not in ("", "success") else ""
    return Unit(
        name=name,
        exists=shown.get("LoadState") not in ("not-found", "", None),
        state=state,
        detail=f"{state} ({shown.get('SubState', '')}){ended}",
        invocation=shown.get("InvocationID", ""),
        pid=pid,
        started_at=started if pid else None,
        started_with=_started_with(pid) if pid else None,
    )


def last_lines(name: str, invocation: str, number: int) -> list[str]:
    """The last lines that a unit has logged: those of one invocation where it is known."""
    which = [f"_SYSTEMD_INVOCATION_ID={invocation}"] if invocation else [f"--unit={name}"]
    command = ["journalctl", "--no-pager", "--quiet", "--output=cat", f"--lines={number}"]
    try:
        lines = program.run([*command, *which]).output.splitlines()
        if not lines and invocation:
            lines = program.run([*command, f"--unit={name}"]).output.splitlines()
    except program.ProgramFailed:
        return []
    return lines


def _started_with(pid: int) -> str | None:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            variables = file.read().split(b"\0")
    except OSError:
        return None
    beginning = f"{STARTED_WITH}=".encode()
    for variable in variables:
        if variable.startswith(beginning):
            return variable[len(beginning) :].decode("ascii", "replace")
    return None


__all__ = ["STARTED_WITH", "Unit", "last_lines", "look_at", "read"]
