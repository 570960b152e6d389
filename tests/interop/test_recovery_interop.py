# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Recover and restore against SPIKE's own libraries: what they let happen, and what we do not."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._key import shamir
from ansible_collections.dayzero.spike.plugins.module_utils._key.shard_line import line_of
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.authority import Authority
from ansible_collections.dayzero.spike.tests.interop.go_spike import (
    GoLine,
    GoShamir,
    GoSpike,
    GoSpikeError,
)
from ansible_collections.dayzero.spike.tests.interop.plain_client import (
    RECOVER,
    RESTORE,
    PlainClient,
)
from ansible_collections.dayzero.spike.tests.support.custodian_keys import Owner, with_age
from ansible_collections.dayzero.spike.tests.support.directories import memory_directory
from ansible_collections.dayzero.spike.tests.support.module_run import Result, run_directly

KEY = bytes(range(1, 33))
SHARDS = dict(enumerate(shamir.split(KEY, 2, 3, shamir.CIRCL_1_6_2), 1))


def sha256(key: bytes) -> str:
    return hashlib.sha256(key).hexdigest()


@pytest.fixture(scope="session")
def recoverer(authority: Authority) -> PlainClient:
    return PlainClient(authority, authority.issue("spiffe://spike.ist/spike/pilot/role/recover"))


@pytest.fixture(scope="session")
def restorer(authority: Authority) -> PlainClient:
    return PlainClient(authority, authority.issue("spiffe://spike.ist/spike/pilot/role/restore"))


def give(client: PlainClient, spike: GoSpike, index: int, shard: bytes) -> dict[str, Any]:
    answer = client.restore(spike.nexus_url, index, shard)
    assert answer.status == 200, answer
    return dict(answer.body)


# -- what SPIKE lets happen, shown by a client that owes nothing to the product


def test_the_right_shards_bring_the_key_and_the_keepers_their_shards_back(
    go_spike: GoSpike, restorer: PlainClient
) -> None:
    assert give(restorer, go_spike, 3, SHARDS[3]) == {
        "collected": 1,
        "remaining": 1,
        "restored": False,
    }
    assert give(restorer, go_spike, 1, SHARDS[1]) == {
        "collected": 2,
        "remaining": 0,
        "restored": True,
    }
    state = go_spike.state()
    assert state.nexus.root_key_sha256 == sha256(KEY)
    assert state.consistent


def test_shards_come_to_the_byte_as_we_split_the_same_key(
    go_spike: GoSpike, recoverer: PlainClient, restorer: PlainClient
) -> None:
    for index in (1, 2):
        give(restorer, go_spike, index, SHARDS[index])
    answer = recoverer.request(go_spike.nexus_url, RECOVER, b"{}")
    assert answer.status == 200
    assert answer.body == {"shards": {str(i): list(shard) for i, shard in SHARDS.items()}}


def test_a_nexus_without_a_key_has_no_shards(go_spike: GoSpike, recoverer: PlainClient) -> None:
    answer = recoverer.request(go_spike.nexus_url, RECOVER, b"{}")
    assert (answer.status, answer.body) == (500, {"shards": None, "err": "api_internal_error"})


def test_each_route_takes_its_own_identity_only(
    go_spike: GoSpike, recoverer: PlainClient, restorer: PlainClient, bootstrap: PlainClient
) -> None:
    for client in (restorer, bootstrap):
        assert client.request(go_spike.nexus_url, RECOVER, b"{}").status == 401
    for client in (recoverer, bootstrap):
        assert client.restore(go_spike.nexus_url, 1, SHARDS[1]).status == 401
    assert not go_spike.state().nexus.ready


