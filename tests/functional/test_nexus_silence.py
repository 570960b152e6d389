# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Silence is not freshness: a Nexus that has a key loses it to no run, however it is asked in vain.

Every way in which Nexus can be silent or odd, before the first look and before the second, for a
new key, for an unfinished run's, and for a kept key whose journal is gone. The runs are real
processes, with shorter looks: see module_forks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from ansible_collections.dayzero.spike.tests.support.module_forks import Ended, Forks
from ansible_collections.dayzero.spike.tests.support.rerun_world import (
    World,
    sends_a_shard,
    world,
)

pytestmark = pytest.mark.slow

OTHER_KEY = bytes(31) + b"\7"
# As many attempts as it takes until keeper 3 is well again, 50 ms apart.
PATIENT = {
    "keeper_timeout": "20s",
    "keeper_max_retries": 300,
    "keeper_retry_initial_interval": "50ms",
    "keeper_retry_max_interval": "50ms",
}
NO_SUCH_NAME = "https://" + "x" * 64 + ":8553"


@dataclass(frozen=True)
class Oddity:
    """A way in which Nexus does not say whether it has a key, and what a refusal tells of it."""

    fault: Mapping[str, Any]
    # Any one of these: a reset may overtake the beginning of the handshake.
    seen: tuple[str, ...]

    def __init__(self, fault: Mapping[str, Any], *seen: str) -> None:
        object.__setattr__(self, "fault", fault)
        object.__setattr__(self, "seen", seen)


ODDITIES = {
    "refuses connections": Oddity({"refuse": True}, "connection refused"),
    "drops packets": Oddity({"blackhole": True}, "nothing answered the TCP connection"),
    "resets": Oddity(
        {"reset": True}, "closed during the TLS handshake", "the connection was reset"
    ),
    "stalls in TLS": Oddity({"stall_tls": True}, "the TLS handshake did not end in time"),
    "speaks no TLS": Oddity({"plain_http": True}, ""),
    "hangs": Oddity({"delay": "60s"}, "the request was sent, no complete answer came"),
    "drips": Oddity({"drip": True}, "the request was sent, no complete answer came"),
    "closes": Oddity({"close": True}, "the connection was closed before a complete answer"),
    "sends garbage": Oddity({"garbage": True}, "the answer is not valid HTTP"),
    "sends HTML": Oddity({"bad_json": True}, "status 200 without a hash"),
    "never ends its answer": Oddity({"huge_body": True}, "the answer is longer than"),
    "redirects": Oddity({"redirect": "https://127.0.0.1:1/"}, "status 307, a redirect"),
    "answers 400": Oddity({"status": 400}, "status 400"),
    "answers 404": Oddity({"status": 404}, "status 404"),
    "answers 429": Oddity({"status": 429}, "status 429"),
    "answers 500, not as SPIKE": Oddity({"status": 500}, "status 500"),
    "answers 502": Oddity({"status": 502}, "status 502"),
    "answers 503, not as SPIKE": Oddity({"status": 503}, "status 503"),
}


def nothing(cluster: World) -> None:
    """No run was made before."""


def unfinished(cluster: World) -> None:
    """A run has its shards at keepers 1 and 2 of a threshold of 3."""
    cluster.keepers[2].inject({"status": 500, "when": "deliver"})
    assert cluster.run().result["failed_keepers"] == [3]
    cluster.keepers[2].heal()


def key_without_its_journal(cluster: World) -> None:
    unfinished(cluster)
    (cluster.state_dir / "journal.json").unlink()


# What a run is refused with once Nexus says that it has another key.
PASTS: Mapping[str, tuple[Callable[[World], None], str]] = {
    "nothing before": (nothing, "no run that sent it is known here"),
    "an unfinished run": (unfinished, "another root key than the unfinished run's"),
    "a key without its journal": (
        key_without_its_journal,
        "another root key than the unfinished run's",
    ),
}


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks() as forks:
        yield forks


