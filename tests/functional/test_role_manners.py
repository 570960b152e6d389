# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role on its host: what it makes, what it leaves alone, and as whom it does what."""

from __future__ import annotations

import os
import pwd
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.dayzero.spike.tests.support.ansible_run import PlaybookRun
from ansible_collections.dayzero.spike.tests.support.module_host import Host
from ansible_collections.dayzero.spike.tests.support.real_host import (
    RealHost,
    existing_user,
    real_host,
)

pytestmark = pytest.mark.slow

_PREPARE = ("--tags", "spike_prepare")


@pytest.fixture
def real(host: Host) -> Iterator[RealHost]:
    """This machine, with a user and directories that do not exist yet."""
    with real_host(host) as made:
        yield made


def owner_and_mode(path: Path) -> tuple[str, int]:
    status = path.stat()
    return pwd.getpwuid(status.st_uid).pw_name, status.st_mode & 0o7777


def words(run: PlaybookRun) -> str:
    return " ".join(run.output.split())


def changed(run: PlaybookRun) -> int:
    (number,) = re.findall(r"changed=(\d+)", run.output)
    return int(number)


@pytest.mark.long
def test_missing_directories_above_are_roots_and_open(real: RealHost) -> None:
    state_dir = real.directory / "spike" / "deep" / "bootstrap"
    run = real.run(*_PREPARE, state_dir=str(state_dir), runtime_dir=f"{real.runtime}/spike/key")
    assert run.returncode == 0, run.output
    for parent in (real.directory / "spike", state_dir.parent, real.runtime / "spike"):
        assert owner_and_mode(parent) == ("root", 0o755)
    for own in (state_dir, real.runtime / "spike" / "key"):
        assert owner_and_mode(own) == (real.user, 0o700)
    assert owner_and_mode(real.directory / "etc") == ("root", 0o755)
    account = pwd.getpwnam(real.user)
    assert (account.pw_shell, account.pw_dir) == ("/usr/sbin/nologin", str(state_dir))


@pytest.mark.long
def test_prepared_again_nothing_changes(real: RealHost) -> None:
    assert real.run(*_PREPARE).returncode == 0
    again = real.run(*_PREPARE)
    assert again.returncode == 0, again.output
    assert changed(again) == 0


@pytest.mark.long
@pytest.mark.parametrize(
    ("variable", "path", "why"),
    [
        ("runtime_dir", "/var/log", "belongs to the system"),
        ("runtime_dir", "{directory}/theirs", "belongs to root and is not empty"),
        ("runtime_dir", "{directory}/nexus", "is, or holds, the data directory of Nexus"),
        ("state_dir", "/var/log", "belongs to the system"),
        ("state_dir", "/var/log/", "belongs to the system"),
        ("state_dir", "/srv", "belongs to the system"),
        ("state_dir", "/var/run/lock", "belongs to the system"),
        ("state_dir", "/usr/lib/spike", "belongs to the system"),
        ("state_dir", "spike", "is not an absolute path"),
        ("state_dir", "{directory}/theirs", "belongs to root and is not empty"),
        ("state_dir", "{directory}/link", "belongs to root and is not empty"),
        ("state_dir", "{directory}/file", "is not a directory"),
        ("state_dir", "{directory}/nexus", "is, or holds, the data directory of Nexus"),
        ("state_dir", "{directory}/nexus/data", "is, or holds, the data directory of Nexus"),
        ("state_dir", "{directory}/here/../nexus", "is, or holds, the data directory of Nexus"),
        ("state_dir", "{directory}/home", "is the home of the user"),
    ],
)
def test_a_directory_of_somebody_else_is_refused_before_anything_is_changed(
    variable: str, path: str, why: str, real: RealHost
) -> None:
    theirs = real.directory / "theirs"
    theirs.mkdir(mode=0o755)
    (theirs / "kept").touch()
    (real.directory / "link").symlink_to(theirs)
    (real.directory / "file").touch()
    place = path.format(directory=real.directory)
    before = Path(place).stat() if place.startswith("/") and Path(place).exists() else None
    home = ("--home-dir", f"{real.directory}/home", "--no-create-home")
    with existing_user(f"{real.user}-x", *home):
        given = {variable: place, "nexus_data_dir": f"{real.directory}/nexus"}
        run = real.run(*_PREPARE, **given)
    assert run.returncode == 2, run.output
    assert f"spike_bootstrap_{variable}: " in run.output
    assert why in words(run)
    assert f"Set spike_bootstrap_{variable}" in words(run) or "Give one, such as" in words(run)
    assert "Nothing was changed." in words(run)
    with pytest.raises(KeyError):
        pwd.getpwnam(real.user)
    assert not real.state_dir.exists()
    if before is not None:
        assert Path(place).stat()[:6] == before[:6]


@pytest.mark.long
def test_a_directory_above_that_of_nexus_is_refused(real: RealHost) -> None:
    nexus = real.directory / "spike" / "nexus"
    run = real.run(*_PREPARE, state_dir=str(nexus.parent), nexus_data_dir=str(nexus))
    assert run.returncode == 2
    assert "is, or holds, the data directory of Nexus" in words(run)
    assert not nexus.parent.exists()


@pytest.mark.long
def test_an_empty_directory_that_root_has_made_for_it_is_the_users(real: RealHost) -> None:
    real.state_dir.mkdir()
    assert real.run(*_PREPARE).returncode == 0
    assert owner_and_mode(real.state_dir) == (real.user, 0o700)


