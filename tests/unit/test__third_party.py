# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ansible_collections.dayzero.spike.tests.support.interpreter import run_python

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = ROOT / "plugins"
LIBRARIES = ("cryptography", "requests", "urllib3", "spiffe", "grpc")
ROOMS = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for part in ("module_utils", "modules")
    for path in (PLUGINS / part).rglob("*.py")
)
# Imports every file in turn, in a Python that has none of the libraries.
WITHOUT_THEM = f"""
import importlib, sys

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {LIBRARIES!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, NotInstalled())
for room in sys.argv[1:]:
    importlib.import_module(f"ansible_collections.dayzero.spike.{{room}}")
print("imported", len(sys.argv) - 1)
"""


def test_every_file_can_be_imported_where_no_library_is_installed() -> None:
    assert run_python(WITHOUT_THEM, *ROOMS).strip() == f"imported {len(ROOMS)}"


@pytest.mark.parametrize("room", ROOMS)
def test_libraries_are_imported_in_one_place(room: str) -> None:
    text = (ROOT / Path(*room.split("."))).with_suffix(".py").read_text()
    at_the_top = re.findall(rf"(?m)^(?:from|import) ({'|'.join(LIBRARIES)})\b", text)
    assert at_the_top == []