@pytest.fixture
def cluster(forks: Forks) -> Iterator[World]:
    with world(forks, threshold=3) as cluster:
        yield cluster


def live_nexus(cluster: World, past: str) -> str:
    """Nexus has a key of its own, and a past that it knows nothing of; returns what is refused."""
    prepare, refused = PASTS[past]
    prepare(cluster)
    cluster.nexus.hold(OTHER_KEY)
    return refused


def run_with(
    cluster: World, between: Callable[[], None], options: Mapping[str, Any] | None = None
) -> Ended:
    """A run that reaches keeper 3 only after ``between``, which comes after the first look."""
    slow = cluster.keepers[2]
    reached = slow.stats.reach_requests
    slow.inject({"delay": "60s", "when": "reach"})
    run = cluster.start(**{**PATIENT, **(options or {})})
    try:
        assert slow.stats.wait_for(lambda stats: stats.reach_requests > reached)
        between()
    finally:
        slow.heal()
        ended = run.end()
    return cluster.checked(ended)


def assert_refused(ended: Ended, code: str, *words: str) -> None:
    result = ended.result
    assert (result["phase"], result["code"]) == ("guard", code), result["msg"]
    assert any(word in result["msg"] for word in words), result["msg"]
    assert not result["changed"]
    assert not sends_a_shard(ended)


def shards(cluster: World) -> list[int]:
    return [keeper.stats.shard_requests for keeper in cluster.keepers]


@pytest.mark.parametrize("past", PASTS)
@pytest.mark.parametrize("oddity", ODDITIES)
def test_a_nexus_that_was_odd_and_then_says_that_it_has_a_key_keeps_it(
    oddity: str, past: str, cluster: World
) -> None:
    refused = live_nexus(cluster, past)
    before = shards(cluster)
    cluster.nexus.inject(ODDITIES[oddity].fault)
    ended = run_with(cluster, cluster.nexus.heal)
    assert_refused(ended, "state_already_initialized", refused)
    assert shards(cluster) == before


@pytest.mark.parametrize("past", PASTS)
@pytest.mark.parametrize("oddity", [name for name in ODDITIES if name != "refuses connections"])
def test_a_nexus_that_stays_odd_is_not_taken_for_one_without_a_key(
    oddity: str, past: str, cluster: World
) -> None:
    live_nexus(cluster, past)
    before = shards(cluster)
    cluster.nexus.inject(ODDITIES[oddity].fault)
    ended = cluster.run()
    assert_refused(ended, "nexus_unclear", *ODDITIES[oddity].seen)
    assert ended.result["nexus"]["state"] == "unclear"
    assert any("nexus_silence" in line for line in ended.result["why"])
    assert any("nexus_silence" in step for step in ended.result["what_to_do"])
    assert shards(cluster) == before


@pytest.mark.parametrize("oddity", [name for name in ODDITIES if name != "refuses connections"])
def test_a_nexus_that_had_no_key_and_turns_odd_before_the_second_look_is_asked_again(
    oddity: str, cluster: World
) -> None:
    # It got its key in between, and nobody can say so.
    def gets_a_key() -> None:
        cluster.nexus.hold(OTHER_KEY)
        cluster.nexus.inject(ODDITIES[oddity].fault)

    ended = run_with(cluster, gets_a_key)
    assert_refused(ended, "nexus_unclear", *ODDITIES[oddity].seen)
    assert shards(cluster) == [0, 0, 0]


@pytest.mark.parametrize("past", PASTS)
def test_a_name_that_does_not_resolve_is_not_taken_for_a_nexus_without_a_key(
    past: str, cluster: World
) -> None:
    live_nexus(cluster, past)
    before = shards(cluster)
    ended = cluster.run(nexus_api_url=NO_SUCH_NAME)
    assert_refused(ended, "nexus_unclear", "not a host name")
    assert shards(cluster) == before


