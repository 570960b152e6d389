# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import io
import json
from datetime import datetime, timezone
from pathlib import Path

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils import _process
from ansible_collections.dayzero.spike.plugins.module_utils._process import (
    booted_at,
    processors_are_busy,
)
from ansible_collections.dayzero.spike.tests.support.interpreter import run_python

PROBE = """
    import ctypes, json, resource
    from ansible_collections.dayzero.spike.plugins.module_utils._process import forbid_core_dumps

    PR_GET_DUMPABLE = 3

    def look():
        dumpable = ctypes.CDLL(None).prctl(PR_GET_DUMPABLE, 0, 0, 0, 0)
        return [dumpable, *resource.getrlimit(resource.RLIMIT_CORE)]

    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    before = look()
    forbid_core_dumps()
    forbid_core_dumps()
    print(json.dumps([before, look()]))
"""


def test_a_process_is_not_dumpable_any_more() -> None:
    before, after = json.loads(run_python(PROBE))
    assert before[0] == 1
    assert after[0] == 0


def test_a_process_cannot_raise_its_core_limit_again() -> None:
    _before, after = json.loads(run_python(PROBE))
    assert after[1:] == [0, 0]


def test_a_host_that_refuses_limits_still_lets_a_run_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_limit: int, _values: tuple[int, int]) -> None:
        raise PermissionError

    monkeypatch.setattr(_process.resource, "setrlimit", refuse)
    _process.allow_open_files()


def test_a_host_tells_when_it_was_started() -> None:
    (line,) = [
        line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime ")
    ]
    booted = booted_at()
    assert booted is not None
    assert booted.timestamp() == int(line.split()[1])
    assert booted.tzinfo is timezone.utc
    assert booted < datetime.now(timezone.utc)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(None, id="not readable"),
        pytest.param("cpu 1 2 3\nctxt 4\n", id="without the line"),
        pytest.param("btime soon\n", id="no number"),
    ],
)
def test_a_host_that_does_not_tell_when_it_was_started_gives_none(
    monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    def read(path: str, *, encoding: str) -> io.StringIO:
        assert path == "/proc/stat"
        if content is None:
            raise PermissionError
        return io.StringIO(content)

    monkeypatch.setattr(_process, "open", read, raising=False)
    assert booted_at() is None


def with_load(monkeypatch: pytest.MonkeyPatch, content: str | None) -> None:
    def read(path: str, mode: str) -> io.BytesIO:
        assert (path, mode) == ("/proc/loadavg", "rb")
        if content is None:
            raise PermissionError
        return io.BytesIO(content.encode())

    monkeypatch.setattr(_process, "open", read, raising=False)
    monkeypatch.setattr(_process.os, "cpu_count", lambda: 2)


@pytest.mark.parametrize(("running", "busy"), [(1, False), (2, False), (3, True), (40, True)])
def test_processors_are_busy_where_more_wants_to_run_than_there_are(
    monkeypatch: pytest.MonkeyPatch, running: int, busy: bool
) -> None:
    with_load(monkeypatch, f"0.52 0.58 0.59 {running}/467 12345\n")
    assert processors_are_busy() is busy


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(None, id="not readable"),
        pytest.param("", id="empty"),
        pytest.param("0.5 0.5 0.5 many/467 1", id="no number"),
    ],
)
def test_processors_of_which_nothing_is_known_are_not_busy(
    monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    with_load(monkeypatch, content)
    assert processors_are_busy() is False
