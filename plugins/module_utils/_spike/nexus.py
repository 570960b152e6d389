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

from .._clock import Clock
from .._dataclass import dataclass
from .._errors import (
    AttemptFailed,
    Cause,
    Failure,
    Finding,
)
from .._key.root_key import Token
from .._net.attempt import Attempt
from .._net.transport import Transport
from .answers import (
    api_error,
    json_object,
    status_failure,
)
from .nexus_state import NexusState
from .paths import VERIFY

# Nexus is asked again after the first of these, then after twice as long, up to the second.
_FIRST_INTERVAL_SECONDS = 0.05
_INTERVAL_SECONDS = 1.0
# A Nexus that hangs on one request may answer the next.
_REQUEST_SECONDS = 10.0
# A Nexus that hangs before it has our request may answer the next attempt: an attempt that is not
# connected by half of the time that there is to ask, but within these limits, is cut.
_CONNECT_SECONDS = (1.0, 10.0)
# A request with less time than this is cut, and would hide what Nexus said before.
_LEAST_SECONDS = 0.1
# Another key is believed when it was heard twice, this long apart: a proxy, or a Nexus that ends,
# also answers 500.
_CONFIRM_SECONDS = 0.5
# Every byte of what SPIKE answers that holds another key (verified on main and v0.8.0).
_OTHER_KEY = {"hash": "", "err": "api_internal_error"}


class Nexus(enum.Enum):
    """What Nexus says of a token; ``state`` is how a result says it."""

    PROVED = ("proved", NexusState.READY)
    # Its own word: it has no root key.
    NOT_READY = ("not ready", NexusState.NOT_READY)
    # Nobody listens at any address of its name.
    REFUSED = ("refused", NexusState.UNREACHABLE)
    # It gave no answer, for another reason.
    SILENT = ("silent", NexusState.UNCLEAR)
    OTHER_KEY = ("other key", NexusState.OTHER_KEY)
    # What listens there is not Nexus, by its certificate.
    NOT_NEXUS = ("not Nexus", NexusState.UNCLEAR)
    # It is Nexus, and does not take our SVID for a bootstrap's.
    REFUSES_US = ("refuses us", NexusState.UNCLEAR)
    # It answered, and not as SPIKE does.
    UNCLEAR = ("unclear", NexusState.UNCLEAR)

    def __init__(self, _name: str, state: NexusState) -> None:
        self.state = state


# Answers that asking again will not change.
DEFINITE = frozenset({Nexus.PROVED, Nexus.OTHER_KEY, Nexus.NOT_NEXUS, Nexus.REFUSES_US})

_OF_CAUSE = {
    Cause.PEER_UNTRUSTED: Nexus.NOT_NEXUS,
    Cause.PEER_IDENTITY: Nexus.NOT_NEXUS,
    Cause.IDENTITY_REFUSED: Nexus.REFUSES_US,
}


@dataclass(frozen=True)
class Verdict:
    """What Nexus said, and one line about it.

    ``failure`` is why no good answer came, None where one did. ``final``: not even an unclear
    answer will become a clear one by waiting.
    """

    nexus: Nexus
    detail: str
    final: bool = False
    failure: Failure | None = None

    @property
    def clear(self) -> bool:
        """Whether it is Nexus's own word, or what its certificate says."""
        return self.definite or self.nexus is Nexus.NOT_READY

    @property
    def definite(self) -> bool:
        """Whether asking again cannot change it."""
        return self.nexus in DEFINITE


