# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each printed step is tried: following them to the letter ends in a cluster that works.

For every refusal, every proof that does not come, every way in which a keeper fails. The world is
the sandbox, the runs are real processes, and the operator is a robot that knows nothing but the
steps: see ``tests/support/operator.py``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._decide.nexus_words import ADVICE
from ansible_collections.dayzero.spike.plugins.module_utils._decide.situation import Situation
from ansible_collections.dayzero.spike.plugins.module_utils._key.shamir import recover
from ansible_collections.dayzero.spike.plugins.module_utils._naming import Naming
from ansible_collections.dayzero.spike.tests.support import fault_cases
from ansible_collections.dayzero.spike.tests.support.loopback_peer import (
    Peer,
    http_response,
    over_tls,
    replying,
    server_context,
)
from ansible_collections.dayzero.spike.tests.support.module_forks import Forks
from ansible_collections.dayzero.spike.tests.support.operator import CONDITIONS, Operator
from ansible_collections.dayzero.spike.tests.support.rerun_world import World, world

pytestmark = pytest.mark.slow

OTHER_KEY = bytes(31) + b"\7"
SWAPPED = (2, 1, 3)


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks() as forks:
        yield forks


@pytest.fixture
def cluster(forks: Forks) -> Iterator[World]:
    with world(forks) as cluster:
        yield cluster


# What a case says instead of a place that is known only when its world is there.
ANOTHER = "another state_dir"
ANOTHER_MEMORY = "another runtime_dir"
DATA = "Nexus's data directory"
LINK = "a directory whose database is a link to itself"
STRANGER = "another cluster's Nexus"


@pytest.fixture
def places(cluster: World) -> Iterator[Mapping[Any, str]]:
    """Where the places are that cases speak of."""
    host = cluster.state_dir.parent
    (host / "data").mkdir()
    (host / "data" / "spike.db").symlink_to("spike.db")
    authority = cluster.sandbox.authority
    context = server_context(authority.issue("spiffe://spike.ist/spike/nexus"), authority)
    another_key = http_response(500, b'{"hash":"","err":"api_internal_error"}')
    with Peer(over_tls(context, replying(another_key))) as stranger:
        yield {
            ANOTHER: str(host / "another"),
            ANOTHER_MEMORY: str(cluster.runtime_dir / "another"),
            DATA: str(cluster.nexus.data_dir),
            LINK: str(host / "data"),
            STRANGER: stranger.url,
        }


# -- what was before


def nothing(cluster: World) -> None:
    """A fresh cluster."""


def finished(cluster: World) -> None:
    assert cluster.run().result["phase"] == "done"
    cluster.recovery_key = key_of(cluster, 1, 2)


def unfinished(cluster: World) -> None:
    """Keeper 1 has its shard, which is too few for Nexus."""
    for keeper in cluster.keepers[1:]:
        keeper.inject({"status": 500, "when": "deliver"})
    assert cluster.run().result["failed_keepers"] == [2, 3]
    for keeper in cluster.keepers:
        keeper.heal()


def delivered(cluster: World) -> None:
    """All keepers have their shard, Nexus is not started, and nobody has proved anything."""
    cluster.nexus.stop()
    assert cluster.run(verify=False).result["phase"] == "done"


def start_nexus(cluster: World) -> None:
    cluster.nexus.start()
    assert cluster.nexus.wait_initialised()


def key_of(cluster: World, *ids: int) -> bytes:
    shards = {keeper.id: keeper.shard for keeper in cluster.keepers if keeper.id in ids}
    return bytes(recover({number: shard for number, shard in shards.items() if shard}))


def lose_all_shards(cluster: World) -> None:
    cluster.nexus.stop()
    for keeper in cluster.keepers:
        keeper.restart()
    cluster.nexus.start()


def hold_another_key(cluster: World) -> None:
    cluster.nexus.stop(keep_data=False)
    cluster.nexus.hold(OTHER_KEY)


