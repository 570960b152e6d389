# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Small files that are either the old ones or the new ones, whatever happens in between."""

from __future__ import annotations

import contextlib
import errno
import os

from .._steps import StepHook
from .._uncut import UNCUT


def replace_file(
    directory: int, name: str, content: bytes | bytearray, *, mode: int, step: StepHook
) -> None:
    """Replace file ``name`` in the open directory ``directory`` with ``content``, atomically.

    Written next to it, flushed to disk, renamed, and the rename flushed: after a crash the file is
    whole, the old or the new. A file that an earlier crash left next to it is overwritten: callers
    hold the run's lock. A signal that ends the run leaves none. Raises OSError.
    """
    with UNCUT:
        _replace_file(directory, name, content, mode, step)


def _replace_file(
    directory: int, name: str, content: bytes | bytearray, mode: int, step: StepHook
) -> None:
    beside = temporary_name(name)
    step(f"{name}: before write")
    descriptor = os.open(
        beside,
        os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC,
        mode,
        dir_fd=directory,
    )
    try:
        os.fchmod(descriptor, mode)
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
        step(f"{name}: written")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    step(f"{name}: before rename")
    os.rename(beside, name, src_dir_fd=directory, dst_dir_fd=directory)
    step(f"{name}: renamed")
    os.fsync(directory)
    step(f"{name}: durable")


def set_aside(directory: int, name: str, aside: str, *, step: StepHook) -> None:
    """Give file ``name`` the name ``aside``, durably, unless there is such a file.

    Raises OSError, FileExistsError included. Callers hold the run's lock.
    """
    with contextlib.suppress(FileNotFoundError):
        os.stat(aside, dir_fd=directory, follow_symlinks=False)
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    step(f"{name}: before it is set aside")
    os.rename(name, aside, src_dir_fd=directory, dst_dir_fd=directory)
    step(f"{name}: set aside")
    os.fsync(directory)


def make_directory(path: str, *, mode: int) -> None:
    """Make the directory ``path``, and what is missing above it, unless it is there.

    Each is flushed into the one above: what is written into a directory that a power cut takes away
    was not durable. Raises OSError.
    """
    if os.path.isdir(path):
        return
    above = os.path.dirname(path.rstrip("/"))
    make_directory(above, mode=mode)
    # Another run may have been first; where it is no directory, the one that opens it sees that.
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, mode)
    descriptor = os.open(above, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_file(directory: int, name: str, most_bytes: int) -> bytearray | None:
    """The content of a file in an open directory, up to ``most_bytes``; None if there is none.

    Raises OSError, also for a symbolic link.
    """
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        content = bytearray(most_bytes)
        length = 0
        while length < most_bytes:
            count = file.readinto(memoryview(content)[length:])
            if not count:
                break
            length += count
        del content[length:]
        return content


def temporary_name(name: str) -> str:
    """The name under which ``replace_file`` writes before it renames."""
    return f".{name}.new"


__all__ = [
    "make_directory",
    "read_file",
    "replace_file",
    "set_aside",
    "temporary_name",
]
