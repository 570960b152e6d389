# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Nexus at the two ends of a run: what it says before anything is sent, and the proof."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.cluster import NEXUS_0_8_0
from ansible_collections.dayzero.spike.tests.support.ansible_run import run_through_ansible
from ansible_collections.dayzero.spike.tests.support.module_host import Host
from ansible_collections.dayzero.spike.tests.support.module_run import (
    ModuleRun,
    assert_whole,
    run_directly,
)

pytestmark = pytest.mark.slow

OTHER_KEY = bytes(31) + b"\7"


def assert_refused(host: Host, run: ModuleRun, code: str, sent_before: int = 0) -> None:
    assert_whole(run.result)
    assert (run.result["failed"], run.result["changed"]) == (True, False)
    assert (run.result["phase"], run.result["code"]) == ("guard", code)
    assert not any(line.startswith("Sending") for line in run.result["log"])
    assert host.shard_requests() == sent_before


def lose_all_shards(host: Host) -> None:
    """Everything restarts at once: nobody has a key, and Nexus has its database."""
    host.sandbox.nexus.stop()
    for keeper in host.sandbox.keepers:
        keeper.restart()
    host.sandbox.nexus.start()


def test_a_nexus_that_is_started_after_the_delivery_proves_the_key(host: Host) -> None:
    host.sandbox.nexus.stop()
    with host.start() as started:
        for keeper in host.sandbox.keepers:
            assert keeper.stats.wait_for(lambda stats: stats.shard_requests > 0)
        host.sandbox.nexus.start()
        run = started.finish()
    assert_whole(run.result)
    assert (run.result["phase"], run.result["changed"]) == ("done", True)
    assert run.result["nexus"]["state"] == "ready"
    assert run.result["nexus"]["attempts"] >= 1
    assert host.nexus_holds(host.root_key(1, 3))


def test_a_nexus_of_v0_8_0_that_listens_only_with_its_key_proves_it(
    make_host: Callable[..., Host],
) -> None:
    host = make_host(nexus_behaviour=NEXUS_0_8_0, scheme="circl-1.6.1")
    assert host.run(run_through_ansible).result["nexus"]["state"] == "ready"
    assert host.nexus_holds(host.root_key(2, 3))
    again = host.run()
    assert (again.result["changed"], again.result["phase"]) == (False, "done")


def test_a_nexus_with_another_key_is_left_alone(host: Host) -> None:
    host.sandbox.nexus.hold(OTHER_KEY)
    run = host.run(run_through_ansible)
    assert_refused(host, run, "state_already_initialized")
    assert run.result["nexus"]["state"] == "other_key"
    assert f"Nexus at {host.sandbox.nexus.url} already holds a root key" in run.result["msg"]
    assert not (host.state_dir / "journal.json").exists()


