# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Python of its own for what would harm the one that runs the tests."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from typing import IO

# Long enough for the slowest machine; only a test that fails waits for it.
PATIENCE_SECONDS = 120


def start_python(code: str, *arguments: str) -> subprocess.Popen[str]:
    """Start ``code`` with this interpreter and its import path; the caller waits for its end."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )


def run_python(code: str, *arguments: str) -> str:
    """What ``code`` prints; fails unless it ends well."""
    with start_python(code, *arguments) as process:
        output, _unused = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0
    return output


def said(stream: IO[str] | None) -> str:
    """The next line that a started interpreter prints."""
    assert stream is not None
    return stream.readline().strip()


__all__ = ["PATIENCE_SECONDS", "run_python", "said", "start_python"]
