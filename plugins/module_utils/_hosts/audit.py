# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a keeper has a shard, from its audit lines in the journal: it cannot be asked.

Source: spike-sdk-go, journal (the lines); systemd.journal-fields(7), journalctl(1).
"""

from __future__ import annotations

import contextlib
import enum
import json
import subprocess
import time
from collections.abc import Iterable, Mapping
from typing import Any

from .._dataclass import dataclass
from .._spike.paths import CONTRIBUTE
from . import program
from .unit import Unit

_TAKEN = "audit-success"
# SD_MESSAGE_JOURNAL_DROPPED of sd-messages.h: what a unit wrote faster than the journal allows.
_DROPPED = "a596d6fe7bfa4994828e72309e95d61e"
_MICROSECOND = 1e-6


class Holds(enum.Enum):
    """Whether a keeper has a shard; the values are the result's ``shard``."""

    HELD = "held"
    NONE = "none"
    # The journal has nothing of it, or not all, or cannot be read.
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Shard:
    """What is known of a keeper's shard; ``taken_at`` is in seconds of the monotonic clock."""

    holds: Holds
    taken_at: float | None = None

    @property
    def age(self) -> float | None:
        """How many seconds ago the keeper took its shard last."""
        if self.taken_at is None:
            return None
        return max(0.0, time.clock_gettime(time.CLOCK_MONOTONIC) - self.taken_at)


NO_SHARD = Shard(Holds.NONE)


def shard_of(unit: Unit) -> Shard:
    """Whether the process of ``unit`` has a shard. A process that is not there has none."""
    if not unit.running or unit.started_at is None:
        return NO_SHARD
    with contextlib.suppress(program.ProgramFailed):
        # What a keeper has written a moment ago may not have arrived.
        program.run(["journalctl", "--sync"])
    try:
        of_it = _heard_of(unit, unit.started_at)
        if of_it.taken_at is not None:
            return Shard(Holds.HELD, of_it.taken_at)
        if unit.invocation and of_it.whole and _reaches_back_to(unit.started_at):
            return NO_SHARD
    except OSError:
        pass
    return Shard(Holds.UNKNOWN)


def takes_a_shard(message: object) -> bool:
    """Whether a line of a keeper's log says that it took a shard."""
    if not isinstance(message, str) or CONTRIBUTE not in message:
        return False
    try:
        line = json.loads(message)
    except ValueError:
        return False
    audit = _lowered(line).get("audit", line) if isinstance(line, dict) else None
    if not isinstance(audit, dict):
        return False
    entry = _lowered(audit)
    return entry.get("path") == CONTRIBUTE and entry.get("state") == _TAKEN


@dataclass(frozen=True)
class Heard:
    """What the journal has of one process.

    ``taken_at``: when it said last that it took a shard, in seconds of the monotonic clock.
    ``whole``: there is something, and the journal did not drop anything. A journal that has
    nothing of a process may not know which lines are its.
    """

    taken_at: float | None
    whole: bool


def heard(entries: Iterable[Mapping[str, Any]], started_at: float) -> Heard:
    """What these journal entries, the newest first, say of the process begun at ``started_at``."""
    any_line = dropped = False
    for entry in entries:
        at = int(entry["__MONOTONIC_TIMESTAMP"]) * _MICROSECOND
        if at < started_at:
            # Of another process, which had the same number before.
            continue
        if entry.get("MESSAGE_ID") == _DROPPED:
            dropped = True
        elif takes_a_shard(entry.get("MESSAGE")):
            return Heard(at, whole=True)
        else:
            any_line = True
    return Heard(None, whole=any_line and not dropped)


def _heard_of(unit: Unit, started_at: float) -> Heard:
    this_boot = f"_BOOT_ID={_this_boot()}"
    whose = [this_boot, f"_PID={unit.pid}"]
    if unit.invocation:
        whose += ["+", f"_SYSTEMD_INVOCATION_ID={unit.invocation}"]
    whose += ["+", this_boot, f"MESSAGE_ID={_DROPPED}", f"OBJECT_SYSTEMD_UNIT={unit.name}"]
    command = ["journalctl", "--no-pager", "--quiet", "--output=json", "--reverse", *whose]
    with _Entries(command) as entries:
        return heard(entries, started_at)


def _reaches_back_to(moment: float) -> bool:
    """Whether the journal still has what was written at ``moment`` of this boot."""
    command = ["journalctl", "--system", "--no-pager", "--quiet", "--output=json"]
    this_boot = _this_boot()
    with _Entries(command) as entries:
        for entry in entries:
            if entry.get("_BOOT_ID") != this_boot:
                return True
            return int(entry["__MONOTONIC_TIMESTAMP"]) * _MICROSECOND <= moment
    return False


def _this_boot() -> str:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip().replace("-", "")


class _Entries:
    """The entries that a journalctl gives, one after the other; it is ended with the block."""

    def __init__(self, command: list[str]) -> None:
        # Its entries are read while it runs, which a module's run_command does not allow.
        # pylint: disable-next=ansible-bad-function
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=program.environment(),
        )

    def __enter__(self) -> Iterable[Mapping[str, Any]]:
        return self._read()

    def __exit__(self, *failure: object) -> None:
        self._process.kill()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process.wait()

    def _read(self) -> Iterable[Mapping[str, Any]]:
        for line in self._process.stdout or ():
            with contextlib.suppress(ValueError):
                yield json.loads(line)


def _lowered(entry: Mapping[str, Any]) -> dict[str, Any]:
    # Releases of SPIKE differ in the case of the names.
    return {str(name).lower(): value for name, value in entry.items()}


__all__ = ["NO_SHARD", "Heard", "Holds", "Shard", "heard", "shard_of", "takes_a_shard"]
