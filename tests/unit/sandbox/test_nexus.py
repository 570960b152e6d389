# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How Nexus comes by its root key, and what it answers, apart from any network."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._key.shamir import CIRCL_1_6_2, split
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.http import Request
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.nexus import Nexus
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.stats import Stats
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

BOOTSTRAP = "spiffe://spike.ist/spike/bootstrap"
KEY_A = bytes([1] * 32)
KEY_B = bytes([2] * 32)
Peers = Mapping[int, Callable[[], "bytes | None"]]


@pytest.fixture
def nexus(tmp_path: Path) -> Nexus:
    return Nexus("spike.ist", 2, tmp_path, Stats())


def holding(shards: Mapping[int, bytes | None]) -> Peers:
    return {number: lambda shard=shard: shard for number, shard in shards.items()}


def shards_of(key: bytes, *ids: int) -> dict[int, bytes | None]:
    shards = split(key, 2, 3, CIRCL_1_6_2)
    return {number: shards[number - 1] if number in ids else None for number in (1, 2, 3)}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def verify(nexus: Nexus, document: Any, peer: str = BOOTSTRAP) -> tuple[int, Any]:
    request = Request("POST", "/v1/bootstrap/verify", json.dumps(document).encode(), True)
    response = nexus.answer(request, peer)
    return response.status, json.loads(response.body)


def token(key: bytes, plaintext: bytes = b"text") -> dict[str, str]:
    nonce = secrets.token_bytes(12)
    ciphertext = AESGCM(key).encrypt(nonce, plaintext, None)
    return {
        "nonce": base64.b64encode(nonce).decode(),
        "ciphertext": base64.b64encode(ciphertext).decode(),
    }


def test_a_threshold_of_shards_makes_the_root_key(nexus: Nexus) -> None:
    assert nexus.poll(holding(shards_of(KEY_A, 1, 3)))
    assert nexus.root_key_sha256 == sha256(KEY_A)


def test_fewer_shards_than_the_threshold_make_none(nexus: Nexus) -> None:
    assert not nexus.poll(holding(shards_of(KEY_A, 2)))
    assert nexus.root_key_sha256 is None


def test_shards_of_earlier_polls_are_kept(nexus: Nexus) -> None:
    nexus.poll(holding(shards_of(KEY_A, 1)))
    assert nexus.poll(holding(shards_of(KEY_A, 2)))
    assert nexus.root_key_sha256 == sha256(KEY_A)


def test_a_rerun_with_another_key_can_make_a_third_one(tmp_path: Path) -> None:
    keys = set()
    for trial in range(60):
        directory = tmp_path / str(trial)
        directory.mkdir()
        nexus = Nexus("spike.ist", 2, directory, Stats())
        nexus.poll(holding(shards_of(KEY_A, 1)))
        nexus.poll(holding(shards_of(KEY_B, 1, 2, 3)))
        keys.add(nexus.root_key_sha256)
    assert sha256(KEY_A) not in keys
    assert sha256(KEY_B) in keys
    assert len(keys) > 1


def test_a_root_key_is_not_replaced(nexus: Nexus) -> None:
    nexus.poll(holding(shards_of(KEY_A, 1, 2, 3)))
    assert nexus.poll(holding(shards_of(KEY_B, 1, 2, 3)))
    assert nexus.root_key_sha256 == sha256(KEY_A)


def test_a_token_is_proved_with_the_hash_of_its_text(nexus: Nexus) -> None:
    nexus.hold(KEY_A)
    assert verify(nexus, token(KEY_A, b"abc")) == (200, {"hash": sha256(b"abc")})


def test_without_a_root_key_it_is_not_ready(nexus: Nexus) -> None:
    assert verify(nexus, token(KEY_A)) == (503, {"err": "state_not_ready"})


def test_with_another_root_key_it_fails(nexus: Nexus) -> None:
    nexus.hold(KEY_B)
    assert verify(nexus, token(KEY_A)) == (500, {"hash": "", "err": "api_internal_error"})


def test_another_identity_is_unauthorized(nexus: Nexus) -> None:
    nexus.hold(KEY_A)
    answer = verify(nexus, token(KEY_A), "spiffe://spike.ist/spike/pilot/role/recover")
    assert answer == (401, {"hash": "", "err": "access_unauthorized"})


def test_without_a_root_key_that_comes_before_any_look_at_who_asks(nexus: Nexus) -> None:
    answer = verify(nexus, token(KEY_A), "spiffe://spike.ist/spike/pilot/role/restore")
    assert answer == (503, {"err": "state_not_ready"})


@pytest.mark.parametrize(
    "document",
    [
        {},
        [],
        {"nonce": 1, "ciphertext": "AAAA"},
        {"nonce": "AAAA", "ciphertext": "AAAA"},
        {"nonce": "A" * 16, "ciphertext": ""},
        {"nonce": "A" * 16, "ciphertext": "not base64"},
        {"nonce": "A" * 16},
    ],
    ids=str,
)
def test_what_is_not_a_token_is_a_bad_request(nexus: Nexus, document: Any) -> None:
    nexus.hold(KEY_A)
    assert verify(nexus, document) == (400, {"err": "api_bad_request"})


def test_its_data_is_readable_after_a_restart_with_the_same_key(nexus: Nexus) -> None:
    nexus.hold(KEY_A)
    nexus.forget(keep_data=True)
    assert nexus.root_key_sha256 is None
    nexus.hold(KEY_A)
    assert not nexus.data_unreadable


