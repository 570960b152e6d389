# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a Go program says of itself: with which CIRCL it splits a root key.

Source: Go's debug/buildinfo: a line for each module that a program was built with.
"""

from __future__ import annotations

import mmap
import re

# The module, its version, and the tab before its checksum; "=>" gives what was built in its place.
_CIRCL = re.compile(rb"\ndep\tgithub\.com/cloudflare/circl\tv(\d+)\.(\d+)\.(\d+)[^\n]*(\n=>)?")
_NEW_SPLIT = (1, 6, 2)


def share_scheme(path: str) -> str | None:
    """How the program at ``path`` splits a root key; None where it does not say.

    Raises OSError where it cannot be read.
    """
    with open(path, "rb") as file:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            found = _CIRCL.search(content)
            *numbers, replaced = found.groups() if found is not None else (None,)
    if not numbers or replaced:
        return None
    version = tuple(int(number) for number in numbers)
    return "circl-1.6.2" if version >= _NEW_SPLIT else "circl-1.6.1"


__all__ = ["share_scheme"]