@pytest.mark.long
def test_a_user_that_exists_is_used_as_it_is(real: RealHost) -> None:
    with existing_user(real.user, "--shell", "/bin/sh", "--home-dir", "/nowhere") as before:
        groups = subprocess.check_output(["id", real.user])
        run = real.run(*_PREPARE, group="root")
        assert run.returncode == 0, run.output
        assert pwd.getpwnam(real.user) == before
        assert subprocess.check_output(["id", real.user]) == groups
        status = real.state_dir.stat()
        assert (status.st_uid, status.st_gid) == (before.pw_uid, before.pw_gid)


@pytest.mark.long
def test_root_keeps_its_shell(real: RealHost) -> None:
    before = pwd.getpwnam("root")
    run = real.run(user="root", group="root")
    assert run.returncode == 0, run.output
    assert pwd.getpwnam("root") == before
    assert run.results[-1]["phase"] == "done"


@pytest.mark.long
def test_a_user_that_is_missing_and_not_to_be_made_is_told_of(real: RealHost) -> None:
    run = real.run(manage_user=False)
    assert run.returncode == 2
    assert f"There is no user {real.user}, and spike_bootstrap_manage_user is false" in words(run)
    assert not real.state_dir.exists()


@pytest.mark.long
def test_a_dedicated_user_runs_the_module_where_somebody_else_manages_the_host(
    real: RealHost,
) -> None:
    with existing_user(real.user, "--system"):
        given: dict[str, Any] = {"manage_host": False, "become": True}
        run = real.run(**given, **real.identity_of(real.user))
        assert run.returncode == 0, run.output
        assert run.results[-1]["phase"] == "done"
        assert owner_and_mode(real.state_dir / "journal.json")[0] == real.user
        assert owner_and_mode(real.directory / "etc" / "bootstrap.env") == ("root", 0o644)


@pytest.mark.long
def test_the_database_of_nexus_is_found_by_root(real: RealHost) -> None:
    nexus = real.directory / "nexus"
    (nexus / "data").mkdir(parents=True)
    nexus.chmod(0o700)
    with existing_user(real.user, "--system"):
        identity = real.identity_of(real.user)
        assert real.run(*_PREPARE, **identity).returncode == 0
        fresh = real.run("--check", nexus_data_dir=str(nexus), **identity)
        assert fresh.returncode == 0, fresh.output
        assert fresh.results[-1]["phase"] == "reach"
        for place in ("spike.db", "data/spike.db"):
            (nexus / place).touch()
            run = real.run(nexus_data_dir=str(nexus), **identity)
            assert run.returncode == 2
            assert run.results[-1]["code"] == "state_already_initialized", run.output
            (nexus / place).unlink()
    assert real.host.shard_requests() == 0


@pytest.mark.long
def test_a_service_of_nexus_without_its_data_directory_is_refused(real: RealHost) -> None:
    run = real.run(nexus_service="spike-nexus")
    assert run.returncode == 2
    assert "spike_bootstrap_nexus_data_dir is not set" in words(run)
    assert not real.state_dir.exists()


@pytest.mark.long
def test_a_check_of_a_host_that_was_never_prepared_ends_well(real: RealHost) -> None:
    run = real.run(
        "--check",
        manage_packages=True,
        packages=["a-package-that-no-host-has"],
        venv=str(real.directory / "venv"),
        venv_packages=["another-package-that-no-host-has"],
    )
    assert run.returncode == 0, run.output
    said = words(run)
    assert "This host is not prepared." in said
    for part in (
        f"the user {real.user}",
        "the packages a-package-that-no-host-has",
        f"the virtual environment {real.directory}/venv",
        "The keepers were not contacted",
    ):
        assert part in said
    assert run.results == []
    assert not real.state_dir.exists()
    assert sum(keeper.stats.connections for keeper in real.host.sandbox.keepers) == 0


@pytest.mark.long
def test_a_host_is_prepared_then_checked_then_bootstrapped(real: RealHost) -> None:
    prepared = real.run(*_PREPARE)
    assert prepared.returncode == 0, prepared.output
    assert prepared.results == []
    identity = real.identity_of(real.user)
    check = real.run("--check", **identity)
    assert check.returncode == 0, check.output
    assert [result["phase"] for result in check.results] == ["reach"]
    assert real.host.shard_requests() == 0
    run = real.run("--tags", "spike_run", **identity)
    assert run.returncode == 0, run.output
    assert run.results[-1]["phase"] == "done"
    assert "Make the user" not in run.output


def test_a_run_on_a_host_that_is_not_prepared_says_how_to_prepare_it(real: RealHost) -> None:
    run = real.run("--tags", "spike_run")
    assert run.returncode == 2
    assert f"This host lacks the user {real.user}, " in words(run)
    assert ". Run once with --tags spike_prepare" in words(run)


@pytest.fixture
def service() -> Iterator[tuple[str, Path]]:
    """A service of the old kind, which says who has started it."""
    name = f"spike-t{os.getpid()}"
    script, said = Path("/etc/init.d") / name, Path(f"/var/tmp/{name}.started")
    script.write_text(f'#!/bin/sh\n[ "$1" = start ] || exit 3\nid -un > {said}\n')
    script.chmod(0o755)
    yield name, said
    script.unlink()
    said.unlink(missing_ok=True)


@pytest.mark.long
def test_nexus_is_started_by_root_whatever_the_inventory_says(
    real: RealHost, service: tuple[str, Path]
) -> None:
    name, said = service
    run = real.run(user="root", nexus_service=name, nexus_data_dir=f"{real.directory}/nexus")
    assert run.returncode == 0, run.output
    assert said.read_text() == "root\n"


@pytest.mark.long
def test_settings_are_written_by_root_where_the_inventory_does_not_become(real: RealHost) -> None:
    run = real.run(user="root", ansible_become=False)
    assert run.returncode == 0, run.output
    assert owner_and_mode(real.directory / "etc" / "bootstrap.env") == ("root", 0o644)
