# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import fcntl
import os
import signal
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._duration import parse_duration
from ansible_collections.dayzero.spike.plugins.module_utils._errors import (
    ConfigError,
    StateUnusable,
)
from ansible_collections.dayzero.spike.plugins.module_utils._run_lock import (
    NAME,
    is_locked,
    locked_state_dir,
    open_state_dir,
)
from ansible_collections.dayzero.spike.tests.support.directories import opened
from ansible_collections.dayzero.spike.tests.support.interpreter import (
    PATIENCE_SECONDS,
    said,
    start_python,
)

HOLDER = """
    import sys, time
    from ansible_collections.dayzero.spike.plugins.module_utils._duration import parse_duration
    from ansible_collections.dayzero.spike.plugins.module_utils._run_lock import locked_state_dir

    with locked_state_dir(
        sys.argv[1], create=True, patience=parse_duration("1s"), clock=time.monotonic,
        sleep=time.sleep,
    ):
        print("held", flush=True)
        sys.stdin.read()
    print("released", flush=True)
"""


@dataclass
class Nap:
    """A clock on which only sleeping takes time, and what is done while somebody sleeps."""

    now: float = 50.0
    naps: list[float] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += seconds


@contextmanager
def lock(
    path: Path, nap: Nap, *, create: bool = True, patience: str = "1s"
) -> Iterator[int | None]:
    with locked_state_dir(
        str(path),
        create=create,
        patience=parse_duration(patience),
        clock=nap.clock,
        sleep=nap.sleep,
    ) as directory:
        yield directory


def refusal(path: Path, nap: Nap, patience: str) -> StateUnusable:
    with pytest.raises(StateUnusable) as caught:
        with lock(path, nap, patience=patience):
            pytest.fail("two runs at once")
    return caught.value


