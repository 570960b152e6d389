# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The root key: nobody else holds it, and it shows itself to nobody."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Iterator

from .._dataclass import dataclass
from .._third_party import AESGCM, InvalidTag
from .shamir import ORDER, SIZE, split

# AES-GCM's nonce as SPIKE sends it (crypto/tls GCM standard size), and the length of the random
# text that SPIKE's own bootstrap seals.
_NONCE_BYTES = 12
_PLAINTEXT_BYTES = 32
# What all ``spellings`` have in common: hex and base64 are this long, and so are lists of numbers.
_SHAPE_OF_A_SPELLING = re.compile(r"[0-9A-Za-z+/]{43}|(?:[0-9]{1,3}, ?){31}")


@dataclass(frozen=True)
class Token:
    """Proof of a root key without the key: a random text sealed under it, and the text's hash.

    ``nonce`` is 12 bytes, ``ciphertext`` AES-256-GCM without associated data, ``digest`` the
    SHA-256 of the text in lower-case hex. Nothing in it is secret.
    """

    nonce: bytes
    ciphertext: bytes
    digest: str


class RootKey:
    """A root key and everything that is done with it; wiped when its ``with`` block ends."""

    def __init__(self, key: bytes | bytearray) -> None:
        """Take over a key: 32 bytes, big endian, in [1, n - 1]; raises ValueError for any other."""
        if len(key) != SIZE or not 0 < int.from_bytes(key, "big") < ORDER:
            raise ValueError("not a 32-byte scalar of P-256 other than zero")
        self._key = bytearray(key)

    @classmethod
    def draw(cls, randbelow: Callable[[int], int] = secrets.randbelow) -> RootKey:
        """A new key, uniform in [1, n - 1]."""
        return cls((1 + randbelow(ORDER - 1)).to_bytes(SIZE, "big"))

    def shards(self, threshold: int, shares: int, scheme: str) -> list[bytearray]:
        """The shards in keeper order (keeper *i* at index *i* - 1), to be wiped by the caller."""
        return [bytearray(s) for s in split(bytes(self._key), threshold, shares, scheme)]

    def seal(self) -> Token:
        """A new verification token for this key."""
        plaintext = secrets.token_hex(_PLAINTEXT_BYTES).encode()
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = AESGCM(self._key).encrypt(nonce, plaintext, None)
        return Token(nonce, sealed, hashlib.sha256(plaintext).hexdigest())

    def opens(self, token: Token) -> bool:
        """Whether ``token`` was sealed under this key."""
        try:
            plaintext = AESGCM(self._key).decrypt(token.nonce, token.ciphertext, None)
        except InvalidTag:
            return False
        return hmac.compare_digest(hashlib.sha256(plaintext).hexdigest(), token.digest)

    def spellings(self) -> Iterator[str]:
        """The texts in which this key could show up in a log, for masking."""
        return spellings(self._key)

    def exposed(self) -> bytearray:
        """The key itself, for the one place that keeps it across a crash; never copy it."""
        return self._key

    def wipe(self) -> None:
        """Overwrite the key; it cannot be used afterwards."""
        wipe(self._key)

    def __enter__(self) -> RootKey:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.wipe()

    def __repr__(self) -> str:
        return "RootKey(...)"


def wipe(secret: bytearray) -> None:
    """Overwrite ``secret`` in place. Copies that Python made of it are out of reach."""
    for i in range(len(secret)):
        secret[i] = 0


def spellings(secret: bytes | bytearray) -> Iterator[str]:
    """The texts in which a key or shard could show up in a log, for masking.

    Base64 comes without its padding, which the longer spelling contains; the JSON array without
    its brackets.
    """
    yield binascii.hexlify(secret).decode()
    yield base64.b64encode(secret).decode().rstrip("=")
    yield ",".join(str(byte) for byte in secret)
    yield ", ".join(str(byte) for byte in secret)


def may_hold_a_spelling(text: str) -> bool:
    """Whether any key or shard at all can stand in ``text``, in one of its ``spellings``.

    Looks once for their shape, where a look for each of thousands takes longer than a run should.
    """
    return _SHAPE_OF_A_SPELLING.search(text) is not None


__all__ = ["RootKey", "Token", "may_hold_a_spelling", "spellings", "wipe"]
