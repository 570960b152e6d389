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
_MICROSECOND = 1e-6


class Holds(enum.Enum):
    """Whether a keeper has a shard; the values are the result's ``shard``."""

    HELD = "held"
    NONE = "none"
    # The journal does not reach back to its start, or cannot be read.
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
    if not unit.invocation:
        return Shard(Holds.UNKNOWN)
    with contextlib.suppress(program.ProgramFailed):
        # What a keeper has written a moment ago may not have arrived.
        program.run(["journalctl", "--sync"])
    try:
        taken_at = _last_taken(unit.invocation)
        if taken_at is not None:
            return Shard(Holds.HELD, taken_at)
        return NO_SHARD if _reaches_back_to(unit.started_at) else Shard(Holds.UNKNOWN)
    except OSError:
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


def last_taken(entries: Iterable[Mapping[str, Any]]) -> float | None:
    """When the first of these journal entries that says so was written; None where none does."""
    for entry in entries:
        if takes_a_shard(entry.get("MESSAGE")):
            return int(entry["__MONOTONIC_TIMESTAMP"]) * _MICROSECOND
    return None


def _last_taken(invocation: str) -> float | None:
    command = [
        "journalctl",
        "--no-pager",
        "--quiet",
        "--output=json",
        "--reverse",
        f"_SYSTEMD_INVOCATION_ID={invocation}",
    ]
    with _Entries(command) as entries:
        return last_taken(entries)


def _reaches_back_to(moment: float) -> bool:
    """Whether the journal still has what was written at ``moment`` of this boot."""
    command = ["journalctl", "--system", "--no-pager", "--quiet", "--output=json"]
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        this_boot = file.read().strip().replace("-", "")
    with _Entries(command) as entries:
        for entry in entries:
            if entry.get("_BOOT_ID") != this_boot:
                return True
            return int(entry["__MONOTONIC_TIMESTAMP"]) * _MICROSECOND <= moment
    return False


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


__all__ = ["NO_SHARD", "Holds", "Shard", "last_taken", "shard_of", "takes_a_shard"]
