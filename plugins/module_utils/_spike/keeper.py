# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One SPIKE Keeper: its two requests, and what its answers mean.

Source: SPIKE, app/keeper/internal/route; spike-sdk-go, api/entity/v1/reqres/shamir.go.
"""

from __future__ import annotations

import json

from .._errors import (
    AttemptFailed,
    Cause,
    Failure,
)
from .._key.shamir import SIZE
from .._net.attempt import Attempt
from .._net.transport import Transport
from .._options.cluster import Keeper
from .answers import (
    api_error,
    refusal,
    status_failure,
)
from .paths import CONTRIBUTE


def reach(transport: Transport, peer: Keeper, attempt: Attempt) -> None:
    """Prove TCP, TLS, both identities and the route, changing nothing: the preflight.

    A keeper answers a request without a shard with 400 and ``api_bad_request``. Raises
    AttemptFailed for anything else.
    """
    answer = transport.post(peer.url + CONTRIBUTE, b"{}", attempt)
    if answer.status == 400 and api_error(answer) == "api_bad_request":
        return
    if 200 <= answer.status < 300:
        raise refusal(
            f"status {answer.status} to a request without a shard, so this is not a SPIKE Keeper"
        )
    raise AttemptFailed(status_failure(answer))


def deliver(transport: Transport, peer: Keeper, shard: bytearray, attempt: Attempt) -> None:
    """Give the keeper its shard; it replaces any that it had. Raises AttemptFailed.

    ``shard`` is always sent whole: a keeper fills a shorter one with zeros and answers 200.
    """
    if len(shard) != SIZE:
        raise ValueError("a shard has 32 bytes")
    # SPIKE's type is *[32]byte: a JSON array of numbers, where a []byte would be base64.
    body = json.dumps({"shard": list(shard)}, separators=(",", ":")).encode()
    answer = transport.post(peer.url + CONTRIBUTE, body, attempt)
    if answer.status != 200:
        raise AttemptFailed(status_failure(answer))
    if api_error(answer) != "":
        raise AttemptFailed(
            Failure(Cause.BAD_RESPONSE, "status 200 without SPIKE's empty answer", sent=True)
        )


__all__ = ["deliver", "reach"]
