# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lines of a run in Ansible's output while it goes on, over real connections.

A keeper is healed only when a line of its first attempt was read, so a run whose lines came at its
end would never end well.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.dayzero.spike.tests.support.module_host import Host
from ansible_collections.dayzero.spike.tests.support.ssh_server import NoSshd, ssh_server

pytestmark = pytest.mark.slow

_BIN = Path(sys.executable).parent
_PATIENCE_SECONDS = 120
PLAY = """
- hosts: all
  gather_facts: false
  strategy: {strategy}
  tasks:
    - name: Bootstrap
      dayzero.spike.spike_bootstrap: "{{{{ options }}}}"
      register: bootstrap
      {more}
    - ansible.builtin.copy:
        content: "{{{{ bootstrap | to_json }}}}"
        dest: "{{{{ kept }}}}"
      delegate_to: localhost
      vars: {{ansible_connection: local, ansible_become: false}}
"""
# The attempts of keeper 2 until it is healed; plenty of time, and many attempts.
PACE = {
    "keeper_timeout": "60s",
    "keeper_max_retries": 100,
    "keeper_retry_initial_interval": "300ms",
    "keeper_retry_max_interval": "600ms",
}


@pytest.fixture(scope="module")
def over_ssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    try:
        with ssh_server(tmp_path_factory.mktemp("ssh") / "server") as variables:
            yield variables
    except NoSshd as problem:
        pytest.skip(str(problem))


LOCAL = {"ansible_connection": "local"}


def first_of(hosts: Mapping[str, Host]) -> Host:
    return next(iter(hosts.values()))


