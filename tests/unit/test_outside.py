# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whatever comes from outside is taken, or refused by one of our own errors."""

from __future__ import annotations

import pytest
from ansible_collections.dayzero.spike.tests.support.fuzz_targets import SEEDS, TARGETS
from hypothesis import given, settings
from hypothesis import strategies as st

# Where a seed is cut, what is put there, and how much of it is left out.
CHANGES = st.lists(
    st.tuples(st.floats(0, 1), st.binary(max_size=8), st.integers(0, 20)), max_size=4
)


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=150, deadline=None, database=None, derandomize=True)
@given(changes=CHANGES)
def test_a_changed_input_is_taken_or_refused(name: str, changes: list[object]) -> None:
    data = SEEDS[name]()
    for place, put, out in changes:  # type: ignore[misc]
        at = int(place * len(data))
        data = data[:at] + put + data[at + out :]
    TARGETS[name](data)


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=100, deadline=None, database=None, derandomize=True)
@given(data=st.binary(max_size=200))
def test_any_bytes_are_taken_or_refused(name: str, data: bytes) -> None:
    TARGETS[name](data)


NAMES = ("version", "state", "cluster", "keepers", "threshold", "scheme", "delivered", "token")
MORE_NAMES = ("nonce", "ciphertext", "hash", "run", "err")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(NAMES + MORE_NAMES), inner, max_size=6)
    ),
    max_leaves=12,
)


@pytest.mark.parametrize("name", ["journal", "answer"])
@settings(max_examples=150, deadline=None, database=None, derandomize=True)
@given(document=JSON, place=st.sampled_from(["", "cluster", "token", "run", "delivered", "state"]))
def test_any_json_is_taken_or_refused(name: str, document: object, place: str) -> None:
    import json

    if place:
        document = {**json.loads(SEEDS["journal"]()), place: document}
    TARGETS[name](b" " + json.dumps(document).encode())


@pytest.mark.parametrize("name", ["journal", "answer"])
@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b" " + b"[" * 100_000, id="deep"),
        pytest.param(b' {"a":' * 50_000, id="deep objects"),
        pytest.param(b" " + b"9" * 50_000, id="a number of many digits"),
        pytest.param(b' {"version": 1e999999}', id="an infinite number"),
        pytest.param(b' {"version": ' + b"9" * 5000 + b"}", id="a version of many digits"),
        pytest.param(b' "\xed\xa0\x80"', id="half a surrogate"),
        pytest.param(b' "\\ud800"', id="half an escaped surrogate"),
    ],
)
def test_json_that_breaks_readers_is_refused(name: str, data: bytes) -> None:
    TARGETS[name](data)
