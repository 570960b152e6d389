# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The virtual environment that the role makes as root, for a user who is not."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.dayzero.spike.tests.support.ansible_run import run_program

pytestmark = pytest.mark.slow


@pytest.fixture
def _hardened() -> Iterator[None]:
    """The umask that a hardened host gives to root."""
    before = os.umask(0o077)
    yield
    os.umask(before)


def small_wheel(directory: Path) -> Path:
    """A package that pip installs without asking anybody."""
    path = directory / "onlooker-1-py3-none-any.whl"
    if path.exists():
        return path
    about = "onlooker-1.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("onlooker.py", "")
        wheel.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: onlooker\nVersion: 1\n")
        wheel.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{about}/RECORD", "")
    return path


def closed_to_others(directory: Path) -> list[str]:
    """What below ``directory``, itself included, another user cannot read or enter."""
    found = []
    for path in [directory, *directory.rglob("*")]:
        mode = path.lstat().st_mode
        needed = stat.S_IROTH | (stat.S_IXOTH if stat.S_ISDIR(mode) else 0)
        if not stat.S_ISLNK(mode) and mode & needed != needed:
            found.append(f"{path} {mode:o}")
    return found


def make_venv(
    tmp_path: Path, *arguments: str, **variables: Any
) -> subprocess.CompletedProcess[str]:
    """Run that part of the role; ``variables`` without the role's prefix."""
    given = {
        "venv": str(tmp_path / "venv"),
        "venv_python": sys.executable,
        "venv_requirements": [str(small_wheel(tmp_path))],
        "venv_packages": [],
        **variables,
    }
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "tasks": [
            {
                "ansible.builtin.include_role": {
                    "name": "dayzero.spike.spike_bootstrap",
                    "tasks_from": "venv",
                },
                "vars": {f"spike_bootstrap_{name}": value for name, value in given.items()},
            }
        ],
    }
    playbook = tmp_path / "playbook.yml"
    playbook.write_text(json.dumps([play]))
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "ANSIBLE_HOME": str(tmp_path / "ansible"),
        "ANSIBLE_REMOTE_TEMP": str(tmp_path / "remote"),
        "PIP_NO_INDEX": "1",
    }
    return run_program("ansible-playbook", str(playbook), *arguments, environment=environment)


@pytest.mark.long
@pytest.mark.usefixtures("_hardened")
def test_under_a_strict_umask_the_virtual_environment_can_still_be_read(tmp_path: Path) -> None:
    done = make_venv(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    (installed,) = (tmp_path / "venv").rglob("onlooker.py")
    assert installed.is_file()
    assert closed_to_others(tmp_path / "venv") == []


@pytest.mark.long
def test_an_environment_whose_python_is_gone_is_made_anew(tmp_path: Path) -> None:
    assert make_venv(tmp_path).returncode == 0
    again = make_venv(tmp_path)
    assert again.returncode == 0
    assert "changed=0" in again.stdout
    python = tmp_path / "venv" / "bin" / "python3"
    for link in python.parent.glob("python*"):
        if link.readlink().is_absolute():
            link.unlink()
            link.symlink_to("/usr/bin/python3.0")
    assert not python.exists()
    check = make_venv(tmp_path, "--check")
    assert check.returncode == 0, check.stdout
    assert "changed=1" in check.stdout
    done = make_venv(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert subprocess.run([python, "-c", "import onlooker"], check=False).returncode == 0


@pytest.mark.long
def test_an_environment_for_another_version_of_python_is_made_anew(tmp_path: Path) -> None:
    # As a new release of the host's distribution leaves it: Python runs, and nothing is installed.
    assert make_venv(tmp_path).returncode == 0
    (libraries,) = (tmp_path / "venv" / "lib").iterdir()
    libraries.rename(libraries.with_name("python3.0"))
    done = make_venv(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [path.name for path in (tmp_path / "venv" / "lib").iterdir()] == [libraries.name]


def test_a_directory_that_is_no_virtual_environment_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv" / "kept").touch()
    done = make_venv(tmp_path)
    assert done.returncode == 2
    assert "exists and is not a virtual environment" in " ".join(done.stdout.split())
    assert [path.name for path in (tmp_path / "venv").iterdir()] == ["kept"]


@pytest.mark.long
def test_pip_is_given_an_index_and_hashes(tmp_path: Path) -> None:
    wheel = small_wheel(tmp_path)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    fixed = tmp_path / "requirements.txt"
    given = {
        "venv_requirements": [],
        "venv_pip_args": ["--find-links", str(tmp_path), "--require-hashes", "-r", str(fixed)],
    }
    fixed.write_text(f"onlooker==1 --hash=sha256:{'0' * 64}\n")
    wrong = make_venv(tmp_path, **given)
    assert wrong.returncode == 2
    assert "DO NOT MATCH THE HASHES" in wrong.stdout + wrong.stderr
    fixed.write_text(f"onlooker==1 --hash=sha256:{digest}\n")
    done = make_venv(tmp_path, **given)
    assert done.returncode == 0, done.stdout + done.stderr
    assert list((tmp_path / "venv").rglob("onlooker.py"))


def test_every_requirement_has_an_upper_bound() -> None:
    role = Path(__file__).resolve().parents[2] / "roles" / "spike_bootstrap"
    defaults = yaml.safe_load((role / "defaults" / "main.yml").read_text())
    requirements = defaults["spike_bootstrap_venv_requirements"]
    assert all("<" in requirement for requirement in requirements)
