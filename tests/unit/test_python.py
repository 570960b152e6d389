# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import subprocess
import sys

import pytest
from ansible_collections.dayzero.spike.plugins.plugin_utils._python import too_old


def test_the_python_of_now_is_new_enough() -> None:
    def run(program: str) -> tuple[int, list[str]]:
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout.splitlines()

    assert too_old(run) == ""


@pytest.mark.parametrize("version", ["3 8 20", "3 6 8", "2 7 18"])
def test_one_that_is_too_old_is_named_with_what_to_do(version: str) -> None:
    words = too_old(lambda program: (0, ["/usr/bin/python3", version]))
    assert f"/usr/bin/python3, is {version.replace(' ', '.')}, and" in words
    assert "needs 3.9 or newer. Set ansible_python_interpreter" in words


@pytest.mark.parametrize("lines", [[], ["sh: python3: not found"], ["x", "not a version"]])
def test_where_it_cannot_be_asked_nothing_is_said(lines: list[str]) -> None:
    assert too_old(lambda program: (127, lines)) == ""
