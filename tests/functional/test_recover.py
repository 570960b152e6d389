# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Custodians get their shards encrypted, and a restore from what they decrypt works."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._key.shamir import split
from ansible_collections.dayzero.spike.tests.support.custodian_keys import (
    Owner,
    with_age,
    with_pgp,
    with_ssh,
)
from ansible_collections.dayzero.spike.tests.support.emergency import lines_of, recover, restore
from ansible_collections.dayzero.spike.tests.support.module_host import Host
from ansible_collections.dayzero.spike.tests.support.snapshot import snapshot

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def owners() -> list[Owner]:
    return [with_age("alice"), with_ssh("bob"), with_pgp("carol")]


@pytest.fixture
def live(host: Host) -> Host:
    """A host whose cluster is finished."""
    assert host.run().result["changed"]
    return host


def lines(host: Host) -> dict[int, str]:
    return lines_of(host.root_key(1, 2), host.sandbox)


def test_each_custodian_can_open_what_is_handed_out(live: Host, owners: list[Owner]) -> None:
    expected = lines(live)
    checked = recover(live, owners, check=True)
    assert (checked["phase"], checked["changed"], checked["shards"]) == ("done", False, [])

    result = recover(live, owners)
    assert "msg" not in result, result
    assert (result["threshold"], result["shares"]) == (2, 3)
    assert (result["scheme"], result["token_opened"]) == ("circl-1.6.2", True)
    assert result["changed"] is False
    for shard, owner in zip(result["shards"], owners, strict=True):
        assert shard["custodian"] == owner.name
        line = owner.open(shard["ciphertext"])
        assert line == expected[shard["index"]]
        assert shard["sha256"] == hashlib.sha256(line.encode()).hexdigest()


def test_what_custodians_decrypt_restores_the_cluster(live: Host, owners: list[Owner]) -> None:
    shards = recover(live, owners)["shards"]
    for keeper in live.sandbox.keepers:
        keeper.restart()
    live.sandbox.nexus.restart()
    given = [owners[i].open(shards[i]["ciphertext"]) for i in (2, 0)]
    assert restore(live, given)["proved"]


def test_the_files_are_private_and_described_and_written_once(
    live: Host, owners: list[Owner], tmp_path: Path
) -> None:
    directory = tmp_path / "new" / "recovery"
    checked = recover(live, owners, check=True, directory=str(directory))
    assert checked["changed"]
    assert not directory.exists()

    first = recover(live, owners, directory=str(directory))
    assert first["changed"]
    names = ["recovery.json", "shard-1-alice.age", "shard-2-bob.age", "shard-3-carol.asc"]
    assert sorted(path.name for path in directory.iterdir()) == names
    assert all(path.stat().st_mode & 0o7777 == 0o600 for path in directory.iterdir())
    assert directory.stat().st_mode & 0o7777 == 0o700
    description = json.loads((directory / "recovery.json").read_text())
    assert description["cluster"]["threshold"] == 2
    for entry, shard, owner in zip(description["shards"], first["shards"], owners, strict=True):
        assert (directory / entry["file"]).read_text() == shard["ciphertext"]
        assert (entry["custodian"], entry["sha256"]) == (owner.name, shard["sha256"])

    before = snapshot(directory)
    second = recover(live, owners, directory=str(directory))
    assert (second["changed"], second["shards"]) == (False, first["shards"])
    assert snapshot(directory) == before


@pytest.mark.parametrize("what", ["a file is gone", "a file is changed", "another custodian"])
def test_what_is_no_longer_as_described_is_written_again(
    live: Host, owners: list[Owner], tmp_path: Path, what: str
) -> None:
    directory = tmp_path / "recovery"
    recover(live, owners, directory=str(directory))
    now = list(owners)
    if what == "a file is gone":
        (directory / "shard-1-alice.age").unlink()
    elif what == "a file is changed":
        (directory / "shard-1-alice.age").write_text("nonsense")
    else:
        now[0] = with_age("dave")
    result = recover(live, now, directory=str(directory))
    assert result["changed"]
    assert now[0].open(result["shards"][0]["ciphertext"]) == lines(live)[1]
    assert len(list(directory.iterdir())) == 4
    assert not recover(live, now, directory=str(directory))["changed"]


# -- refused, with nothing handed out


def test_a_key_that_will_not_do_is_refused_by_name_before_nexus_is_asked(
    live: Host, owners: list[Owner]
) -> None:
    bad = Owner("mallory", "age", "age1nonsense", None)
    result = recover(live, [*owners[:2], bad])
    assert (result["phase"], result["option"]) == ("config", "custodians")
    assert "the key of mallory is neither an age recipient" in result["msg"]
    assert live.sandbox.nexus.stats.recover_requests == 0
    step = "custodians: Give a public key of mallory that can encrypt now."
    assert result["what_to_do"][0] == step
    assert len(recover(live, owners)["shards"]) == 3


def test_a_secret_key_is_refused_and_not_shown(live: Host, owners: list[Owner]) -> None:
    secret = str(owners[0].secret)
    result = recover(live, [Owner("alice", "age", secret, None), *owners[1:]])
    assert "what is given for alice is a secret key" in result["msg"]
    assert secret not in str(result)


