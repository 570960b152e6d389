# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The state directory, and the lock that lets one run at a time work on it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from .._clock import Clock, Duration, as_utc
from .._errors import (
    RERUN,
    Advice,
    ConfigError,
    StateUnusable,
)
from .durable_file import make_directory
from .memory_dir import lies_in_memory

NAME = "lock"
_POLL_SECONDS = 0.1
# What ``note_phase`` writes; anything else in the file is not shown.
_NOTE = re.compile(r"([0-9]+) (in phase [a-z]+ since [0-9T:Z -]+)")
_LONGEST_NOTE = 100


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
        _check_that_it_could_be_made(path)
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
    of one that is there is left alone. Raises ConfigError, also for one that is in memory, where
    a reboot would empty it together with ``runtime_dir``.
    """
    if lies_in_memory(_nearest(path)):
        raise _unusable(path, "it is in memory, where a reboot would empty it")
    try:
        if create:
            _make_private(path)
        elif not _exists(path):
            return None
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        problem = (error.strerror or "unusable").lower()
        remedy = _for_whom(path) if isinstance(error, PermissionError) else ""
    raise _unusable(path, problem, remedy)


def _make_private(path: str) -> None:
    # Anyone who can open the lock can hold it, and keep every run waiting. What has to be made
    # above is not ours alone.
    make_directory(os.path.dirname(os.path.normpath(path)), mode=0o755)
    make_directory(path, mode=0o700)


def _nearest(path: str) -> str:
    """``path``, or the lowest directory above it that there is."""
    while not os.path.isdir(path) and path != os.path.dirname(path):
        path = os.path.dirname(path)
    return path


def _check_that_it_could_be_made(path: str) -> None:
    above = _nearest(path)
    if not os.access(above, os.W_OK | os.X_OK):
        problem = f"it cannot be made, permission denied in {above}"
        raise _unusable(path, problem, _for_whom(path))


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
        remedy = _for_lock(path, directory) if isinstance(error, PermissionError) else ""
    raise _unusable(path, problem, remedy)


def _unusable(path: str, problem: str, remedy: str = "") -> ConfigError:
    return ConfigError(
        "state_dir",
        f"{path} cannot be used: {problem}",
        remedy
        or f"give a directory on disk that user id {os.geteuid()} can write, for example"
        " /var/lib/spike-bootstrap",
    )


# Where permission is denied, another directory is no remedy: it would be without the journal.


def _for_whom(path: str) -> str:
    """What to do about a directory that the running user may not use; empty where unknown."""
    user = os.geteuid()
    try:
        owner = os.stat(path).st_uid
    except FileNotFoundError:
        return f"let an administrator make it with install -d -m 0700 -o {user} {path}"
    except OSError:
        return ""
    if owner == user:
        return f"open it to its owner with chmod u+rwx {path}"
    return (
        f"run the task as user id {owner} (become_user), to whom it belongs: it may hold the"
        " journal of that user's run; or, if no run has used it, let an administrator hand it over"
        f" with chown {user} {path}"
    )


def _for_lock(path: str, directory: int) -> str:
    try:
        os.stat(NAME, dir_fd=directory, follow_symlinks=False)
    except OSError:
        return _for_whom(path)
    if os.fstat(directory).st_uid != os.geteuid():
        return _for_whom(path)
    name = os.path.join(path, NAME)
    return f"let an administrator hand the lock over with chown {os.geteuid()} {name}"


def _take(
    lock: int, path: str, patience: Duration, clock: Clock, sleep: Callable[[float], None]
) -> None:
    give_up = clock() + patience.seconds
    problem = ""
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            left = give_up - clock()
        except OSError as error:
            left, problem = 0.0, (error.strerror or "unusable").lower()
        if problem:
            # Network file systems, for example, may have no locks.
            raise _unusable(path, f"its file system gives no lock: {problem}")
        if left <= 0:
            name = os.path.join(path, NAME)
            holder = _holder(lock)
            whose = f"process {holder} holds it" if holder else f"fuser {name} names its process"
            whose += _noted(lock, holder)
            raise StateUnusable(
                Advice(
                    f"Another bootstrap run holds {name} and did not end within {patience.text}."
                    " Nothing was sent.",
                    (
                        f"Another run is at work on this host: {whose}.",
                        "An ansible-playbook was killed a moment ago: its module ends within 15"
                        " seconds.",
                    ),
                    ("Wait for the other run to end.", RERUN),
                ),
                code="bootstrap_locked",
            )
        sleep(min(_POLL_SECONDS, left))


def note_phase(directory: int, phase: str, now: datetime) -> None:
    """Note in the lock, which the caller holds, the phase its run begins; for messages only."""
    with contextlib.suppress(OSError):
        lock = os.open(NAME, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        try:
            line = f"{os.getpid()} in phase {phase} since {as_utc(now)}\n".encode()
            os.pwrite(lock, line, 0)
            os.ftruncate(lock, len(line))
        finally:
            os.close(lock)


def _noted(lock: int, holder: int | None) -> str:
    try:
        line = os.pread(lock, _LONGEST_NOTE, 0).decode("ascii", errors="replace").strip()
    except OSError:
        return ""
    note = _NOTE.fullmatch(line)
    # A run that was killed leaves its note behind, and one in check mode writes none.
    return f", {note[2]}" if note and int(note[1]) == holder else ""


def _holder(lock: int) -> int | None:
    """The process that holds the lock; None where the host does not say (proc(5))."""
    status = os.fstat(lock)
    place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    try:
        with open("/proc/locks", encoding="ascii", errors="replace") as locks:
            for line in locks:
                fields = line.split()
                # 1: FLOCK ADVISORY WRITE 1234 fd:01:5678 0 EOF; "->" marks one that waits.
                if len(fields) > 5 and fields[1] == "FLOCK" and fields[5] == place:
                    return int(fields[4]) if fields[4].isdigit() and fields[4] != "0" else None
    except OSError:
        pass
    return None


__all__ = ["NAME", "is_locked", "locked_state_dir", "note_phase", "open_state_dir"]
