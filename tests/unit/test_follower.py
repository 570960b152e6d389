# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A look at the lines of a run, in a process of its own, as on a target."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._entry.live import LiveLines
from ansible_collections.dayzero.spike.plugins.plugin_utils import _follower
from ansible_collections.dayzero.spike.plugins.plugin_utils._follower import MORE, NOT_YET, OVER

_PATIENCE_SECONDS = 60


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "fifo"


@pytest.fixture
def live(path: Path) -> Iterator[LiveLines]:
    live = LiveLines(str(path))
    live.open()
    yield live
    live.close()


def start(path: Path, seen: bool = False) -> subprocess.Popen[str]:
    program = inspect.getsource(_follower)
    words = [sys.executable, "-I", "-S", "-c", program, str(path), "seen" if seen else "new"]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end(look: subprocess.Popen[str]) -> tuple[int, list[str]]:
    output, errors = look.communicate(timeout=_PATIENCE_SECONDS)
    assert errors == ""
    return look.returncode, output.splitlines()


def look(path: Path, seen: bool = False) -> tuple[int, list[str]]:
    return end(start(path, seen))


def test_lines_that_are_there_are_seen_at_once(path: Path, live: LiveLines) -> None:
    live.tell("one")
    live.tell("two")
    assert look(path) == (MORE, ["one", "two"])


def test_the_next_line_is_waited_for(path: Path, live: LiveLines) -> None:
    waiting = start(path)
    assert waiting.poll() is None
    live.tell("later")
    assert end(waiting) == (MORE, ["later"])


def test_a_line_between_two_looks_is_not_lost(path: Path, live: LiveLines) -> None:
    live.tell("one")
    assert look(path) == (MORE, ["one"])
    live.tell("two")
    assert look(path, seen=True) == (MORE, ["two"])


def test_a_run_that_ends_ends_the_look(path: Path, live: LiveLines) -> None:
    live.tell("first")
    assert look(path) == (MORE, ["first"])
    waiting = start(path, seen=True)
    live.close()
    assert end(waiting) == (OVER, [])


def test_what_was_seen_before_and_is_gone_is_over(path: Path) -> None:
    assert look(path, seen=True) == (OVER, [])


def test_a_run_that_has_not_begun_is_told_apart(path: Path) -> None:
    assert look(path) == (NOT_YET, [])


def test_a_run_that_begins_while_it_is_looked_for_is_found(path: Path) -> None:
    waiting = start(path)
    live = LiveLines(str(path))
    live.open()
    live.tell("here")
    assert end(waiting) == (MORE, ["here"])
    live.close()


def test_what_a_killed_run_leaves_is_read_and_removed(path: Path) -> None:
    # As SIGKILL ends it: its last line is there, and nobody removes the FIFO.
    text = (
        "import os, sys, signal\n"
        "from ansible_collections.dayzero.spike.plugins.module_utils._entry.live import LiveLines\n"
        "live = LiveLines(sys.argv[1]); live.open(); live.tell('last')\n"
        "sys.stdin.read(1)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.environ["ANSIBLE_COLLECTIONS_PATH"]}
    run = subprocess.Popen(
        [sys.executable, "-c", text, str(path)], stdin=subprocess.PIPE, env=environment
    )
    assert look(path) == (MORE, ["last"])
    assert run.stdin is not None
    run.stdin.close()
    run.wait(_PATIENCE_SECONDS)
    assert look(path, seen=True) == (OVER, [])
    assert not path.exists()


def test_a_reader_that_is_gone_ends_the_look(path: Path, live: LiveLines) -> None:
    waiting = start(path)
    assert waiting.stdout is not None
    waiting.stdout.close()
    began = time.monotonic()
    assert waiting.wait(_PATIENCE_SECONDS) != NOT_YET
    assert time.monotonic() - began < 5
    assert waiting.stderr is not None
    waiting.stderr.close()


def test_what_somebody_else_has_put_there_is_not_read(path: Path) -> None:
    path.write_text("not of a run\n")
    assert look(path) == (OVER, [])
    assert path.exists()


def test_a_link_is_not_followed(path: Path, live: LiveLines, tmp_path: Path) -> None:
    live.tell("one")
    link = tmp_path / "link"
    link.symlink_to(path)
    assert look(link) == (NOT_YET, [])