def test_the_directory_is_made_and_given_open(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    nap = Nap()
    with lock(path, nap) as directory:
        assert directory is not None
        assert os.path.samestat(os.fstat(directory), path.stat())
        assert os.listdir(directory) == [NAME]
    assert nap.naps == []


def test_the_directory_is_closed_and_unlocked_afterwards(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with lock(tmp_path, Nap()):
            assert len(os.listdir("/proc/self/fd")) == before + 2
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_lock_is_released_when_the_block_fails(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        with lock(tmp_path, Nap()):
            raise KeyError
    with lock(tmp_path, Nap()) as directory:
        assert directory is not None


@pytest.mark.parametrize(("patience", "seconds"), [("1s", 1.0), ("350ms", 0.35), ("30", 30.0)])
def test_the_second_run_waits_no_longer_than_its_patience(
    tmp_path: Path, patience: str, seconds: float
) -> None:
    nap = Nap()
    with lock(tmp_path, Nap()):
        error = refusal(tmp_path, nap, patience)
    assert sum(nap.naps) == pytest.approx(seconds)
    assert max(nap.naps) <= 0.1
    assert error.code == "bootstrap_locked"
    assert error.message.startswith(
        f"Another bootstrap run holds {tmp_path / NAME} and did not end within"
        f" {parse_duration(patience).text}. Wait for it to end and rerun bootstrap."
    )


def test_the_second_run_goes_on_when_the_first_ends(tmp_path: Path) -> None:
    first = lock(tmp_path, Nap())

    class EndsTheFirst(Nap):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            if len(self.naps) == 3:
                first.__exit__(None, None, None)

    nap = EndsTheFirst()
    with first:
        with lock(tmp_path, nap) as directory:
            assert directory is not None
    assert len(nap.naps) == 3


def test_a_run_in_another_process_is_waited_for(tmp_path: Path) -> None:
    with start_python(HOLDER, str(tmp_path)) as holder:
        assert said(holder.stdout) == "held"
        refusal(tmp_path, Nap(), "1s")
        output, _ = holder.communicate(timeout=PATIENCE_SECONDS)
    assert output == "released\n"
    with lock(tmp_path, Nap()) as directory:
        assert directory is not None


def test_a_killed_run_leaves_no_lock(tmp_path: Path) -> None:
    with start_python(HOLDER, str(tmp_path)) as holder:
        assert said(holder.stdout) == "held"
        refusal(tmp_path, Nap(), "1s")
        holder.kill()
        assert holder.wait(PATIENCE_SECONDS) == -signal.SIGKILL
    nap = Nap()
    with lock(tmp_path, nap) as directory:
        assert directory is not None
    assert nap.naps == []


def test_where_nothing_may_be_made_a_missing_directory_is_none(tmp_path: Path) -> None:
    with lock(tmp_path / "missing", Nap(), create=False) as directory:
        assert directory is None
    assert os.listdir(tmp_path) == []


def test_where_nothing_may_be_made_a_directory_without_a_lock_is_given_unlocked(
    tmp_path: Path,
) -> None:
    with lock(tmp_path, Nap(), create=False) as directory:
        assert directory is not None
        assert os.listdir(directory) == []


def test_where_nothing_may_be_made_a_lock_that_is_there_is_taken_all_the_same(
    tmp_path: Path,
) -> None:
    with lock(tmp_path, Nap()):
        pass
    with lock(tmp_path, Nap(), create=False):
        refusal(tmp_path, Nap(), "1s")


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_what_is_made_keeps_everybody_else_from_holding_the_lock(
    tmp_path: Path, umask: int
) -> None:
    path = tmp_path / "above" / "state"
    before = os.umask(umask)
    try:
        with lock(path, Nap()):
            pass
    finally:
        os.umask(before)
    modes = [stat.S_IMODE(made.stat().st_mode) for made in (path.parent, path, path / NAME)]
    assert modes == [0o755, 0o700, 0o600]


def test_the_mode_of_a_directory_that_is_there_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "state"
    path.mkdir()
    path.chmod(0o751)
    with lock(path, Nap()):
        pass
    assert stat.S_IMODE(path.stat().st_mode) == 0o751
    assert stat.S_IMODE((path / NAME).stat().st_mode) == 0o600


def test_the_root_directory_can_be_named() -> None:
    descriptor = open_state_dir("/", create=True)
    assert descriptor is not None
    os.close(descriptor)


def test_the_lock_can_be_taken_by_whoever_can_read_it(tmp_path: Path) -> None:
    with lock(tmp_path, Nap()):
        pass
    descriptor = os.open(tmp_path / NAME, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    refusal(tmp_path, Nap(), "1s")
    os.close(descriptor)


@pytest.mark.parametrize(
    ("kind", "create"),
    [
        ("a file", True),
        ("a file", False),
        ("a file above it", True),
        ("a file above it", False),
        ("a link as the lock", True),
        ("a link as the lock", False),
    ],
)
def test_a_directory_that_cannot_be_used_is_refused(
    tmp_path: Path, kind: str, create: bool
) -> None:
    path = tmp_path / "state"
    if kind == "a file":
        path.write_bytes(b"")
    elif kind == "a file above it":
        (tmp_path / "file").write_bytes(b"")
        path = tmp_path / "file" / "state"
    else:
        path.mkdir()
        (path / NAME).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError) as caught:
        with lock(path, Nap(), create=create):
            pytest.fail("given to somebody")
    assert caught.value.option == "state_dir"
    assert f"{path} cannot be used: " in caught.value.message
    assert "must be a directory that user id" in caught.value.message
    assert not (tmp_path / "elsewhere").exists()


def test_whoever_only_looks_sees_a_run_at_work_and_takes_nothing(tmp_path: Path) -> None:
    with opened(tmp_path) as directory:
        assert not is_locked(str(tmp_path), directory)
        assert os.listdir(tmp_path) == []
        with lock(tmp_path, Nap()):
            assert is_locked(str(tmp_path), directory)
        assert not is_locked(str(tmp_path), directory)
        with lock(tmp_path, Nap()) as ours:
            assert ours is not None
