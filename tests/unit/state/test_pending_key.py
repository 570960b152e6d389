# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._errors import (
    RERUN,
    StateUnusable,
)
from ansible_collections.dayzero.spike.plugins.module_utils._key.root_key import RootKey
from ansible_collections.dayzero.spike.plugins.module_utils._key.shamir import ORDER
from ansible_collections.dayzero.spike.plugins.module_utils._state import pending_key
from ansible_collections.dayzero.spike.plugins.module_utils._state.pending_key import (
    PendingKey,
    file_name,
)
from ansible_collections.dayzero.spike.tests.support.directories import (
    Crash,
    Steps,
    memory_directory,
    opened,
)

KEY = bytes(range(100, 132))
FINGERPRINT = "0123456789abcdef" * 4
MAGIC = b"dayzero.spike root key 1\n"
CONTENT = MAGIC + FINGERPRINT.encode() + b"\n" + KEY
STATE_DIR = "/var/lib/spike-bootstrap"
NAME = file_name(STATE_DIR)
LEFT_BESIDE = f".{NAME}.new"


@pytest.fixture
def memory() -> Iterator[Path]:
    with memory_directory() as path:
        yield path


@pytest.fixture
def directory(memory: Path) -> Iterator[int]:
    with opened(memory) as descriptor:
        yield descriptor


@pytest.fixture
def pending(directory: int, memory: Path) -> PendingKey:
    return PendingKey(directory, str(memory), STATE_DIR)


def saved(pending: PendingKey) -> None:
    with RootKey(KEY) as key:
        pending.save(key, FINGERPRINT)


def loaded(pending: PendingKey) -> tuple[bytes, str] | None:
    found = pending.load()
    return None if found is None else (bytes(found[0].exposed()), found[1])


def test_a_kept_key_is_found_with_its_fingerprint(pending: PendingKey) -> None:
    saved(pending)
    assert loaded(pending) == (KEY, FINGERPRINT)


def test_the_file_is_named_after_the_state_directory() -> None:
    assert re.fullmatch("root-key-[0-9a-f]{16}", NAME)
    assert NAME == "root-key-99f072abc184194c"
    assert file_name("/var/lib/spike-bootstrap-2") != NAME


def test_the_file_has_one_name_whatever_links_lead_to_the_state_directory(tmp_path: Path) -> None:
    real = tmp_path / "real"
    named_before_it_is_there = file_name(str(real))
    real.mkdir()
    (tmp_path / "link").symlink_to(real)
    spellings = [f"{real}/", f"{tmp_path}/link", f"{tmp_path}/link/../real"]
    assert {file_name(path) for path in spellings} == {named_before_it_is_there}


def test_a_run_with_another_state_directory_neither_finds_nor_replaces_nor_removes_it(
    pending: PendingKey, directory: int, memory: Path
) -> None:
    saved(pending)
    other = PendingKey(directory, str(memory), "/var/lib/other")
    assert other.load() is None
    saved(other)
    other.remove()
    assert loaded(pending) == (KEY, FINGERPRINT)


def test_a_key_of_another_state_directory_for_the_same_cluster_is_told_of(
    pending: PendingKey, directory: int, memory: Path
) -> None:
    other = PendingKey(directory, str(memory), "/var/lib/other")
    assert other.of_another_state_dir(FINGERPRINT) is None
    saved(pending)
    assert other.of_another_state_dir(FINGERPRINT) == pending.path
    assert pending.of_another_state_dir(FINGERPRINT) is None
    assert other.of_another_state_dir("f" * 64) is None
    pending.remove()
    assert other.of_another_state_dir(FINGERPRINT) is None


def test_only_a_key_is_told_of(directory: int, memory: Path) -> None:
    (memory / "root-key-directory").mkdir()
    (memory / "elsewhere").write_bytes(CONTENT)
    (memory / "root-key-link").symlink_to("elsewhere")
    (memory / "root-key-torn").write_bytes(CONTENT[: len(MAGIC) + 20])
    (memory / f".{file_name('/var/lib/other')}.new").write_bytes(CONTENT)
    pending = PendingKey(directory, str(memory), STATE_DIR)
    assert pending.of_another_state_dir(FINGERPRINT) is None
    assert PendingKey(None, str(memory), STATE_DIR).of_another_state_dir(FINGERPRINT) is None