@contextmanager
def playing(
    hosts: Mapping[str, Host],
    connection: Mapping[str, Any],
    *arguments: str,
    strategy: str = "linear",
    more: str = "",
    environment: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[str]]:
    """A play of the module on ``hosts``, each with its own cluster, with its output to read."""
    first = first_of(hosts)
    place = first.directory
    (place / "play.yml").write_text(PLAY.format(strategy=strategy, more=more))
    entries = {
        name: {
            **connection,
            "ansible_python_interpreter": sys.executable,
            "options": host.options(**PACE),
            "kept": str(host.directory / "kept.json"),
        }
        for name, host in hosts.items()
    }
    (place / "hosts.json").write_text(json.dumps({"all": {"hosts": entries}}))
    process = subprocess.Popen(
        [
            str(_BIN / "ansible-playbook"),
            f"--inventory={place / 'hosts.json'}",
            *arguments,
            str(place / "play.yml"),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={
            **first.environment,
            # The path of a unix socket may have 107 characters.
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(first.temporary),
            "ANSIBLE_ASYNC_DIR": str(place / "async"),
            # The shared connection holds the output open for as long as it waits for another task.
            "ANSIBLE_SSH_ARGS": "-o ControlMaster=auto -o ControlPersist=1s",
            **(environment or {}),
        },
        start_new_session=True,
    )
    watchdog = threading.Timer(_PATIENCE_SECONDS, process.kill)
    watchdog.start()
    try:
        yield process
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def read_all(process: subprocess.Popen[str], on_line: Callable[[str], None]) -> list[str]:
    """Every line of its output, each given to ``on_line`` when it comes."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        on_line(lines[-1])
    process.wait()
    return lines


def healing(hosts: Mapping[str, Host]) -> Callable[[str], None]:
    """Heals keeper 2 of a host when its first attempt was read."""

    def heal(line: str) -> None:
        for host in hosts.values():
            if f" 2 at {host.sandbox.keepers[1].url}... (attempt 1/" in line:
                host.sandbox.keepers[1].heal()

    return heal


def kept(host: Host) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((host.directory / "kept.json").read_text())
    return loaded


def assert_shown_live(lines: list[str], hosts: Mapping[str, Host]) -> None:
    """The lines of each host's result were shown, each once and in order, and led to its end."""
    for name, host in hosts.items():
        assert (host.directory / "kept.json").exists(), "\n".join(lines)
        result = kept(host)
        assert result["phase"] == "done", result
        prefix = f"{name}: " if len(hosts) > 1 else ""
        urls = [keeper.url for keeper in host.sandbox.keepers]
        shown = [line for line in lines if "(attempt " in line and any(url in line for url in urls)]
        assert shown == [f"{prefix}{line}" for line in result["log"]]
        assert "progress" not in result.get("invocation", {}).get("module_args", {})


def down(make_host: Callable[..., Host]) -> Host:
    return make_host({2: {"refuse": True}})


def test_a_line_is_shown_while_the_run_goes_on(make_host: Callable[..., Host]) -> None:
    hosts = {"one": down(make_host)}
    with playing(hosts, LOCAL) as process:
        lines = read_all(process, healing(hosts))
    assert_shown_live(lines, hosts)


@pytest.mark.parametrize(
    ("strategy", "pipelining"),
    [
        ("linear", "false"),
        pytest.param("free", "true", marks=pytest.mark.long),
    ],
)
def test_over_ssh_the_lines_of_two_hosts_name_their_host(
    strategy: str,
    pipelining: str,
    over_ssh: dict[str, Any],
    make_host: Callable[..., Host],
) -> None:
    hosts = {"one": down(make_host), "two": down(make_host)}
    environment = {"ANSIBLE_PIPELINING": pipelining}
    with playing(hosts, over_ssh, strategy=strategy, environment=environment) as process:
        lines = read_all(process, healing(hosts))
    assert_shown_live(lines, hosts)


@pytest.mark.long
def test_over_ssh_without_a_shared_connection_too(
    over_ssh: dict[str, Any], make_host: Callable[..., Host]
) -> None:
    hosts = {"one": down(make_host)}
    alone = {**over_ssh, "ansible_ssh_args": "-o ControlMaster=no"}
    with playing(hosts, alone) as process:
        lines = read_all(process, healing(hosts))
    assert_shown_live(lines, hosts)


@pytest.mark.parametrize("method", ["sudo", pytest.param("su", marks=pytest.mark.long)])
@pytest.mark.parametrize("connection", ["ssh", pytest.param("local", marks=pytest.mark.long)])
def test_the_lines_of_another_user_are_shown(
    connection: str,
    method: str,
    request: pytest.FixtureRequest,
    make_host: Callable[..., Host],
) -> None:
    if shutil.which(method) is None or os.geteuid() != 0:
        pytest.skip(f"needs root and {method}")
    hosts = {"one": down(make_host)}
    as_another = {"ansible_become": True, "ansible_become_method": method}
    # Somebody who may read the sandbox's files and run this Python: root, by way of becoming it.
    as_another["ansible_become_user"] = pwd.getpwuid(0).pw_name
    variables = LOCAL if connection == "local" else request.getfixturevalue("over_ssh")
    environment = {"ANSIBLE_BECOME_ALLOW_SAME_USER": "true"}
    with playing(hosts, {**variables, **as_another}, environment=environment) as process:
        lines = read_all(process, healing(hosts))
    assert_shown_live(lines, hosts)


def test_a_check_shows_its_lines(make_host: Callable[..., Host]) -> None:
    hosts = {"one": down(make_host)}
    healed = healing(hosts)
    with playing(hosts, LOCAL, "--check") as process:
        lines = read_all(process, healed)
    assert any("(attempt 1/" in line for line in lines)
    assert hosts["one"].sandbox.keepers[1].is_well
    assert hosts["one"].shard_requests() == 0


def test_with_async_the_run_is_the_same_without_lines(make_host: Callable[..., Host]) -> None:
    host = make_host()
    with playing({"one": host}, LOCAL, more="async: 60\n      poll: 1") as process:
        lines = read_all(process, lambda line: None)
    assert (host.directory / "kept.json").exists(), "\n".join(lines)
    assert kept(host)["phase"] == "done"
    assert not any("(attempt " in line for line in lines)


@pytest.mark.parametrize("connection", ["local", pytest.param("ssh", marks=pytest.mark.long)])
def test_an_interrupted_play_leaves_no_run(
    connection: str, request: pytest.FixtureRequest, make_host: Callable[..., Host]
) -> None:
    host = down(make_host)
    variables = LOCAL if connection == "local" else request.getfixturevalue("over_ssh")
    with playing({"one": host}, variables) as process:

        def interrupt(line: str) -> None:
            if "(attempt 1/" in line:
                os.killpg(process.pid, signal.SIGINT)

        begun = time.monotonic()
        read_all(process, interrupt)
        assert process.returncode != 0
        # The run alone would go on for 60 s.
        assert time.monotonic() - begun < 30
    # The run lets go of its lock, and whoever looks at it ends with it.
    rerun = {"one": host}
    host.sandbox.keepers[1].heal()
    with playing(rerun, variables) as process:
        read_all(process, lambda line: None)
    assert kept(host)["phase"] == "done"
