# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Shamir's scheme over the scalar field of P-256, as SPIKE splits its root key.

Integers and bytes in, bytes out: no I/O, no randomness. The polynomial is a function of the root
key, because SPIKE Nexus splits the same key again by itself and its shards must be the same to
the byte: shards of two polynomials for one key recombine, silently, to a third key.

Source: SPIKE, app/nexus/internal/initialization/recovery (root shares); CIRCL, group and
secretsharing; RFC 9380, 5.3.1 (expand_message_xmd).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

# The order of the P-256 group (SEC 2, 2.4.2).
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
SIZE = 32

CIRCL_1_6_1 = "circl-1.6.1"
CIRCL_1_6_2 = "circl-1.6.2"
SCHEMES = (CIRCL_1_6_2, CIRCL_1_6_1)


def split(root_key: bytes, threshold: int, shares: int, scheme: str) -> list[bytes]:
    """Split ``root_key`` into ``shares`` shards, any ``threshold`` of which recover it.

    The root key is 32 bytes, big endian, in [1, ORDER - 1]. Shard *i* (32 bytes, big endian) is
    the polynomial at x = *i* and stands at index *i* - 1. ``scheme`` is one of SCHEMES.

    A threshold of 1, with which every shard is the key itself, is arithmetic too: who may ask for
    it is decided with the options.

    Raises ValueError for a root key outside the field, or a threshold that is below 1 or above
    the number of shares; the message never holds the key.
    """
    constant = int.from_bytes(root_key, "big")
    if len(root_key) != SIZE or not 0 < constant < ORDER:
        raise ValueError("the root key is not a 32-byte scalar of P-256 other than zero")
    if not 1 <= threshold <= shares:
        raise ValueError(f"a threshold of {threshold} does not fit {shares} shares")
    draw = {CIRCL_1_6_1: _hashed_scalars, CIRCL_1_6_2: _sampled_scalars}[scheme](root_key)
    coefficients = [constant] + [next(draw) for _degree in range(threshold - 1)]
    coefficients.reverse()
    return [_evaluate(coefficients, x).to_bytes(SIZE, "big") for x in range(1, shares + 1)]


def recover(shards: Mapping[int, bytes]) -> bytes:
    """Recombine shards, given as keeper id to shard, to the root key (32 bytes, big endian).

    There must be at least a threshold of them, all of one split. Fewer, or mixed ones, give some
    other key: Shamir's scheme cannot know.

    Raises ValueError for no shards at all and for an id outside [1, ORDER - 1].
    """
    if not shards or not all(0 < x < ORDER for x in shards):
        raise ValueError("recovery needs shards with ids from 1")
    total = 0
    for x, shard in shards.items():
        numerator = denominator = 1
        for other in shards:
            if other != x:
                numerator = numerator * other % ORDER
                denominator = denominator * (other - x) % ORDER
        weight = numerator * pow(denominator, -1, ORDER)
        total = (total + int.from_bytes(shard, "big") * weight) % ORDER
    return total.to_bytes(SIZE, "big")


def _evaluate(falling_coefficients: list[int], x: int) -> int:
    value = 0
    for coefficient in falling_coefficients:
        value = (value * x + coefficient) % ORDER
    return value


def _blocks(root_key: bytes) -> Iterator[bytes]:
    # SPIKE feeds CIRCL from a deterministic reader: a chain of SHA-256, 32 bytes a read.
    block = bytes(root_key)
    while True:
        block = hashlib.sha256(block).digest()
        yield block


def _sampled_scalars(root_key: bytes) -> Iterator[int]:
    # CIRCL >= 1.6.2 samples by rejection: about one block in 2**32 is not below the order.
    for block in _blocks(root_key):
        scalar = int.from_bytes(block, "big")
        if scalar < ORDER:
            yield scalar


def _hashed_scalars(root_key: bytes) -> Iterator[int]:
    # CIRCL <= 1.6.1 hashes each block to the field, L = 48 (RFC 9380, 5.1), with an empty DST.
    for block in _blocks(root_key):
        yield int.from_bytes(_expand_message_xmd(block, 48), "big") % ORDER


def _expand_message_xmd(message: bytes, length: int) -> bytes:
    """RFC 9380, 5.3.1, with SHA-256 and an empty domain separation tag."""
    dst_prime = b"\x00"
    z_pad = bytes(hashlib.sha256().block_size)
    first = hashlib.sha256(
        z_pad + message + length.to_bytes(2, "big") + b"\x00" + dst_prime
    ).digest()
    block = hashlib.sha256(first + b"\x01" + dst_prime).digest()
    expanded = block
    index = 2
    while len(expanded) < length:
        mixed = bytes(a ^ b for a, b in zip(first, block))
        block = hashlib.sha256(mixed + bytes([index]) + dst_prime).digest()
        expanded += block
        index += 1
    return expanded[:length]


__all__ = ["CIRCL_1_6_1", "CIRCL_1_6_2", "ORDER", "SCHEMES", "SIZE", "recover", "split"]