def test_its_data_is_unreadable_after_a_restart_with_another_key(nexus: Nexus) -> None:
    nexus.hold(KEY_A)
    nexus.forget(keep_data=True)
    nexus.hold(KEY_B)
    assert nexus.data_unreadable


def test_without_its_data_another_key_is_fine(nexus: Nexus) -> None:
    nexus.hold(KEY_A)
    nexus.forget(keep_data=False)
    assert not nexus.database.exists()
    nexus.hold(KEY_B)
    assert not nexus.data_unreadable


def test_a_restart_forgets_collected_shards(nexus: Nexus) -> None:
    nexus.poll(holding(shards_of(KEY_A, 1)))
    nexus.forget(keep_data=True)
    assert not nexus.poll(holding(shards_of(KEY_A, 2)))


def test_its_own_split_is_the_one_that_was_delivered(nexus: Nexus) -> None:
    nexus.hold(KEY_A)
    assert nexus.split(3, CIRCL_1_6_2) == split(KEY_A, 2, 3, CIRCL_1_6_2)


def test_it_cannot_split_a_key_that_it_has_not(nexus: Nexus) -> None:
    with pytest.raises(ValueError, match="no root key yet"):
        nexus.split(3, CIRCL_1_6_2)


# -- recover and restore, with everything that SPIKE does not check


def operate(nexus: Nexus, what: str, document: Any, role: str | None = None) -> tuple[int, Any]:
    request = Request("POST", f"/v1/operator/{what}", json.dumps(document).encode(), True)
    response = nexus.answer(request, f"spiffe://spike.ist/spike/pilot/role/{role or what}")
    return response.status, json.loads(response.body)


def give(nexus: Nexus, number: int, shard: bytes) -> tuple[int, Any]:
    return operate(nexus, "restore", {"id": number, "shard": list(shard)})


def collected(count: int) -> tuple[int, Any]:
    return 200, {"collected": count, "remaining": 2 - count, "restored": count == 2}


def test_recover_gives_every_shard_of_the_key_that_it_has(nexus: Nexus) -> None:
    nexus.hold(KEY_A)
    shards = split(KEY_A, 2, 3, CIRCL_1_6_2)
    expected = {str(number): list(shard) for number, shard in enumerate(shards, 1)}
    assert operate(nexus, "recover", {}) == (200, {"shards": expected})


def test_recover_without_a_key_is_an_internal_error(nexus: Nexus) -> None:
    assert operate(nexus, "recover", {}) == (500, {"shards": None, "err": "api_internal_error"})


@pytest.mark.parametrize(("what", "role"), [("recover", "restore"), ("restore", "recover")])
def test_each_of_the_two_is_for_its_own_identity(nexus: Nexus, what: str, role: str) -> None:
    status, answer = operate(nexus, what, {"id": 1, "shard": [1] * 32}, role)
    assert (status, answer["err"]) == (401, "access_unauthorized")


def test_restore_makes_the_key_when_the_threshold_is_there(nexus: Nexus) -> None:
    shards = split(KEY_A, 2, 3, CIRCL_1_6_2)
    assert give(nexus, 3, shards[2]) == collected(1)
    assert give(nexus, 3, shards[2]) == collected(1)
    assert give(nexus, 1, shards[0]) == collected(2)
    assert nexus.root_key_sha256 == sha256(KEY_A)
    assert nexus.take_push()
    assert not nexus.take_push()


def test_restore_checks_no_index_and_is_live_on_a_key_that_nobody_had(nexus: Nexus) -> None:
    shards = split(KEY_A, 2, 3, CIRCL_1_6_2)
    give(nexus, 1, shards[0])
    assert give(nexus, 9, shards[1]) == collected(2)
    assert nexus.root_key_sha256 not in (None, sha256(KEY_A))


def test_restore_fills_a_short_shard_with_zeros(nexus: Nexus) -> None:
    shards = split(KEY_A, 2, 3, CIRCL_1_6_2)
    give(nexus, 1, shards[0])
    assert give(nexus, 2, shards[1][:20]) == collected(2)
    assert nexus.root_key_sha256 not in (None, sha256(KEY_A))


def test_a_shard_is_never_taken_back_or_replaced(nexus: Nexus) -> None:
    shards = split(KEY_A, 2, 3, CIRCL_1_6_2)
    give(nexus, 1, bytes([9] * 32))
    assert give(nexus, 1, shards[0]) == collected(1)
    assert give(nexus, 2, shards[1]) == collected(2)
    wrong = nexus.root_key_sha256
    assert wrong not in (None, sha256(KEY_A))
    assert give(nexus, 3, shards[2]) == collected(2)
    assert nexus.root_key_sha256 == wrong


def test_a_live_nexus_takes_a_restore_and_changes_its_key(nexus: Nexus) -> None:
    nexus.hold(KEY_B)
    for number, shard in enumerate(split(KEY_A, 2, 3, CIRCL_1_6_2), 1):
        give(nexus, number, shard)
    assert nexus.root_key_sha256 == sha256(KEY_A)
    assert nexus.data_unreadable


def test_a_set_that_makes_no_key_ends_the_process(nexus: Nexus) -> None:
    give(nexus, 0, bytes([9] * 32))
    with pytest.raises(ConnectionAbortedError):
        give(nexus, 1, bytes([9] * 32))
    assert nexus.ended


@pytest.mark.parametrize(
    "document", [[], {}, {"id": 1}, {"id": "1", "shard": [1] * 32}, {"id": 1, "shard": [0] * 32}]
)
def test_what_is_no_shard_is_a_bad_request(nexus: Nexus, document: Any) -> None:
    assert operate(nexus, "restore", document) == (400, {"err": "api_bad_request"})
