# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._errors import ConfigError
from ansible_collections.dayzero.spike.plugins.module_utils._state.memory_dir import (
    default_memory_dir,
    lies_in_memory,
    open_memory_dir,
)
from ansible_collections.dayzero.spike.tests.support.directories import (
    IN_MEMORY,
    memory_directory,
)
from ansible_collections.dayzero.spike.tests.support.module_host import file_system_of

# Wherever the collection is installed or checked out, it is not in memory, and neither is /proc.
ON_DISK = [str(Path(__file__).resolve().parent), "/proc/self/task"]
NOBODY = 65534


@pytest.fixture
def memory() -> Iterator[Path]:
    with memory_directory() as path:
        yield path


def refusal(path: Path | str, *, create: bool) -> str:
    """The message of a refusal, whatever it advises."""
    with pytest.raises(ConfigError) as caught:
        open_memory_dir(str(path), create=create)
    error = caught.value
    assert error.option == "runtime_dir"
    assert error.message.startswith(f"runtime_dir: {os.path.normpath(path)} ")
    return error.message


def refusal_for_another(path: Path | str, *, create: bool) -> str:
    """The message of a refusal that advises another directory."""
    message = refusal(path, create=create)
    assert message.endswith(
        "; give a directory on tmpfs, such as /run/spike-bootstrap, that the running user owns"
    )
    return message


def name_of(number: int) -> str:
    return f"{pwd.getpwuid(number).pw_name} (user id {number})"


def remedy_for(owner: int) -> str:
    """What is advised where the directory of ``owner`` is in the way."""
    return (
        f"run the task as {name_of(owner)} (become_user), to whom it belongs: it may hold the key"
    )


@contextmanager
def without_permission(path: Path) -> Iterator[int]:
    """Nobody may enter ``path``; gives the user id that finds that out."""
    path.chmod(0)
    root = os.geteuid() == 0
    if root:
        # Root enters where it likes.
        os.seteuid(NOBODY)
    try:
        yield os.geteuid()
    finally:
        if root:
            os.seteuid(0)
        path.chmod(0o700)


def test_a_missing_directory_is_made_for_its_user_alone(memory: Path) -> None:
    before = os.umask(0)
    try:
        descriptor = open_memory_dir(str(memory / "new"), create=True)
    finally:
        os.umask(before)
    assert descriptor is not None
    opened, named = os.fstat(descriptor), (memory / "new").stat()
    os.close(descriptor)
    assert stat.S_IMODE(opened.st_mode) == 0o700
    assert (opened.st_dev, opened.st_ino) == (named.st_dev, named.st_ino)


@pytest.mark.parametrize("create", [True, False])
@pytest.mark.parametrize("mode", [0o700, 0o500])
def test_a_private_directory_is_opened_as_it_is(memory: Path, create: bool, mode: int) -> None:
    memory.chmod(mode)
    descriptor = open_memory_dir(str(memory), create=create)
    assert descriptor is not None
    os.close(descriptor)
    assert stat.S_IMODE(memory.stat().st_mode) == mode


def test_a_directory_that_would_lie_on_a_disk_is_refused_before_it_is_made(tmp_path: Path) -> None:
    if file_system_of(tmp_path) in ("tmpfs", "ramfs"):
        pytest.skip("the temporary directory does not lie on a disk")
    assert "is on a disk" in refusal_for_another(tmp_path / "new", create=False)


def test_where_nothing_may_be_made_a_missing_directory_is_none(memory: Path) -> None:
    assert open_memory_dir(str(memory / "new"), create=False) is None
    assert list(memory.iterdir()) == []


@pytest.mark.parametrize("create", [True, False])
@pytest.mark.parametrize("path", ON_DISK)
def test_a_directory_on_a_disk_is_refused(path: str, create: bool) -> None:
    assert "is on a disk, where the root key would outlive the run" in refusal_for_another(
        path, create=create
    )


@pytest.mark.parametrize("create", [True, False])
@pytest.mark.parametrize("ending", ["", "/", "//", "/."])
def test_a_link_is_refused_however_it_is_written(memory: Path, create: bool, ending: str) -> None:
    (memory / "real").mkdir(mode=0o700)
    (memory / "link").symlink_to("real")
    assert "it is a symbolic link" in refusal_for_another(f"{memory}/link{ending}", create=create)


