# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Recovery shards: what passes is one set of one key, and no single mistake does."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._key.recovery import (
    Checked,
    SetRefused,
    rebuild,
)
from ansible_collections.dayzero.spike.plugins.module_utils._key.root_key import RootKey
from ansible_collections.dayzero.spike.plugins.module_utils._key.shamir import (
    ORDER,
    SCHEMES,
    SIZE,
    split,
)
from ansible_collections.dayzero.spike.plugins.module_utils._key.shard_line import (
    NotAShard,
    line_of,
    parse_line,
)
from hypothesis import given, settings
from hypothesis import strategies as st

KEYS = st.integers(1, ORDER - 1).map(lambda number: number.to_bytes(SIZE, "big"))
SPLITS = st.sampled_from([(2, 3), (2, 2), (3, 5), (5, 5), (5, 8)])
SCHEME = st.sampled_from(SCHEMES)
KEY = bytes(range(1, 33))


def shards_of(key: bytes, threshold: int, shares: int, scheme: str) -> dict[int, bytearray]:
    return dict(enumerate(map(bytearray, split(key, threshold, shares, scheme)), 1))


def key_of(checked: Checked) -> bytes:
    return bytes(checked.key.exposed())


# -- lines


@given(st.integers(1, 1000), KEYS)
def test_a_line_is_read_as_it_was_written(index: int, value: bytes):
    line = line_of(index, bytearray(value)).decode()
    assert line == f"spike:{index}:{value.hex()}"
    for text in (line, f"  {line}\r\n", line[:9] + line[9:].upper()):
        shard = parse_line(text)
        assert (shard.index, bytes(shard.value)) == (index, value)
        assert value.hex() not in repr(shard)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("", "it is not of the form spike:<index>:<64 hex digits>"),
        ("1:" + "ab" * 32, "it is not of the form spike:<index>:<64 hex digits>"),
        ("ab" * 32, "it is not of the form spike:<index>:<64 hex digits>"),
        ("spike:1:" + "ab" * 32 + ":x", "it is not of the form spike:<index>:<64 hex digits>"),
        ("spike:0:" + "ab" * 32, "its index is not a number from 1"),
        ("spike:01:" + "ab" * 32, "its index is not a number from 1"),
        ("spike:-1:" + "ab" * 32, "its index is not a number from 1"),
        ("spike::" + "ab" * 32, "its index is not a number from 1"),
        ("spike:\u0661:" + "ab" * 32, "its index is not a number from 1"),
        ("spike:10000:" + "ab" * 32, "its index is larger than SPIKE allows"),
        ("spike:1:" + "ab" * 31, "it has 62 digits instead of 64"),
        ("spike:1:" + "ab" * 32 + "c", "it has 65 digits instead of 64"),
        ("spike:1:" + "ag" * 32, "it has characters that are not hex digits"),
        ("spike:1:" + "00" * 32, "it is all zeros"),
        ("spike:1:" + "ff" * 32, "its number is larger than a shard can be"),
    ],
)
def test_what_is_no_line_is_refused_and_not_repeated(line: str, reason: str):
    with pytest.raises(NotAShard) as caught:
        parse_line(line)
    assert str(caught.value) == reason


# -- a set that is one


@settings(max_examples=40, deadline=None)
@given(KEYS, SPLITS, SCHEME, st.data())
def test_any_shards_of_one_key_give_it_and_tell_the_scheme(key, sizes, scheme, data):
    threshold, shares = sizes
    whole = shards_of(key, threshold, shares, scheme)
    count = data.draw(st.integers(threshold, shares))
    chosen = data.draw(st.permutations(sorted(whole)))[:count]
    checked = rebuild({index: whole[index] for index in chosen}, threshold, shares)
    assert (key_of(checked), checked.scheme) == (key, scheme)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_real_vector_passes(scheme: str):
    path = Path(__file__).resolve().parents[2] / "data" / f"{scheme}.json"
    for vector in json.loads(path.read_text())[:10]:
        shards = {int(i): bytearray.fromhex(text) for i, text in vector["shards"].items()}
        if vector["threshold"] > 1:
            checked = rebuild(shards, vector["threshold"], vector["shares"])
            assert checked.key.exposed().hex() == vector["root_key"]
            assert checked.scheme == scheme


# -- a set that is none