def ask(transport: Transport, url: str, token: Token, attempt: Attempt) -> Verdict:
    """Ask Nexus to open ``token`` once, within the attempt's limits.

    That it holds another key is not certain after one answer of 500: see ``inquire``.
    """
    body = json.dumps(
        {
            "nonce": base64.b64encode(token.nonce).decode(),
            "ciphertext": base64.b64encode(token.ciphertext).decode(),
        }
    ).encode()
    try:
        answer = transport.post(url + VERIFY, body, attempt)
    except AttemptFailed as error:
        failure = error.failure
        return Verdict(_unanswered(failure), failure.detail, final=failure.final, failure=failure)
    document = json_object(answer)
    if answer.status == 200:
        digest = (document or {}).get("hash")
        if not isinstance(digest, str) or not digest.isascii():
            failure = Failure(Cause.BAD_RESPONSE, "status 200 without a hash", sent=True)
            return Verdict(Nexus.UNCLEAR, failure.detail, failure=failure)
        if hmac.compare_digest(digest.lower(), token.digest):
            return Verdict(Nexus.PROVED, "Nexus holds the root key", final=True)
        return Verdict(Nexus.OTHER_KEY, "its hash is of another text", final=True)
    if answer.status == 500 and document == _OTHER_KEY:
        return Verdict(Nexus.OTHER_KEY, "Nexus holds another root key")
    failure = status_failure(answer)
    if answer.status in (401, 403):
        return Verdict(Nexus.REFUSES_US, failure.detail, final=True, failure=failure)
    if answer.status == 503 and api_error(answer) == "state_not_ready":
        return Verdict(Nexus.NOT_READY, "Nexus has no root key yet")
    return Verdict(Nexus.UNCLEAR, failure.detail, final=failure.final, failure=failure)


def _unanswered(failure: Failure) -> Nexus:
    if failure.cause in _OF_CAUSE:
        return _OF_CAUSE[failure.cause]
    if failure.finding is Finding.PORT_REFUSES:
        return Nexus.REFUSED
    # Bytes that are not HTTP are an answer; a request that was sent and not answered is none.
    answered = failure.cause in (Cause.HTTP_STATUS, Cause.BAD_RESPONSE)
    return Nexus.UNCLEAR if answered else Nexus.SILENT


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
    on_wait: Callable[[Verdict, float], None] = lambda verdict, waited: None,
) -> Inquiry:
    """Ask, more slowly each time, for at most ``seconds``, until a verdict is ``enough``.

    A definite verdict always is. That Nexus holds another key is definite when it was heard twice;
    heard once when the time is up, it is unclear. The last question is asked when the time is
    nearly up. ``on_wait`` is called before each pause, with the last verdict and the seconds that
    have passed. SPIKE's own bootstrap waits up to a minute between requests, and so learns up to a
    minute late that Nexus is ready.
    """
    began = clock()
    ends_at = began + seconds
    shortest, longest = _CONNECT_SECONDS
    to_connect = min(max(shortest, seconds / 2), longest)
    last_start = ends_at - _LEAST_SECONDS
    attempts = 0
    interval = _FIRST_INTERVAL_SECONDS
    other_since: float | None = None
    while True:
        attempts += 1
        asked = clock()
        until = min(ends_at, asked + _REQUEST_SECONDS)
        cut_at = min(until, asked + to_connect)
        verdict = ask_once(Attempt(attempts, cut_at=cut_at, ends_at=until, clock=clock))
        now = clock()
        next_at = asked + interval
        interval = min(2 * interval, _INTERVAL_SECONDS)
        if verdict.nexus is not Nexus.OTHER_KEY or verdict.final:
            other_since = None
            settled = verdict.definite or enough(verdict)
        elif other_since is None:
            other_since = now
            next_at = now + _CONFIRM_SECONDS
            settled = False
        else:
            settled = asked - other_since >= _CONFIRM_SECONDS
            next_at = max(next_at, other_since + _CONFIRM_SECONDS)
        if settled or now >= last_start:
            return Inquiry(verdict if settled else _unsettled(verdict), attempts, now - began)
        on_wait(verdict, now - began)
        sleep(max(0.0, min(next_at, last_start) - now))


def _unsettled(verdict: Verdict) -> Verdict:
    if verdict.nexus is not Nexus.OTHER_KEY:
        return verdict
    words = "it said once that it holds another root key, and could not be asked again"
    return Verdict(Nexus.UNCLEAR, words)


__all__ = ["DEFINITE", "Inquiry", "Nexus", "Verdict", "ask", "inquire"]
