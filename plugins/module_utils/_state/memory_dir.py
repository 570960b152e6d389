# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A private directory in memory: the only place where a secret may be in a file."""

from __future__ import annotations

import ctypes
import os
import platform
import pwd
import stat
import sys
from collections.abc import Sequence

from .._errors import ConfigError

# linux/magic.h
_IN_MEMORY = {0x01021994: "tmpfs", 0x858458F6: "ramfs"}
_PARENTS = ("/run", "/dev/shm")  # noqa: S108 (checked to be in memory, and private, before use)
_NAME = "spike-bootstrap"
_OPTION = "runtime_dir"
_ON_DISK = "is on a disk, where the root key would outlive the run"
_REMEDY = "give a directory on tmpfs, such as /run/spike-bootstrap, that the running user owns"


def default_memory_dir(parents: Sequence[str] = _PARENTS) -> str:
    """``spike-bootstrap`` in the first of ``parents`` that is in memory.

    Raises ConfigError where none does.
    """
    for parent in parents:
        if lies_in_memory(parent):
            return os.path.join(parent, _NAME)
    raise ConfigError(_OPTION, f"none of {', '.join(parents)} is in memory", _REMEDY)


def lies_in_memory(path: str) -> bool:
    """Whether ``path`` is a directory on tmpfs or ramfs that the running user can open."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return _in_memory(descriptor)
    finally:
        os.close(descriptor)


def open_memory_dir(path: str, *, create: bool) -> int | None:
    """Open the private directory ``path`` and return its descriptor, which the caller closes.

    It is made, with mode 0700, where ``create`` says so; else one that is missing and could be made
    gives None. Raises ConfigError unless it is in memory, or would, belongs to the running user,
    is closed to everybody else, and is not a symbolic link.
    """
    # A slash at the end would follow the link that O_NOFOLLOW refuses.
    path = os.path.normpath(path)
    remedy = _REMEDY
    try:
        if create:
            try:
                os.mkdir(path, 0o700)
            except FileExistsError:
                # Whatever it is, it is checked below.
                return _open_checked(path)
            return _open_made(path)
        return _open_checked(path)
    except FileNotFoundError:
        problem = _problem_of_parent(os.path.dirname(path))
        if not problem and not create:
            return None
        problem = problem or "it was removed a moment ago"
    except PermissionError:
        remedy = _whose(path) or _REMEDY
        problem = f"permission denied for {_user(os.geteuid())}"
    except OSError as error:
        # O_NOFOLLOW and O_DIRECTORY: ELOOP or ENOTDIR for a link, by kernel version.
        linked = os.path.islink(path)
        problem = "it is a symbolic link" if linked else (error.strerror or "unusable").lower()
    raise ConfigError(_OPTION, f"{path} cannot be used: {problem}", remedy)


def _open_made(path: str) -> int:
    try:
        return _open_checked(path)
    except ConfigError:
        # It was made a moment ago, on a disk.
        os.rmdir(path)
        raise


def _whose(path: str) -> str:
    try:
        owner = os.lstat(path).st_uid
    except FileNotFoundError:
        return f"let an administrator make it with install -d -m 0700 -o {os.geteuid()} {path}"
    except OSError:
        return ""
    return _of_another(owner) if owner != os.geteuid() else ""


def _of_another(owner: int) -> str:
    return (
        f"run the task as {_user(owner)} (become_user), to whom it belongs: it may hold the key of"
        " that user's unfinished run; or, if no run of that user can have made it, let an"
        " administrator remove it"
    )


def _user(number: int) -> str:
    try:
        return f"{pwd.getpwuid(number).pw_name} (user id {number})"
    except KeyError:
        return f"user id {number}"


def _problem_of_parent(path: str) -> str:
    if not os.path.isdir(path):
        return "its parent directory does not exist"
    # Of one that may not be read, the one that makes the directory will see.
    known = os.access(path, os.R_OK)
    return _ON_DISK if known and not lies_in_memory(path) else ""


def _open_checked(path: str) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    problem, remedy = _problem(descriptor, path)
    if problem:
        os.close(descriptor)
        raise ConfigError(_OPTION, f"{path} {problem}", remedy)
    return descriptor


def _problem(descriptor: int, path: str) -> tuple[str, str]:
    """What is wrong with the directory, and what to do; empty where nothing is."""
    status = os.fstat(descriptor)
    if not _in_memory(descriptor):
        return _ON_DISK, _REMEDY
    if status.st_uid != os.geteuid():
        return f"is not for {_user(os.geteuid())}", _of_another(status.st_uid)
    mode = stat.S_IMODE(status.st_mode)
    if mode & stat.S_ISVTX or mode & 0o007 == 0o007:
        return f"is everybody's (mode {mode:04o})", _REMEDY
    if mode & 0o077:
        return f"is open to others (mode {mode:04o})", f"close it with chmod 0700 {path}"
    return "", ""


def _in_memory(descriptor: int) -> bool:
    return _file_system_magic(descriptor) in _IN_MEMORY


def _file_system_magic(descriptor: int) -> int:
    # Python's os.statvfs leaves out f_type, statfs(2)'s first field.
    buffer = ctypes.create_string_buffer(512)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.fstatfs(descriptor, buffer) != 0:
        return 0
    # The only architecture on which f_type is not a long.
    width = 4 if platform.machine() == "s390x" else ctypes.sizeof(ctypes.c_long)
    return int.from_bytes(buffer.raw[:width], sys.byteorder) & 0xFFFFFFFF


__all__ = ["default_memory_dir", "lies_in_memory", "open_memory_dir"]
