# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The virtual environment that the role makes as root, for a user who is not."""

from __future__ import annotations

import json
import os
import stat
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
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


@pytest.mark.usefixtures("_hardened")
def test_under_a_strict_umask_the_virtual_environment_can_still_be_read(tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "tasks": [
            {
                "ansible.builtin.include_role": {
                    "name": "dayzero.spike.spike_bootstrap",
                    "tasks_from": "venv",
                },
                "vars": {
                    "spike_bootstrap_venv": str(venv),
                    "spike_bootstrap_venv_python": sys.executable,
                    "spike_bootstrap_venv_requirements": [str(small_wheel(tmp_path))],
                    "spike_bootstrap_venv_packages": [],
                },
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
    done = run_program("ansible-playbook", str(playbook), environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    (installed,) = venv.rglob("onlooker.py")
    assert installed.is_file()
    assert closed_to_others(venv) == []
