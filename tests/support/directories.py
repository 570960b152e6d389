# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Directories on disk and in memory, opened as the collection opens them, and crashes in them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# A tmpfs on every Linux.
IN_MEMORY = "/dev/shm"


@contextmanager
def memory_directory() -> Iterator[Path]:
    """A new, private directory in memory, removed afterwards."""
    with tempfile.TemporaryDirectory(dir=IN_MEMORY, prefix="spike-test-") as path:
        yield Path(path)


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """The descriptor of a directory."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


class Crash(BaseException):
    """The process dies here; no ``except Exception`` of the code under test survives it."""


class Steps:
    """A step hook that keeps the names of the steps and can crash at one of them."""

    def __init__(self, crash_at: int | None = None) -> None:
        self.names: list[str] = []
        self._crash_at = crash_at

    def __call__(self, name: str) -> None:
        self.names.append(name)
        if self._crash_at == len(self.names):
            raise Crash(name)


__all__ = ["IN_MEMORY", "Crash", "Steps", "memory_directory", "opened"]
