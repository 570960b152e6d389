# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Our split and recovery against SPIKE's SDK over CIRCL, on keys that nobody chose."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._key.shamir import (
    CIRCL_1_6_1,
    CIRCL_1_6_2,
    ORDER,
    SIZE,
    recover,
    split,
)
from ansible_collections.dayzero.spike.tests.interop.go_spike import GoShamir, GoSpikeError
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.slow

_VECTORS = json.loads(
    (Path(__file__).parents[1] / "data" / "circl-1.6.2.json").read_text(encoding="utf-8")
)

root_keys = st.integers(1, ORDER - 1).map(lambda scalar: scalar.to_bytes(SIZE, "big"))


@st.composite
def sizes(draw: st.DrawFn) -> tuple[int, int]:
    """A threshold and a number of shares that it fits."""
    shares = draw(st.integers(2, 12))
    return draw(st.integers(2, shares)), shares


@settings(max_examples=200, deadline=None)
@given(root_key=root_keys, size=sizes())
def test_any_root_key_is_split_to_the_bytes_that_spike_makes_of_it(
    go_shamir: GoShamir, root_key: bytes, size: tuple[int, int]
) -> None:
    threshold, shares = size
    ours = split(root_key, threshold, shares, CIRCL_1_6_2)
    assert ours == go_shamir.split(root_key, threshold, shares)


@settings(max_examples=100, deadline=None)
@given(root_key=root_keys, size=sizes(), data=st.data())
def test_spike_recovers_the_root_key_from_any_threshold_of_our_shards(
    go_shamir: GoShamir, root_key: bytes, size: tuple[int, int], data: st.DataObject
) -> None:
    threshold, shares = size
    shards = split(root_key, threshold, shares, CIRCL_1_6_2)
    ids = data.draw(st.permutations(range(1, shares + 1)), "ids")[:threshold]
    assert go_shamir.recover({x: shards[x - 1] for x in ids}, threshold) == root_key


@settings(max_examples=100, deadline=None)
@given(root_key=root_keys, size=sizes(), data=st.data())
def test_we_recover_the_root_key_from_any_threshold_of_the_shards_that_spike_makes(
    go_shamir: GoShamir, root_key: bytes, size: tuple[int, int], data: st.DataObject
) -> None:
    threshold, shares = size
    shards = go_shamir.split(root_key, threshold, shares)
    ids = data.draw(st.permutations(range(1, shares + 1)), "ids")[:threshold]
    assert recover({x: shards[x - 1] for x in ids}) == root_key


@pytest.mark.parametrize(
    ("scalar", "threshold", "shares"),
    [
        pytest.param(1, 2, 3, id="the smallest key"),
        pytest.param(ORDER - 1, 2, 3, id="the greatest key"),
        pytest.param(ORDER // 2, 5, 5, id="every keeper is needed"),
        pytest.param(ORDER // 3, 1, 3, id="a threshold of one"),
        pytest.param(ORDER // 5, 2, 1000, id="a thousand keepers"),
        pytest.param(ORDER // 7, 100, 1000, id="a thousand keepers, a high threshold"),
    ],
)
def test_the_extremes_are_split_to_the_bytes_that_spike_makes_of_them(
    go_shamir: GoShamir, scalar: int, threshold: int, shares: int
) -> None:
    root_key = scalar.to_bytes(SIZE, "big")
    ours = split(root_key, threshold, shares, CIRCL_1_6_2)
    assert ours == go_shamir.split(root_key, threshold, shares)


@pytest.mark.parametrize("vector", _VECTORS, ids=lambda vector: vector["root_key"][:16])
def test_the_recorded_vectors_are_what_spike_makes_today(
    go_shamir: GoShamir, vector: dict[str, Any]
) -> None:
    root_key = bytes.fromhex(vector["root_key"])
    shards = go_shamir.split(root_key, vector["threshold"], vector["shares"])
    recorded = {int(x): bytes.fromhex(shard) for x, shard in vector["shards"].items()}
    assert dict(enumerate(shards, 1)) == recorded


def test_the_older_scheme_is_not_what_this_sdk_makes(go_shamir: GoShamir) -> None:
    root_key = (ORDER // 11).to_bytes(SIZE, "big")
    assert split(root_key, 2, 3, CIRCL_1_6_1) != go_shamir.split(root_key, 2, 3)


@pytest.mark.parametrize(
    ("scalar", "threshold", "shares", "problem"),
    [
        pytest.param(0, 2, 3, "the root key is zero", id="a key of zero"),
        pytest.param(1, 4, 3, "a threshold of 4 does not fit 3 shares", id="a high threshold"),
    ],
)
def test_a_split_that_makes_no_sense_is_refused_and_the_next_is_answered(
    go_shamir: GoShamir, scalar: int, threshold: int, shares: int, problem: str
) -> None:
    with pytest.raises(GoSpikeError, match=problem):
        go_shamir.split(scalar.to_bytes(SIZE, "big"), threshold, shares)
    assert len(go_shamir.split((1).to_bytes(SIZE, "big"), 2, 3)) == 3