def test_a_shard_of_zeros_is_the_only_one_that_is_refused(
    go_spike: GoSpike, restorer: PlainClient
) -> None:
    assert restorer.restore(go_spike.nexus_url, 1, bytes(32)).status == 400
    assert restorer.request(go_spike.nexus_url, RESTORE, b"{}").status == 400
    assert give(restorer, go_spike, 1, SHARDS[1])["collected"] == 1


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param((9, SHARDS[2]), id="another index"),
        pytest.param((2, SHARDS[2][:20]), id="20 bytes, filled up with zeros"),
        pytest.param((2, SHARDS[3]), id="another shard"),
        pytest.param((2, bytes([SHARDS[2][0] ^ 1]) + SHARDS[2][1:]), id="one wrong bit"),
    ],
)
def test_with_one_wrong_shard_spike_is_live_on_a_key_that_nobody_ever_had(
    go_spike: GoSpike, restorer: PlainClient, wrong: tuple[int, bytes]
) -> None:
    give(restorer, go_spike, 1, SHARDS[1])
    assert give(restorer, go_spike, *wrong)["restored"] is True
    state = go_spike.state()
    assert state.nexus.ready
    assert state.nexus.root_key_sha256 != sha256(KEY)
    # It has even given its keepers the shards of that key.
    assert state.consistent
    assert [keeper.has_shard for keeper in state.keepers] == [True] * 3


def test_no_shard_can_be_taken_back(go_spike: GoSpike, restorer: PlainClient) -> None:
    give(restorer, go_spike, 1, SHARDS[3])
    assert give(restorer, go_spike, 1, SHARDS[1])["collected"] == 1
    give(restorer, go_spike, 2, SHARDS[2])
    before = go_spike.state().nexus.root_key_sha256
    assert before != sha256(KEY)
    # What comes after the threshold is ignored, right or wrong.
    assert give(restorer, go_spike, 3, SHARDS[3])["restored"] is True
    assert go_spike.state().nexus.root_key_sha256 == before


def test_a_live_spike_takes_a_restore_too_and_changes_its_key(
    go_spike: GoSpike, restorer: PlainClient, bootstrap: PlainClient
) -> None:
    other = bytes([7] * 32)
    for number, shard in enumerate(shamir.split(other, 2, 3, shamir.CIRCL_1_6_2)):
        assert bootstrap.contribute(go_spike.keeper_urls[number], shard).status == 200
    assert go_spike.await_ready().nexus.root_key_sha256 == sha256(other)
    for index in (1, 2):
        give(restorer, go_spike, index, SHARDS[index])
    assert go_spike.state().nexus.root_key_sha256 == sha256(KEY)


def test_a_set_that_makes_no_key_ends_the_process(go_spike: GoSpike, restorer: PlainClient) -> None:
    # The line through zero: its key is zero.
    for index in (1, 2):
        try:
            restorer.restore(go_spike.nexus_url, index, (7 * index).to_bytes(32, "big"))
        except OSError:
            assert index == 2
    go_spike.ended()
    with pytest.raises(GoSpikeError):
        go_spike.state()


# -- the modules


Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, authority: Authority) -> Iterator[Run]:
    """Runs a module against a cluster, as who may do that, with one journal for all of them."""

    def svid(role: str) -> tuple[str, str]:
        issued = authority.issue(f"spiffe://spike.ist/spike/{role}")
        certificate, key = authority.write(tmp_path, role.rpartition("/")[2], issued)
        return str(certificate), str(key)

    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(authority.bundle_pem())
    roles = {
        "spike_bootstrap": svid("bootstrap"),
        "spike_recover": svid("pilot/role/recover"),
        "spike_restore": svid("pilot/role/restore"),
    }
    proof = dict(zip(("proof_svid_cert", "proof_svid_key"), roles["spike_bootstrap"], strict=True))

    with memory_directory() as runtime_dir:

        def run_against(module: str, spike: GoSpike, **changes: Any) -> Result:
            certificate, key = roles[module]
            options = {
                "keeper_peers": spike.keeper_urls,
                "nexus_api_url": spike.nexus_url,
                "svid_source": "files",
                "svid_cert": certificate,
                "svid_key": key,
                "svid_bundle": str(bundle),
                "state_dir": str(tmp_path / "state"),
                "runtime_dir": str(runtime_dir),
                **(proof if module == "spike_restore" else {}),
                **changes,
            }
            environment = {**os.environ, "HOME": str(tmp_path)}
            return run_directly(options, environment=environment, module=module).result

        yield run_against


def owners(number: int) -> list[Owner]:
    return [with_age(f"custodian-{index}") for index in range(1, number + 1)]


