# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The last step of a release, made in a copy of what it changes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]
FRAGMENT = "---\nbugfixes:\n  - What was wrong is right.\n"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """What a release reads and writes, with one fragment more."""
    constant = "plugins/module_utils/_release.py"
    for name in ("galaxy.yml", constant):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPOSITORY / name, tmp_path / name)
    shutil.copytree(REPOSITORY / "changelogs", tmp_path / "changelogs")
    (tmp_path / "changelogs" / "fragments").mkdir(exist_ok=True)
    (tmp_path / "changelogs" / "fragments" / "99-a-test.yml").write_text(FRAGMENT)
    return tmp_path


def release(copy: Path, version: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(REPOSITORY / "tools" / "release.py"), version, str(copy)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_one_command_makes_the_changelog_and_sets_the_version_everywhere(copy: Path) -> None:
    done = release(copy, "99.0.0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert yaml.safe_load((copy / "galaxy.yml").read_text())["version"] == "99.0.0"
    assert 'COLLECTION = "99.0.0"' in (copy / "plugins/module_utils/_release.py").read_text()
    changelog = (copy / "CHANGELOG.md").read_text()
    assert "v99\\.0\\.0" in changelog
    assert "What was wrong is right" in changelog
    assert list((copy / "changelogs" / "fragments").iterdir()) == []


@pytest.mark.parametrize("linter", ["yamllint --strict .", "ansible-lint --offline -q"])
def test_what_a_release_writes_passes_the_linters(linter: str, copy: Path) -> None:
    for name in (".yamllint", ".ansible-lint", "meta/runtime.yml"):
        (copy / name).parent.mkdir(exist_ok=True)
        shutil.copy2(REPOSITORY / name, copy / name)
    assert release(copy, "99.0.0").returncode == 0
    program, *arguments = linter.split()
    done = subprocess.run(
        [str(Path(sys.executable).parent / program), *arguments],
        cwd=copy,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_version_is_released_once(copy: Path) -> None:
    assert release(copy, "99.0.0").returncode == 0
    (copy / "changelogs" / "fragments" / "100-more.yml").write_text(FRAGMENT)
    again = release(copy, "99.0.0")
    assert again.returncode != 0
    assert "99.0.0 is released" in again.stderr


def test_what_is_no_version_is_refused(copy: Path) -> None:
    done = release(copy, "soon")
    assert done.returncode != 0
    assert "'soon' is no version such as 1.0.0" in done.stderr
    assert yaml.safe_load((copy / "galaxy.yml").read_text())["version"] != "soon"
