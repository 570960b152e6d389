# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The file from which SPIKE's own programs read the settings: only what a run accepts is in it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.description import (
    describe,
    inventory,
)
from ansible_collections.dayzero.spike.tests.support.ansible_run import PlaybookRun, run_day_zero
from ansible_collections.dayzero.spike.tests.support.module_host import Host

pytestmark = pytest.mark.slow

_ROLE = Path(__file__).resolve().parents[2] / "roles" / "spike_bootstrap"
# Without these the sandbox cannot be reached, or the host is not this test's alone.
_NEEDED = {
    "keeper_peers",
    "nexus_api_url",
    "svid_source",
    "svid_cert",
    "svid_key",
    "svid_bundle",
    "state_dir",
    "runtime_dir",
    "manage_host",
    "env_file",
}
_SPEC = yaml.safe_load((_ROLE / "meta" / "argument_specs.yml").read_text())
_ALL = _SPEC["argument_specs"]["main"]["options"]
NULL = {name.removeprefix("spike_bootstrap_") for name in _ALL} - _NEEDED


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


@pytest.mark.long
def test_settings_of_another_cluster_leave_those_of_this_one_in_the_file(host: Host) -> None:
    assert day_zero(host).returncode == 0
    before = settings_of(host).read_text()
    # Nexus cannot say that its owners have changed it.
    host.sandbox.nexus.stop()
    run = day_zero(host, "spike_bootstrap_shamir_threshold=3")
    assert run.returncode == 2
    assert "The settings are not those of the earlier run: the threshold is 3, and was 2" in (
        " ".join(run.output.split())
    )
    assert settings_of(host).read_text() == before


@pytest.mark.long
def test_settings_of_a_cluster_that_its_owners_have_changed_are_taken_over(host: Host) -> None:
    assert day_zero(host).returncode == 0
    run = day_zero(host, "spike_bootstrap_shamir_threshold=3")
    assert run.returncode == 0, run.output
    assert "SPIKE_NEXUS_SHAMIR_THRESHOLD=3\n" in settings_of(host).read_text()


@pytest.mark.long
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


@pytest.mark.long
def test_every_line_of_ansible_managed_is_a_comment_and_no_new_setting(host: Host) -> None:
    managed = json.dumps({"ansible_managed": "Managed by Ansible\nEVIL=1\n"})
    first = day_zero(host, managed)
    assert first.returncode == 0, first.output
    before = settings_of(host).read_text()
    assert before.startswith("# Managed by Ansible\n# EVIL=1\nSPIKE_NEXUS_KEEPER_PEERS=")
    again = day_zero(host, json.dumps({"ansible_managed": "Written at another time"}))
    assert again.returncode == 0, again.output
    # No trial, and nothing is written.
    assert [result["phase"] for result in again.results] == ["done"]
    assert re.search(r"^bootstrap +:.* changed=0 ", again.output, re.MULTILINE)
    assert settings_of(host).read_text() == before


def test_a_variable_that_is_null_is_not_set(host: Host) -> None:
    null = {f"spike_bootstrap_{name}": None for name in NULL}
    run = day_zero(host, json.dumps(null))
    assert run.returncode == 0, run.output
    assert run.results[-1]["phase"] == "done"
    lines = settings_of(host).read_text().splitlines()
    for line in (
        "SPIKE_BOOTSTRAP_KEEPER_TIMEOUT=30s",
        "SPIKE_BOOTSTRAP_KEEPER_MAX_RETRIES=5",
        "SPIKE_NEXUS_SHAMIR_THRESHOLD=2",
        "SPIKE_NEXUS_SHAMIR_SHARES=3",
    ):
        assert line in lines
