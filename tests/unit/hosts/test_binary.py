# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Go program says with which CIRCL it splits a root key."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._hosts.binary import share_scheme


def program(path: Path, *lines: str) -> str:
    head = b"\x7fELF" + b"\0" * 5000 + b"path\tgithub.com/spiffe/spike/app/nexus/cmd\n"
    path.write_bytes(head + "".join(f"{line}\n" for line in lines).encode() + b"\0" * 5000)
    return str(path)


@pytest.mark.parametrize(
    ("version", "scheme"),
    [
        ("v1.6.2", "circl-1.6.2"),
        ("v1.6.1", "circl-1.6.1"),
        ("v1.3.7", "circl-1.6.1"),
        ("v1.10.0", "circl-1.6.2"),
        ("v2.0.0", "circl-1.6.2"),
    ],
)
def test_the_version_of_circl_says_it(version: str, scheme: str, tmp_path: Path) -> None:
    line = f"dep\tgithub.com/cloudflare/circl\t{version}\th1:abc="
    assert share_scheme(program(tmp_path / "nexus", line)) == scheme


def test_a_program_that_does_not_say_it_is_not_guessed_at(tmp_path: Path) -> None:
    assert share_scheme(program(tmp_path / "nexus", "dep\tgithub.com/other/circl\tv1.6.2")) is None


def test_a_module_that_was_replaced_says_nothing(tmp_path: Path) -> None:
    lines = ("dep\tgithub.com/cloudflare/circl\tv1.6.1", "=>\tgithub.com/mine/circl\tv1.0.0")
    assert share_scheme(program(tmp_path / "nexus", *lines)) is None