def test_steps_have_the_same_names_for_every_state_directory(directory: int, memory: Path) -> None:
    told = []
    for state_dir in (STATE_DIR, "/var/lib/other"):
        steps = Steps()
        pending = PendingKey(directory, str(memory), state_dir, step=steps)
        saved(pending)
        pending.remove()
        told.append(steps.names)
    assert told[0] == told[1]
    assert {name.partition(":")[0] for name in told[0]} == {"root-key", ".root-key.new"}


@pytest.mark.parametrize("whole", [True, False])
def test_loading_leaves_no_copy_of_the_key_but_the_one_that_is_given(
    pending: PendingKey, memory: Path, whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[bytearray] = []
    handed: list[bytearray] = []

    def read_file(directory: int, name: str, most_bytes: int) -> bytearray | None:
        read.append(bytearray((memory / name).read_bytes()))
        return read[-1]

    def root_key(key: bytearray) -> RootKey:
        handed.append(key)
        return RootKey(key)

    monkeypatch.setattr(pending_key, "read_file", read_file)
    monkeypatch.setattr(pending_key, "RootKey", root_key)
    secret = KEY if whole else ORDER.to_bytes(32, "big")
    (memory / NAME).write_bytes(CONTENT[:-32] + secret)
    assert loaded(pending) == ((KEY, FINGERPRINT) if whole else None)
    assert read == [bytearray(len(CONTENT))]
    assert handed == [bytearray(32)]


def test_keeping_a_key_leaves_it_usable(pending: PendingKey) -> None:
    key = RootKey(KEY)
    pending.save(key, FINGERPRINT)
    assert key.exposed() == KEY


def test_without_a_file_there_is_no_key(pending: PendingKey) -> None:
    assert pending.load() is None


def test_without_a_directory_there_is_no_key_and_nothing_to_remove() -> None:
    pending = PendingKey(None, "/does/not/exist", STATE_DIR)
    assert pending.load() is None
    pending.remove()


def test_the_file_is_what_its_format_says(pending: PendingKey, memory: Path) -> None:
    saved(pending)
    assert (memory / NAME).read_bytes() == CONTENT
    assert pending.path == str(memory / NAME)


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_the_file_is_its_users_alone(pending: PendingKey, memory: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        saved(pending)
    finally:
        os.umask(before)
    assert stat.S_IMODE((memory / NAME).stat().st_mode) == 0o600
    assert os.listdir(memory) == [NAME]


def test_the_file_is_its_users_alone_before_the_key_is_in_it(directory: int, memory: Path) -> None:
    modes = []

    def step(name: str) -> None:
        if (memory / LEFT_BESIDE).exists():
            modes.append(stat.S_IMODE((memory / LEFT_BESIDE).stat().st_mode))

    saved(PendingKey(directory, str(memory), STATE_DIR, step=step))
    assert set(modes) == {0o600}


def test_a_torn_file_counts_as_none(pending: PendingKey, memory: Path) -> None:
    for length in range(len(CONTENT)):
        (memory / NAME).write_bytes(CONTENT[:length])
        assert pending.load() is None


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(CONTENT + b"\x00", id="too long"),
        pytest.param(b"X" + CONTENT[1:], id="another first line"),
        pytest.param(CONTENT[:-32] + bytes(32), id="a key of zero"),
        pytest.param(CONTENT[:-32] + ORDER.to_bytes(32, "big"), id="a key outside the field"),
        pytest.param(bytes(len(CONTENT)), id="overwritten, and not removed"),
    ],
)
def test_what_is_no_kept_key_counts_as_none(
    pending: PendingKey, memory: Path, content: bytes
) -> None:
    (memory / NAME).write_bytes(content)
    assert pending.load() is None


