# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import fcntl
import os
import signal
import stat
from pathlib import Path

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._spiffe.scratch_dir import (
    scratch_directory,
)
from ansible_collections.dayzero.spike.tests.support.interpreter import (
    PATIENCE_SECONDS,
    said,
    start_python,
)

PREFIX = "svid-"

OWNER = """
    import sys
    from pathlib import Path
    from ansible_collections.dayzero.spike.plugins.module_utils._spiffe.scratch_dir import (
        scratch_directory,
    )

    with scratch_directory(sys.argv[1], "svid-") as path:
        Path(path, "below").mkdir()
        Path(path, "below", "key").write_text("secret")
        print(path, flush=True)
        sys.stdin.read()
"""


def test_it_is_private_and_gone_afterwards(tmp_path: Path) -> None:
    with scratch_directory(str(tmp_path), PREFIX) as path:
        assert os.listdir(tmp_path) == [os.path.basename(path)]
        assert os.path.basename(path).startswith(PREFIX)
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o700
        Path(path, "file").write_text("secret")
    assert os.listdir(tmp_path) == []


def test_it_is_gone_when_the_block_fails(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        with scratch_directory(str(tmp_path), PREFIX):
            raise KeyError
    assert os.listdir(tmp_path) == []


def test_nothing_stays_open(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    (tmp_path / f"{PREFIX}orphan").mkdir()
    with scratch_directory(str(tmp_path), PREFIX):
        pass
    assert os.listdir("/proc/self/fd") == before


def test_what_a_killed_process_left_is_removed_by_the_next_one(tmp_path: Path) -> None:
    with start_python(OWNER, str(tmp_path)) as owner:
        left = Path(said(owner.stdout))
        owner.kill()
        assert owner.wait(PATIENCE_SECONDS) == -signal.SIGKILL
    assert (left / "below" / "key").read_text() == "secret"
    with scratch_directory(str(tmp_path), PREFIX) as path:
        assert os.listdir(tmp_path) == [os.path.basename(path)]


def test_that_of_a_living_process_is_left_alone(tmp_path: Path) -> None:
    with start_python(OWNER, str(tmp_path)) as owner:
        its = Path(said(owner.stdout))
        with scratch_directory(str(tmp_path), PREFIX):
            pass
        assert (its / "below" / "key").read_text() == "secret"
        owner.communicate(timeout=PATIENCE_SECONDS)
    assert owner.returncode == 0
    assert os.listdir(tmp_path) == []


def test_it_never_has_its_name_without_its_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names_when_locked: list[list[str]] = []
    flock = fcntl.flock

    def noting_flock(descriptor: int, operation: int) -> None:
        names_when_locked.append(os.listdir(tmp_path))
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", noting_flock)
    with scratch_directory(str(tmp_path), PREFIX):
        pass
    (names,) = names_when_locked
    assert len(names) == 1
    assert not names[0].startswith(PREFIX)


def test_whatever_else_lies_beside_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").write_text("mine")
    (tmp_path / f"{PREFIX}link").symlink_to("elsewhere")
    (tmp_path / f"{PREFIX}file").write_text("mine")
    before = sorted(os.listdir(tmp_path))
    with scratch_directory(str(tmp_path), PREFIX):
        pass
    assert sorted(os.listdir(tmp_path)) == before
    assert (tmp_path / "elsewhere" / "file").read_text() == "mine"


def test_another_users_directory_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"{PREFIX}theirs").mkdir()
    somebody_else = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: somebody_else)
    with scratch_directory(str(tmp_path), PREFIX):
        pass
    assert os.listdir(tmp_path) == [f"{PREFIX}theirs"]


def test_where_none_can_be_made_the_reason_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        with scratch_directory(str(tmp_path / "missing"), PREFIX):
            pytest.fail("made in a directory that is not there")