def nexus_has_swapped_keepers(cluster: World) -> None:
    cluster.nexus.stop()
    cluster.nexus.configure(SWAPPED)
    cluster.nexus.start()


def mixed_up(cluster: World) -> None:
    """A run whose shards Nexus made another key of, because its keepers are in another order."""
    nexus_has_swapped_keepers(cluster)
    assert cluster.run().result["code"] == "crypto_cipher_verification_failed"


def key_without_journal(cluster: World, **options: Any) -> None:
    for keeper in cluster.keepers[1:]:
        keeper.inject({"status": 500, "when": "deliver"})
    cluster.run(**options)
    for keeper in cluster.keepers:
        keeper.heal()
    (cluster.state_dir / "journal.json").unlink()


@dataclass(frozen=True)
class Case:
    """A situation, and an operator who is in it.

    ``prepare`` brings it about, with ``options`` of the run that meets it. ``true`` are the
    conditions in the steps that hold. ``fix`` is what looking into it finds and mends, ``right``
    what options should have been.
    """

    situation: Situation
    name: str
    prepare: Callable[[World], None]
    options: Mapping[str, Any] = field(default_factory=dict)
    true: tuple[str, ...] = ()
    fix: Callable[[World], None] = nothing
    right: Callable[[World], Mapping[str, Any]] = lambda cluster: {}
    # How it ends: a cluster that proves this run's key, or one whose key was accepted.
    accepted: bool = False


def heal_nexus(cluster: World) -> None:
    cluster.nexus.heal()


def faulty_nexus(**fault: Any) -> Callable[[World], None]:
    return lambda cluster: cluster.nexus.inject(fault)


def reversed_peers(cluster: World) -> dict[str, Any]:
    return {"keeper_peers": [keeper.url for keeper in reversed(cluster.keepers)]}


KEEP = ("To keep the key that Nexus has",)
USE = (
    "To use this run's key instead, only if Nexus holds nothing that is wanted",
    "To use this run's key instead",
)
GIVEN_UP = ("If that run is not wanted",)
AGAIN = ("If it is refused again",)
RECOVERED = ("If Nexus does not get its key back",)

