# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The state directory, and the lock that lets one run at a time work on it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ansible_collections.dayzero.spike.plugins.module_utils._attempt import Clock
from ansible_collections.dayzero.spike.plugins.module_utils._durable_file import make_directory
from ansible_collections.dayzero.spike.plugins.module_utils._duration import Duration
from ansible_collections.dayzero.spike.plugins.module_utils._errors import (
    ConfigError,
    StateUnusable,
)

NAME = "lock"
_POLL_SECONDS = 0.1


@contextmanager
def locked_state_dir(
    path: str,
    *,
    create: bool,
    patience: Duration,
    clock: Clock,
    sleep: Callable[[float], None],
) -> Iterator[int | None]:
    """Lock ``path`` and give its descriptor, which is closed and unlocked when the block ends.

    What is missing is made where ``create`` says so; else a missing directory gives None, and one
    in which no run has ever made a lock is not locked. The kernel drops the lock with the process,
    so a killed run leaves none. Raises ConfigError for a directory that cannot be used, and
    StateUnusable when another run still holds the lock after ``patience``.
    """
    directory = open_state_dir(path, create=create)
    if directory is None:
        yield None
        return
    try:
        lock = _open_lock(path, directory, create)
        try:
            if lock is not None:
                _take(lock, path, patience, clock, sleep)
            yield directory
        finally:
            if lock is not None:
                os.close(lock)
    finally:
        os.close(directory)


def open_state_dir(path: str, *, create: bool) -> int | None:
    """Open ``path`` without a lock and return its descriptor, which the caller closes.

    It is made, with mode 0700, where ``create`` says so; else a missing one gives None. The mode
    of one that is there is left alone. Raises ConfigError.
    """
    try:
        if create:
            _make_private(path)
        elif not _exists(path):
            return None
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        problem = (error.strerror or "unusable").lower()
    raise _unusable(path, problem)


def _make_private(path: str) -> None:
    # Whoever can open the lock can hold it, and keep every run waiting. What has to be made above
    # is not ours alone.
    make_directory(os.path.dirname(os.path.normpath(path)), mode=0o755)
    make_directory(path, mode=0o700)


def _exists(path: str) -> bool:
    """Whether there is anything at ``path``; raises OSError where nothing can ever be."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        return False
    return True


def is_locked(path: str, directory: int) -> bool:
    """Whether a run is at work in ``path``, which is open as ``directory``; never waits.

    A run that asks for its lock in this very moment finds it taken, and asks again.
    """
    lock = _open_lock(path, directory, create=False)
    if lock is None:
        return False
    try:
        # Shared, so that two who only look do not take each other for a run.
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _open_lock(path: str, directory: int, create: bool) -> int | None:
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | (os.O_CREAT if create else 0)
        return os.open(NAME, flags, 0o600, dir_fd=directory)
    except FileNotFoundError:
        return None
    except OSError as error:
        problem = (error.strerror or "unusable").lower()
    raise _unusable(path, problem)


def _unusable(path: str, problem: str) -> ConfigError:
    return ConfigError(
        "state_dir",
        f"{path} cannot be used: {problem}; it holds the journal and must be a directory that"
        f" user id {os.geteuid()} can write",
    )


def _take(
    lock: int, path: str, patience: Duration, clock: Clock, sleep: Callable[[float], None]
) -> None:
    give_up = clock() + patience.seconds
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            left = give_up - clock()
        if left <= 0:
            name = os.path.join(path, NAME)
            raise StateUnusable(
                f"Another bootstrap run holds {name} and did not end within {patience.text}. Wait"
                " for it to end and rerun bootstrap. An ansible-playbook that was killed leaves its"
                f" module at work for a while: fuser {name} names its process.",
                code="bootstrap_locked",
            )
        sleep(min(_POLL_SECONDS, left))


__all__ = ["NAME", "is_locked", "locked_state_dir", "open_state_dir"]
