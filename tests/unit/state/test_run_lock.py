# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import errno
import fcntl
import io
import os
import signal
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._clock import as_utc, parse_duration
from ansible_collections.dayzero.spike.plugins.module_utils._errors import (
    RERUN,
    ConfigError,
    StateUnusable,
)
from ansible_collections.dayzero.spike.plugins.module_utils._state import run_lock
from ansible_collections.dayzero.spike.plugins.module_utils._state.run_lock import (
    NAME,
    is_locked,
    locked_state_dir,
    open_state_dir,
)
from ansible_collections.dayzero.spike.tests.support.directories import (
    memory_directory,
    opened,
)
from ansible_collections.dayzero.spike.tests.support.interpreter import (
    PATIENCE_SECONDS,
    run_python,
    said,
    start_python,
)

NOBODY = 65534

HOLDER = """
    import sys, time
    from ansible_collections.dayzero.spike.plugins.module_utils._clock import parse_duration
    from ansible_collections.dayzero.spike.plugins.module_utils._state import run_lock

    with run_lock.locked_state_dir(
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


def problem_of(path: Path, *, create: bool) -> str:
    """Why ``path`` cannot be used; it advises another one."""
    with pytest.raises(ConfigError) as caught:
        with lock(path, Nap(), create=create):
            pytest.fail("given to somebody")
    assert caught.value.option == "state_dir"
    begin, end = (
        f"state_dir: {path} cannot be used: ",
        f"; give a directory on disk that user id {os.geteuid()} can write, for example"
        " /var/lib/spike-bootstrap",
    )
    message = caught.value.message
    assert message.startswith(begin)
    assert message.endswith(end)
    return message[len(begin) : -len(end)]


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
    for _unused in range(3):
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
        f" {parse_duration(patience).text}. Nothing was sent."
    )
    assert error.advice.what_to_do == ("Wait for the other run to end.", RERUN)


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
        output, _unused = holder.communicate(timeout=PATIENCE_SECONDS)
    assert output == "released\n"
    with lock(tmp_path, Nap()) as directory:
        assert directory is not None


def why_it_is_held(path: Path) -> str:
    return refusal(path, Nap(), "1s").advice.why[0]


def test_the_process_that_holds_the_lock_is_named(tmp_path: Path) -> None:
    with start_python(HOLDER, str(tmp_path)) as holder:
        assert said(holder.stdout) == "held"
        assert why_it_is_held(tmp_path) == (
            f"Another run is at work on this host: process {holder.pid} holds it."
        )
        holder.communicate(timeout=PATIENCE_SECONDS)


def test_of_several_locks_the_holder_of_this_one_is_named(tmp_path: Path) -> None:
    ours, others = tmp_path / "ours", tmp_path / "others"
    with start_python(HOLDER, str(ours)) as holder, start_python(HOLDER, str(others)) as other:
        assert said(holder.stdout) == said(other.stdout) == "held"
        assert f"process {holder.pid} holds it" in why_it_is_held(ours)
        assert f"process {other.pid} holds it" in why_it_is_held(others)
        for process in (holder, other):
            process.communicate(timeout=PATIENCE_SECONDS)


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(None, id="not readable"),
        pytest.param("", id="empty"),
        pytest.param("1: FLOCK  ADVISORY  WRITE {pid} 00:00:1 0 EOF", id="another file"),
        pytest.param("1: POSIX  ADVISORY  WRITE {pid} {place} 0 EOF", id="another kind"),
        pytest.param("1: -> FLOCK  ADVISORY  WRITE {pid} {place} 0 EOF", id="one that waits"),
        pytest.param("1: FLOCK  ADVISORY  WRITE 0 {place} 0 EOF", id="outside of the container"),
        pytest.param("1: FLOCK  ADVISORY  WRITE -1 {place} 0 EOF", id="no process"),
        pytest.param("1: FLOCK", id="cut short"),
    ],
)
def test_where_the_host_does_not_name_the_holder_a_command_that_does_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str | None
) -> None:
    def read(path: str, *, encoding: str, errors: str) -> io.StringIO:
        assert path == "/proc/locks"
        if line is None:
            raise PermissionError
        status = (tmp_path / NAME).stat()
        place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
        return io.StringIO(line.format(pid=os.getpid(), place=place))

    monkeypatch.setattr(run_lock, "open", read, raising=False)
    with lock(tmp_path, Nap()):
        assert f"this host: fuser {tmp_path / NAME} names its process." in why_it_is_held(tmp_path)


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
    is_link = kind == "a link as the lock"
    problem = "too many levels of symbolic links" if is_link else "not a directory"
    assert problem_of(path, create=create) == problem
    assert not (tmp_path / "elsewhere").exists()


# -- in memory


@pytest.mark.parametrize("create", [True, False])
@pytest.mark.parametrize("below", ["", "missing", "a/b/c"], ids=["itself", "missing", "deeper"])
def test_a_directory_that_lies_in_memory_or_would_is_refused(create: bool, below: str) -> None:
    with memory_directory() as memory:
        problem = problem_of(memory / below, create=create)
        assert list(memory.iterdir()) == []
    assert problem == "it is in memory, where a reboot would empty it"


@pytest.mark.parametrize("create", [True, False])
def test_a_link_into_memory_is_refused(tmp_path: Path, create: bool) -> None:
    with memory_directory() as memory:
        (tmp_path / "link").symlink_to(memory)
        assert "it is in memory" in problem_of(tmp_path / "link", create=create)


def test_a_directory_that_lies_in_memory_is_refused_to_whoever_only_looks() -> None:
    with memory_directory() as memory:
        with pytest.raises(ConfigError, match="it is in memory"):
            open_state_dir(str(memory), create=False)


def test_the_phase_of_the_run_that_holds_the_lock_is_told(tmp_path: Path) -> None:
    since = datetime(2026, 11, 26, 18, 0, 1, tzinfo=timezone.utc)
    with lock(tmp_path, Nap()) as directory:
        assert directory is not None
        run_lock.note_phase(directory, "deliver", since)
        run_lock.note_phase(directory, "verify", since)
        assert f", in phase verify since {as_utc(since)}." in why_it_is_held(tmp_path)


def test_what_is_no_note_of_ours_is_not_shown(tmp_path: Path) -> None:
    with lock(tmp_path, Nap()):
        (tmp_path / NAME).write_text(f"{os.getpid()} in phase \x1b[31m since ever")
        assert "since" not in why_it_is_held(tmp_path)


def test_the_note_of_a_run_that_was_killed_is_not_taken_for_the_holders(tmp_path: Path) -> None:
    with lock(tmp_path, Nap()):
        (tmp_path / NAME).write_text(f"{os.getpid() + 1} in phase deliver since 2026-11-26 18:00Z")
        assert "since" not in why_it_is_held(tmp_path)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP], ids=errno.errorcode.get)
def test_a_file_system_without_locks_is_told_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(_lock: int, _operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(run_lock.fcntl, "flock", refuse)
    with pytest.raises(ConfigError, match="its file system gives no lock"), lock(tmp_path, Nap()):
        pass


# -- in check mode


ASK = """
    import os, sys, time
    from ansible_collections.dayzero.spike.plugins.module_utils._clock import parse_duration
    from ansible_collections.dayzero.spike.plugins.module_utils._errors import ConfigError
    from ansible_collections.dayzero.spike.plugins.module_utils._state import run_lock

    path, user, create = sys.argv[1:]
    if os.getuid() == 0:
        os.setgroups([])
        os.setresgid(int(user), int(user), int(user))
        os.setresuid(int(user), int(user), int(user))
    try:
        with run_lock.locked_state_dir(
            path, create=create == "True", patience=parse_duration("1s"), clock=time.monotonic,
            sleep=time.sleep,
        ) as directory:
            print("given", directory)
    except ConfigError as error:
        print(error.message)