@pytest.mark.parametrize(("threshold", "shares"), [(2, 3), (3, 5), (5, 7)])
@pytest.mark.parametrize("extra", [0, 1])
def test_every_single_wrong_digit_is_found(threshold: int, shares: int, extra: int):
    count = threshold + extra
    for index, place in itertools.product(range(1, count + 1), range(2 * SIZE)):
        whole = shards_of(KEY, threshold, shares, SCHEMES[0])
        given_ones = {i: whole[i] for i in range(1, count + 1)}
        digits = list(given_ones[index].hex())
        digits[place] = "%x" % (int(digits[place], 16) ^ 1 + place % 15)
        given_ones[index][:] = bytes.fromhex("".join(digits))
        with pytest.raises(SetRefused) as caught:
            rebuild(given_ones, threshold, shares)
        # With one more than the threshold there is no telling which; with two there is.
        assert caught.value.odd in (None, index)


@settings(max_examples=60, deadline=None)
@given(KEYS, SPLITS, SCHEME, st.data())
def test_any_other_digit_anywhere_is_found(key, sizes, scheme, data):
    threshold, shares = sizes
    whole = shards_of(key, threshold, shares, scheme)
    count = data.draw(st.integers(threshold, shares))
    given_ones = {index: whole[index] for index in list(whole)[:count]}
    index = data.draw(st.sampled_from(sorted(given_ones)))
    place, mask = data.draw(st.integers(0, 31)), data.draw(st.integers(1, 255))
    given_ones[index][place] ^= mask
    with pytest.raises(SetRefused):
        rebuild(given_ones, threshold, shares)


@settings(max_examples=40, deadline=None)
@given(KEYS, KEYS, SPLITS, SCHEME, st.data())
def test_a_shard_of_another_key_is_found(key, other, sizes, scheme, data):
    if key == other:
        return
    threshold, shares = sizes
    whole = shards_of(key, threshold, shares, scheme)
    foreign = shards_of(other, threshold, shares, scheme)
    index = data.draw(st.sampled_from(sorted(whole)))
    with pytest.raises(SetRefused):
        rebuild({**whole, index: foreign[index]}, threshold, shares)


@settings(max_examples=40, deadline=None)
@given(KEYS, SPLITS, SCHEME, st.data())
def test_two_shards_under_each_others_index_are_found(key, sizes, scheme, data):
    threshold, shares = sizes
    whole = shards_of(key, threshold, shares, scheme)
    one, two = data.draw(st.permutations(sorted(whole)))[:2]
    chosen = {index: whole[index] for index in list(whole)[: max(threshold, one, two)]}
    chosen[one], chosen[two] = whole[two], whole[one]
    with pytest.raises(SetRefused):
        rebuild(chosen, threshold, shares)


@settings(max_examples=20, deadline=None)
@given(KEYS)
def test_shards_of_the_two_schemes_do_not_mix(key):
    new, old = (shards_of(key, 2, 3, scheme) for scheme in SCHEMES)
    with pytest.raises(SetRefused):
        rebuild({1: new[1], 2: old[2]}, 2, 3)


@pytest.mark.parametrize(("given_threshold", "threshold"), [(2, 3), (3, 2)])
def test_another_threshold_than_that_of_the_split_is_found(given_threshold: int, threshold: int):
    with pytest.raises(SetRefused):
        rebuild(shards_of(KEY, threshold, 5, SCHEMES[0]), given_threshold, 5)


def test_too_few_are_told():
    whole = shards_of(KEY, 3, 5, SCHEMES[0])
    with pytest.raises(SetRefused, match=r"^2 shards are fewer than the threshold of 3$"):
        rebuild({1: whole[1], 5: whole[5]}, 3, 5)


@pytest.mark.parametrize("index", [0, 4, 9])
def test_an_index_that_no_keeper_has_is_told(index: int):
    whole = shards_of(KEY, 2, 3, SCHEMES[0])
    with pytest.raises(SetRefused, match="none of the 3 shards") as caught:
        rebuild({1: whole[1], index: whole[2]}, 2, 3)
    assert caught.value.odd == index


@pytest.mark.parametrize("value", [bytes(32), b"\xff" * 32, b"\x01" * 31, b"\x01" * 33])
def test_what_is_no_shard_is_told(value: bytes):
    whole = shards_of(KEY, 2, 3, SCHEMES[0])
    with pytest.raises(SetRefused, match="shard 2 is not a shard"):
        rebuild({1: whole[1], 2: bytearray(value)}, 2, 3)


