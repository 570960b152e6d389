# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can be told of recovery shards before anybody is given one: pure, no I/O.

SPIKE's polynomial is a function of the root key. So a set of shards can be checked by itself: the
key that it gives, split again, must give exactly these shards. One wrong digit anywhere, a wrong
index, or a shard of another key makes another key, whose shards are others. Only a whole set of
another cluster passes, which is why a key is also held against the journal's token.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from .._dataclass import dataclass
from .root_key import RootKey, wipe
from .shamir import ORDER, SCHEMES, SIZE, recover

# Above this many shards the wrong one is not looked for: it would take too long.
_MOST_TRIED = 50


class SetRefused(ValueError):
    """Shards are not those of one key; ``odd`` is the index of the one that is wrong, if known.

    The message says why, and holds nothing of them.
    """

    def __init__(self, problem: str, odd: int | None = None) -> None:
        super().__init__(problem)
        self.odd = odd


@dataclass(frozen=True)
class Checked:
    """A set of shards that is one: its key, wiped by the caller, and how it was split.

    ``scheme`` is None where no scheme that is known here gives these shards.
    """

    key: RootKey
    scheme: str | None


def rebuild(
    shards: Mapping[int, bytearray],
    threshold: int,
    shares: int,
    known: Callable[[RootKey], bool] = lambda key: False,
) -> Checked:
    """The key that ``shards`` give, by index, and the scheme whose split gives exactly these.

    Raises SetRefused for too few, for an index that is not 1 to ``shares``, and for shards that no
    split gives: at least one is wrong, of another key, or under a wrong index, or the threshold is
    another one. A key that is ``known`` may have been split in a way that is not known here; then
    the shards must still agree with each other.
    """
    for index, value in shards.items():
        if not 1 <= index <= shares:
            raise SetRefused(f"shard {index} is none of the {shares} shards", index)
        if len(value) != SIZE or not 0 < int.from_bytes(value, "big") < ORDER:
            raise SetRefused(f"shard {index} is not a shard", index)
    if len(shards) < threshold:
        raise SetRefused(f"{len(shards)} shards are fewer than the threshold of {threshold}")
    checked = _of_one_split(shards, threshold, shares)
    if checked is None:
        checked = _agreeing(shards, threshold, known)
    if checked is None:
        raise SetRefused(
            "the key that these shards give, split again, does not give these shards",
            _odd_one(shards, threshold, shares),
        )
    return checked


def _of_one_split(shards: Mapping[int, bytearray], threshold: int, shares: int) -> Checked | None:
    """The key of the first ``threshold`` shards, where its split gives all of them."""
    key = _key_of(shards, sorted(shards)[:threshold])
    if key is None:
        return None
    for scheme in SCHEMES:
        split = key.shards(threshold, shares, scheme)
        same = all(split[index - 1] == shard for index, shard in shards.items())
        for shard in split:
            wipe(shard)
        if same:
            return Checked(key, scheme)
    key.wipe()
    return None


def _agreeing(
    shards: Mapping[int, bytearray], threshold: int, known: Callable[[RootKey], bool]
) -> Checked | None:
    """The ``known`` key that every threshold of the shards gives."""
    first, *rest = sorted(shards)
    chosen, others = rest[: threshold - 1], rest[threshold - 1 :]
    key = _key_of(shards, [first, *chosen])
    if key is None:
        return None
    # Two polynomials of the same degree that meet in the key and in all of ``chosen`` are one.
    if known(key) and all(_is_of(key, shards, [other, *chosen]) for other in others):
        return Checked(key, None)
    key.wipe()
    return None


def _is_of(key: RootKey, shards: Mapping[int, bytearray], indices: Sequence[int]) -> bool:
    other = _key_of(shards, indices)
    if other is None:
        return False
    with other:
        return other.exposed() == key.exposed()


def _key_of(shards: Mapping[int, bytearray], indices: Sequence[int]) -> RootKey | None:
    secret = bytearray(recover({index: bytes(shards[index]) for index in indices}))
    try:
        return RootKey(secret)
    except ValueError:
        # Zero: no key of SPIKE's.
        return None
    finally:
        wipe(secret)


def _odd_one(shards: Mapping[int, bytearray], threshold: int, shares: int) -> int | None:
    """The one shard without which the others are a set; None where that cannot be told."""
    if not threshold < len(shards) <= _MOST_TRIED:
        return None
    for odd in sorted(shards):
        others = {index: shard for index, shard in shards.items() if index != odd}
        checked = _of_one_split(others, threshold, shares)
        if checked is not None:
            checked.key.wipe()
            return odd
    return None


__all__ = ["Checked", "SetRefused", "rebuild"]
