# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Day zero itself: the module against the embedded SPIKE, through Ansible."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.dayzero.spike.plugins.module_utils._key.shamir import split
from ansible_collections.dayzero.spike.tests.support.ansible_run import run_through_ansible
from ansible_collections.dayzero.spike.tests.support.module_host import Host
from ansible_collections.dayzero.spike.tests.support.module_run import (
    HEARS_SIGNALS,
    Runner,
    StartedRun,
    assert_whole,
    run_directly,
)

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]

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
    # Ad hoc, Ansible prints it before the result, as lines of JSON with - and +.
    shown, _unused, _unused = run.stdout.partition("localhost | ")
    shown = "\n".join(line for line in shown.splitlines() if "(attempt" not in line)
    for number in (1, 2, 3):
        assert f'-    "keeper {number}": "pending"' in shown
        assert f'+    "keeper {number}": "delivered"' in shown
    # By id: a thousand URLs would hide what has changed.
    assert "https://" not in shown


def test_the_diff_of_a_run_that_failed_shows_how_far_it_came(
    make_host: Callable[..., Host],
) -> None:
    host = make_host({2: {"status": 404, "when": "deliver"}})
    run = host.run(diff=True)
    keepers = ["keeper 1", "keeper 2", "keeper 3"]
    assert run.result["diff"] == {
        "before": dict.fromkeys(keepers, "pending"),
        "after": dict(zip(keepers, ["delivered", "rejected", "delivered"])),
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


def test_a_run_that_is_interrupted_says_who_may_have_a_shard(host: Host) -> None:
    hanging = host.sandbox.keepers[1]
    hanging.inject({"delay": "60s", "when": "deliver"})
    options = host.options(keeper_timeout="30s", keeper_max_retries=1)
    with StartedRun(options, environment=host.environment, prelude=HEARS_SIGNALS) as started:
        # Whoever's turn has not come yet would truly have been sent nothing.
        for keeper in host.sandbox.keepers:
            assert keeper.stats.wait_for(lambda stats: stats.shard_requests > 0)
        started.send_signal(signal.SIGINT)
        run = started.finish()
    result = run.result
    assert_whole(result)
    assert (result["phase"], result["changed"]) == ("deliver", True)
    assert result["code"] == "retry_context_canceled"
    assert result["msg"] == "Interrupted. Rerun bootstrap: it goes on where this run ended."
    assert result["what_to_do"] == ["Rerun bootstrap: it goes on where this run ended."]
    unsure = result["keepers"][1]
    assert (unsure["state"], unsure["cause"]) == ("unknown", "response_timeout")
    assert unsure["detail"] == "the run ended before an answer came"
    assert unsure["elapsed"] < 30
    assert "Traceback" not in run.output
    # The others' answers may have been on their way.
    assert {keeper["state"] for keeper in result["keepers"]} <= {"delivered", "unknown"}
    hanging.heal()
    again = host.run().result
    assert (again["phase"], again["resumed"]) == ("done", True)


# Tells, on the standard error, what protects the memory at the start and whenever a key is made.
_WATCH_KEYS = """
import ctypes, resource, sys
from ansible_collections.dayzero.spike.plugins.module_utils._key.root_key import RootKey
def tell():
    PR_GET_DUMPABLE = 3
    dumpable = ctypes.CDLL(None).prctl(PR_GET_DUMPABLE, 0, 0, 0, 0)
    print(dumpable, *resource.getrlimit(resource.RLIMIT_CORE), file=sys.stderr)
make = RootKey.__init__
def watched(key, content):
    tell()
    make(key, content)
RootKey.__init__ = watched
tell()
"""


@pytest.mark.parametrize("resumed", [False, True], ids=["a drawn key", "a key of an earlier run"])
def test_before_there_is_a_key_in_memory_core_dumps_are_forbidden(
    resumed: bool, host: Host
) -> None:
    # Without Nexus nobody can tell that an earlier run's key is there already.
    host.sandbox.nexus.stop()
    if resumed:
        host.run(verify=False)
    options = host.options(verify=False)
    run = run_directly(options, environment=host.environment, prelude=_WATCH_KEYS)
    assert (run.result["phase"], run.result["resumed"]) == ("done", resumed)
    at_first, *with_keys = run.stderr.splitlines()
    assert at_first.startswith("1 ")
    # Each of the guard's two looks reads the key that waits; where there is none, it seals its
    # question under one of its own, and then the run's is drawn.
    assert with_keys == ["0 0 0"] * (2 if resumed else 3)


def break_journal(host: Host) -> None:
    """Nothing can be renamed over it any more."""
    journal = host.state_dir / "journal.json"
    journal.unlink()
    journal.mkdir()


def test_a_journal_that_cannot_be_written_while_delivering_ends_the_run_there(
    make_host: Callable[..., Host],
) -> None:
    host = make_host({2: {"delay": "1s", "when": "deliver"}})
    with host.start() as started:
        assert host.sandbox.keepers[1].stats.wait_for(lambda stats: stats.shard_requests > 0)
        break_journal(host)
        result = started.finish().result
    assert_whole(result)
    assert (result["phase"], result["code"]) == ("deliver", "store_invalid_configuration")
    assert result["changed"] is True
    assert str(host.state_dir / "journal.json") in result["msg"]


def test_a_journal_that_cannot_be_written_after_the_proof_ends_the_run_there(
    make_host: Callable[..., Host],
) -> None:
    host = make_host({"nexus": {"delay": "1s"}})
    with host.start() as started:
        # The guard asked twice; now every keeper has its shard, and that is in the journal.
        assert host.sandbox.nexus.stats.wait_for(lambda stats: stats.verify_requests > 2)
        break_journal(host)
        result = started.finish().result
    assert_whole(result)
    assert (result["phase"], result["code"]) == ("verify", "store_invalid_configuration")
    assert (result["changed"], result["nexus"]["state"]) == (True, "ready")
    assert str(host.state_dir / "journal.json") in result["msg"]


def journal_of(host: Host) -> dict[str, Any]:
    journal: dict[str, Any] = json.loads((host.state_dir / "journal.json").read_text())
    return journal


def this_second() -> datetime:
    return datetime.now(timezone.utc).replace(microsecond=0)


def moment(written: str) -> datetime:
    return datetime.strptime(written, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)


def test_the_journal_of_a_finished_run_says_what_was_done(host: Host) -> None:
    before = this_second()
    host.run()
    journal = journal_of(host)
    assert set(journal.pop("token")) == {"nonce", "ciphertext", "hash"}
    run = journal.pop("run")
    assert before <= moment(run.pop("began")) <= moment(run.pop("ended")) <= this_second()
    galaxy = yaml.safe_load((REPOSITORY / "galaxy.yml").read_text())
    assert run == {
        "host": socket.gethostname(),
        "collection": galaxy["version"],
        "forced": None,
    }
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


def test_the_journal_of_an_unfinished_run_says_when_it_began_and_no_end(host: Host) -> None:
    before = this_second()
    host.run(verify=False)
    began = journal_of(host)["run"]["began"]
    assert before <= moment(began) <= this_second()
    assert journal_of(host)["run"]["ended"] is None
    host.run()
    # A run that goes on with another's key ends that one, and begins none.
    assert journal_of(host)["run"]["began"] == began
    assert moment(journal_of(host)["run"]["ended"]) >= moment(began)


def test_two_names_of_one_keeper_are_refused_before_a_shard_leaves(host: Host) -> None:
    first, second, _unused = (keeper.url for keeper in host.sandbox.keepers)
    alias = first.replace("127.0.0.1", "localhost")
    result = host.run(keeper_peers=[first, second, alias]).result
    assert_whole(result)
    assert (result["phase"], result["changed"]) == ("reach", False)
    assert (result["option"], result["code"]) == ("keeper_peers", "data_invalid_input")
    port = first.rpartition(":")[2]
    assert result["msg"] == (
        f"keeper_peers: keepers 1 ({first}) and 3 ({alias}) are one and the same: both lead to"
        f" 127.0.0.1 port {port}, with the same certificate. No shard was sent; correct the URL of"
        " keeper 1 or 3 in keeper_peers"
    )
    assert host.shard_requests() == 0
    assert not (host.state_dir / "journal.json").exists()
    assert list(host.runtime_dir.iterdir()) == []