@pytest.mark.parametrize("odd", [1, 2, 3, 4])
def test_with_two_more_than_the_threshold_the_wrong_one_is_named(odd: int):
    whole = shards_of(KEY, 2, 4, SCHEMES[0])
    whole[odd][31] ^= 1
    with pytest.raises(SetRefused) as caught:
        rebuild(whole, 2, 4)
    assert caught.value.odd == odd


# -- with a journal, which knows the key


def known_by_a_journal(key: bytes) -> Callable[[RootKey], bool]:
    with RootKey(key) as own:
        token = own.seal()
    return lambda other: other.opens(token)


def mistaken(threshold: int, shares: int) -> Iterator[tuple[str, dict[int, bytearray]]]:
    """Every single mistake in a set of ``threshold`` shards, by its name."""
    whole = shards_of(KEY, threshold, shares, SCHEMES[0])
    foreign = shards_of(bytes([7] * SIZE), threshold, shares, SCHEMES[0])
    right = {index: whole[index] for index in range(1, threshold + 1)}
    for index, place in itertools.product(right, range(2 * SIZE)):
        digits = list(right[index].hex())
        digits[place] = "%x" % (int(digits[place], 16) ^ 1)
        yield (
            f"digit {place} of shard {index}",
            {
                **right,
                index: bytearray.fromhex("".join(digits)),
            },
        )
    for one, two in itertools.combinations(right, 2):
        yield f"{one} and {two} swapped", {**right, one: right[two], two: right[one]}
    for index in right:
        others = {i: shard for i, shard in right.items() if i != index}
        for another in range(threshold + 1, shares + 1):
            yield f"{index} under {another}", {**others, another: right[index]}
        yield f"{index} foreign", {**right, index: foreign[index]}
        yield f"{index} short", {**right, index: right[index][:20]}
        yield f"{index} long", {**right, index: right[index] + b"\x01"}
        yield f"{index} zero", {**right, index: bytearray(SIZE)}
        yield f"{index} missing", others


@pytest.mark.parametrize("journal", [True, False], ids=["journal", "no journal"])
@pytest.mark.parametrize(("threshold", "shares"), [(2, 3), (3, 5), (5, 7)])
def test_no_single_mistake_passes_with_or_without_a_journal(
    threshold: int, shares: int, journal: bool
):
    known = known_by_a_journal(KEY) if journal else lambda _key: False
    passed = []
    for name, shards in mistaken(threshold, shares):
        with contextlib.suppress(SetRefused):
            rebuild(shards, threshold, shares, known)
            passed.append(name)
    assert passed == []


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(("threshold", "shares"), [(2, 3), (3, 5), (5, 7)])
def test_a_whole_set_of_another_cluster_is_one_and_only_a_journal_knows(
    threshold: int, shares: int, scheme: str
):
    # The one mistake that shards cannot tell by themselves, however many there are.
    foreign = shards_of(bytes([7] * SIZE), threshold, shares, scheme)
    ours = known_by_a_journal(KEY)
    for count in range(threshold, shares + 1):
        checked = rebuild({i: foreign[i] for i in range(1, count + 1)}, threshold, shares, ours)
        assert not ours(checked.key)


# -- a key that is known, split in a way that is not


def of_a_line(key: bytes, slope: int, shares: int) -> dict[int, bytearray]:
    """Shards of a polynomial that no scheme known here would choose."""
    number = int.from_bytes(key, "big")
    return {
        x: bytearray(((number + slope * x) % ORDER).to_bytes(SIZE, "big"))
        for x in range(1, shares + 1)
    }


def test_a_known_key_may_have_been_split_in_another_way():
    shards = of_a_line(KEY, 12345, 3)
    with pytest.raises(SetRefused):
        rebuild(shards, 2, 3)
    with RootKey(KEY) as key:
        token = key.seal()
    checked = rebuild(shards, 2, 3, lambda key: key.opens(token))
    assert (key_of(checked), checked.scheme) == (KEY, None)
    shards[3][0] ^= 1
    with pytest.raises(SetRefused):
        rebuild(shards, 2, 3, lambda key: key.opens(token))


def test_the_key_opens_the_token_of_its_cluster_and_no_other():
    checked = rebuild(shards_of(KEY, 2, 3, SCHEMES[0]), 2, 3)
    with RootKey(KEY) as key, RootKey(bytes([7] * 32)) as other:
        assert checked.key.opens(key.seal())
        assert not checked.key.opens(other.seal())
