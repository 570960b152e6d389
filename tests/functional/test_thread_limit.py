# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host whose limit on threads is reached: told as that, and worked around where one is left."""

from __future__ import annotations

import pytest
from ansible_collections.dayzero.spike.tests.support.module_host import Host
from ansible_collections.dayzero.spike.tests.support.module_run import (
    ModuleRun,
    assert_whole,
    run_directly,
)

pytestmark = pytest.mark.slow


def run_with_threads(host: Host, allowed: int, **changes: object) -> ModuleRun:
    """Run the module where ``allowed`` threads start; the kernel lets root have all it wants."""
    prelude = f"""
import threading
start, left = threading.Thread.start, {allowed}
def limited(thread):
    global left
    if left == 0:
        raise RuntimeError("can't start new thread")
    left -= 1
    start(thread)
threading.Thread.start = limited
"""
    return run_directly(host.options(**changes), environment=host.environment, prelude=prelude)


def test_one_thread_is_enough_for_a_run(host: Host) -> None:
    result = run_with_threads(host, 1).result
    assert_whole(result)
    assert (result["phase"], result["changed"]) == ("done", True)
    assert host.nexus_holds(host.root_key(1, 3))


def test_a_host_that_allows_no_thread_is_told_with_the_limits_to_look_at(host: Host) -> None:
    run = run_with_threads(host, 0)
    assert_whole(run.result)
    assert (run.result["phase"], run.result["changed"]) == ("reach", False)
    assert run.result["msg"] == (
        "This host allows the run no further thread (1 running): a limit on processes and threads"
        " is reached. Raise it (ulimit -u of the running user, TasksMax of the systemd unit, the"
        " pids limit of the container) or end what uses it up, and run again."
    )
    assert "Traceback" not in run.output
    assert host.shard_requests() == 0


def test_a_name_that_no_thread_can_look_up_fails_its_keepers_and_is_no_defect(host: Host) -> None:
    urls = [keeper.url.replace("127.0.0.1", "localhost") for keeper in host.sandbox.keepers]
    run = run_with_threads(host, 1, keeper_peers=urls, keeper_timeout="1s")
    assert_whole(run.result)
    assert (run.result["phase"], run.result["failed_keepers"]) == ("reach", [1, 2, 3])
    for keeper in run.result["keepers"]:
        assert keeper["cause"] == "name_resolution"
        assert "no further thread" in keeper["detail"]
        assert keeper["attempts"] == 5
    assert "unexpected" not in run.output
