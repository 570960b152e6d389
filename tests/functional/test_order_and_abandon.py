# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The order of keepers from an inventory to the keepers, and giving up a run, by the playbooks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
import yaml
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.description import (
    describe,
    inventory,
)
from ansible_collections.dayzero.spike.tests.support.ansible_run import PlaybookRun, run_playbook
from ansible_collections.dayzero.spike.tests.support.module_host import Host

pytestmark = pytest.mark.slow

OTHER_KEY = bytes(31) + b"\7"


def play(
    host: Host,
    playbook: str = "day_zero",
    *arguments: str,
    keepers: Mapping[str, Any] | None = None,
    **variables: Any,
) -> PlaybookRun:
    """Run a playbook; ``keepers`` is the group of the keepers instead of the usual one."""
    found = yaml.safe_load(inventory(describe(host.sandbox, host.state_dir, host.runtime_dir)))
    if keepers is not None:
        found["spike_keepers"] = keepers
    directory = host.directory / "inventory"
    directory.mkdir(exist_ok=True)
    hosts = directory / "hosts.yml"
    hosts.write_text(yaml.safe_dump(found, sort_keys=False))
    extra = ("-e", json.dumps(variables)) if variables else ()
    number = len(list(host.directory.glob("results*")))
    return run_playbook(
        f"dayzero.spike.{playbook}",
        hosts,
        *arguments,
        *extra,
        environment=host.environment,
        kept=host.directory / f"results{number}",
    )


def nested(host: Host, **ids: int) -> dict[str, Any]:
    """The keepers in child groups, as they are often kept: Ansible lists the last one first."""
    urls = {f"keeper{keeper.id}": keeper.url for keeper in host.sandbox.keepers}
    hosts = {
        name: {
            "spike_keeper_url": url,
            "ansible_connection": "local",
            **({"spike_keeper_id": ids[name]} if ids else {}),
        }
        for name, url in urls.items()
    }
    return {
        "children": {
            "dc1": {"hosts": {"keeper1": hosts["keeper1"]}},
            "dc2": {"children": {"dc2a": {"hosts": {"keeper2": hosts["keeper2"]}}}},
            "dc3": {"hosts": {"keeper3": hosts["keeper3"]}},
        }
    }


def test_keepers_in_child_groups_are_refused_without_ids_and_nothing_is_contacted(
    host: Host,
) -> None:
    run = play(host, keepers=nested(host))
    assert run.returncode == 2
    assert run.results == []
    assert "The group spike_keepers has child groups (dc1, dc2, dc3)" in run.output
    assert "it has keeper1, keeper3, keeper2 now" in run.output
    assert [keeper.stats.connections for keeper in host.sandbox.keepers] == [0, 0, 0]


def test_keepers_in_child_groups_get_the_shards_of_their_ids(host: Host) -> None:
    run = play(host, keepers=nested(host, keeper1=1, keeper2=2, keeper3=3))
    assert run.returncode == 0, run.output
    (result,) = run.results
    assert [entry["url"] for entry in result["keepers"]] == [
        keeper.url for keeper in host.sandbox.keepers
    ]
    assert host.nexus_holds(host.root_key(1, 3))


def test_the_numbered_list_is_shown_before_anything_is_sent(host: Host) -> None:
    run = play(host)
    lines = [line.strip().strip('",') for line in run.output.splitlines()]
    numbered = [f"{keeper.id}. {keeper.url}" for keeper in host.sandbox.keepers]
    first = lines.index(numbered[0])
    assert lines[first : first + 3] == numbered
    sent = next(i for i, line in enumerate(lines) if line.startswith("Sending shard"))
    assert first < sent


def test_one_keeper_under_two_names_is_refused_before_the_delivery(host: Host) -> None:
    first, second, third = (keeper.url for keeper in host.sandbox.keepers)
    twin = second.replace("127.0.0.1", "localhost")
    result = host.run(keeper_peers=[first, second, twin]).result
    assert (result["phase"], result["option"]) == ("reach", "keeper_peers")
    assert f"keepers 2 ({second}) and 3 ({twin}) are one and the same" in result["msg"]
    assert host.shard_requests() == 0
    # Two keepers that share a host and even a certificate are two all the same.
    assert host.run(keeper_peers=[first, twin, third]).result["phase"] == "done"


# -- giving up


