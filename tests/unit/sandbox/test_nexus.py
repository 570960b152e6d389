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
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox._http import Request
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox._nexus import Nexus
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox._stats import Stats
from ansible_collections.dayzero.spike.plugins.module_utils._shamir import CIRCL_1_6_2, split
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
    assert answer == (401, {"err": "access_unauthorized"})


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
