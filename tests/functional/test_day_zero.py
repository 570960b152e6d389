# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The day-zero playbook with settings from an inventory, as an operator keeps them."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.description import (
    describe,
    inventory,
)
from ansible_collections.dayzero.spike.tests.support.ansible_run import (
    PlaybookRun,
    run_day_zero,
    run_program,
)
from ansible_collections.dayzero.spike.tests.support.module_host import Host
from ansible_collections.dayzero.spike.tests.support.module_run import assert_whole

pytestmark = pytest.mark.slow


def inventory_of(host: Host, **group_vars: Any) -> Path:
    """Write the inventory; ``group_vars`` are those of the group ``all``."""
    path = host.directory / "inventory" / "hosts.yml"
    (path.parent / "group_vars").mkdir(parents=True, exist_ok=True)
    path.write_text(inventory(describe(host.sandbox, host.state_dir, host.runtime_dir)))
    # A JSON text is a YAML text.
    (path.parent / "group_vars" / "all.yml").write_text(json.dumps(group_vars))
    return path


def day_zero(host: Host, *arguments: str, **group_vars: Any) -> PlaybookRun:
    """Run the playbook."""
    path = inventory_of(host, **group_vars)
    return run_day_zero(
        path, *arguments, environment=host.environment, kept=host.directory / "results"
    )


def test_the_playbook_gives_the_cluster_its_key(host: Host) -> None:
    run = day_zero(host)
    assert run.returncode == 0, run.output
    (result,) = run.results
    assert_whole(result)
    assert (result["phase"], result["changed"]) == ("done", True)
    assert host.nexus_holds(host.root_key(1, 2))


@pytest.mark.parametrize(
    ("group_vars", "arguments", "shown", "seconds"),
    [
        ({"spike_bootstrap_keeper_timeout": "1s"}, [], "1s timeout", 1),
        ({"spike_bootstrap_keeper_timeout": "2500ms"}, [], "2500ms timeout", 2.5),
        (
            {"spike_bootstrap_keeper_timeout": "1s"},
            ["-e", "spike_bootstrap_keeper_timeout=2"],
            "2s timeout",
            2,
        ),
        ({"spike_bootstrap_timeout": "2s"}, [], "the whole run's 2s timeout", 2),
    ],
    ids=["group_vars", "other group_vars", "extra vars win", "the whole run's time"],
)
def test_the_inventory_decides_how_long_a_keeper_is_waited_for(
    group_vars: dict[str, Any],
    arguments: list[str],
    shown: str,
    seconds: float,
    make_host: Callable[..., Host],
) -> None:
    host = make_host({3: {"stall_tls": True}})
    # Two attempts, so that the last one has nearly the whole time and not a 15th of it.
    group_vars |= {
        "spike_bootstrap_keeper_max_retries": 2,
        "spike_bootstrap_keeper_retry_initial_interval": "100ms",
    }
    run = day_zero(host, *arguments, **group_vars)
    assert run.returncode == 2, run.output
    (result,) = run.results
    assert_whole(result)
    url = host.sandbox.keepers[2].url
    message = (
        f"Failed to reach keeper 3 at {url} after 2 attempts ({shown}): TLS handshake timed out"
        " (the TLS handshake did not end in time). Ensure all keepers are running and rerun"
        " bootstrap."
    )
    assert result["msg"] == message
    # How exactly the time is kept is for test_fault_times.py; here, that it is not the default.
    assert seconds / 2 < result["keepers"][2]["elapsed"] < 10
    assert message in run.output
    assert host.shard_requests() == 0


