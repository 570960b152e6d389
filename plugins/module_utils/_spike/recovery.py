# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SPIKE Nexus in an emergency: it hands out its shards, and takes shards back.

Nexus checks nothing of what it is sent here, so whoever calls ``give`` has checked everything.

Source: SPIKE, app/nexus/internal/route/operator; spike-sdk-go, api/entity/v1/reqres/operator.go.
"""

from __future__ import annotations

import json

from .._dataclass import dataclass
from .._errors import (
    AttemptFailed,
    Cause,
    Failure,
)
from .._key.root_key import wipe
from .._key.shamir import SIZE
from .._net.attempt import Attempt
from .._net.transport import Answer, Transport
from .answers import (
    api_error,
    json_object,
    status_failure,
)
from .paths import RECOVER, RESTORE

# SPIKE's thousand shards, each byte as a number of up to three digits and a comma.
_MOST_BYTES = 256 * 1024


class NoKey(Exception):
    """Nexus says that it has no root key to hand out."""


@dataclass(frozen=True)
class Progress:
    """What Nexus says of a restore: how many shards it has, how many it needs, whether it is done.

    A shard of an index that it already has does not let ``collected`` grow, and is not taken.
    """

    collected: int
    remaining: int
    restored: bool


def fetch(transport: Transport, url: str, attempt: Attempt) -> dict[int, bytearray]:
    """Have Nexus hand out its recovery shards, by index, to be wiped by the caller.

    Raises AttemptFailed, and NoKey where Nexus has none. How many there are, and whether they are
    of one key, is not looked at.
    """
    answer = transport.post(url + RECOVER, b"{}", attempt, most_bytes=_MOST_BYTES)
    if answer.status == 500 and json_object(answer) == {
        "shards": None,
        "err": "api_internal_error",
    }:
        raise NoKey
    if answer.status != 200:
        raise AttemptFailed(status_failure(answer))
    shards = _shards(answer)
    if shards is None:
        raise AttemptFailed(_not_spikes("status 200 without shards of 32 bytes"))
    return shards


def give(
    transport: Transport, url: str, index: int, shard: bytearray, attempt: Attempt
) -> Progress:
    """Give Nexus one shard; nothing can take it back. Raises AttemptFailed."""
    if len(shard) != SIZE:
        # Nexus would fill it up with zeros, and say nothing.
        raise ValueError("a shard has 32 bytes")
    body = json.dumps({"id": index, "shard": list(shard)}, separators=(",", ":")).encode()
    answer = transport.post(url + RESTORE, body, attempt)
    if answer.status != 200:
        raise AttemptFailed(status_failure(answer))
    document = json_object(answer) or {}
    collected = _whole_number(document.get("collected"))
    remaining = _whole_number(document.get("remaining"))
    restored = document.get("restored")
    if (
        collected is None
        or remaining is None
        or not isinstance(restored, bool)
        or api_error(answer) != ""
    ):
        raise AttemptFailed(_not_spikes("status 200 without SPIKE's count of shards"))
    return Progress(collected, remaining, restored)


def _shards(answer: Answer) -> dict[int, bytearray] | None:
    given = (json_object(answer) or {}).get("shards")
    if not isinstance(given, dict) or not given:
        return None
    shards: dict[int, bytearray] = {}
    for index, numbers in given.items():
        shard = _shard(numbers)
        if shard is None or not (index.isascii() and index.isdigit()) or len(index) > 4:
            for taken in shards.values():
                wipe(taken)
            return None
        shards[int(index)] = shard
    return shards


def _shard(numbers: object) -> bytearray | None:
    if not isinstance(numbers, list) or len(numbers) != SIZE:
        return None
    if not all(_whole_number(number) in range(256) for number in numbers):
        return None
    return bytearray(numbers)


def _whole_number(value: object) -> int | None:
    # To Python, true is an int.
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _not_spikes(detail: str) -> Failure:
    return Failure(Cause.BAD_RESPONSE, detail, sent=True)


__all__ = ["NoKey", "Progress", "fetch", "give"]
