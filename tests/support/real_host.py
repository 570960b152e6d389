# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""This machine as the role's host: root, users that are there for one test, and their files."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.dayzero.spike.tests.support.ansible_run import PlaybookRun, run_playbook
from ansible_collections.dayzero.spike.tests.support.module_host import Host

_SYSTEM_PYTHON = "/usr/bin/python3"
_PREFIX = "spike_bootstrap_"


class RealHost:
    """Runs the role as root, with an inventory whose become variables name somebody else."""

    def __init__(self, host: Host, directory: Path, runtime: Path) -> None:
        """``directory`` is on a disk, ``runtime`` in memory, and everybody may enter both."""
        self.host = host
        self.directory = directory
        self.runtime = runtime
        self.user = f"spike-t{os.getpid()}"
        self.state_dir = directory / "journal"
        self.runtime_dir = runtime / "key"
        self._runs = 0

    def variables(self) -> dict[str, Any]:
        """What an inventory says, without the identity."""
        sandbox = self.host.sandbox
        return {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "ansible_become_method": "su",
            # What must be root is root all the same.
            "ansible_become_user": "nobody",
            "ansible_su_user": "nobody",
            "spike_bootstrap_keeper_peers": [keeper.url for keeper in sandbox.keepers],
            "spike_bootstrap_share_scheme": sandbox.scheme,
            "spike_bootstrap_nexus_api_url": sandbox.nexus.url,
            "spike_bootstrap_svid_source": "files",
            "spike_bootstrap_svid_cert": str(sandbox.svid_cert),
            "spike_bootstrap_svid_key": str(sandbox.svid_key),
            "spike_bootstrap_svid_bundle": str(sandbox.svid_bundle),
            "spike_bootstrap_init_verification_timeout": "20s",
            "spike_bootstrap_state_dir": str(self.state_dir),
            "spike_bootstrap_runtime_dir": str(self.runtime_dir),
            "spike_bootstrap_env_file": str(self.directory / "etc" / "bootstrap.env"),
            "spike_bootstrap_manage_packages": False,
            "spike_bootstrap_user": self.user,
            "spike_bootstrap_group": self.user,
        }

    def identity_of(self, user: str) -> dict[str, Any]:
        """Variables with which ``user`` can run the module: its SVID, and a Python to enter."""
        account = pwd.getpwnam(user)
        files = self.directory / f"svid-{user}"
        files.mkdir()
        given: dict[str, Any] = {"ansible_python_interpreter": str(python_for_all(self.directory))}
        for name in ("svid_cert", "svid_key", "svid_bundle"):
            copied = files / name
            shutil.copy(getattr(self.host.sandbox, name), copied)
            given[_PREFIX + name] = str(copied)
            os.chown(copied, account.pw_uid, account.pw_gid)
        return given

    def run(self, *arguments: str, **changes: Any) -> PlaybookRun:
        """Run the role; ``changes`` are variables, the role's also without its prefix."""
        self._runs += 1
        prefixed = {
            name if name.startswith(("ansible_", _PREFIX)) else _PREFIX + name: value
            for name, value in changes.items()
        }
        variables = {**self.variables(), **prefixed}
        inventory = self.directory / "inventory.json"
        inventory.write_text(json.dumps({"all": {"hosts": {"bootstrap": variables}}}))
        play = {
            "hosts": "bootstrap",
            "gather_facts": False,
            "roles": ["dayzero.spike.spike_bootstrap"],
        }
        playbook = self.directory / "site.yml"
        playbook.write_text(json.dumps([play]))
        return run_playbook(
            str(playbook),
            inventory,
            *arguments,
            environment=self.host.environment,
            kept=self.host.directory / f"kept{self._runs}",
        )


def python_for_all(directory: Path) -> Path:
    """A Python with the libraries that every user can run: that of the tests may be root's."""
    version = subprocess.run(
        [_SYSTEM_PYTHON, "-c", "import sys; print(*sys.version_info[:2])"],
        check=False,
        capture_output=True,
        text=True,
    )
    if version.stdout.split() != [str(number) for number in sys.version_info[:2]]:
        pytest.skip(f"{_SYSTEM_PYTHON} is of another version than the Python of the tests")
    path = directory / "python3"
    libraries = sysconfig.get_path("platlib")
    path.write_text(f'#!/bin/sh\nPYTHONPATH={libraries} exec {_SYSTEM_PYTHON} "$@"\n')
    path.chmod(0o755)
    return path


@contextlib.contextmanager
def real_host(host: Host) -> Iterator[RealHost]:
    """A host for the role, whose users and directories are removed afterwards."""
    if os.geteuid() != 0:
        pytest.skip("the role prepares a host as root")
    with contextlib.ExitStack() as resources:
        places = [
            Path(resources.enter_context(tempfile.TemporaryDirectory(prefix="spike-", dir=parent)))
            for parent in ("/var/tmp", "/dev/shm")
        ]
        for place in places:
            place.chmod(0o755)
        made = RealHost(host, *places)
        resources.callback(remove_user, made.user)
        yield made


@contextlib.contextmanager
def existing_user(name: str, *options: str) -> Iterator[pwd.struct_passwd]:
    """A user that was there before the role."""
    subprocess.run(["useradd", *options, name], check=True, capture_output=True)
    try:
        yield pwd.getpwnam(name)
    finally:
        remove_user(name)


def remove_user(name: str) -> None:
    """Remove a user, and the group of its name, where they exist."""
    for program in ("userdel", "groupdel"):
        subprocess.run([program, name], check=False, capture_output=True)


__all__ = ["RealHost", "existing_user", "python_for_all", "real_host", "remove_user"]
