# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What this process must not leave behind, and what it may use."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
from datetime import datetime, timezone

_PR_SET_DUMPABLE = 4  # linux/prctl.h


def forbid_core_dumps() -> None:
    """From now on a crash writes no image of the memory, and no other process may attach.

    Both are needed: the limit of 0 does not hold where the kernel pipes cores to a program
    (core(5)). Afterwards an ordinary user's process cannot open its own /proc/self/fd, so whatever
    needs that comes first.
    """
    # Where a sandbox forbids this one, the kernel still makes no dump of what is not dumpable.
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def allow_open_files() -> None:
    """Allow as many open files as the host lets this process have.

    A thousand keepers take a connection each, and one more for every attempt that runs next to
    another; the usual soft limit is 1024.
    """
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Where a sandbox forbids it, the usual limit may do; otherwise a cause tells.
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def processors_are_busy() -> bool:
    """Whether more wants to run now than this host has processors (proc(5), loadavg)."""
    try:
        # As bytes: a codec is loaded, which takes a descriptor, and a run may have none left.
        with open("/proc/loadavg", "rb") as load:
            running = int(load.read().split()[3].partition(b"/")[0])
    except (OSError, ValueError, IndexError):
        return False
    return running > (os.cpu_count() or 1)


def booted_at() -> datetime | None:
    """When this host was started; None where it does not say (proc(5), btime)."""
    try:
        with open("/proc/stat", encoding="ascii") as stat:
            for line in stat:
                if line.startswith("btime "):
                    return datetime.fromtimestamp(int(line.split()[1]), timezone.utc)
    except (OSError, ValueError):
        pass
    return None


__all__ = ["allow_open_files", "booted_at", "forbid_core_dumps", "processors_are_busy"]
