# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the outcome of a command gets into ``docs/quality.md``."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = ("make galaxy", "make sanity", "make matrix")


@pytest.fixture(scope="module")
def keep() -> Any:
    return runpy.run_path(str(ROOT / "tools" / "quality.py"))["keep"]


@pytest.fixture
def page(tmp_path: Path) -> Path:
    copy = tmp_path / "quality.md"
    copy.write_text((ROOT / "docs" / "quality.md").read_text())
    return copy


@pytest.mark.parametrize("command", COMMANDS)
def test_a_section_is_replaced_and_the_others_stay(command: str, keep: Any, page: Path) -> None:
    def others() -> list[str]:
        sections = re.split(r"^(?=## )", page.read_text(), flags=re.MULTILINE)
        return [text.strip() for text in sections if not text.startswith(f"## `{command}`")]

    before = others()
    keep(command, ["first \\1 line", "2 passed, 0 failed"], page)
    keep(command, ["second line", "3 passed, 0 failed"], page)
    assert re.search(
        rf"^## `{command}`\n\n\d{{4}}-\d\d-\d\d:\n\n```console\n\$ {command}\n"
        r"second line\n3 passed, 0 failed\n```$",
        page.read_text(),
        re.MULTILINE,
    )
    assert "first" not in page.read_text()
    assert others() == before


def test_a_command_without_a_section_is_refused(keep: Any, page: Path) -> None:
    with pytest.raises(LookupError, match="no section 'make bread'"):
        keep("make bread", [], page)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_page_shows_what_every_command_found(command: str) -> None:
    shown = (ROOT / "docs" / "quality.md").read_text().partition(f"$ {command}\n")[2]
    assert re.search(r"^\d+ passed, 0 failed", shown.partition("```")[0], re.MULTILINE)
