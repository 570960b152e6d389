# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pages and pictures of the user guide that are made by a script."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"
LABEL = "ansible_collections.dayzero.spike.docsite"


@pytest.fixture(scope="module")
def of_markdown() -> Any:
    return runpy.run_path(str(TOOLS / "rst.py"))["of_markdown"]


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        ("# A `code` title", f".. _{LABEL}.page:\n\nA code title\n============"),
        ("## What is *it*?", f".. _{LABEL}.page.what_is_it:"),
        ("see `x`s", "see ``x``\\ s"),
        ("**b `c`** and *i*", "**b c** and *i*"),
        ("a | b * c", "a \\| b \\* c"),
        ("[there](journal.md#the-lock)", f":ref:`there <{LABEL}.journal.the_lock>`"),
        ("[here](#force)", f":ref:`here <{LABEL}.page.force>`"),
        (
            "[role](../roles/spike_bootstrap/README.md)",
            ":ref:`role <ansible_collections.dayzero.spike.spike_bootstrap_role>`",
        ),
        ("[out](https://spike.ist/)", "`out <https://spike.ist/>`__"),
        ("| a | b |\n|---|---|\n| 1 | 2 |", "   * - a\n     - b\n   * - 1\n     - 2"),
        ("    typed\n\n    more", ".. code-block:: text\n\n   typed\n\n   more"),
        ("```yaml\na: 1\n```", ".. code-block:: yaml\n\n   a: 1"),
        ("- one\n  more\n- two", "- one more\n- two"),
        ("1. one\n2. two", "1. one\n2. two"),
    ],
)
def test_markdown_becomes_rst(markdown: str, expected: str, of_markdown: Any) -> None:
    assert expected in of_markdown("page.md", markdown + "\n")


@pytest.mark.parametrize("picture", ["schedule", "rerun"])
def test_a_picture_is_whole_and_has_a_title(picture: str) -> None:
    drawn = runpy.run_path(str(TOOLS / "pictures.py"))[picture]()
    root = ElementTree.fromstring(drawn)
    title = root.find("{http://www.w3.org/2000/svg}title")
    assert title is not None
    assert title.text


def test_the_picture_of_the_schedule_shows_the_starts_of_the_defaults() -> None:
    drawn = runpy.run_path(str(TOOLS / "pictures.py"))["schedule"]()
    labels = [element.text for element in ElementTree.fromstring(drawn).iter() if element.text]
    place = labels.index("2s doubling to 30s")
    assert labels[place + 1 : place + 6] == ["0", "2", "6", "14", "28"]
