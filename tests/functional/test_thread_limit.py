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
    """Run the module where ``allowed`` threads run at once beside the first.

    The kernel lets root have all it wants.
    """
    prelude = f"""
import threading
start = threading.Thread.start
def limited(thread):
    if threading.active_count() > {allowed}:
        raise RuntimeError("can't start new thread")
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
    assert run.result["code"] == "gen_general_failure"
    assert run.result["msg"] == "This host allows the run no further thread (1 running)."
    assert run.result["why"] == ["A limit on processes and threads is reached."]
    assert run.result["what_to_do"] == [
        "Raise the limit (ulimit -u of the running user, TasksMax of the systemd unit, the pids"
        " limit of the container), or end what uses it up.",
        "Rerun bootstrap.",
    ]
    assert "Traceback" not in run.output
    assert host.shard_requests() == 0


def test_a_name_that_no_thread_can_look_up_fails_its_keepers_and_is_no_defect(host: Host) -> None:
    urls = [keeper.url.replace("127.0.0.1", "localhost") for keeper in host.sandbox.keepers]
    run = run_with_threads(host, 1, keeper_peers=urls, keeper_timeout="1s")
    assert_whole(run.result)
    assert (run.result["phase"], run.result["failed_keepers"]) == ("reach", [1, 2, 3])
    for keeper, sentence in zip(run.result["keepers"], run.result["msg"].splitlines()[1:]):
        assert keeper["cause"] == "local"
        assert "no further thread" in keeper["detail"]
        assert keeper["attempts"] == 5
        # Not one about keepers: none of them is to blame.
        assert sentence.endswith(f"this host cannot connect ({keeper['detail']}). {keeper['hint']}")
        assert keeper["hint"].startswith("Raise the limit that the detail names on this host")
    assert "unexpected" not in run.output
