# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""ansible-playbook is killed or interrupted while shards leave; the next ends on the same key.

Ansible's workers lead sessions of their own, so a controller that is killed leaves them behind, and
the module. Both notice, and end: the lock is free within 15 seconds, and the journal is in order.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from ansible_collections.dayzero.spike.tests.support.module_forks import Forks
from ansible_collections.dayzero.spike.tests.support.rerun_world import World, world

pytestmark = pytest.mark.slow

_SECONDS = 60
# How ansible-playbook ends when its user has interrupted it.
_INTERRUPTED = 99
# Every 0.2 s another attempt, for 18 s: whoever is stalled is served at once when it is healed.
_PATIENT = {
    "keeper_timeout": "20s",
    "keeper_max_retries": 90,
    "keeper_retry_initial_interval": "200ms",
    "keeper_retry_max_interval": "200ms",
}
_STALLED = {"delay": "60s", "when": "deliver"}


@pytest.fixture
def cluster() -> Iterator[World]:
    with Forks() as forks, world(forks) as cluster:
        yield cluster


class Controllers:
    """Starts ansible-playbook, each in a process group of its own; ends what is left of them."""

    def __init__(self, cluster: World, directory: Path) -> None:
        options = cluster.options(**_PATIENT)
        peers = options.pop("keeper_peers")
        inventory = {
            "spike_keepers": {
                "hosts": {
                    f"keeper{number}": {"spike_keeper_url": url}
                    for number, url in enumerate(peers, 1)
                }
            },
            "spike_bootstrap": {
                "hosts": {"bootstrap": {"ansible_connection": "local"}},
                "vars": {
                    "spike_bootstrap_manage_host": False,
                    **{f"spike_bootstrap_{name}": value for name, value in options.items()},
                },
            },
        }
        self._inventory = directory / "inventory.yml"
        self._inventory.write_text(yaml.safe_dump(inventory))
        self._output = directory / "output"
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self) -> subprocess.Popen[bytes]:
        program = Path(sys.executable).parent / "ansible-playbook"
        with self._output.open("wb") as output:
            controller = subprocess.Popen(
                [program, "-i", self._inventory, "dayzero.spike.day_zero"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._started.append(controller)
        return controller

    def play(self) -> str:
        """Run it to its good end; returns its output."""
        assert self.start().wait(_SECONDS) == 0, self._output.read_text()
        return self._output.read_text()

    def close(self) -> None:
        for controller in self._started:
            controller.kill()
            controller.wait(_SECONDS)


@pytest.fixture
def controllers(cluster: World, tmp_path: Path) -> Iterator[Controllers]:
    controllers = Controllers(cluster, tmp_path)
    yield controllers
    controllers.close()


def descendants(pid: int) -> list[int]:
    """The processes that ``pid`` has started, and those that they have."""
    found = []
    # Whoever ends meanwhile has no children any more.
    with contextlib.suppress(FileNotFoundError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += [int(child), *descendants(int(child))]
    return found


def kill_alone(controller: subprocess.Popen[bytes]) -> None:
    controller.kill()


def kill_group(controller: subprocess.Popen[bytes]) -> None:
    os.killpg(controller.pid, signal.SIGKILL)


def kill_with_the_module(controller: subprocess.Popen[bytes]) -> None:
    with contextlib.ExitStack() as opened:
        family = []
        for pid in descendants(controller.pid):
            family.append(os.pidfd_open(pid))
            opened.callback(os.close, family[-1])
        kill_group(controller)
        for process in family:
            # Those of its group have just died.
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(process, signal.SIGKILL)
        for process in family:
            assert select.select([process], [], [], _SECONDS)[0]


def is_locked(cluster: World) -> bool:
    with (cluster.state_dir / "lock").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def start_and_stall(cluster: World, controllers: Controllers) -> subprocess.Popen[bytes]:
    """A controller, when keepers 1 and 2 have their shards and keeper 3 says nothing."""
    cluster.keepers[2].inject(_STALLED)
    controller = controllers.start()
    for keeper in cluster.keepers:
        assert keeper.stats.wait_for(lambda stats: stats.shard_requests > 0, _SECONDS)
    assert controller.poll() is None
    return controller


def kill_while_keeper_3_stalls(
    cluster: World,
    controllers: Controllers,
    kill: Callable[[subprocess.Popen[bytes]], None],
) -> None:
    """Keepers 1 and 2 have their shards, keeper 3 says nothing, and the controller is killed."""
    controller = start_and_stall(cluster, controllers)
    kill(controller)
    assert controller.wait(_SECONDS) == -signal.SIGKILL


def wait_until_noted(cluster: World, ids: list[int]) -> None:
    """Return when the journal says that the keepers ``ids`` have their shards."""
    end = time.monotonic() + _SECONDS
    while cluster.journal()["delivered"] != ids:
        assert time.monotonic() < end, cluster.journal()
        # A file that is replaced is no event that could be waited for.
        time.sleep(0.02)


def wait_until_free(cluster: World) -> float:
    """Wait until nobody holds the lock; returns how many seconds that took."""
    began = time.monotonic()
    with (cluster.state_dir / "lock").open() as lock:
        # The kernel wakes whoever waits; the test's own time limit ends a wait in vain.
        fcntl.flock(lock, fcntl.LOCK_SH)
    return time.monotonic() - began


@pytest.mark.parametrize(
    "kill",
    [
        pytest.param(kill_alone, id="the controller alone"),
        pytest.param(kill_group, id="its process group", marks=pytest.mark.long),
        pytest.param(kill_with_the_module, id="the module too", marks=pytest.mark.long),
    ],
)
def test_a_killed_controller_is_followed_by_one_that_ends_on_the_same_key(
    kill: Callable[[subprocess.Popen[bytes]], None],
    cluster: World,
    controllers: Controllers,
    record_property: Callable[[str, object], None],
) -> None:
    kill_while_keeper_3_stalls(cluster, controllers, kill)
    seconds = wait_until_free(cluster)
    assert seconds < 15
    # In order: keepers 1 and 2 are noted, and the run is unfinished.
    assert cluster.journal()["state"] == "delivering"
    noted = cluster.journal()["delivered"]
    # SIGKILL can come before a delivery is noted, and the rerun repeats it.
    assert noted == [1, 2] or (kill is kill_with_the_module and set(noted) < {1, 2})
    cluster.keepers[2].heal()
    rerun = controllers.play()
    assert "changed=1" in rerun
    cluster.assert_one_key()
    cluster.assert_bootstrapped()
    again = controllers.play()
    assert "changed=1" not in again
    cluster.assert_one_key()
    record_property(
        "table",
        f"crash: {kill.__name__}: the lock was free after {seconds:.1f} s, the rerun finished;"
        " one key",
    )


def test_ctrl_c_ends_the_run_on_the_host_too_and_it_can_be_gone_on_with(
    cluster: World, controllers: Controllers
) -> None:
    controller = start_and_stall(cluster, controllers)
    wait_until_noted(cluster, [1, 2])
    # What a terminal does on Ctrl-C: the whole group in the foreground is told.
    os.killpg(controller.pid, signal.SIGINT)
    assert controller.wait(_SECONDS) == _INTERRUPTED
    assert wait_until_free(cluster) < 15
    assert cluster.journal()["state"] == "delivering"
    assert cluster.journal()["delivered"] == [1, 2]
    cluster.keepers[2].heal()
    assert "changed=1" in controllers.play()
    cluster.assert_one_key()
    cluster.assert_bootstrapped()


@pytest.mark.long
def test_a_rerun_waits_for_the_module_that_a_killed_controller_left_behind(
    cluster: World, controllers: Controllers
) -> None:
    kill_while_keeper_3_stalls(cluster, controllers, kill_group)
    # At once, while the module still holds the lock.
    rerun = cluster.run(**_PATIENT, kill=None)
    assert rerun.result["phase"] == "deliver"
    cluster.keepers[2].heal()
    assert cluster.run().result["phase"] == "done"
    cluster.assert_one_key()
    cluster.assert_bootstrapped()


def test_a_run_that_waits_too_long_for_the_lock_says_who_holds_it(
    cluster: World, controllers: Controllers
) -> None:
    cluster.keepers[2].inject(_STALLED)
    holder = cluster.start(**_PATIENT)
    holder.until("keeper 3: before shard")
    assert is_locked(cluster)
    with Forks() as forks:
        refused = forks.run(cluster.arguments(keeper_timeout="300ms")).result
    assert (refused["phase"], refused["code"]) == ("guard", "bootstrap_locked")
    assert refused["msg"] == (
        f"Another bootstrap run holds {cluster.state_dir / 'lock'} and did not end within 300ms."
        " Nothing was sent."
    )
    assert re.search(r"process \d+ holds it", refused["why"][0])
    assert refused["what_to_do"] == ["Wait for the other run to end.", "Rerun bootstrap."]
    cluster.keepers[2].heal()
    assert cluster.checked(holder.end()).result["phase"] == "done"
    cluster.assert_bootstrapped()