@pytest.mark.parametrize(
    ("fault", "problem", "step"),
    [
        (
            {"wrong_identity": "spiffe://spike.ist/spike/keeper"},
            "is not Nexus: found spiffe://spike.ist/spike/keeper, expected"
            " spiffe://spike.ist/spike/nexus.",
            "Correct nexus_api_url, or Nexus's SPIRE entry.",
        ),
        (
            {"untrusted": True},
            "is not trusted: it is signed by an authority that is not in the trust bundle.",
            "Refresh this host's trust bundle, and compare Nexus's trust domain with"
            " trust_root_nexus.",
        ),
        (
            {"expired": True},
            "is not trusted: the certificate has expired.",
            "Renew Nexus's SVID: check its SPIRE agent, and the clocks of both hosts.",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_is_not_nexus_is_not_asked(
    fault: dict[str, object], problem: str, step: str, make_host: Callable[..., Host]
) -> None:
    host = make_host({"nexus": fault})
    run = host.run()
    assert_refused(host, run, "spiffe_invalid_spiffe_id")
    url = host.sandbox.nexus.url
    assert run.result["msg"] == f"What answers at {url} {problem} Nothing was sent."
    assert run.result["what_to_do"] == [step, "Rerun bootstrap."]
    assert run.result["log"] == []
    assert host.sandbox.nexus.stats.connections > 0
    assert host.sandbox.nexus.stats.http_bytes == 0


def test_a_nexus_that_refuses_our_svid_is_told_of(make_host: Callable[..., Host]) -> None:
    host = make_host({"nexus": {"refuse_identity": True}})
    assert_refused(host, host.run(), "access_unauthorized")


@pytest.mark.parametrize("status", [404, 429], ids=str)
def test_an_answer_that_may_come_of_a_nexus_with_a_key_is_no_leave_to_send(
    status: int, make_host: Callable[..., Host]
) -> None:
    host = make_host({"nexus": {"status": status}})
    run = host.run()
    assert_refused(host, run, "nexus_unclear")
    assert run.result["nexus"]["state"] == "unclear"
    assert f"status {status}" in run.result["msg"]


def test_a_nexus_that_never_comes_up_is_told_of_after_the_delivery(host: Host) -> None:
    host.sandbox.nexus.stop()
    run = host.run(run_through_ansible, init_verification_timeout="1500ms")
    assert_whole(run.result)
    assert (run.result["phase"], run.result["changed"]) == ("verify", True)
    nexus = run.result["nexus"]
    assert (nexus["state"], run.result["code"]) == ("unreachable", "state_not_ready")
    requests = "1 request" if nexus["attempts"] == 1 else f"{nexus['attempts']} requests"
    assert run.result["msg"] == (
        f"All shards are delivered, but Nexus at {host.sandbox.nexus.url} did not prove the root"
        f" key within 1500ms ({requests}): connection refused."
    )
    assert run.result["what_to_do"] == [
        "Start Nexus, or correct nexus_api_url.",
        "Rerun bootstrap: it goes on with the same key.",
    ]
    root_key = host.root_key(1, 2)

    host.sandbox.nexus.start()
    again = host.run()
    assert (again.result["phase"], again.result["nexus"]["state"]) == ("done", "ready")
    assert host.nexus_holds(root_key)


def test_the_whole_runs_time_limits_the_proof_as_well(host: Host) -> None:
    host.sandbox.nexus.stop()
    run = host.run(timeout="8s", init_verification_timeout="20s")
    assert_whole(run.result)
    assert run.result["phase"] == "verify"
    assert "did not prove the root key within the whole run's 8s" in run.result["msg"]


def test_without_verify_the_proof_is_left_out_and_the_guard_is_not(host: Host) -> None:
    result = host.run(verify=False).result
    assert_whole(result)
    assert (result["phase"], result["changed"]) == ("done", True)
    # The guard's two questions, and nothing after the delivery.
    assert host.sandbox.nexus.stats.verify_requests == 2
    nexus = result["nexus"]
    assert (nexus["state"], nexus["attempts"]) == ("skipped", 1)
    assert nexus["detail"] == skipped(host)
    assert len(result["log"]) == 6


def skipped(host: Host) -> str:
    return (
        f"not asked to prove the root key (verify: false), which stays in {host.runtime_dir} until"
        " a run with verify ends well"
    )


def test_without_verify_a_nexus_that_keeps_its_other_key_is_told_of(host: Host) -> None:
    host.sandbox.nexus.hold(OTHER_KEY)
    result = host.run(verify=False, force=True).result
    assert_whole(result)
    assert (result["phase"], result["changed"]) == ("done", True)
    assert (result["nexus"]["state"], result["nexus"]["detail"]) == ("other_key", skipped(host))
    assert not host.nexus_holds(host.root_key(1, 2))


def test_without_verify_a_nexus_with_a_key_is_left_alone_as_well(host: Host) -> None:
    host.sandbox.nexus.hold(OTHER_KEY)
    assert_refused(host, host.run(verify=False), "state_already_initialized")


def test_a_finished_cluster_whose_nexus_lost_its_key_is_left_alone(host: Host) -> None:
    host.run()
    lose_all_shards(host)
    run = host.run()
    assert_refused(host, run, "state_not_ready", sent_before=3)
    assert run.result["nexus"]["state"] == "not_ready"
    assert "was bootstrapped before, and Nexus at" in run.result["msg"]


def test_a_finished_cluster_whose_nexus_is_down_is_left_alone(host: Host) -> None:
    host.run()
    host.sandbox.nexus.stop()
    run = host.run()
    assert_refused(host, run, "state_not_ready", sent_before=3)
    assert run.result["nexus"]["state"] == "unreachable"


def test_force_draws_a_new_key_where_a_run_is_refused(host: Host) -> None:
    host.run()
    before = host.root_key(1, 2)
    lose_all_shards(host)
    result = host.run(force=True).result
    assert (result["phase"], result["changed"]) == ("done", True)
    after = host.root_key(1, 2)
    assert after != before
    assert host.nexus_holds(after)
    # What the documentation of force says is lost.
    assert host.sandbox.nexus.data_unreadable


def test_force_changes_nothing_where_a_run_is_not_refused(host: Host) -> None:
    host.run()
    before = host.shards()
    again = host.run(force=True).result
    assert (again["phase"], again["changed"]) == ("done", False)
    assert host.shards() == before


@pytest.mark.parametrize("force", [False, True], ids=["", "force"])
def test_a_cluster_that_its_owners_have_changed_is_taken_over_and_nothing_is_sent(
    force: bool, host: Host
) -> None:
    host.run()
    before = host.shards()
    checked = host.run(shamir_threshold=3, force=force, check=True).result
    result = host.run(shamir_threshold=3, force=force).result
    for one in (checked, result):
        assert_whole(one)
        assert (one["phase"], one["changed"], one["forced"]) == ("done", True, None)
    assert host.shards() == before
    assert host.nexus_holds(host.root_key(1, 2))
    again = host.run(shamir_threshold=3).result
    assert (again["phase"], again["changed"]) == ("done", False)
    # And back again, as the owners like.
    assert host.run().result["changed"]


def test_a_cluster_that_was_changed_before_its_first_run_had_ended_is_taken_over_too(
    host: Host,
) -> None:
    host.run(verify=False)
    assert host.sandbox.nexus.wait_initialised()
    sent = host.shard_requests()
    others = [keeper.url for keeper in reversed(host.sandbox.keepers)]
    result = host.run(keeper_peers=others).result
    assert (result["phase"], result["changed"]) == ("done", True)
    assert host.shard_requests() == sent
    assert json.loads((host.state_dir / "journal.json").read_text())["cluster"]["keepers"] == others
    assert list(host.runtime_dir.iterdir()) == []


def test_a_nexus_whose_certificate_has_expired_is_told_of_after_the_delivery(host: Host) -> None:
    nexus = host.sandbox.nexus
    nexus.stop()
    nexus.inject({"expired": True})
    with host.start() as started:
        for keeper in host.sandbox.keepers:
            assert keeper.stats.wait_for(lambda stats: stats.shard_requests > 0)
        nexus.start()
        run = started.finish()
    assert_whole(run.result)
    assert (run.result["phase"], run.result["changed"]) == ("verify", True)
    assert run.result["code"] == "spiffe_invalid_spiffe_id"
    assert run.result["msg"] == (
        f"All shards are delivered. What answers at {nexus.url} is not trusted: the certificate has"
        " expired."
    )
    assert run.result["what_to_do"][0].startswith("Renew Nexus's SVID")
    nexus.heal()
    again = host.run().result
    assert (again["phase"], again["nexus"]["state"]) == ("done", "ready")


def test_a_key_without_its_journal_is_not_sent_beside_a_nexus_database(host: Host) -> None:
    data_dir = host.directory / "data"
    data_dir.mkdir()
    host.sandbox.nexus.stop()
    host.run(verify=False)
    before = host.root_key(1, 2)
    (host.state_dir / "journal.json").unlink()
    (data_dir / "spike.db").touch()
    run = host.run(verify=False, nexus_data_dir=str(data_dir))
    assert_refused(host, run, "state_already_initialized", sent_before=3)
    assert f"Nexus has a database ({data_dir}/spike.db)" in run.result["msg"]
    forced = host.run(verify=False, nexus_data_dir=str(data_dir), force=True).result
    assert (forced["phase"], forced["resumed"]) == ("done", False)
    assert host.root_key(1, 2) != before


def test_no_key_is_drawn_beside_a_nexus_database(host: Host) -> None:
    data_dir = host.directory / "data"
    data_dir.mkdir()
    (data_dir / "spike.db").touch()
    run = host.run(run_through_ansible, nexus_data_dir=str(data_dir))
    assert_refused(host, run, "state_already_initialized")
    assert f"Nexus has a database ({data_dir}/spike.db)" in run.result["msg"]


def test_the_database_does_not_keep_an_unfinished_run_from_ending(host: Host) -> None:
    # Nexus came up after the delivery, and so has made its database.
    data_dir = str(host.sandbox.nexus.data_dir)
    host.run(verify=False, nexus_data_dir=data_dir)
    assert host.sandbox.nexus.wait_initialised()
    assert host.sandbox.nexus.data_dir.joinpath("spike.db").exists()
    result = host.run(nexus_data_dir=data_dir).result
    assert (result["phase"], result["nexus"]["state"]) == ("done", "ready")


def test_spikes_own_setting_of_the_data_directory_guards_the_database_too(host: Host) -> None:
    # SPIKE_NEXUS_DATA_DIR, below which Nexus makes its directory.
    (host.directory / "data").mkdir()
    (host.directory / "data" / "spike.db").touch()
    run = host.run(nexus_data_dir=str(host.directory))
    assert_refused(host, run, "state_already_initialized")
    assert f"{host.directory}/data/spike.db" in run.result["msg"]


@pytest.mark.parametrize("found", ["present", "absent"])
def test_what_somebody_else_has_found_of_the_database_decides(found: str, host: Host) -> None:
    # Neither is what the module would find.
    data_dir = host.directory / "data"
    data_dir.mkdir()
    if found == "absent":
        (data_dir / "spike.db").touch()
    run = host.run(nexus_data_dir=str(data_dir), nexus_database=found)
    if found == "present":
        assert_refused(host, run, "state_already_initialized")
    else:
        assert run.result["phase"] == "done"


def reruns_while_keeper_3_is_slow(host: Host, meanwhile: Callable[[], None]) -> ModuleRun:
    """A forced run that reaches keeper 3 only after ``meanwhile``."""
    slow = host.sandbox.keepers[2]
    slow.inject({"delay": "60s", "when": "reach"})
    reached = slow.stats.reach_requests
    with host.start(
        force=True,
        keeper_timeout="20s",
        keeper_max_retries=90,
        keeper_retry_initial_interval="200ms",
        keeper_retry_max_interval="200ms",
    ) as started:
        assert slow.stats.wait_for(lambda stats: stats.reach_requests > reached)
        meanwhile()
        slow.heal()
        return started.finish()


def test_a_nexus_that_comes_up_while_keepers_are_reached_keeps_its_key(host: Host) -> None:
    host.run()
    key = host.root_key(1, 2)
    host.sandbox.nexus.stop()

    def nexus_recovers() -> None:
        host.sandbox.nexus.start()
        assert host.sandbox.nexus.wait_initialised()

    run = reruns_while_keeper_3_is_slow(host, nexus_recovers)
    assert_whole(run.result)
    assert (run.result["phase"], run.result["changed"]) == ("done", False)
    assert host.shard_requests() == 3
    assert host.nexus_holds(key)


def test_a_nexus_that_comes_up_with_a_key_nobody_told_of_is_not_overwritten(
    make_host: Callable[..., Host],
) -> None:
    # The first question meets something that is no Nexus yet.
    host = make_host({"nexus": {"plain_http": True, "failures": 1}})
    host.sandbox.nexus.hold(OTHER_KEY)
    run = host.run(verify=False)
    assert_whole(run.result)
    assert (run.result["phase"], run.result["code"]) == ("guard", "state_already_initialized")
    assert host.shard_requests() == 0


def test_an_unfinished_run_beside_another_key_is_told_both_ways_on(host: Host) -> None:
    host.sandbox.nexus.stop()
    host.run(verify=False)
    host.sandbox.nexus.hold(OTHER_KEY)
    host.sandbox.nexus.start()
    run = host.run()
    assert_refused(host, run, "state_already_initialized", sent_before=3)
    assert "holds another root key than the unfinished run's" in run.result["msg"]
    steps = run.result["what_to_do"]
    assert any(
        "restart nothing before it has sent the keepers its own shards" in one for one in steps
    )
    assert any(one.endswith("it goes on with the same key.") for one in steps)
    # What costs nothing comes first.
    kept = [one.startswith("To keep the key that Nexus has") for one in steps]
    assert kept.index(True) < kept.index(False, kept.index(True))


def run_where_only_an_administrator_makes(path: str, host: Host) -> ModuleRun:
    """Run as a user who may not make ``path``; the kernel would let root."""
    prelude = f"""
import os
mkdir = os.mkdir
def refuse(path, *arguments, **named):
    if path == {path!r}:
        raise PermissionError(13, "Permission denied")
    mkdir(path, *arguments, **named)
os.mkdir = refuse
"""
    options = host.options(runtime_dir=path)
    return run_directly(options, environment=host.environment, prelude=prelude)


def test_a_finished_cluster_needs_no_runtime_dir_after_a_reboot(host: Host) -> None:
    host.run()
    run = run_where_only_an_administrator_makes(str(host.runtime_dir / "gone"), host)
    assert_whole(run.result)
    assert (run.result["phase"], run.result["changed"]) == ("done", False)


def test_a_run_that_draws_a_key_misses_its_runtime_dir_before_it_reaches_anybody(
    host: Host,
) -> None:
    run = run_where_only_an_administrator_makes(str(host.runtime_dir / "gone"), host)
    assert_whole(run.result)
    assert (run.result["phase"], run.result["option"]) == ("config", "runtime_dir")
    assert "permission denied" in run.result["msg"]
    assert [keeper.stats.connections for keeper in host.sandbox.keepers] == [0, 0, 0]


def test_deliveries_are_noted_while_another_keeper_hangs(host: Host) -> None:
    hanging = host.sandbox.keepers[2]
    hanging.inject({"delay": "60s", "when": "deliver"})
    with host.start(keeper_timeout="30s", keeper_max_retries=1):
        journal = host.state_dir / "journal.json"
        give_up = time.monotonic() + 10
        noted: list[int] = []
        # Nobody tells when a file is replaced.
        while noted != [1, 2] and time.monotonic() < give_up:
            if journal.exists():
                noted = json.loads(journal.read_text())["delivered"]
            hanging.stats.wait_for(lambda stats: False, 0.05)
        assert noted == [1, 2]
