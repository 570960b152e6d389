# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The archive that is published: what is in it, and that it can be installed and read."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest
from ansible_collections.dayzero.spike.tests.support.ansible_run import run_program

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]
TOP_LEVEL = {
    "COPYING",
    "FILES.json",
    "MANIFEST.json",
    "README.md",
    "SECURITY.md",
    "changelogs",
    "docs",
    "meta",
    "playbooks",
    "plugins",
    "roles",
}
NOT_FOR_OPERATORS = ("test", "molecule", ".venv", "__pycache__", ".pyc", ".git", ".lock")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("archive")
    done = run_program(
        "ansible-galaxy",
        "collection",
        "build",
        str(REPOSITORY),
        "--output-path",
        str(directory),
        environment=os.environ,
    )
    assert done.returncode == 0, done.stderr
    (path,) = directory.iterdir()
    return path


@pytest.fixture(scope="module")
def installed(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which only the archive was installed."""
    directory = tmp_path_factory.mktemp("installed")
    done = run_program(
        "ansible-galaxy",
        "collection",
        "install",
        "--offline",
        "--collections-path",
        str(directory),
        str(archive),
        environment={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(directory)},
    )
    assert done.returncode == 0, done.stderr
    return directory


def names_in(archive: Path) -> list[str]:
    with tarfile.open(archive) as opened:
        return [member.name for member in opened.getmembers() if member.isfile()]


def test_the_archive_holds_exactly_what_an_operator_needs(archive: Path) -> None:
    names = names_in(archive)
    # The first release has not been made yet.
    assert {name.split("/")[0] for name in names} - {"CHANGELOG.md"} == TOP_LEVEL
    strangers = [
        name
        for name in names
        if name.split("/")[-1].startswith(".") or any(part in name for part in NOT_FOR_OPERATORS)
    ]
    assert strangers == []


def test_every_plugin_of_the_tree_is_in_the_archive(archive: Path) -> None:
    plugins = {
        path.relative_to(REPOSITORY).as_posix() for path in (REPOSITORY / "plugins").rglob("*.py")
    }
    assert plugins <= set(names_in(archive))


def plugins_of(kind: str, folder: str, suffix: str) -> list[tuple[str, str]]:
    found = sorted((REPOSITORY / folder).glob(f"*{suffix}"))
    return [(kind, path.stem) for path in found if not path.name.startswith("_")]


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *plugins_of("module", "plugins/modules", ".py"),
        *plugins_of("lookup", "plugins/lookup", ".py"),
        *plugins_of("role", "roles", ""),
    ],
)
def test_the_documentation_of_what_was_installed_can_be_read(
    kind: str, name: str, installed: Path
) -> None:
    done = run_program(
        "ansible-doc",
        "--type",
        kind,
        f"dayzero.spike.{name}",
        environment={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(installed)},
    )
    assert done.returncode == 0, done.stderr
    assert f"dayzero.spike.{name}" in done.stdout
    assert str(installed) in done.stdout
    # Newer Ansible warns of a collection of its own that has no version.
    about_ours = [line for line in done.stderr.splitlines() if "_protomatter" not in line]
    assert about_ours == []


@pytest.mark.parametrize("playbook", sorted(p.stem for p in (REPOSITORY / "playbooks").iterdir()))
def test_the_playbooks_that_were_installed_can_be_run(playbook: str, installed: Path) -> None:
    done = run_program(
        "ansible-playbook",
        f"dayzero.spike.{playbook}",
        "--syntax-check",
        environment={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(installed)},
    )
    assert done.returncode == 0, done.stderr
