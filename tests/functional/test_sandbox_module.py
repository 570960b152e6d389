# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module, role and playbook of the sandbox, run by Ansible itself."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import ssl
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.slow

SECONDS = 180


class Ansible:
    """Runs the module through Ansible, in a directory of this test."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def module(self, *flags: str, **options: Any) -> dict[str, Any]:
        """Run the module and return its result, the failure too."""
        arguments = json.dumps({"directory": str(self.directory), **options})
        output = self._run(
            "ansible", "localhost", "-m", "dayzero.spike.spike_sandbox", "-a", arguments, *flags
        )
        _unused, _unused, result = output.partition(" => ")
        return dict(json.loads(result))

    def playbook(self, *arguments: str) -> str:
        place = f"spike_sandbox_directory={self.directory}"
        return self._run("ansible-playbook", *arguments, "-e", place)

    @staticmethod
    def _run(program: str, *arguments: str) -> str:
        done = subprocess.run(
            [Path(sys.executable).parent / program, *arguments],
            check=False,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "ANSIBLE_PYTHON_INTERPRETER": sys.executable},
        )
        assert done.stdout, done.stderr
        return done.stdout


@pytest.fixture
def ansible(tmp_path: Path) -> Iterator[Ansible]:
    ansible = Ansible(tmp_path / "sandbox")
    yield ansible
    if ansible.directory.exists():
        ansible.module(state="stopped")


def is_served(url: str, bootstrap: dict[str, Any]) -> bool:
    """Do a handshake as the bootstrap identity; False when the connection is refused."""
    context = ssl.create_default_context(cafile=bootstrap["svid_bundle"])
    context.check_hostname = False
    context.load_cert_chain(bootstrap["svid_cert"], bootstrap["svid_key"])
    parts = urllib.parse.urlsplit(url)
    try:
        with socket.create_connection((parts.hostname, parts.port or 0), 5) as connection:
            with context.wrap_socket(connection) as secured:
                return bool(secured.getpeercert())
    except ConnectionRefusedError:
        return False


def has_ended(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True
    # In a container without an init, nobody asks for it once it has ended.
    return stat.rpartition(")")[2].split()[0] == "Z"


def test_it_serves_when_the_module_has_returned_and_until_it_is_stopped(
    ansible: Ansible,
) -> None:
    started = ansible.module(faults={"2": {"refuse": True}})
    assert started["changed"], started
    bootstrap = started["bootstrap"]
    served = [is_served(keeper["url"], bootstrap) for keeper in started["keepers"]]
    assert served == [True, False, True]
    assert is_served(started["nexus"]["url"], bootstrap)
    log = Path(started["log"])
    assert log.read_text() == ""

    stopped = ansible.module(state="stopped")
    assert (stopped["changed"], stopped["running"]) == (True, False)
    assert has_ended(started["pid"])
    assert list(ansible.directory.iterdir()) == []
    assert bootstrap["runtime_dir"] is None or not Path(bootstrap["runtime_dir"]).exists()


@pytest.mark.long
def test_started_or_stopped_twice_changes_nothing_the_second_time(ansible: Ansible) -> None:
    first = ansible.module(faults={"1": {"delay": "1s"}})
    second = ansible.module(faults={"1": {"delay": "1s"}})
    assert (first["changed"], second["changed"]) == (True, False)
    assert {**second, "changed": True} == first
    assert [ansible.module(state="stopped")["changed"] for _unused in range(2)] == [True, False]


def test_other_options_replace_the_sandbox(ansible: Ansible) -> None:
    first = ansible.module()
    second = ansible.module(keepers=4)
    assert second["changed"]
    assert len(second["keepers"]) == 4
    assert has_ended(first["pid"])


@pytest.mark.long
def test_check_mode_tells_and_does_nothing(ansible: Ansible) -> None:
    would_start = ansible.module("--check")
    assert (would_start["changed"], ansible.directory.exists()) == (True, False)
    started = ansible.module()
    assert not ansible.module("--check")["changed"]
    assert ansible.module("--check", keepers=4)["changed"]
    assert ansible.module("--check", state="stopped")["changed"]
    assert is_served(started["nexus"]["url"], started["bootstrap"])


def test_one_that_was_killed_is_started_again(ansible: Ansible) -> None:
    first = ansible.module()
    # It is the process that this test has started, and it is alive.
    os.kill(first["pid"], signal.SIGKILL)
    second = ansible.module()
    assert second["changed"]
    assert is_served(second["nexus"]["url"], second["bootstrap"])
    runtime_dir = first["bootstrap"]["runtime_dir"]
    assert runtime_dir is None or not Path(runtime_dir).exists()


def test_it_removes_its_files_when_its_lifetime_ends(ansible: Ansible) -> None:
    started = ansible.module(lifetime="1s")
    with contextlib.suppress(ProcessLookupError):
        process = os.pidfd_open(started["pid"])
        try:
            assert select.select([process], [], [], 10)[0]
        finally:
            os.close(process)
    assert list(ansible.directory.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"faults": {"4": {"refuse": True}}}, "faults[4]: there are keepers 1 to 3, and nexus"),
        ({"faults": {"1": {"refused": True}}}, "faults[1]: refused is unknown; known are refuse,"),
        ({"threshold": 4}, "threshold: 4 is not from 1 to the number of keepers"),
        ({"nexus_keepers": [1, 4]}, "nexus_keepers: [1, 4] are not ids of keepers from 1 to 3"),
        ({"nexus_keepers": [2, 2]}, "nexus_keepers: [2, 2] are not ids of keepers from 1 to 3"),
        ({"nexus_threshold": 4}, "nexus_threshold: it is not from 1 to Nexus's 3 keepers"),
        (
            {"nexus_keepers": [3], "nexus_threshold": 2},
            "nexus_threshold: it is not from 1 to Nexus's 1 keepers",
        ),
        ({"faults": {"1": {"other_key": True}}}, "faults[1]: other_key is about nexus"),
        ({"lifetime": "0"}, "lifetime: it must be greater than 0, and have an end"),
        ({"nexus_poll": "soon"}, "nexus_poll: 'soon' is not a duration;"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_before_anything_is_made(
    ansible: Ansible, options: dict[str, Any], problem: str
) -> None:
    refused = ansible.module(**options)
    assert refused["msg"].startswith(problem), refused
    assert not ansible.directory.exists()


def test_check_mode_refuses_it_as_well(ansible: Ansible) -> None:
    refused = ansible.module("--check", threshold=4)
    assert refused["msg"] == "threshold: 4 is not from 1 to the number of keepers"


def test_a_directory_that_holds_other_things_is_left_alone(ansible: Ansible) -> None:
    ansible.directory.mkdir(mode=0o755)
    (ansible.directory / "precious").write_text("mine")
    refused = ansible.module()
    assert refused["msg"].endswith("holds precious; give one for the sandbox alone"), refused
    assert ansible.directory.stat().st_mode & 0o777 == 0o755
    assert [path.name for path in ansible.directory.iterdir()] == ["precious"]


def test_the_playbook_starts_it_writes_an_inventory_and_stops_it(ansible: Ansible) -> None:
    faults = '{"spike_sandbox_faults": {"2": {"refuse": true}}, "spike_sandbox_keepers": 4}'
    shown = ansible.playbook("dayzero.spike.sandbox", "-e", faults)
    inventory = ansible.directory / "inventory.yml"
    assert f"ansible-playbook -i {inventory} dayzero.spike.day_zero" in shown
    groups = yaml.safe_load(inventory.read_text())
    assert list(groups["spike_keepers"]["hosts"]) == ["keeper1", "keeper2", "keeper3", "keeper4"]
    variables = groups["spike_bootstrap"]["vars"]
    bootstrap = {
        name: variables[f"spike_bootstrap_{name}"]
        for name in ("svid_cert", "svid_key", "svid_bundle")
    }
    urls = [host["spike_keeper_url"] for host in groups["spike_keepers"]["hosts"].values()]
    assert [is_served(url, bootstrap) for url in urls] == [True, False, True, True]
    assert is_served(variables["spike_bootstrap_nexus_api_url"], bootstrap)
    ansible.playbook("dayzero.spike.sandbox", "-e", "spike_sandbox_state=stopped")
    assert list(ansible.directory.iterdir()) == []