@pytest.mark.parametrize("count", [0, 2, 4])
def test_there_is_exactly_one_custodian_for_each_shard(live: Host, count: int) -> None:
    result = recover(live, [with_age(f"custodian{number}") for number in range(count)])
    assert (result["phase"], result["option"]) == ("config", "custodians")
    assert f"{count} are named, and there are 3 shards" in result["msg"]


@pytest.mark.parametrize("name", ["", "../etc", "a b", ".hidden", "-rf"])
def test_a_name_that_no_file_can_have_is_refused(
    live: Host, owners: list[Owner], name: str
) -> None:
    result = recover(live, [Owner(name, "age", owners[0].public, None), *owners[1:]])
    assert result["option"] == "custodians"


def test_one_who_is_named_twice_is_refused(live: Host, owners: list[Owner]) -> None:
    twice = Owner("ALICE", "age", owners[1].public, None)
    assert "ALICE is named twice" in recover(live, [owners[0], twice, owners[2]])["msg"]


def test_a_nexus_without_a_key_has_nothing_to_recover(host: Host, owners: list[Owner]) -> None:
    result = recover(host, owners)
    assert (result["code"], result["phase"]) == ("root_key_missing", "guard")
    assert result["nexus"]["state"] == "not_ready"
    assert "spike_restore" in result["what_to_do"][1]


@pytest.mark.parametrize("what", ["one digit", "another scheme", "another threshold", "a zero"])
def test_shards_that_are_not_one_set_are_not_handed_out(
    live: Host, owners: list[Owner], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    def broken(key: bytes, threshold: int, shares: int, scheme: str) -> list[bytes]:
        shards = split(key, 3 if what == "another threshold" else threshold, shares, scheme)
        if what == "one digit":
            shards[1] = shards[1][:-1] + bytes([shards[1][-1] ^ 1])
        elif what == "another scheme":
            shards[1] = split(key, threshold, shares, "circl-1.6.1")[1]
        elif what == "a zero":
            shards[1] = bytes(32)
        return shards

    from ansible_collections.dayzero.spike.plugins.module_utils._sandbox import nexus

    monkeypatch.setattr(nexus, "split", broken)
    result = recover(live, owners)
    assert (result["code"], result["phase"]) == ("shamir_reconstruction_failed", "verify")
    assert result["shards"] == []
    assert "Nothing was handed out" in result["msg"]


def test_a_key_that_does_not_open_the_token_is_not_handed_out(
    live: Host, owners: list[Owner]
) -> None:
    live.sandbox.nexus.hold(bytes([7] * 32))
    result = recover(live, owners)
    assert (result["code"], result["shards"]) == ("crypto_cipher_verification_failed", [])


def test_without_a_journal_it_says_that_nothing_was_opened(live: Host, owners: list[Owner]) -> None:
    result = recover(live, owners, state_dir=str(live.directory / "elsewhere"))
    assert (result["token_opened"], len(result["shards"])) == (None, 3)


def test_a_damaged_journal_is_refused_and_not_passed_over(live: Host, owners: list[Owner]) -> None:
    (live.state_dir / "journal.json").write_text("{")
    result = recover(live, owners)
    assert "journal.json is there and cannot be used: is damaged." in result["msg"]
    assert live.sandbox.nexus.stats.recover_requests == 0


def test_other_keepers_than_nexus_has_are_told(live: Host) -> None:
    peers = [keeper.url for keeper in live.sandbox.keepers[:2]]
    result = recover(live, [with_age("a"), with_age("b")], keeper_peers=peers)
    assert result["code"] == "shamir_shard_count"
    assert "handed out shards 1, 2, 3, and keeper_peers says that there are 2" in result["msg"]


def test_another_identity_is_refused_by_name(live: Host, owners: list[Owner]) -> None:
    cert, key = live.sandbox.restore_svid
    result = recover(live, owners, svid_cert=str(cert), svid_key=str(key))
    assert "expected the recover identity" in result["msg"]


def test_a_missing_library_is_named(live: Host, owners: list[Owner]) -> None:
    prelude = "import sys; sys.modules['pysequoia'] = None"
    result = recover(live, owners, prelude=prelude)
    assert "The Python package pysequoia is needed to encrypt for carol" in result["msg"]
    only_age = [with_age("a"), with_ssh("b"), with_age("c")]
    assert len(recover(live, only_age, prelude=prelude)["shards"]) == 3


def test_a_directory_that_cannot_be_written_is_told(
    live: Host, owners: list[Owner], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    result = recover(live, owners, directory=str(tmp_path / "file" / "below"))
    assert (result["phase"], result["changed"]) == ("deliver", False)
    assert "The encrypted shards could not be written to" in result["msg"]


def test_a_cluster_of_many_is_recovered_too(make_host: Callable[..., Host]) -> None:
    host = make_host(keepers=20, threshold=7)
    host.sandbox.nexus.hold(bytes([5] * 32))
    owners: list[Any] = [with_age(f"c{number}") for number in range(20)]
    assert len(recover(host, owners)["shards"]) == 20
