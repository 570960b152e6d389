# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Somebody at a terminal, who types an answer to every prompt."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_SECONDS = 90
# Ansible throws away what was typed before it listens, and does not tell when it does.
_HESITATION = 0.5


@dataclass(frozen=True)
class Session:
    """How a program ended, and all that its terminal showed."""

    returncode: int
    output: str


def typed(
    command: Sequence[str],
    answers: Sequence[str],
    *,
    prompt: str,
    environment: Mapping[str, str],
    directory: Path | None = None,
) -> Session:
    """Run ``command`` at a terminal of its own, with one of ``answers`` after each ``prompt``."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        command,
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env=dict(environment),
        cwd=directory,
        start_new_session=True,
        # Ansible asks only at a terminal that it owns.
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(follower)
    output, given = b"", 0
    deadline = time.monotonic() + _SECONDS
    try:
        while time.monotonic() < deadline and select.select([leader], [], [], _SECONDS)[0]:
            try:
                output += os.read(leader, 65536)
            except OSError:
                # The terminal is gone with its last program.
                break
            if output.count(prompt.encode()) > given < len(answers):
                time.sleep(_HESITATION)
                os.write(leader, answers[given].encode() + b"\r")
                given += 1
        return Session(process.wait(30), output.decode(errors="replace"))
    finally:
        process.kill()
        process.wait()
        os.close(leader)


__all__ = ["Session", "typed"]