def opened(shards: Sequence[Any], keys: Sequence[Owner]) -> dict[int, str]:
    pairs = zip(shards, keys, strict=True)
    return {shard["index"]: owner.open(shard["ciphertext"]) for shard, owner in pairs}


@pytest.mark.slow
@pytest.mark.parametrize(("threshold", "keepers"), [(2, 3), (3, 5), (5, 6)])
def test_what_custodians_got_brings_a_lost_cluster_back(
    start_go_spike: Callable[..., GoSpike], run: Run, threshold: int, keepers: int
) -> None:
    spike = start_go_spike(keepers=keepers, threshold=threshold)
    split = {"shamir_threshold": threshold}
    assert run("spike_bootstrap", spike, **split)["phase"] == "done"
    before = spike.state().nexus.root_key_sha256
    custodians = owners(keepers)
    recovered = run(
        "spike_recover", spike, custodians=[owner.option for owner in custodians], **split
    )
    assert (recovered["scheme"], recovered["token_opened"]) == (shamir.CIRCL_1_6_2, True)
    lines = opened(recovered["shards"], custodians)

    assert not spike.restart().nexus.ready
    restored = run("spike_restore", spike, shards=[*lines.values()][-threshold:], **split)
    assert (restored["restored"], restored["proved"]) == (True, True), restored
    after = spike.state()
    assert after.nexus.root_key_sha256 == before
    assert after.consistent
    assert [keeper.has_shard for keeper in after.keepers] == [True] * keepers


@pytest.mark.slow
@pytest.mark.parametrize("journal", [True, False], ids=["with a journal", "without a journal"])
def test_the_wrong_key_that_spike_takes_is_impossible_through_the_module(
    go_spike: GoSpike, run: Run, tmp_path: Path, journal: bool
) -> None:
    run("spike_bootstrap", go_spike)
    custodians = owners(3)
    shards = run("spike_recover", go_spike, custodians=[owner.option for owner in custodians])
    lines = opened(shards["shards"], custodians)
    one, two = lines[1], lines[2].rpartition(":")[2]
    before = go_spike.restart().nexus.requests
    changes = {} if journal else {"state_dir": str(tmp_path / "nothing"), "unchecked": True}
    for wrong in (f"spike:9:{two}", f"spike:3:{two}", f"spike:2:{two[:40]}", f"spike:1:{two}"):
        result = run("spike_restore", go_spike, shards=[one, wrong], **changes)
        assert (result["failed"], result["sent"]) == (True, []), wrong
        assert two not in str(result)
    after = go_spike.state()
    assert (after.nexus.ready, after.nexus.requests) == (False, before)
    assert run("spike_restore", go_spike, shards=[one, lines[2]], **changes)["restored"]


@pytest.mark.slow
def test_a_live_spike_keeps_its_key_through_the_module(go_spike: GoSpike, run: Run) -> None:
    run("spike_bootstrap", go_spike)
    custodians = owners(3)
    shards = run("spike_recover", go_spike, custodians=[owner.option for owner in custodians])
    lines = opened(shards["shards"], custodians)
    result = run("spike_restore", go_spike, shards=[lines[1], lines[2]])
    assert (result["code"], result["sent"]) == ("state_already_initialized", [])


# -- the custodians' line


@pytest.fixture(scope="session")
def go_line(gospike_binary: Path) -> Iterator[GoLine]:
    with GoLine(gospike_binary) as reader:
        yield reader


@pytest.mark.parametrize("index", [1, 10, 1000])
def test_a_line_is_what_spikes_tools_read(go_line: GoLine, index: int) -> None:
    line = line_of(index, bytearray(KEY)).decode()
    assert go_line.read(line) == (index, KEY)


def test_a_line_that_was_read_goes_into_spikes_own_recovery(
    go_line: GoLine, go_shamir: GoShamir
) -> None:
    texts = [line_of(index, bytearray(shard)).decode() for index, shard in SHARDS.items()]
    read = dict(go_line.read(text) for text in texts[1:])
    assert go_shamir.recover(read, 2) == KEY