"""


@pytest.fixture
def closed() -> Iterator[Path]:
    """A directory on disk in which nobody but root can make another one."""
    # pytest's own directories are closed to other users.
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        path.chmod(0o555)
        yield path
        path.chmod(0o700)


@pytest.mark.parametrize("create", [True, False], ids=["a run", "check mode"])
@pytest.mark.parametrize("below", ["state", "a/b"], ids=["missing", "deeper"])
def test_check_mode_refuses_a_directory_that_a_run_could_not_make(
    closed: Path, create: bool, below: str
) -> None:
    path = closed / below
    user = NOBODY if os.getuid() == 0 else os.getuid()
    said_in_the_end = run_python(ASK, str(path), str(user), str(create))
    assert f"state_dir: {path} cannot be used: " in said_in_the_end
    assert "permission denied" in said_in_the_end
    # Not another directory: who may make this one knows where the journal is looked for.
    assert said_in_the_end.endswith(
        f"; let an administrator make it with install -d -m 0700 -o {user} {path}\n"
    )


def test_check_mode_names_the_directory_that_is_closed(closed: Path) -> None:
    user = NOBODY if os.getuid() == 0 else os.getuid()
    said_in_the_end = run_python(ASK, str(closed / "a" / "b"), str(user), "False")
    assert f": it cannot be made, permission denied in {closed};" in said_in_the_end


def test_whoever_only_looks_needs_no_permission_to_make_anything(closed: Path) -> None:
    assert open_state_dir(str(closed / "missing"), create=False) is None


def test_whoever_only_looks_sees_a_run_at_work_and_takes_nothing(tmp_path: Path) -> None:
    with opened(tmp_path) as directory:
        assert not is_locked(str(tmp_path), directory)
        assert os.listdir(tmp_path) == []
        with lock(tmp_path, Nap()):
            assert is_locked(str(tmp_path), directory)
        assert not is_locked(str(tmp_path), directory)
        with lock(tmp_path, Nap()) as ours:
            assert ours is not None
