# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Another program of this host, run to its end, in a language that can be compared."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

from .._dataclass import dataclass

# None of the programs that are asked here thinks for long. One that hangs must not hang a run.
_SECONDS = 60.0


class ProgramFailed(Exception):
    """A program could not be run, or did not end as it should; the text says which and why."""


@dataclass(frozen=True)
class Ended:
    """A program that has ended."""

    status: int
    output: str
    complaint: str

    @property
    def last_line(self) -> str:
        """What it complained of in the end."""
        lines = (self.complaint.strip() or self.output.strip()).splitlines()
        return lines[-1] if lines else "it gave no reason"


def run(arguments: Sequence[str], seconds: float = _SECONDS) -> Ended:
    """Run a program; raises ProgramFailed where it cannot be run or does not end."""
    try:
        # A module's run_command has no time limit, and this has no module at hand.
        # pylint: disable-next=ansible-bad-function
        done = subprocess.run(
            list(arguments),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds,
            check=False,
            env=environment(),
        )
    except subprocess.TimeoutExpired:
        raise ProgramFailed(f"{arguments[0]} did not end within {seconds:g}s") from None
    except OSError as error:
        raise ProgramFailed(
            f"{arguments[0]}: {(error.strerror or 'cannot be run').lower()}"
        ) from None
    return Ended(
        done.returncode,
        done.stdout.decode("utf-8", "replace"),
        done.stderr.decode("utf-8", "replace"),
    )


def environment() -> dict[str, str]:
    """The environment for programs whose output is read."""
    return {**os.environ, "LC_ALL": "C.UTF-8", "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": ""}


__all__ = ["Ended", "ProgramFailed", "environment", "run"]
