# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A private directory for a moment, which not even a killed process leaves behind for good."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextlib.contextmanager
def scratch_directory(parent: str, prefix: str) -> Iterator[str]:
    """Give the path of a new directory in ``parent``, mode 0700, removed when the block ends.

    Its name begins with ``prefix``. Those of the same user and prefix whose processes are dead are
    removed first: their files may hold a key. Raises OSError where none can be made.
    """
    _remove_orphans(parent, prefix)
    path, lock = _make_locked(parent, prefix)
    try:
        yield path
    finally:
        try:
            shutil.rmtree(path)
        finally:
            os.close(lock)


def _make_locked(parent: str, prefix: str) -> tuple[str, int]:
    # Under another name until it is locked: without a lock it would pass for an orphan.
    hidden = tempfile.mkdtemp(prefix=f".{prefix}", dir=parent)
    try:
        lock = os.open(hidden, _OPEN)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path = os.path.join(parent, os.path.basename(hidden)[1:])
            os.rename(hidden, path)
        except OSError:
            os.close(lock)
            raise
    except OSError:
        os.rmdir(hidden)
        raise
    return path, lock


def _remove_orphans(parent: str, prefix: str) -> None:
    for name in os.listdir(parent):
        if name.startswith(prefix):
            _remove_orphan(os.path.join(parent, name))


def _remove_orphan(path: str) -> None:
    try:
        lock = os.open(path, _OPEN)
    except OSError:
        # Its owner has just removed it, or it is none of these directories.
        return
    try:
        if os.fstat(lock).st_uid != os.geteuid():
            return
        # The kernel drops a lock with its process, so the holder of this one is alive.
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(lock)


__all__ = ["scratch_directory"]
