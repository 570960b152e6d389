# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import hashlib
import itertools
import json
import random
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._key.shamir import (
    ORDER,
    SCHEMES,
    SIZE,
    recover,
    split,
)
from hypothesis import given, settings
from hypothesis import strategies as st

DATA = Path(__file__).resolve().parents[2] / "data"
QUICK = settings(max_examples=40, deadline=None)
KEY = (1).to_bytes(SIZE, "big")


def _vectors() -> list[Any]:
    """What the real CIRCL made of known keys, one parameter set each."""
    return [
        pytest.param(scheme, vector, id=f"{scheme}-{number}")
        for scheme in SCHEMES
        for number, vector in enumerate(json.loads((DATA / f"{scheme}.json").read_text()))
    ]


def scalars() -> st.SearchStrategy[bytes]:
    return st.integers(1, ORDER - 1).map(lambda number: number.to_bytes(SIZE, "big"))


@pytest.mark.parametrize(("scheme", "vector"), _vectors())
def test_every_shard_is_the_one_that_circl_makes(scheme: str, vector: dict[str, Any]) -> None:
    key = bytes.fromhex(vector["root_key"])
    shards = split(key, vector["threshold"], vector["shares"], scheme)
    assert {str(i): shard.hex() for i, shard in enumerate(shards, 1)} == vector["shards"]


@pytest.mark.parametrize(("scheme", "vector"), _vectors())
def test_any_threshold_of_circls_shards_recovers_the_key(
    scheme: str, vector: dict[str, Any]
) -> None:
    shards = {int(i): bytes.fromhex(shard) for i, shard in vector["shards"].items()}
    sets = list(itertools.islice(itertools.combinations(shards, vector["threshold"]), 50))
    assert sets
    for ids in sets:
        assert recover({i: shards[i] for i in ids}).hex() == vector["root_key"]


def test_the_vectors_hold_a_threshold_of_one_and_a_skipped_block() -> None:
    vectors = json.loads((DATA / "circl-1.6.2.json").read_text())
    assert any(vector["threshold"] == 1 for vector in vectors)
    # Without the skip, these two would come out as the plain chain of hashes gives them.
    assert all(_first_block(vector["root_key"]) >= ORDER for vector in vectors[-2:])


def _first_block(root_key: str) -> int:
    return int.from_bytes(hashlib.sha256(bytes.fromhex(root_key)).digest(), "big")


@QUICK
@given(key=scalars(), scheme=st.sampled_from(SCHEMES), data=st.data())
def test_any_threshold_of_the_shards_recovers_the_key(
    key: bytes, scheme: str, data: st.DataObject
) -> None:
    shares = data.draw(st.integers(1, 12))
    threshold = data.draw(st.integers(1, shares))
    shards = split(key, threshold, shares, scheme)
    assert [len(shard) for shard in shards] == [SIZE] * shares
    ids = data.draw(st.permutations(range(1, shares + 1)))[:threshold]
    assert recover({i: shards[i - 1] for i in ids}) == key


@QUICK
@given(key=scalars(), scheme=st.sampled_from(SCHEMES), threshold=st.integers(2, 6))
def test_one_shard_too_few_gives_another_key(key: bytes, scheme: str, threshold: int) -> None:
    shards = split(key, threshold, threshold, scheme)
    assert recover({i: shards[i - 1] for i in range(1, threshold)}) != key


@pytest.mark.parametrize("scheme", SCHEMES)
def test_shards_of_two_polynomials_give_a_third_key(scheme: str) -> None:
    ours, theirs = split(KEY, 2, 2, scheme), split(b"\x01" * SIZE, 2, 2, scheme)
    assert recover({1: ours[0], 2: theirs[1]}) not in (KEY, b"\x01" * SIZE)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_split_is_a_function_of_its_arguments(scheme: str) -> None:
    assert split(KEY, 3, 5, scheme) == split(KEY, 3, 5, scheme)
    assert split(KEY, 3, 5, scheme)[:3] == split(KEY, 3, 3, scheme)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_thousand_shares_take_less_than_a_second(scheme: str) -> None:
    key = random.Random(7).randrange(1, ORDER).to_bytes(SIZE, "big")
    began = time.process_time()
    shards = split(key, 500, 1000, scheme)
    assert time.process_time() - began < 1
    ids = random.Random(8).sample(range(1, 1001), 500)
    assert recover({i: shards[i - 1] for i in ids}) == key


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(bytes(SIZE), id="zero"),
        pytest.param(ORDER.to_bytes(SIZE, "big"), id="the order"),
        pytest.param(b"\xff" * SIZE, id="above the order"),
        pytest.param(b"\x5a" * (SIZE - 1), id="too short"),
        pytest.param(b"\x00" + b"\x5a" * SIZE, id="too long"),
        pytest.param(b"", id="empty"),
    ],
)
def test_a_key_outside_the_field_is_refused_and_not_shown(key: bytes) -> None:
    with pytest.raises(ValueError, match="not a 32-byte scalar") as caught:
        split(key, 2, 3, SCHEMES[0])
    assert "5a" not in str(caught.value)
    assert "ff" not in str(caught.value)


@pytest.mark.parametrize(("threshold", "shares"), [(0, 3), (-1, 3), (4, 3), (1, 0)])
def test_a_threshold_that_does_not_fit_is_refused(threshold: int, shares: int) -> None:
    with pytest.raises(ValueError, match=f"a threshold of {threshold} does not fit {shares}"):
        split(KEY, threshold, shares, SCHEMES[0])


@pytest.mark.parametrize("ids", [[], [0], [-1, 2], [1, ORDER]], ids=str)
def test_recovery_refuses_ids_that_no_keeper_has(ids: list[int]) -> None:
    with pytest.raises(ValueError, match="ids from 1"):
        recover(dict.fromkeys(ids, KEY))