def test_a_directory_that_is_gone_again_when_it_is_needed_is_refused(
    memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_late(path: str, mode: int) -> None:
        raise FileExistsError

    monkeypatch.setattr(os, "mkdir", too_late)
    assert "it was removed a moment ago" in refusal_for_another(memory / "new", create=True)


def test_a_slash_at_the_end_changes_nothing(memory: Path) -> None:
    descriptor = open_memory_dir(f"{memory}/new/", create=True)
    assert descriptor is not None
    os.close(descriptor)


@pytest.mark.parametrize("mode", [0o777, 0o1777])
def test_a_directory_that_is_everybodys_is_refused_and_not_to_be_closed(
    memory: Path, mode: int
) -> None:
    memory.chmod(mode)
    assert f"is everybody's (mode {mode:04o}); " in refusal_for_another(memory, create=True)


@pytest.mark.parametrize("mode", [0o750, 0o705, 0o701, 0o710])
def test_a_directory_that_is_open_to_others_is_refused(memory: Path, mode: int) -> None:
    memory.chmod(mode)
    assert refusal(memory, create=True) == (
        f"runtime_dir: {memory} is open to others (mode {mode:04o});"
        f" close it with chmod 0700 {memory}"
    )
    assert stat.S_IMODE(memory.stat().st_mode) == mode


def test_a_directory_of_another_user_is_refused(memory: Path) -> None:
    path = memory
    if os.geteuid() == 0:
        os.chown(memory, NOBODY, -1)
    else:
        path = Path(IN_MEMORY)
    owner = path.stat().st_uid
    message = refusal(path, create=True)
    assert f"is not for {name_of(os.geteuid())}; {remedy_for(owner)}" in message


@pytest.mark.parametrize("create", [True, False])
def test_a_file_is_refused(memory: Path, create: bool) -> None:
    (memory / "file").write_bytes(b"")
    assert "cannot be used: not a directory" in refusal_for_another(memory / "file", create=create)


@pytest.mark.parametrize("create", [True, False])
def test_a_directory_without_a_parent_is_refused(memory: Path, create: bool) -> None:
    assert "its parent directory does not exist" in refusal_for_another(
        memory / "a" / "b", create=create
    )


def test_a_directory_that_was_made_on_a_disk_is_not_left_there(tmp_path: Path) -> None:
    if file_system_of(tmp_path) in ("tmpfs", "ramfs"):
        pytest.skip("the temporary directory does not lie on a disk")
    assert "is on a disk" in refusal_for_another(tmp_path / "new", create=True)
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_was_there_on_a_disk_stays_there(tmp_path: Path) -> None:
    if file_system_of(tmp_path) in ("tmpfs", "ramfs"):
        pytest.skip("the temporary directory does not lie on a disk")
    (tmp_path / "old").mkdir()
    assert "is on a disk" in refusal_for_another(tmp_path / "old", create=True)
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


@pytest.mark.parametrize("create", [True, False])
def test_a_directory_that_may_not_be_entered_names_its_owner(memory: Path, create: bool) -> None:
    owner = memory.stat().st_uid
    with without_permission(memory) as user:
        message = refusal(memory, create=create)
        other = owner != user
    assert f"permission denied for {name_of(user)}; " in message
    assert (remedy_for(owner) in message) is other


def test_a_directory_that_may_not_be_made_has_no_owner_to_name(memory: Path) -> None:
    with without_permission(memory) as user:
        message = refusal_for_another(memory / "new", create=True)
    assert f"cannot be used: permission denied for {name_of(user)}; give a directory" in message


def test_no_descriptor_of_a_refused_directory_is_left_open(memory: Path) -> None:
    memory.chmod(0o755)
    before = len(os.listdir("/proc/self/fd"))
    refusal(memory, create=True)
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_default_lies_in_the_first_place_that_is_in_memory(memory: Path) -> None:
    places = ["/does/not/exist", *ON_DISK, str(memory), IN_MEMORY]
    assert default_memory_dir(places) == f"{memory}/spike-bootstrap"


def test_without_a_place_in_memory_there_is_no_default() -> None:
    with pytest.raises(ConfigError) as caught:
        default_memory_dir(ON_DISK)
    assert caught.value.option == "runtime_dir"
    assert f"none of {', '.join(ON_DISK)} is in memory" in caught.value.message


def test_every_linux_has_a_default() -> None:
    assert default_memory_dir() in ("/run/spike-bootstrap", "/dev/shm/spike-bootstrap")


def test_whether_a_directory_lies_in_memory_is_told_by_its_file_system(memory: Path) -> None:
    assert lies_in_memory(str(memory))
    assert not any(lies_in_memory(path) for path in ON_DISK)


def test_what_is_no_directory_does_not_lie_in_memory(memory: Path) -> None:
    (memory / "file").write_bytes(b"")
    assert not lies_in_memory(str(memory / "file"))
    assert not lies_in_memory(str(memory / "missing"))


def test_a_directory_that_may_not_be_entered_is_not_known_to_lie_in_memory(memory: Path) -> None:
    with without_permission(memory):
        assert not lies_in_memory(str(memory))