def test_a_failure_shows_one_table_of_all_keepers_and_then_the_message(
    make_host: Callable[..., Host],
) -> None:
    host = make_host({1: {"refuse": True}, 3: {"status": 404}})
    run = day_zero(
        host,
        spike_bootstrap_keeper_timeout="2s",
        spike_bootstrap_keeper_retry_initial_interval="250ms",
        spike_bootstrap_keeper_retry_max_interval="250ms",
    )
    assert run.returncode == 2
    rows = run.output.splitlines()
    (heading,) = (index for index, row in enumerate(rows) if row.startswith("keeper "))
    urls = [re.escape(keeper.url) for keeper in host.sandbox.keepers]
    table = [
        r"keeper +url +state +attempts +seconds +cause",
        rf"1 +{urls[0]} +unreachable +5 +\d+\.\d +connection_refused",
        rf"2 +{urls[1]} +reached +1 +\d+\.\d +-",
        rf"3 +{urls[2]} +rejected +1 +\d+\.\d +http_status",
        rf"Nexus +{re.escape(host.sandbox.nexus.url)} +not_ready +1 +\d+\.\d +-",
        r"This run has sent no shard\.",
        r"Why:",
        r"- Keeper 1: .*\.( \(.*\))?",
        r"- Keeper 3: .*\.( \(.*\))?",
        r"What to do:",
        r"1\. Keeper 1: .*\.",
        r"2\. Keeper 3: .*\.",
        r"3\. Rerun bootstrap\.",
        r'fatal: \[bootstrap\]: FAILED! => {"changed": false, "msg": "Failed to reach 2 of 3 .*"}',
    ]
    for pattern, row in zip(table, rows[heading:]):
        assert re.fullmatch(pattern, row)
    # Each of it once.
    assert run.output.count("Failed to reach 2 of 3 keepers:") == 1
    assert [run.output.count(f"Keeper {number}: ") for number in (1, 2, 3)] == [2, 0, 2]
    assert "Origin:" not in run.output


def test_the_number_of_attempts_comes_from_the_inventory_as_well(
    make_host: Callable[..., Host],
) -> None:
    host = make_host({2: {"plain_http": True}})
    run = day_zero(
        host,
        spike_bootstrap_keeper_max_retries=3,
        spike_bootstrap_keeper_retry_initial_interval="400ms",
        spike_bootstrap_keeper_retry_max_interval="500ms",
    )
    (result,) = run.results
    assert result["keepers"][1]["attempts"] == 3
    assert host.sandbox.keepers[1].stats.connections == 3


def test_a_check_of_the_playbook_sends_nothing(host: Host) -> None:
    run = day_zero(host, "--check")
    assert run.returncode == 0, run.output
    (result,) = run.results
    assert (result["phase"], result["changed"]) == ("reach", True)
    assert host.shard_requests() == 0


def test_the_status_playbook_tells_of_the_same_cluster_and_changes_nothing(host: Host) -> None:
    path = inventory_of(host)
    arguments = ("--inventory", str(path), "dayzero.spike.status")
    before = run_program("ansible-playbook", *arguments, environment=host.environment)
    assert before.returncode == 0, before.stdout
    assert "Fresh: no run is remembered here" in before.stdout
    assert not host.state_dir.exists()
    assert day_zero(host).returncode == 0
    after = run_program("ansible-playbook", *arguments, environment=host.environment)
    assert "Finished: Nexus proves the root key." in after.stdout
    for keeper in host.sandbox.keepers:
        assert f"{keeper.id}       {keeper.url}  reached" in after.stdout
    assert "changed=0" in after.stdout


def test_a_limit_that_leaves_out_the_bootstrap_host_is_refused(host: Host) -> None:
    run = day_zero(host, "--limit", "spike_keepers")
    assert run.returncode == 2
    assert "--limit leaves out bootstrap, the bootstrap host" in run.output
    assert run.results == []


def test_a_module_that_is_killed_is_told_of_in_words(host: Host) -> None:
    # Its own Python ends as if it had been killed.
    python = host.directory / "python3"
    script = [
        "#!/bin/sh",
        'case "$*" in *spike_bootstrap*) kill -9 $$;; esac',
        f'exec {sys.executable} "$@"',
    ]
    python.write_text("\n".join(script))
    python.chmod(0o755)
    run = day_zero(host, "-e", f"ansible_python_interpreter={python}")
    assert run.returncode == 2
    assert "The module ended without a result (exit status 137, Killed): it was" in run.output
    assert "It goes on where that run ended." in run.output


def test_a_value_that_cannot_be_is_refused_in_a_sentence_and_a_mistyped_name_is_warned_of(
    host: Host,
) -> None:
    run = day_zero(
        host,
        "-e",
        "spike_bootstrap_nexus_silence=maybe",
        "-e",
        "spike_bootstrap_keeper_timout=5s",
    )
    assert run.returncode == 2
    words = " ".join(run.output.split())
    assert (
        "spike_bootstrap_nexus_silence must be one of: refused, never, accept, got: maybe" in words
    )
    assert "spike_bootstrap_keeper_timeout may be meant." in words
    assert len(run.output) < 3000, run.output
    assert run.results == []
