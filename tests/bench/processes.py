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

from ansible_collections.dayzero.spike.tests.support.peak_memory import Peak


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
        peak, said = Peak(Path(directory) / "peak"), Path(directory) / "said"
        with open(said, "w+b") as output:
            began = time.monotonic()
            process = subprocess.Popen(
                [sys.executable, *flags, "-c", peak.prelude + body],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
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
            peak.kibibytes / 1024,
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
