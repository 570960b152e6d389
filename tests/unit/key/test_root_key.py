# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import hashlib
import json

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._key.root_key import (
    RootKey,
    Token,
    may_hold_a_spelling,
    spellings,
    wipe,
)
from ansible_collections.dayzero.spike.plugins.module_utils._key.shamir import (
    ORDER,
    SCHEMES,
    SIZE,
    recover,
    split,
)
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

SECRET = bytes(range(100, 100 + SIZE))


def test_a_drawn_key_spans_every_scalar_but_zero() -> None:
    asked = []

    def randbelow(bound: int) -> int:
        asked.append(bound)
        return [0, bound - 1][len(asked) - 1]

    assert RootKey.draw(randbelow).exposed() == (1).to_bytes(SIZE, "big")
    assert RootKey.draw(randbelow).exposed() == (ORDER - 1).to_bytes(SIZE, "big")
    assert asked == [ORDER - 1, ORDER - 1]


def test_two_drawn_keys_differ() -> None:
    assert RootKey.draw().exposed() != RootKey.draw().exposed()


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(bytes(SIZE), id="zero"),
        pytest.param(ORDER.to_bytes(SIZE, "big"), id="the order"),
        pytest.param(SECRET[1:], id="too short"),
        pytest.param(b"\x00" + SECRET, id="too long"),
    ],
)
def test_what_is_no_key_is_refused_and_not_shown(key: bytes) -> None:
    with pytest.raises(ValueError, match=r"^not a 32-byte scalar of P-256 other than zero$"):
        RootKey(key)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_shards_are_those_of_the_split(scheme: str) -> None:
    shards = RootKey(SECRET).shards(2, 3, scheme)
    assert shards == split(SECRET, 2, 3, scheme)
    assert all(isinstance(shard, bytearray) for shard in shards)
    assert recover({1: bytes(shards[0]), 3: bytes(shards[2])}) == SECRET


def test_a_token_is_what_nexus_can_open_with_the_key() -> None:
    token = RootKey(SECRET).seal()
    plaintext = AESGCM(SECRET).decrypt(token.nonce, token.ciphertext, None)
    assert len(token.nonce) == 12
    assert len(plaintext) == 64
    assert int(plaintext, 16) > 0
    assert hashlib.sha256(plaintext).hexdigest() == token.digest


def test_two_tokens_of_one_key_share_nothing() -> None:
    key = RootKey(SECRET)
    first, second = key.seal(), key.seal()
    assert first.nonce != second.nonce
    assert first.digest != second.digest


def test_a_key_opens_its_own_tokens_only() -> None:
    key, other = RootKey(SECRET), RootKey.draw()
    assert key.opens(key.seal())
    assert not key.opens(other.seal())


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 79), st.integers(1, 255))
def test_a_token_changed_anywhere_is_not_opened(place: int, mask: int) -> None:
    key = RootKey(SECRET)
    token = key.seal()
    ciphertext = bytearray(token.ciphertext)
    assert len(ciphertext) == 80
    ciphertext[place] ^= mask
    assert not key.opens(Token(token.nonce, bytes(ciphertext), token.digest))


def test_a_token_with_another_texts_hash_is_not_opened() -> None:
    key = RootKey(SECRET)
    token = key.seal()
    assert not key.opens(Token(token.nonce, token.ciphertext, key.seal().digest))


def test_a_wiped_key_is_overwritten_and_splits_no_more() -> None:
    key = RootKey(SECRET)
    memory = key.exposed()
    with key:
        assert memory == SECRET
    assert memory == bytes(SIZE)
    with pytest.raises(ValueError, match="not a 32-byte scalar"):
        key.shards(2, 3, SCHEMES[0])


def test_a_key_is_wiped_when_its_block_fails() -> None:
    key = RootKey(SECRET)
    with pytest.raises(KeyError):
        with key:
            raise KeyError
    assert key.exposed() == bytes(SIZE)


def test_a_key_shows_itself_in_no_text() -> None:
    key = RootKey(SECRET)
    for text in (repr(key), str(key), f"{key}", repr([key]), repr(key.seal())):
        assert not any(spelling in text for spelling in key.spellings())


@settings(max_examples=50, deadline=None)
@given(st.binary(min_size=SIZE, max_size=SIZE))
def test_every_common_text_of_a_secret_holds_a_spelling_to_be_masked(secret: bytes) -> None:
    masked = list(spellings(secret))
    for text in (
        secret.hex(),
        base64.b64encode(secret).decode(),
        json.dumps(list(secret)),
        json.dumps({"shard": list(secret)}, separators=(",", ":")),
        str(list(secret)),
    ):
        assert any(spelling in text for spelling in masked)
    assert all(len(spelling) >= 43 for spelling in masked)


def test_wiping_overwrites_in_place() -> None:
    secret = bytearray(SECRET)
    wipe(secret)
    assert secret == bytes(SIZE)


@given(st.binary(min_size=32, max_size=32), st.text(), st.text())
def test_every_spelling_has_the_shape_that_is_looked_for(
    secret: bytes, before: str, after: str
) -> None:
    assert all(may_hold_a_spelling(before + text + after) for text in spellings(secret))


def test_the_words_of_a_result_do_not_have_that_shape() -> None:
    line = "Sending shard to keeper 12 at https://keeper12.example.org:8443... (attempt 1/5)"
    assert not may_hold_a_spelling(f'{{"log": ["{line}"], "attempts": 5, "elapsed": 28.01}}')