def lose_a_run(host: Host) -> None:
    """A run that Nexus, which has another key, will never prove."""
    host.sandbox.nexus.stop()
    assert host.run(verify=False).result["phase"] == "done"
    host.sandbox.nexus.hold(OTHER_KEY)
    assert host.run().result["code"] == "state_already_initialized"


@pytest.mark.long
def test_a_lost_run_is_given_up_and_the_cluster_accepted(host: Host) -> None:
    lose_a_run(host)
    journal = (host.state_dir / "journal.json").read_bytes()
    contacted = [keeper.stats.connections for keeper in host.sandbox.keepers]
    checked = play(host, "abandon", "--check")
    assert checked.returncode == 0, checked.output
    assert checked.results[-1]["changed"]
    assert (host.state_dir / "journal.json").exists()

    run = play(host, "abandon")
    assert run.returncode == 0, run.output
    assert run.results[-1]["changed"]
    assert "The unfinished run was given up" in " ".join(run.output.split())
    (aside,) = host.state_dir.glob("journal-abandoned-*.json")
    assert aside.read_bytes() == journal
    assert not (host.state_dir / "journal.json").exists()
    assert list(host.runtime_dir.iterdir()) == []
    assert [keeper.stats.connections for keeper in host.sandbox.keepers] == contacted

    again = play(host, "abandon")
    assert not again.results[-1]["changed"]
    assert "There is no unfinished run here." in again.output

    accepted = play(host, spike_bootstrap_accept_existing=True)
    assert accepted.returncode == 0, accepted.output
    assert not accepted.results[-1]["changed"]
    assert accepted.results[-1]["nexus"]["state"] == "other_key"
    assert not (host.state_dir / "journal.json").exists()


@pytest.mark.long
def test_a_run_that_nexus_proves_is_not_given_up_not_even_with_force(host: Host) -> None:
    host.run(verify=False)
    assert host.sandbox.nexus.wait_initialised()
    url = host.sandbox.nexus.url
    for force in ({}, {"spike_bootstrap_force": True, "spike_bootstrap_force_nexus": url}):
        run = play(host, "abandon", **force)
        assert run.returncode == 2
        assert "proves the unfinished run's root key" in run.output
    assert (host.state_dir / "journal.json").exists()
    assert host.run().result["phase"] == "done"


@pytest.mark.long
def test_a_run_is_given_up_beside_a_nexus_that_cannot_be_asked_only_with_force(
    host: Host,
) -> None:
    host.sandbox.nexus.stop()
    host.run(verify=False)
    refused = play(host, "abandon")
    assert refused.returncode == 2
    assert "cannot be asked whether it has the unfinished run's root key" in refused.output
    assert (host.state_dir / "journal.json").exists()
    forced = play(
        host,
        "abandon",
        spike_bootstrap_force=True,
        spike_bootstrap_force_nexus=host.sandbox.nexus.url,
    )
    assert forced.returncode == 0, forced.output
    assert not (host.state_dir / "journal.json").exists()


# -- force in the role


@pytest.mark.parametrize("named", ["", "https://another:8553"], ids=["nobody", "another"])
@pytest.mark.parametrize("playbook", ["day_zero", "abandon"])
def test_force_must_name_the_nexus_whose_key_it_may_destroy(
    playbook: str, named: str, host: Host
) -> None:
    host.sandbox.nexus.hold(OTHER_KEY)
    run = play(host, playbook, spike_bootstrap_force=True, spike_bootstrap_force_nexus=named)
    assert run.returncode == 2
    assert f"Set it to {host.sandbox.nexus.url}" in run.output
    assert run.results == []


# -- whose names messages use


def test_with_the_role_messages_name_its_variables(host: Host) -> None:
    host.sandbox.keepers[1].inject({"status": 404})
    run = play(host)
    (result,) = run.results
    assert "spike_keeper_url" in result["keepers"][1]["hint"]
    assert "keeper_peers" not in result["msg"]
    refused = play(host, spike_bootstrap_keeper_timeout="soon")
    assert refused.results[-1]["msg"].startswith("spike_bootstrap_keeper_timeout: 'soon' is not")
    assert refused.results[-1]["option"] == "keeper_timeout"


def test_the_steps_are_shown_in_the_readers_own_names(host: Host) -> None:
    host.sandbox.nexus.hold(OTHER_KEY)
    run = play(host)
    assert run.returncode == 2
    shown = " ".join(run.output.split())
    assert "What to do:" in shown
    assert "rerun bootstrap with -e spike_bootstrap_accept_existing=true" in shown
