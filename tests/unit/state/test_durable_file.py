# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._state.durable_file import (
    read_file,
    replace_file,
    set_aside,
    temporary_name,
)
from ansible_collections.dayzero.spike.plugins.module_utils._steps import ignore_step
from ansible_collections.dayzero.spike.tests.support.directories import Crash, Steps, opened

NAME = "file"
STEPS = [
    "file: before write",
    "file: written",
    "file: before rename",
    "file: renamed",
    "file: durable",
]
ASIDE = "file-aside"
ASIDE_STEPS = ["file: before it is set aside", "file: set aside"]


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    with opened(tmp_path) as descriptor:
        yield descriptor


def replace(directory: int, content: bytes, step: Callable[[str], None] = ignore_step) -> None:
    replace_file(directory, NAME, content, mode=0o640, step=step)


def content_of(directory: int, most: int = 100) -> bytes | None:
    content = read_file(directory, NAME, most)
    return None if content is None else bytes(content)


def test_a_file_is_made_and_read_back(directory: int, tmp_path: Path) -> None:
    replace(directory, b"content")
    assert content_of(directory) == b"content"
    assert os.listdir(tmp_path) == [NAME]


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777])
def test_a_file_has_its_mode_whatever_the_umask_is(
    directory: int, tmp_path: Path, umask: int
) -> None:
    before = os.umask(umask)
    try:
        replace(directory, b"content")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o640


def test_the_steps_are_told_in_their_order(directory: int) -> None:
    steps = Steps()
    replace(directory, b"content", steps)
    assert steps.names == STEPS


@pytest.mark.parametrize("crash_at", range(1, len(STEPS) + 1), ids=STEPS)
def test_after_a_crash_the_file_is_the_old_or_the_new_one(directory: int, crash_at: int) -> None:
    replace(directory, b"old content")
    with pytest.raises(Crash):
        replace(directory, b"new", Steps(crash_at))
    renamed = crash_at > STEPS.index("file: before rename") + 1
    assert content_of(directory) == (b"new" if renamed else b"old content")


@pytest.mark.parametrize("crash_at", range(1, len(STEPS) + 1), ids=STEPS)
def test_what_a_crash_left_beside_the_file_is_overwritten(
    directory: int, tmp_path: Path, crash_at: int
) -> None:
    with pytest.raises(Crash):
        replace(directory, b"a longer content that was never finished", Steps(crash_at))
    replace(directory, b"new")
    assert content_of(directory) == b"new"
    assert os.listdir(tmp_path) == [NAME]


def test_the_content_is_on_disk_before_the_rename_and_the_rename_before_the_end(
    directory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def noted(name: str) -> Callable[..., Any]:
        real = getattr(os, name)

        def call(first: Any, *arguments: Any, **options: Any) -> Any:
            what = "directory" if first == directory else "file"
            calls.append(name if name == "rename" else f"{name} {what}")
            return real(first, *arguments, **options)

        return call

    for name in ("write", "fsync", "rename"):
        monkeypatch.setattr(os, name, noted(name))
    replace(directory, b"content")
    assert calls == ["write file", "fsync file", "rename", "fsync directory"]


def test_a_write_that_takes_only_a_part_is_continued(
    directory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:3]))
    replace(directory, b"content of some length")
    assert content_of(directory) == b"content of some length"


def test_a_full_disk_leaves_the_old_file(directory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    replace(directory, b"old")
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space left"):
            replace(directory, b"new")
    assert content_of(directory) == b"old"


def test_a_link_beside_the_file_is_not_written_through(directory: int, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"untouched")
    (tmp_path / temporary_name(NAME)).symlink_to(elsewhere)
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
        replace(directory, b"new")
    assert elsewhere.read_bytes() == b"untouched"


def test_a_missing_file_is_none(directory: int) -> None:
    assert read_file(directory, NAME, 100) is None


def test_a_link_is_not_read(directory: int, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"content")
    (tmp_path / NAME).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
        read_file(directory, NAME, 100)


@pytest.mark.parametrize("most", [0, 1, 6, 7, 8])
def test_no_more_is_read_than_asked_for(directory: int, most: int) -> None:
    replace(directory, b"content")
    assert content_of(directory, most) == b"content"[:most]


def test_no_descriptor_is_left_open(directory: int) -> None:
    replace(directory, b"first")
    before = len(os.listdir("/proc/self/fd"))
    replace(directory, b"second")
    read_file(directory, NAME, 100)
    with pytest.raises(Crash):
        replace(directory, b"third", Steps(2))
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_file_that_is_set_aside_has_its_content_under_the_other_name_only(
    directory: int, tmp_path: Path
) -> None:
    replace(directory, b"content")
    steps = Steps()
    set_aside(directory, NAME, ASIDE, step=steps)
    assert os.listdir(tmp_path) == [ASIDE]
    assert (tmp_path / ASIDE).read_bytes() == b"content"
    assert steps.names == ASIDE_STEPS


@pytest.mark.parametrize("kind", ["a file", "a link to nothing"])
def test_what_has_the_other_name_already_is_not_replaced(
    directory: int, tmp_path: Path, kind: str
) -> None:
    replace(directory, b"content")
    if kind == "a file":
        (tmp_path / ASIDE).write_bytes(b"earlier")
    else:
        (tmp_path / ASIDE).symlink_to("nothing")
    steps = Steps()
    with pytest.raises(FileExistsError):
        set_aside(directory, NAME, ASIDE, step=steps)
    assert content_of(directory) == b"content"
    assert steps.names == []
    if kind == "a file":
        assert (tmp_path / ASIDE).read_bytes() == b"earlier"


def test_a_file_that_is_not_there_cannot_be_set_aside(directory: int) -> None:
    with pytest.raises(FileNotFoundError):
        set_aside(directory, NAME, ASIDE, step=ignore_step)


@pytest.mark.parametrize("crash_at", range(1, len(ASIDE_STEPS) + 1), ids=ASIDE_STEPS)
def test_after_a_crash_the_file_has_one_of_the_two_names(
    directory: int, tmp_path: Path, crash_at: int
) -> None:
    replace(directory, b"content")
    with pytest.raises(Crash):
        set_aside(directory, NAME, ASIDE, step=Steps(crash_at))
    (name,) = os.listdir(tmp_path)
    assert name == (NAME, ASIDE)[crash_at - 1]
    assert (tmp_path / name).read_bytes() == b"content"


def test_the_other_name_is_on_disk_before_the_end(
    directory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace(directory, b"content")
    synced: list[int] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        synced.append(descriptor)
        assert ASIDE in os.listdir(directory)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    set_aside(directory, NAME, ASIDE, step=ignore_step)
    assert synced == [directory]
