# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A forced run against a Nexus that is up with its key, and the two ways on from there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._key.shamir import CIRCL_1_6_1
from ansible_collections.dayzero.spike.tests.support.module_forks import Forks
from ansible_collections.dayzero.spike.tests.support.rerun_world import World, world

pytestmark = pytest.mark.slow


@pytest.fixture
def bootstrapped() -> Iterator[World]:
    """A cluster that was bootstrapped, and whose journal was removed by hand."""
    with Forks() as forks, world(forks) as cluster:
        assert cluster.run().result["phase"] == "done"
        (cluster.state_dir / "journal.json").unlink()
        yield cluster


def test_a_cluster_whose_nexus_proves_its_key_is_not_overwritten_by_force() -> None:
    with Forks() as forks, world(forks) as cluster:
        assert cluster.run(share_scheme=CIRCL_1_6_1).result["phase"] == "done"
        sent = [keeper.stats.shard_requests for keeper in cluster.keepers]
        forced = cluster.run(force=True).result
        # Its owners have changed it: the journal takes that over, and that is all.
        assert (forced["phase"], forced["nexus"]["state"]) == ("done", "ready")
        assert forced["forced"] is None
        assert [keeper.stats.shard_requests for keeper in cluster.keepers] == sent


def test_a_forced_run_tells_that_nexus_still_has_its_old_key_and_both_ways_on(
    bootstrapped: World,
) -> None:
    forced = bootstrapped.run(force=True).result
    assert (forced["phase"], forced["code"]) == ("verify", "crypto_cipher_verification_failed")
    assert forced["msg"] == (
        f"All shards are delivered, but Nexus at {bootstrapped.nexus.url} has another root key than"
        " theirs: Nexus holds another root key."
    )
    assert forced["why"][0].startswith("Nexus had its key before this run")
    steps = [step.partition(":")[0] for step in forced["what_to_do"]]
    assert steps.index("To keep the key that Nexus has") < steps.index(
        "To use this run's key instead"
    )


def test_a_forced_run_is_never_quiet(bootstrapped: World) -> None:
    asked = bootstrapped.start(force=True, _ansible_check_mode=True, _ansible_diff=True)
    checked = asked.end().result
    forced = bootstrapped.run(force=True, _ansible_diff=True).result
    for result, words in ((checked, "would replace"), (forced, "replaces")):
        assert words in result["forced"]
        assert any(words in str(warning) for warning in result["warnings"]), result["warnings"]
        assert "replaced by force" in result["diff"]["after"]["root key"]
    assert "replaces the root key" in bootstrapped.journal()["run"]["forced"]


def test_the_new_key_is_gone_on_with_without_force(bootstrapped: World) -> None:
    old = bootstrapped.nexus.root_key_sha256
    bootstrapped.run(force=True)
    bootstrapped.nexus.stop(keep_data=False)
    bootstrapped.restart_everything()
    rerun = bootstrapped.run().result
    assert (rerun["phase"], rerun["resumed"]) == ("done", True)
    bootstrapped.assert_bootstrapped()
    assert bootstrapped.nexus.root_key_sha256 != old


def test_the_old_key_survives_when_nexus_gives_its_keepers_their_shards(
    bootstrapped: World,
) -> None:
    old = bootstrapped.nexus.root_key_sha256
    bootstrapped.run(force=True)
    bootstrapped.nexus.push()
    bootstrapped.nexus.restart()
    assert bootstrapped.nexus.wait_initialised()
    assert bootstrapped.nexus.root_key_sha256 == old
    assert not bootstrapped.nexus.data_unreadable


def test_a_forced_run_without_verification_does_not_call_the_old_key_proved(
    bootstrapped: World,
) -> None:
    forced = bootstrapped.run(force=True, verify=False).result
    assert (forced["phase"], forced["nexus"]["state"]) == ("done", "other_key")


def test_a_keeper_that_did_not_answer_again_is_not_noted_as_having_its_shard() -> None:
    with Forks() as forks, world(forks, threshold=3) as cluster:
        cluster.keepers[2].inject({"status": 500, "when": "deliver"})
        assert cluster.run().result["failed_keepers"] == [3]
        assert cluster.journal()["delivered"] == [1, 2]
        cluster.keepers[2].heal()
        cluster.keepers[0].restart()
        cluster.keepers[0].inject({"status": 500, "when": "deliver"})
        assert cluster.run().result["failed_keepers"] == [1]
        assert cluster.journal()["delivered"] == [2, 3]
