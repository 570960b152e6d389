# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The file from which SPIKE's own programs read the settings: only what a run accepts is in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox._description import (
    describe,
    inventory,
)
from ansible_collections.dayzero.spike.tests.support.ansible_run import PlaybookRun, run_day_zero
from ansible_collections.dayzero.spike.tests.support.module_host import Host

pytestmark = pytest.mark.slow


def day_zero(host: Host, *settings: str) -> PlaybookRun:
    """Run the playbook with ``settings`` and a settings file, see ``settings_of``."""
    hosts = host.directory / "hosts.yml"
    hosts.write_text(inventory(describe(host.sandbox, host.state_dir, host.runtime_dir)))
    runs = len(list(host.directory.glob("results*")))
    extra = [f"spike_bootstrap_env_file={settings_of(host)}", *settings]
    return run_day_zero(
        hosts,
        *(argument for text in extra for argument in ("-e", text)),
        environment=host.environment,
        kept=host.directory / f"results{runs}",
    )


def settings_of(host: Host) -> Path:
    return host.directory / "bootstrap.env"


def test_settings_that_are_accepted_are_written_before_the_run_and_then_left_alone(
    host: Host,
) -> None:
    first = day_zero(host)
    assert first.returncode == 0, first.output
    urls = ",".join(keeper.url for keeper in host.sandbox.keepers)
    assert f"SPIKE_NEXUS_KEEPER_PEERS={urls}\n" in settings_of(host).read_text()
    # Tried with nothing sent, then run.
    assert [result["phase"] for result in first.results] == ["reach", "done"]
    again = day_zero(host)
    assert again.returncode == 0, again.output
    assert re.search(r"^bootstrap +:.* changed=0 ", again.output, re.MULTILINE)
    assert [result["phase"] for result in again.results] == ["done"]


def test_nonsense_is_refused_before_it_reaches_the_file(host: Host) -> None:
    run = day_zero(host, "spike_bootstrap_keeper_timeout=banana")
    assert run.returncode == 2
    assert "keeper_timeout: 'banana' is not a duration" in run.output
    assert not settings_of(host).exists()


def test_settings_of_another_cluster_leave_those_of_this_one_in_the_file(host: Host) -> None:
    assert day_zero(host).returncode == 0
    before = settings_of(host).read_text()
    run = day_zero(host, "spike_bootstrap_shamir_threshold=3")
    assert run.returncode == 2
    assert "threshold or scheme are not those of the earlier run" in run.output
    assert settings_of(host).read_text() == before


def test_a_list_that_is_given_as_text_is_written_whole(host: Host) -> None:
    run = day_zero(
        host,
        "spike_bootstrap_trust_root_keeper=spiffe://spike.ist",
        f"spike_bootstrap_keeper_peers={','.join(k.url + '/' for k in host.sandbox.keepers)}",
    )
    assert run.returncode == 0, run.output
    lines = settings_of(host).read_text().splitlines()
    assert "SPIKE_TRUST_ROOT_KEEPER=spike.ist" in lines
    urls = ",".join(keeper.url for keeper in host.sandbox.keepers)
    assert f"SPIKE_NEXUS_KEEPER_PEERS={urls}" in lines
    assert "SPIKE_NEXUS_SHAMIR_SHARES=3" in lines