CASES = [
    Case(
        Situation.NOT_NEXUS,
        "a keeper answers",
        faulty_nexus(wrong_identity="spiffe://spike.ist/spike/keeper"),
        fix=heal_nexus,
    ),
    Case(
        Situation.NOT_NEXUS,
        "a Nexus of another trust domain",
        faulty_nexus(wrong_identity="spiffe://other.org/spike/nexus"),
        fix=heal_nexus,
    ),
    Case(Situation.NOT_NEXUS, "expired", faulty_nexus(expired=True), fix=heal_nexus),
    Case(Situation.NOT_NEXUS, "untrusted", faulty_nexus(untrusted=True), fix=heal_nexus),
    Case(Situation.REFUSES_US, "", faulty_nexus(refuse_identity=True), fix=heal_nexus),
    *(
        Case(Situation.UNCLEAR, name, faulty_nexus(**{name: value}), fix=heal_nexus)
        for name, value in [
            ("blackhole", True),
            ("reset", True),
            ("stall_tls", True),
            ("plain_http", True),
            ("delay", "60s"),
            ("garbage", True),
            ("status", 502),
        ]
    ),
    Case(
        Situation.UNCLEAR,
        "a port that refuses, and silence never counts",
        lambda cluster: cluster.nexus.stop(),
        {"nexus_silence": "never"},
        fix=lambda cluster: cluster.nexus.start(),
    ),
    Case(
        Situation.UNCLEAR,
        "a name that does not resolve",
        nothing,
        {"nexus_api_url": "https://" + "x" * 64 + ":8553"},
        right=lambda cluster: {"nexus_api_url": cluster.nexus.url},
    ),
    Case(
        Situation.UNCLEAR,
        "a Nexus that cannot be asked before day zero",
        faulty_nexus(blackhole=True, until="2s"),
        {"init_verification_timeout": "20s"},
        true=("If this Nexus never had a key and cannot be asked before day zero",),
    ),
    Case(
        Situation.UNCLEAR,
        "it said once that it holds another key",
        faulty_nexus(other_key=True, delay="200ms"),
        fix=heal_nexus,
    ),
    Case(
        Situation.BOOTSTRAPPED,
        "the cluster that was expected",
        hold_another_key,
        true=("If it is the cluster that you expect, nothing needs to be done",),
        accepted=True,
    ),
    Case(
        Situation.LOST_RUN,
        "Nexus had data before, and keeps its key",
        lambda cluster: (unfinished(cluster), hold_another_key(cluster)),
        true=KEEP,
        accepted=True,
    ),
    Case(
        Situation.LOST_RUN,
        "Nexus is new, and takes this run's key",
        lambda cluster: (unfinished(cluster), hold_another_key(cluster)),
        true=USE,
    ),
    Case(
        Situation.LOST_RUN,
        "Nexus has its keepers in another order, and is put right",
        mixed_up,
        true=USE,
    ),
    Case(
        Situation.LOST_RUN,
        "Nexus has its keepers in another order, and is left so",
        mixed_up,
        true=KEEP,
        accepted=True,
    ),
    Case(
        Situation.LOST_RUN,
        "a key without its journal",
        lambda cluster: (key_without_journal(cluster), hold_another_key(cluster)),
        true=USE,
    ),
    Case(
        Situation.BOOTSTRAPPED,
        "another cluster's Nexus",
        nothing,
        {"nexus_api_url": STRANGER},
        true=("If it is another cluster",),
        right=lambda cluster: {"nexus_api_url": cluster.nexus.url},
    ),
    Case(
        Situation.KEY_REPLACED,
        "another cluster's Nexus",
        finished,
        {"nexus_api_url": STRANGER},
        true=("If it is another cluster",),
        right=lambda cluster: {"nexus_api_url": cluster.nexus.url},
    ),
    Case(
        Situation.KEY_REPLACED,
        "on purpose",
        lambda cluster: (finished(cluster), hold_another_key(cluster)),
        true=("If the cluster was given its new key on purpose",),
        accepted=True,
    ),
    Case(
        Situation.KEY_REPLACED,
        "by a restart over mixed shards",
        lambda cluster: (finished(cluster), hold_another_key(cluster)),
        true=(
            "If Nexus has restarted since it was last well",
            "Only with the custodians' recovery shards at hand",
        ),
    ),
    Case(
        Situation.FORGOTTEN,
        "its keepers still have their shards",
        lambda cluster: (
            finished(cluster),
            cluster.nexus.stop(),
            [keeper.inject({"refuse": True}) for keeper in cluster.keepers],
            cluster.nexus.start(),
        ),
        fix=lambda cluster: [keeper.heal() for keeper in cluster.keepers],
    ),
    Case(
        Situation.FORGOTTEN,
        "its keepers have lost them, and there are recovery shards",
        lambda cluster: (finished(cluster), lose_all_shards(cluster)),
        true=RECOVERED,
    ),
    Case(
        Situation.FORGOTTEN,
        "its keepers have lost them, and nothing is wanted",
        lambda cluster: (finished(cluster), lose_all_shards(cluster)),
        true=("Only if all that Nexus stores is to be given up",),
    ),
    Case(
        Situation.FINISHED_UNCLEAR,
        "it is stopped",
        lambda cluster: (finished(cluster), cluster.nexus.stop()),
        fix=lambda cluster: (cluster.nexus.start(), cluster.nexus.wait_initialised()),
    ),
    Case(
        Situation.FINISHED_UNCLEAR,
        "it is stopped, its keepers have lost their shards, and there are recovery shards",
        lambda cluster: (finished(cluster), lose_all_shards(cluster), cluster.nexus.stop()),
        fix=lambda cluster: cluster.nexus.start(),
        true=RECOVERED,
    ),
    Case(
        Situation.FINISHED_UNCLEAR,
        "it is gone, and nothing is wanted",
        lambda cluster: (finished(cluster), lose_all_shards(cluster), cluster.nexus.stop()),
        fix=lambda cluster: cluster.nexus.start(),
        true=("Only if all that Nexus stores is to be given up",),
    ),
    Case(
        Situation.FINISHED_UNCLEAR,
        "it hangs",
        lambda cluster: (finished(cluster), cluster.nexus.inject({"delay": "60s"})),
        fix=heal_nexus,
    ),
    Case(
        Situation.KEY_LOST,
        "enough keepers have their shards",
        lambda cluster: (delivered(cluster), cluster.reboot()),
    ),
    Case(
        Situation.KEY_LOST,
        "runtime_dir is another one",
        unfinished,
        {"runtime_dir": ANOTHER_MEMORY},
        true=("If runtime_dir or state_dir is another one now",),
        right=lambda cluster: {"runtime_dir": str(cluster.runtime_dir)},
    ),
    Case(
        Situation.KEY_LOST,
        "too few keepers have theirs",
        lambda cluster: (unfinished(cluster), cluster.reboot()),
        true=AGAIN,
    ),
    Case(
        Situation.DATABASE,
        "of a Nexus that gets its key back",
        lambda cluster: (
            finished(cluster),
            cluster.nexus.stop(),
            (cluster.state_dir / "journal.json").unlink(),
        ),
        {"nexus_database": "present"},
        fix=lambda cluster: cluster.nexus.start() or cluster.nexus.wait_initialised(),
        accepted=True,
    ),
    Case(
        Situation.DATABASE,
        "of a Nexus whose keepers have lost their shards, and there are recovery shards",
        lambda cluster: (
            finished(cluster),
            lose_all_shards(cluster),
            (cluster.state_dir / "journal.json").unlink(),
        ),
        {"nexus_database": "present"},
        true=RECOVERED,
        accepted=True,
    ),
    Case(
        Situation.DATABASE,
        "of a Nexus that stores nothing that is wanted",
        lambda cluster: (
            finished(cluster),
            lose_all_shards(cluster),
            (cluster.state_dir / "journal.json").unlink(),
        ),
        {"nexus_data_dir": DATA},
        true=("Only if what it stores is to be given up",),
    ),
    Case(Situation.DATABASE_HIDDEN, "", nothing, {"nexus_data_dir": LINK}),
    Case(
        Situation.SETTINGS_DIFFER,
        "of another cluster",
        lambda cluster: (unfinished(cluster), cluster.restart_everything()),
        {"share_scheme": "circl-1.6.1"},
        true=("If this is another cluster",),
    ),
    Case(
        Situation.SETTINGS_DIFFER,
        "by mistake",
        unfinished,
        {"shamir_threshold": 3},
        right=lambda cluster: {"shamir_threshold": 2},
    ),
    Case(
        Situation.SETTINGS_DIFFER,
        "on purpose, of a cluster that has its key",
        lambda cluster: (finished(cluster), cluster.nexus.stop()),
        {"shamir_threshold": 3},
        true=("If the cluster was changed on purpose and has its key",),
        fix=lambda cluster: (cluster.nexus.start(), cluster.nexus.wait_initialised()),
    ),
    Case(
        Situation.SETTINGS_DIFFER,
        "on purpose, of a run that is given up",
        lambda cluster: (unfinished(cluster), cluster.nexus.configure(threshold=3)),
        {"shamir_threshold": 3},
        true=GIVEN_UP,
    ),
    Case(
        Situation.KEY_OF_OTHER_SETTINGS,
        "the settings are put back",
        key_without_journal,
        {"shamir_threshold": 3},
        right=lambda cluster: {"shamir_threshold": 2},
    ),
    Case(
        Situation.KEY_OF_OTHER_SETTINGS,
        "that run is given up",
        lambda cluster: (
            key_without_journal(cluster, shamir_threshold=3),
            cluster.nexus.restart(),
        ),
        true=GIVEN_UP,
    ),
    Case(
        Situation.BEGUN_ELSEWHERE,
        "that run is finished",
        unfinished,
        {"state_dir": ANOTHER},
        right=lambda cluster: {"state_dir": str(cluster.state_dir)},
    ),
    Case(
        Situation.BEGUN_ELSEWHERE,
        "that run is given up",
        unfinished,
        {"state_dir": ANOTHER},
        true=GIVEN_UP,
        right=lambda cluster: {"state_dir": str(cluster.state_dir)},
    ),
    Case(
        Situation.ABANDON_PROVED,
        "",
        lambda cluster: (delivered(cluster), start_nexus(cluster)),
        {"state": "abandoned"},
        right=lambda cluster: {"state": "bootstrapped"},
    ),
    Case(
        Situation.ABANDON_UNCLEAR,
        "it can be asked again",
        lambda cluster: (unfinished(cluster), cluster.nexus.inject({"blackhole": True})),
        {"state": "abandoned"},
        fix=heal_nexus,
    ),
    Case(
        Situation.ABANDON_UNCLEAR,
        "it is gone for good",
        lambda cluster: (unfinished(cluster), cluster.nexus.stop(keep_data=False)),
        {"state": "abandoned"},
        true=("Only if this Nexus is known not to have that key",),
    ),
    Case(
        Situation.OTHER_KEY_AT_THE_END,
        "Nexus has its keepers in another order, and is put right",
        nexus_has_swapped_keepers,
        true=USE,
    ),
    Case(
        Situation.OTHER_KEY_AT_THE_END,
        "Nexus has its keepers in another order, and is left so",
        nexus_has_swapped_keepers,
        true=KEEP,
        accepted=True,
    ),
    Case(
        Situation.OTHER_KEY_AT_THE_END,
        "Nexus has another threshold, and is put right",
        nothing,
        # More shards than it takes would give the right key.
        {"shamir_threshold": 3},
        true=USE,
    ),
    Case(
        Situation.UNPROVED,
        "it is not started",
        lambda cluster: cluster.nexus.stop(),
        {"init_verification_timeout": "1s"},
        fix=lambda cluster: cluster.nexus.start(),
    ),
    Case(
        Situation.UNPROVED,
        "it asks other keepers",
        lambda cluster: (
            cluster.nexus.stop(),
            cluster.nexus.configure([3]),
            cluster.nexus.start(),
        ),
        {"init_verification_timeout": "1s"},
    ),
    Case(
        Situation.NO_VERIFICATION,
        "a proxy",
        lambda cluster: cluster.nexus.inject({"status": 400, "failures": 10**6}),
        {"force": True},
        fix=heal_nexus,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.situation.name} {case.name}")
def test_following_the_steps_to_the_letter_ends_in_a_cluster_that_works(
    case: Case, cluster: World, places: Mapping[Any, str]
) -> None:
    case.prepare(cluster)
    options = {name: places.get(value, value) for name, value in case.options.items()}
    cluster.new_history()
    first = cluster.run(**{"init_verification_timeout": "5s", **options}).result
    assert first.get("failed")
    assert first["code"] == case.situation.code, first["msg"]
    assert_is(case.situation, first)
    operator = Operator(
        cluster,
        {key_: value for key_, value in options.items() if key_ != "force"},
        true=case.true,
        fix=lambda: case.fix(cluster),
        right=case.right(cluster),
        recovery_key=cluster.recovery_key,
    )
    last = operator.until_done(first)
    assert last["phase"] == "done"
    if not case.accepted and options.get("state") != "abandoned":
        assert last["nexus"]["state"] == "ready"


def assert_is(situation: Situation, result: Mapping[str, Any]) -> None:
    """The result is that of this situation, and not only of its code."""
    fixed = [part.strip(" .") for part in re.split(r"\{\w+\}", ADVICE[situation].msg)]
    assert all(part in result["msg"] for part in fixed), (situation, result["msg"])


def test_a_nexus_without_verification_is_left_to_itself_and_the_next_run_says_why(
    cluster: World,
) -> None:
    # SPIKE v0.8.0 with the lite backend does not listen before it has its key, and then answers
    # 400 to every verification.
    cluster.nexus.stop()
    first = cluster.start(init_verification_timeout="5s")
    for keeper in cluster.keepers:
        assert keeper.stats.wait_for(lambda stats: stats.shard_requests > 0)
    cluster.nexus.inject({"status": 400})
    cluster.nexus.start()
    result = cluster.checked(first.end()).result
    assert_is(Situation.NO_VERIFICATION, result)
    operator = Operator(cluster, true=("If this Nexus has no verification",))
    last = operator.follow(result)
    assert last["code"] == "nexus_unclear"
    assert any("lite backend of SPIKE v0.8.0 answers 400" in line for line in last["why"])


# -- keepers

FAULTS = {
    (case.name, step): case
    for case in fault_cases.CASES
    for step in ("reach", "deliver")
    if case.expected(step) is not None
}
# Enough for every fault to show itself.
IMPATIENT = {
    "keeper_timeout": "600ms",
    "keeper_max_retries": 2,
    "keeper_retry_initial_interval": "100ms",
}


@pytest.mark.parametrize(
    ("name", "step"),
    [
        # It takes as long as an answer may.
        pytest.param(*fault, marks=pytest.mark.long if fault[0] == "delay" else ())
        for fault in FAULTS
    ],
)
def test_following_the_steps_for_a_keeper_ends_in_a_cluster_that_works(
    name: str, step: str, cluster: World
) -> None:
    fault_cases.inject(FAULTS[name, step], cluster.sandbox, 2, step)
    first = cluster.run(**IMPATIENT)
    assert first.result["failed_keepers"] == [2]
    operator = Operator(cluster, fix=cluster.keepers[1].heal)
    assert operator.until_done(first)["nexus"]["state"] == "ready"


def test_following_the_steps_for_a_keeper_whose_name_is_wrong_ends_well(cluster: World) -> None:
    right = [keeper.url for keeper in cluster.keepers]
    wrong = [right[0], "https://" + "x" * 64 + ":8443", right[2]]
    first = cluster.run(**IMPATIENT, keeper_peers=wrong)
    assert first.result["keepers"][1]["cause"] == "name_resolution"
    operator = Operator(cluster, {"keeper_peers": wrong})
    operator.options["keeper_peers"] = right
    assert operator.until_done(first)["nexus"]["state"] == "ready"


def test_a_keeper_of_another_trust_domain_is_named_as_such(cluster: World) -> None:
    cluster.keepers[1].inject({"wrong_identity": "spiffe://other.org/spike/keeper"})
    result = cluster.run(**IMPATIENT).result
    assert result["keepers"][1]["hint"].startswith("Add its trust domain to trust_root_keeper")


# -- that nothing is left out


def test_every_situation_is_met_by_somebody() -> None:
    met = {case.situation for case in CASES}
    assert set(Situation) == met


def _relevant(step: str, case: Case) -> bool:
    conditions = [condition for condition in CONDITIONS if step.startswith(f"{condition}:")]
    return not conditions or any(condition in case.true for condition in conditions)


STEPS = [
    (situation, Naming.OPTIONS.spell(step))
    for situation, advice in ADVICE.items()
    for step in advice.what_to_do
]


@pytest.mark.parametrize(
    ("situation", "step"),
    STEPS,
    ids=[f"{situation.name}-{number}" for number, (situation, _unused) in enumerate(STEPS)],
)
def test_every_step_is_followed_by_somebody(situation: Situation, step: str) -> None:
    if situation is Situation.NO_VERIFICATION and step.startswith("If this Nexus has no verif"):
        # By the test above.
        return
    assert any(case.situation is situation and _relevant(step, case) for case in CASES), step
