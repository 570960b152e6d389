# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Day zero itself: the module against the embedded SPIKE, through Ansible."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._shamir import split
from ansible_collections.dayzero.spike.tests.support.ansible_run import run_through_ansible
from ansible_collections.dayzero.spike.tests.support.module_host import Host
from ansible_collections.dayzero.spike.tests.support.module_run import (
    Runner,
    assert_whole,
    run_directly,
)

pytestmark = pytest.mark.slow

runners = pytest.mark.parametrize(
    "runner", [run_through_ansible, run_directly], ids=["ansible", "direct"]
)


@runners
def test_a_run_ends_with_exactly_the_promised_result(runner: Runner, host: Host) -> None:
    run = host.run(runner)
    assert_whole(run.result)
    result = run.result
    elapsed = [keeper.pop("elapsed") for keeper in result["keepers"]]
    nexus = result["nexus"]
    assert all(isinstance(seconds, float) and 0 < seconds < 5 for seconds in elapsed)
    assert 0 < nexus.pop("elapsed") < 20
    assert nexus.pop("attempts") >= 1
    assert nexus == {
        "url": host.sandbox.nexus.url,
        "state": "ready",
        "detail": "Nexus holds the root key",
    }
    assert result["keepers"] == [
        {
            "id": keeper.id,
            "url": keeper.url,
            "state": "delivered",
            "attempts": 1,
            "cause": None,
            "detail": "",
            "hint": "",
        }
        for keeper in host.sandbox.keepers
    ]
    assert (result["changed"], result["phase"], result["resumed"]) == (True, "done", False)
    assert result["failed_keepers"] == []


@pytest.mark.parametrize(
    ("keepers", "threshold", "scheme"),
    [(3, 2, "circl-1.6.2"), (5, 3, "circl-1.6.1"), (2, 2, "circl-1.6.2")],
    ids=["2 of 3", "3 of 5, old scheme", "2 of 2"],
)
def test_every_keeper_holds_its_shard_of_the_key_that_nexus_holds(
    keepers: int, threshold: int, scheme: str, make_host: Callable[..., Host]
) -> None:
    host = make_host(keepers=keepers, threshold=threshold, scheme=scheme)
    assert host.run().result["phase"] == "done"
    root_key = host.root_key(*range(1, threshold + 1))
    assert host.nexus_holds(root_key)
    assert list(host.shards().values()) == split(root_key, threshold, keepers, scheme)


def test_the_attempt_lines_are_exactly_those_that_are_promised(host: Host) -> None:
    urls = [keeper.url for keeper in host.sandbox.keepers]
    assert host.run(run_through_ansible).result["log"] == [
        f"{doing} {number} at {url}... (attempt 1/5)"
        for doing in ("Reaching keeper", "Sending shard to keeper")
        for number, url in enumerate(urls, 1)
    ]


@runners
def test_a_second_run_changes_nothing_and_asks_no_keeper(runner: Runner, host: Host) -> None:
    host.run()
    before = host.shards()
    again = host.run(runner)
    assert_whole(again.result)
    assert (again.result["changed"], again.result["phase"]) == (False, "done")
    assert again.result["log"] == []
    assert again.result["nexus"]["state"] == "ready"
    assert [keeper["state"] for keeper in again.result["keepers"]] == ["delivered"] * 3
    assert host.shard_requests() == 3
    assert host.shards() == before


@runners
def test_a_check_sends_nothing_writes_nothing_and_says_what_a_run_would(
    runner: Runner, host: Host
) -> None:
    check = host.run(runner, check=True)
    assert_whole(check.result)
    assert (check.result["changed"], check.result["phase"]) == (True, "reach")
    assert [keeper["state"] for keeper in check.result["keepers"]] == ["reached"] * 3
    assert [keeper.stats.reach_requests for keeper in host.sandbox.keepers] == [1, 1, 1]
    assert host.shard_requests() == 0
    assert not host.state_dir.exists()
    assert list(host.runtime_dir.iterdir()) == []


def test_a_check_of_a_finished_cluster_says_that_nothing_would_change(host: Host) -> None:
    host.run()
    check = host.run(run_through_ansible, check=True)
    assert (check.result["changed"], check.result["phase"]) == (False, "done")
    assert host.shard_requests() == 3


def test_a_check_fails_where_a_run_would(make_host: Callable[..., Host]) -> None:
    host = make_host({2: {"refuse": True}})
    check = host.run(check=True, keeper_timeout="1s")
    assert_whole(check.result)
    assert (check.result["failed"], check.result["changed"]) == (True, False)
    assert check.result["failed_keepers"] == [2]


@pytest.mark.parametrize("check", [False, True], ids=["run", "check"])
def test_the_diff_shows_every_keeper_before_and_after(check: bool, host: Host) -> None:
    run = host.run(run_through_ansible, check=check, diff=True)
    urls = [keeper.url for keeper in host.sandbox.keepers]
    # Ad hoc, Ansible prints it before the result, as lines of JSON with - and +.
    for url in urls:
        assert f'-    "{url}": "pending"' in run.stdout
        assert f'+    "{url}": "delivered"' in run.stdout


def test_the_diff_of_a_run_that_failed_shows_how_far_it_came(
    make_host: Callable[..., Host],
) -> None:
    host = make_host({2: {"status": 404, "when": "deliver"}})
    run = host.run(diff=True)
    urls = [keeper.url for keeper in host.sandbox.keepers]
    assert run.result["diff"] == {
        "before": dict.fromkeys(urls, "pending"),
        "after": dict(zip(urls, ["delivered", "rejected", "delivered"])),
    }


def test_what_a_failed_delivery_left_is_finished_with_the_same_key(
    make_host: Callable[..., Host],
) -> None:
    host = make_host({2: {"status": 404, "when": "deliver"}})
    failed = host.run()
    assert (failed.result["changed"], failed.result["phase"]) == (True, "deliver")
    root_key = host.root_key(1, 3)
    host.sandbox.keepers[1].heal()
    finished = host.run()
    assert_whole(finished.result)
    assert (finished.result["phase"], finished.result["resumed"]) == ("done", True)
    assert host.root_key(1, 2) == root_key
    assert host.nexus_holds(root_key)


def test_the_journal_of_a_finished_run_says_what_was_done(host: Host) -> None:
    host.run()
    journal = json.loads((host.state_dir / "journal.json").read_text())
    assert set(journal.pop("token")) == {"nonce", "ciphertext", "hash"}
    assert journal == {
        "version": 1,
        "state": "finished",
        "cluster": {
            "keepers": [keeper.url for keeper in host.sandbox.keepers],
            "threshold": 2,
            "scheme": "circl-1.6.2",
        },
        "delivered": [1, 2, 3],
    }
