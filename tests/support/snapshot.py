# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What directories look like, so that a test can say that nothing was touched."""

from __future__ import annotations

import stat
from pathlib import Path

# The mode, when it was last changed (ns), and the content of an ordinary file.
Entry = tuple[int, int, "bytes | None"]


def snapshot(*directories: Path) -> dict[str, Entry]:
    """Each of ``directories`` and everything below them, by path; a missing one has no entry."""
    found: dict[str, Entry] = {}
    for directory in directories:
        if directory.exists():
            for path in (directory, *directory.rglob("*")):
                status = path.lstat()
                content = path.read_bytes() if stat.S_ISREG(status.st_mode) else None
                found[str(path)] = (status.st_mode, status.st_mtime_ns, content)
    return found


__all__ = ["Entry", "snapshot"]
