# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SPIKE Nexus: the request that proves a root key, and what its answers mean.

Source: SPIKE, app/nexus/internal/route/bootstrap; spike-sdk-go, api/entity/v1/reqres/bootstrap.go.
"""

from __future__ import annotations

import base64
import enum
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass

from ansible_collections.dayzero.spike.plugins.module_utils._answers import (
    api_error,
    json_object,
    status_failure,
)
from ansible_collections.dayzero.spike.plugins.module_utils._attempt import Attempt, Clock
from ansible_collections.dayzero.spike.plugins.module_utils._errors import AttemptFailed, Cause
from ansible_collections.dayzero.spike.plugins.module_utils._root_key import Token
from ansible_collections.dayzero.spike.plugins.module_utils._transport import Transport

_VERIFY = "/v1/bootstrap/verify"
_INTERVAL_SECONDS = 1.0
# A Nexus that hangs on one request may answer the next.
_REQUEST_SECONDS = 10.0
# A request with less time than this is cut, and would hide what Nexus said before.
_LEAST_SECONDS = 0.1


class Nexus(enum.Enum):
    """What Nexus says of a token."""

    PROVED = "proved"
    NOT_READY = "not_ready"
    UNREACHABLE = "unreachable"
    OTHER_KEY = "other_key"
    NOT_NEXUS = "not_nexus"  # whoever listens there is not Nexus, by its certificate
    REFUSES_US = "refuses_us"  # it is Nexus, and our SVID is not a bootstrap's to it
    UNCLEAR = "unclear"  # it is Nexus, and its answer is none that SPIKE gives


# Answers that asking again will not change.
_DEFINITE = frozenset({Nexus.PROVED, Nexus.OTHER_KEY, Nexus.NOT_NEXUS, Nexus.REFUSES_US})

_OF_CAUSE = {
    Cause.PEER_UNTRUSTED: Nexus.NOT_NEXUS,
    Cause.PEER_IDENTITY: Nexus.NOT_NEXUS,
    Cause.IDENTITY_REFUSED: Nexus.REFUSES_US,
}


@dataclass(frozen=True)
class Verdict:
    """What Nexus said, and one line about it.

    ``cause`` is why no answer came, None where one did. ``final``: not even an unclear answer will
    become a clear one by waiting.
    """

    nexus: Nexus
    detail: str
    final: bool = False
    cause: Cause | None = None


def ask(transport: Transport, url: str, token: Token, attempt: Attempt) -> Verdict:
    """Ask Nexus to open ``token`` once, within the attempt's limits."""
    body = json.dumps(
        {
            "nonce": base64.b64encode(token.nonce).decode(),
            "ciphertext": base64.b64encode(token.ciphertext).decode(),
        }
    ).encode()
    try:
        answer = transport.post(url + _VERIFY, body, attempt)
    except AttemptFailed as error:
        failure = error.failure
        default = Nexus.UNCLEAR if failure.sent else Nexus.UNREACHABLE
        nexus = _OF_CAUSE.get(failure.cause, default)
        return Verdict(nexus, failure.detail, final=failure.final, cause=failure.cause)
    if answer.status == 200:
        digest = (json_object(answer) or {}).get("hash")
        if not isinstance(digest, str) or not digest.isascii():
            return Verdict(Nexus.UNCLEAR, "status 200 without a hash")
        if hmac.compare_digest(digest.lower(), token.digest):
            return Verdict(Nexus.PROVED, "Nexus holds the root key", final=True)
        return Verdict(Nexus.OTHER_KEY, "its hash is of another text", final=True)
    failure = status_failure(answer)
    if answer.status == 500:
        return Verdict(Nexus.OTHER_KEY, "Nexus holds another root key", final=True)
    if answer.status in (401, 403):
        return Verdict(Nexus.REFUSES_US, failure.detail, final=True)
    if answer.status == 503 and api_error(answer) == "state_not_ready":
        return Verdict(Nexus.NOT_READY, "Nexus has no root key yet")
    return Verdict(Nexus.UNCLEAR, failure.detail, final=failure.final)


@dataclass(frozen=True)
class Inquiry:
    """The last verdict of an inquiry, after how many requests and how many seconds."""

    verdict: Verdict
    attempts: int
    elapsed: float


def inquire(
    ask_once: Callable[[Attempt], Verdict],
    enough: Callable[[Verdict], bool],
    *,
    seconds: float,
    clock: Clock,
    sleep: Callable[[float], None],
) -> Inquiry:
    """Ask about once a second, for at most ``seconds``, until a verdict is ``enough``.

    A definite verdict always is. The last question is asked when the time is nearly up. SPIKE's own
    bootstrap waits up to a minute between requests, and so learns up to a minute late that Nexus
    is ready.
    """
    began = clock()
    ends_at = began + seconds
    last_start = ends_at - _LEAST_SECONDS
    attempts = 0
    while True:
        attempts += 1
        asked = clock()
        until = min(ends_at, asked + _REQUEST_SECONDS)
        verdict = ask_once(Attempt(attempts, cut_at=until, ends_at=until, clock=clock))
        now = clock()
        definite = verdict.final or verdict.nexus in _DEFINITE
        if definite or enough(verdict) or now >= last_start:
            return Inquiry(verdict, attempts, now - began)
        sleep(max(0.0, min(asked + _INTERVAL_SECONDS, last_start) - now))


__all__ = ["Inquiry", "Nexus", "Verdict", "ask", "inquire"]
