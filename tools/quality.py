# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a command found last, kept in ``docs/quality.md``: ``make sanity WRITE=1`` and its like."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "quality.md"
WRITE = "--write"


def keep(command: str, lines: Sequence[str], page: Path = PAGE) -> None:
    """Replace the section of ``page`` that is headed with ``command`` by ``lines`` and the date."""
    today = time.strftime("%Y-%m-%d", time.gmtime())
    shown = "\n".join(lines)
    section = f"## `{command}`\n\n{today}:\n\n```console\n$ {command}\n{shown}\n```\n"
    text = page.read_text()
    heading = rf"^## `{re.escape(command)}`\n.*?(?=^## |\Z)"
    found = re.search(heading, text, re.MULTILINE | re.DOTALL)
    if found is None:
        raise LookupError(f"{page} has no section '{command}'")
    rest = text[found.end() :]
    page.write_text(text[: found.start()] + section + (f"\n{rest}" if rest else ""))
