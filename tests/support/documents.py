# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The examples in the documentation: what is YAML, and what is a command."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_DIRECTIVE = re.compile(r"^\.\. code-block:: (\w+)\n\n((?:   .*\n|\n)+)", re.MULTILINE)
# Formulas and pictures, with nothing to type.
_NOTHING_TO_TYPE = {"docs/design.md", "docs/spike-protocol.md"}
_INDENTED = re.compile(r"(?:^    .*\n|^\n(?=    ))+", re.MULTILINE)


@dataclass(frozen=True)
class Example:
    """One example, and where it is."""

    document: str
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        """How a test names it."""
        return f"{self.document}:{self.line}"


def documents() -> list[Path]:
    """What people write; what is generated of it has the same examples."""
    written = [
        REPOSITORY / "README.md",
        *(REPOSITORY / "docs").glob("*.md"),
        *(REPOSITORY / "roles").glob("*/README.md"),
    ]
    pages = (REPOSITORY / "docs" / "docsite" / "rst").glob("*.rst")
    by_hand = [page for page in pages if "Generated from" not in page.read_text()[:500]]
    return sorted([*written, *by_hand])


def examples() -> Iterator[Example]:
    """All blocks of code in all documents."""
    for path in documents():
        name, text = path.relative_to(REPOSITORY).as_posix(), path.read_text()
        found = _DIRECTIVE.finditer(text) if path.suffix == ".rst" else _FENCE.finditer(text)
        for block in found:
            line = text.count("\n", 0, block.start()) + 1
            yield Example(name, line, block[1], textwrap.dedent(block[2]))
        if path.suffix == ".md":
            # A list's lines are no code, however far they are indented.
            without = _FENCE.sub(lambda block: "\n" * block[0].count("\n"), text)
            for block in _INDENTED.finditer(without):
                line = without.count("\n", 0, block.start()) + 1
                yield Example(name, line, "text", textwrap.dedent(block[0]))


def commands() -> dict[str, str]:
    """The command lines of all examples, each with the first place where it is."""
    found: dict[str, str] = {}
    for example in examples():
        if example.language not in ("text", "bash") or example.document in _NOTHING_TO_TYPE:
            continue
        lines = example.text.replace("\\\n", " ").splitlines()
        # In a transcript only what follows the prompt was typed.
        typed = [line[2:] for line in lines if line.startswith("$ ")] or lines
        for line in typed:
            command = " ".join(line.partition("  # ")[0].split())
            if command:
                found.setdefault(command, example.place)
    return found


__all__ = ["REPOSITORY", "Example", "commands", "documents", "examples"]
