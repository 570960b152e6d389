# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import stat
from pathlib import Path

from ansible_collections.dayzero.spike.plugins.module_utils._entry.live import LiveLines


def _read(path: Path) -> tuple[int, bytes]:
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    return reader, os.read(reader, 1 << 20)


def test_a_line_waits_for_its_reader(tmp_path: Path) -> None:
    live = LiveLines(str(tmp_path / "fifo"))
    live.open()
    live.tell("first")
    live.tell("second")
    reader, lines = _read(tmp_path / "fifo")
    assert lines == b"first\nsecond\n"
    live.close()
    assert os.read(reader, 1) == b""
    os.close(reader)


def test_it_is_the_users_alone_and_gone_afterwards(tmp_path: Path) -> None:
    live = LiveLines(str(tmp_path / "fifo"))
    live.open()
    (path,) = tmp_path.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    live.close()
    live.close()
    live.tell("after the end")
    assert list(tmp_path.iterdir()) == []


def test_the_lines_of_a_thousand_keepers_wait_for_their_reader(tmp_path: Path) -> None:
    live = LiveLines(str(tmp_path / "fifo"))
    live.open()
    line = f"Reaching keeper 1 at https://{'k' * 60}:8443... (attempt 1/5)"
    for _number in range(1000):
        live.tell(line)
    reader, lines = _read(tmp_path / "fifo")
    assert lines.decode().splitlines() == [line] * 1000
    os.close(reader)
    live.close()


def test_a_reader_that_does_not_read_costs_the_run_nothing_and_has_no_gap(tmp_path: Path) -> None:
    live = LiveLines(str(tmp_path / "fifo"))
    live.open()
    reader = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    numbers = range(2000)
    for number in numbers:
        live.tell(f"{number} {'x' * 1000}")
    live.close()
    lines = []
    while chunk := os.read(reader, 1 << 20):
        lines.append(chunk)
    os.close(reader)
    told = [int(line.split()[0]) for line in b"".join(lines).splitlines()]
    assert 0 < len(told) < len(numbers)
    assert told == list(numbers)[: len(told)]


def test_a_place_that_is_not_there_is_no_failure(tmp_path: Path) -> None:
    live = LiveLines(str(tmp_path / "missing" / "fifo"))
    live.open()
    live.tell("nobody reads it")
    live.close()


def test_without_a_reader_there_is_no_fifo() -> None:
    live = LiveLines(None)
    live.open()
    live.tell("nobody reads it")
    live.close()