def test_a_crash_while_keeping_leaves_a_whole_key_or_none(directory: int, memory: Path) -> None:
    steps = Steps()
    saved(PendingKey(directory, str(memory), STATE_DIR, step=steps))
    (memory / NAME).unlink()
    for crash_at in range(1, len(steps.names) + 1):
        with pytest.raises(Crash):
            saved(PendingKey(directory, str(memory), STATE_DIR, step=Steps(crash_at)))
        kept = loaded(PendingKey(directory, str(memory), STATE_DIR))
        assert kept in (None, (KEY, FINGERPRINT))
    assert kept == (KEY, FINGERPRINT)


def test_a_removed_key_is_overwritten_first(pending: PendingKey, memory: Path) -> None:
    saved(pending)
    with open(memory / NAME, "rb") as still_open:
        pending.remove()
        assert still_open.read() == bytes(len(CONTENT))
    assert os.listdir(memory) == []
    assert pending.load() is None


def test_what_a_crash_left_beside_it_is_overwritten_and_removed_too(
    pending: PendingKey, memory: Path
) -> None:
    (memory / LEFT_BESIDE).write_bytes(CONTENT)
    with open(memory / LEFT_BESIDE, "rb") as still_open:
        pending.remove()
        assert still_open.read() == bytes(len(CONTENT))
    assert os.listdir(memory) == []


def test_removing_twice_is_quiet(pending: PendingKey) -> None:
    saved(pending)
    pending.remove()
    pending.remove()
    assert pending.load() is None


def test_another_users_files_beside_it_are_left_alone(pending: PendingKey, memory: Path) -> None:
    (memory / "other").write_bytes(b"untouched")
    saved(pending)
    pending.remove()
    assert (memory / "other").read_bytes() == b"untouched"


@pytest.mark.parametrize("kind", ["link", "directory"])
def test_what_cannot_be_read_is_refused(pending: PendingKey, memory: Path, kind: str) -> None:
    if kind == "link":
        (memory / "elsewhere").write_bytes(CONTENT)
        (memory / NAME).symlink_to("elsewhere")
    else:
        (memory / NAME).mkdir()
    with pytest.raises(StateUnusable, match=r"cannot be read: .*\. Nothing was sent\.$") as caught:
        pending.load()
    assert pending.path in caught.value.message
    assert caught.value.advice.what_to_do == (
        f"Let an administrator move {pending.path} away: no run has made it.",
        RERUN,
    )


def test_a_link_is_not_overwritten_through(pending: PendingKey, memory: Path) -> None:
    (memory / "elsewhere").write_bytes(b"untouched")
    (memory / NAME).symlink_to("elsewhere")
    with pytest.raises(StateUnusable, match=r"is no longer needed and cannot be removed: ") as kept:
        pending.remove()
    assert (memory / "elsewhere").read_bytes() == b"untouched"
    assert kept.value.advice.what_to_do == (f"Let an administrator remove {pending.path}.", RERUN)


def test_a_key_that_cannot_be_kept_is_not_shown(pending: PendingKey, memory: Path) -> None:
    (memory / LEFT_BESIDE).mkdir()
    key = RootKey(KEY)
    with pytest.raises(StateUnusable, match=r"cannot be kept in .*: Is a directory") as caught:
        pending.save(key, FINGERPRINT)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert not any(spelling in str(caught.value.advice) for spelling in key.spellings())


def test_without_a_directory_no_key_can_be_kept() -> None:
    pending = PendingKey(None, "/does/not/exist", STATE_DIR)
    with pytest.raises(ValueError, match="there is no directory in memory to keep it in"):
        saved(pending)


def test_a_directory_that_is_made_later_is_used_from_then_on(directory: int, memory: Path) -> None:
    pending = PendingKey(None, str(memory), STATE_DIR)
    pending.use(directory)
    saved(pending)
    assert loaded(pending) == (KEY, FINGERPRINT)
