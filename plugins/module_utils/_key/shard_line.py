# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A custodian's line: SPIKE's own text of a recovery shard. It needs no library."""

from __future__ import annotations

import re
from dataclasses import field

from .._dataclass import dataclass
from .shamir import ORDER, SIZE

# SPIKE's own line. Its tools take capitals too (Go's encoding/hex).
_LINE = re.compile(r"spike:([1-9][0-9]{0,3}):([0-9a-fA-F]{64})")
_PREFIX = re.compile(r"spike:([^:]*):([^:]*)")


class NotAShard(ValueError):
    """A text is no recovery shard; the message says why, and holds nothing of it."""


@dataclass(frozen=True)
class Shard:
    """A recovery shard, to be wiped by whoever has it; its index is no secret."""

    index: int
    value: bytearray = field(repr=False)


def parse_line(line: str) -> Shard:
    """Read ``spike:<index>:<64 hex digits>``; raises NotAShard."""
    text = line.strip()
    found = _LINE.fullmatch(text)
    if found is None:
        raise NotAShard(_problem_of(text))
    value = bytearray.fromhex(found[2])
    number = int.from_bytes(value, "big")
    if not 0 < number < ORDER:
        value[:] = bytes(len(value))
        zero = number == 0
        raise NotAShard("it is all zeros" if zero else "its number is larger than a shard can be")
    return Shard(int(found[1]), value)


def line_of(index: int, value: bytearray) -> bytearray:
    """SPIKE's line for a shard, to be wiped by the caller."""
    line = bytearray(b"spike:%d:" % index)
    for byte in value:
        line += b"%02x" % byte
    return line


def _problem_of(text: str) -> str:
    found = _PREFIX.fullmatch(text)
    if found is None:
        return "it is not of the form spike:<index>:<64 hex digits>"
    if not (found[1].isascii() and found[1].isdigit()) or found[1].startswith("0"):
        return "its index is not a number from 1"
    if len(found[1]) > 4:
        return "its index is larger than SPIKE allows"
    if len(found[2]) != 2 * SIZE:
        return f"it has {len(found[2])} digits instead of {2 * SIZE}"
    return "it has characters that are not hex digits"


__all__ = ["NotAShard", "Shard", "line_of", "parse_line"]