@pytest.mark.parametrize("past", PASTS)
def test_a_nexus_that_blinks_within_the_second_look_keeps_its_key(
    past: str, cluster: World
) -> None:
    refused = live_nexus(cluster, past)
    before = shards(cluster)
    # Less than the look, and more than one question.
    cluster.nexus.inject({"refuse": True, "until": "60ms"})
    assert_refused(cluster.run(), "state_already_initialized", refused)
    assert shards(cluster) == before


@pytest.mark.parametrize("past", PASTS)
def test_a_port_that_refuses_for_the_whole_look_is_no_key_where_the_option_says_so(
    past: str, cluster: World
) -> None:
    PASTS[past][0](cluster)
    cluster.nexus.stop()
    before = shards(cluster)
    refused = cluster.run(nexus_silence="never", verify=False)
    assert_refused(refused, "nexus_unclear", "connection refused")
    assert "nexus_silence is never" in " ".join(refused.result["why"])
    assert shards(cluster) == before
    assert cluster.run(verify=False).result["phase"] == "done"


@pytest.mark.parametrize("past", PASTS)
@pytest.mark.parametrize("oddity", ["drops packets", "resets", "stalls in TLS", "hangs"])
def test_whoever_vouches_for_a_silent_nexus_may_send(
    oddity: str, past: str, cluster: World
) -> None:
    PASTS[past][0](cluster)
    cluster.nexus.inject(ODDITIES[oddity].fault)
    ended = cluster.run(nexus_silence="accept", verify=False)
    assert ended.result["phase"] == "done"
    assert sends_a_shard(ended)


@pytest.mark.parametrize(
    "oddity", ["closes", "sends garbage", "answers 404", "answers 502", "redirects"]
)
def test_nobody_can_vouch_for_an_answer(oddity: str, cluster: World) -> None:
    live_nexus(cluster, "nothing before")
    cluster.nexus.inject(ODDITIES[oddity].fault)
    ended = cluster.run(nexus_silence="accept")
    assert_refused(ended, "nexus_unclear", *ODDITIES[oddity].seen)


def test_one_500_of_a_nexus_that_has_no_key_is_forgotten_when_it_says_so(cluster: World) -> None:
    cluster.nexus.inject({"other_key": True, "failures": 1})
    assert cluster.run().result["phase"] == "done"


def test_a_500_of_somebody_else_neither_refuses_as_initialised_nor_costs_data(
    cluster: World,
) -> None:
    cluster.nexus.inject({"status": 500})
    result = cluster.run().result
    assert result["code"] == "nexus_unclear"
    told = " ".join([result["msg"], *result["why"], *result["what_to_do"]])
    for word in ("already holds", "force", "move", "remove", "restart every keeper"):
        assert word not in told


def test_a_nexus_without_a_key_is_asked_once_at_each_look(cluster: World) -> None:
    questions = cluster.nexus.stats.verify_requests
    assert cluster.run(verify=False).result["phase"] == "done"
    assert cluster.nexus.stats.verify_requests == questions + 2


@pytest.mark.parametrize("oddity", ODDITIES)
def test_a_finished_cluster_whose_nexus_is_odd_is_left_alone_and_no_keeper_is_contacted(
    oddity: str, cluster: World
) -> None:
    assert cluster.run().result["phase"] == "done"
    contacted = [keeper.stats.connections for keeper in cluster.keepers]
    cluster.nexus.inject(ODDITIES[oddity].fault)
    ended = cluster.run(nexus_silence="accept")
    assert_refused(ended, "state_not_ready", *ODDITIES[oddity].seen)
    assert "was bootstrapped before" in ended.result["msg"]
    assert [keeper.stats.connections for keeper in cluster.keepers] == contacted


def test_a_finished_cluster_whose_nexus_blinks_is_still_finished(cluster: World) -> None:
    assert cluster.run().result["phase"] == "done"
    cluster.nexus.inject({"refuse": True, "until": "100ms"})
    result = cluster.run().result
    assert (result["phase"], result["changed"]) == ("done", False)
