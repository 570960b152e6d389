# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whole processes, measured from outside, in turn, and what is said of many of them."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# The kernel counts the memory of the process that starts another one as the other's, up to the
# moment in which that one is another program. So each writes down its own peak when it ends.
_REMEMBERS_ITS_PEAK = """
import atexit, os
def _peak(path=os.environ.pop("BENCH_PEAK")):
    with open("/proc/self/status") as status, open(path, "w") as peak:
        peak.write(next(line for line in status if line.startswith("VmHWM")).split()[1])
atexit.register(_peak)
"""


@dataclass(frozen=True)
class Measured:
    """One process: seconds from its start to its end, seconds of processor, its peak in MB.

    ``ended`` is when it had ended, in monotonic seconds.
    """

    seconds: float
    processor: float
    megabytes: float
    ended: float
    output: str


def measure(
    body: str,
    *,
    message: bytes = b"",
    environment: Mapping[str, str] | None = None,
    flags: Sequence[str] = (),
) -> Measured:
    """Run ``body``, Python, as a process with ``message`` as its input.

    Raises RuntimeError where it fails.
    """
    with tempfile.TemporaryDirectory() as directory:
        peak, said = Path(directory) / "peak", Path(directory) / "said"
        with open(said, "w+b") as output:
            began = time.monotonic()
            process = subprocess.Popen(
                [sys.executable, *flags, "-c", _REMEMBERS_ITS_PEAK + body],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**(environment or os.environ), "BENCH_PEAK": str(peak)},
            )
            assert process.stdin is not None
            with process.stdin as stdin:
                stdin.write(message)
            _pid, status, used = os.wait4(process.pid, 0)
            ended = time.monotonic()
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise RuntimeError(said.read_text(errors="replace")[-2000:])
        return Measured(
            ended - began,
            used.ru_utime + used.ru_stime,
            int(peak.read_text()) / 1024,
            ended,
            said.read_text(errors="replace"),
        )


def median(values: Sequence[float]) -> float:
    """The one in the middle."""
    return statistics.median(values)


def shown(values: Sequence[float], digits: int = 2) -> str:
    """The median, and between which values all are."""
    return f"{median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


__all__ = ["Measured", "measure", "median", "shown"]
