# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._errors import ConfigError
from ansible_collections.dayzero.spike.plugins.module_utils._options.settings import SeenDatabase
from ansible_collections.dayzero.spike.plugins.module_utils._spike.nexus_data import (
    Database,
    look_for_database,
)

NOBODY = 65534


@pytest.fixture
def nexus_dir() -> Iterator[Path]:
    """What SPIKE_NEXUS_DATA_DIR names, after Nexus has made its own directory below it."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        # pytest's own directories are closed to other users.
        path.chmod(0o711)
        (path / "data").mkdir(mode=0o700)
        yield path


@pytest.fixture
def closed(nexus_dir: Path) -> Iterator[Path]:
    """The same, to a user who may not look into what Nexus has made."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    else:
        (nexus_dir / "data").chmod(0)
    try:
        yield nexus_dir
    finally:
        if root:
            os.seteuid(0)
        else:
            (nexus_dir / "data").chmod(0o700)


def look(directory: str | None) -> Database | None:
    """What we find ourselves."""
    return look_for_database(directory, SeenDatabase.LOOK)


def test_without_a_directory_nothing_is_looked_for() -> None:
    assert look(None) is None


def test_a_directory_that_nexus_has_not_made_yet_holds_no_database(tmp_path: Path) -> None:
    assert look(str(tmp_path / "nexus")) is None


def test_a_directory_without_a_database_holds_none(nexus_dir: Path) -> None:
    assert look(str(nexus_dir)) is None
    assert look(str(nexus_dir / "data")) is None


def test_a_database_is_found_from_spikes_own_setting_and_from_where_it_lies(
    nexus_dir: Path,
) -> None:
    path = nexus_dir / "data" / "spike.db"
    path.touch()
    assert look(str(nexus_dir)) == Database(str(path))
    assert look(str(nexus_dir / "data")) == Database(str(path))


def test_what_cannot_be_seen_may_be_a_database(closed: Path) -> None:
    path = str(closed / "data" / "spike.db")
    assert look(str(closed)) == Database(path, "permission denied")
    assert look(str(closed / "data")) == Database(path, "permission denied")


def test_a_file_in_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "nexus"
    path.touch()
    with pytest.raises(ConfigError, match="is a file") as caught:
        look(str(path))
    assert caught.value.option == "nexus_data_dir"
    assert caught.value.message.endswith(
        f"; give the directory of Nexus's data, for example {tmp_path}"
    )


@pytest.mark.parametrize("directory", ["/var/lib/spike", "/does/not/exist", __file__])
def test_a_database_that_somebody_else_has_seen_is_believed(directory: str) -> None:
    assert look_for_database(directory, SeenDatabase.PRESENT) == Database(directory)


def test_a_database_that_somebody_else_has_seen_needs_no_directory() -> None:
    found = look_for_database(None, SeenDatabase.PRESENT)
    assert found == Database("{nexus_database} is present")


def test_a_database_that_somebody_else_has_not_seen_is_not_looked_for(nexus_dir: Path) -> None:
    (nexus_dir / "data" / "spike.db").touch()
    assert look_for_database(str(nexus_dir), SeenDatabase.ABSENT) is None


def test_what_cannot_be_seen_is_no_secret_to_somebody_else(closed: Path) -> None:
    assert look_for_database(str(closed), SeenDatabase.ABSENT) is None
    assert look_for_database(str(closed), SeenDatabase.PRESENT) == Database(str(closed))
