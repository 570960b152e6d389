# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What this process must not leave behind, and what it may use."""

from __future__ import annotations

import ctypes
import resource

_PR_SET_DUMPABLE = 4  # linux/prctl.h


def forbid_core_dumps() -> None:
    """From now on a crash writes no image of the memory, and no other process may attach.

    Both are needed: the limit of 0 does not hold where the kernel pipes cores to a program
    (core(5)). Afterwards an ordinary user's process cannot open its own /proc/self/fd, so whatever
    needs that comes first.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def allow_open_files() -> None:
    """Allow as many open files as the host lets this process have.

    A thousand keepers take a connection each, and one more for every attempt that runs beside
    another; the usual soft limit is 1024.
    """
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


__all__ = ["allow_open_files", "forbid_core_dumps"]
