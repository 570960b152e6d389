# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Nothing of a site is left when it is gone, and nothing of one whose run was killed.

Everything that belongs to a site has its mark: processes have its directory in their environment,
links have it as their alias, mounts are below it. Nothing without a mark is ever touched.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

# In the environment of each process of a site, with the directory of the site.
MARK = "DAYZERO_SPIKE_HOSTS"
_PLACE = Path("/var/tmp")
_PREFIX = "dayzero-spike-hosts-"
# Held by the run that the site belongs to, as long as it lives.
_OWNER = "owner"
_KILL_SECONDS = 20


@contextlib.contextmanager
def site_directory() -> Iterator[Path]:
    """A directory of a site, in memory; all that has its mark is gone afterwards.

    First what runs that were killed have left is removed.
    """
    with locked(_PLACE / f"{_PREFIX}lock"):
        sweep()
        directory = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_PLACE))
        # In memory: a file system that is itself an overlay cannot be the upper layer of another.
        options = ["-o", "mode=0755", "dayzero-spike-hosts"]
        subprocess.run(["mount", "-t", "tmpfs", *options, str(directory)], check=True)
        # It is closed when this process ends, however it ends; children do not inherit it.
        owner = os.open(directory / _OWNER, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(owner, fcntl.LOCK_EX)
    # Should this process be killed, this one sees the end of its input, and removes the site.
    with subprocess.Popen(
        [sys.executable, __file__, str(directory)],
        stdin=subprocess.PIPE,
        start_new_session=True,
    ):
        try:
            yield directory
        finally:
            with _undisturbed():
                remove(directory)
                os.close(owner)


def sweep() -> list[Path]:
    """Remove the sites whose runs are gone, and return what their directories were."""
    return [
        path for path in sorted(_PLACE.glob(f"{_PREFIX}*/")) if _is_stale(path) and remove(path)
    ]


def _is_stale(directory: Path) -> bool:
    try:
        owner = os.open(directory / _OWNER, os.O_RDWR)
    except FileNotFoundError:
        # Killed before the lock, or while it was removed. Nobody else is at this point now.
        return True
    try:
        fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(owner)
    return True


def remove(directory: Path) -> bool:
    """End every process with the mark of a site, then remove its mounts, links and files."""
    _kill(directory)
    unmount_below(directory)
    for link in _links(directory):
        subprocess.run(["ip", "link", "delete", link], check=False, capture_output=True)
    shutil.rmtree(directory, ignore_errors=True)
    return True


def _kill(directory: Path) -> None:
    """The init of a host takes all its processes with it."""
    end = time.monotonic() + _KILL_SECONDS
    while pids := processes(directory):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > end:
            raise AssertionError(f"processes of {directory} that cannot be killed: {pids}")
        # Processes of others have no event that could be waited for.
        time.sleep(0.05)


def processes(directory: Path) -> list[int]:
    """The processes with the mark of a site, without this one and those that have ended."""
    mark = f"{MARK}={directory}".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark in (path / "environ").read_bytes().split(b"\0"):
                found.append(int(path.name))
    return [pid for pid in found if pid != os.getpid()]


def unmount_below(directory: Path) -> None:
    """Unmount the directory and everything below it."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split()[4].encode().decode("unicode_escape") for line in lines]
    for point in reversed(points):
        if Path(point).is_relative_to(directory):
            subprocess.run(["umount", "--lazy", point], check=False, capture_output=True)


def _links(directory: Path) -> list[str]:
    found = []
    for alias in Path("/sys/class/net").glob("*/ifalias"):
        with contextlib.suppress(OSError):
            if alias.read_text().strip() == str(directory):
                found.append(alias.parent.name)
    return found


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait for a lock that others of these programs take too, and hold it."""
    lock = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


@contextlib.contextmanager
def ended_in_order() -> Iterator[None]:
    """SIGTERM and SIGHUP end the block as SIGINT does: by KeyboardInterrupt, with all clean-up."""

    def interrupt(number: int, _frame: object) -> None:
        raise KeyboardInterrupt(signal.Signals(number).name)

    before = {number: signal.signal(number, interrupt) for number in _ENDINGS[1:]}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """A clean-up that an impatient second signal does not cut short: it comes afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDINGS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


__all__ = [
    "MARK",
    "ended_in_order",
    "locked",
    "processes",
    "remove",
    "site_directory",
    "sweep",
    "unmount_below",
]


if __name__ == "__main__":
    sys.stdin.read()
    remove(Path(sys.argv[1]))
