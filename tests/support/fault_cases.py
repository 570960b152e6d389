# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every fault that the sandbox knows, and how a run must end that meets it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.cluster import Sandbox

# What a redirect of this table points to; ``inject`` puts the URL in its place.
_ELSEWHERE = "keeper 1"
# Nothing answered, or too late: a keeper that is started, or started sooner, can help.
_STARTING_HELPS = ("connection_refused", "connect_timeout", "tls_timeout", "response_timeout")


@dataclass(frozen=True)
class Expected:
    """How the keeper under a fault must end, in one step.

    ``reason`` is what stands in the message between the timeout and the advice. ``final``: it is
    not tried again. ``sent``: the request may have arrived. ``counted``: what the server can count
    of the attempts, ``connections``, ``requests`` or nothing. ``instead``: what may be seen in its
    place, where two are at work at once and the faster one decides.
    """

    cause: str
    reason: str
    final: bool = False
    sent: bool = False
    counted: str = ""
    instead: Expected | None = None

    @property
    def starting_helps(self) -> bool:
        """Whether the message ends with the advice to see that all keepers run."""
        return self.cause in _STARTING_HELPS

    def as_seen(self, cause: str) -> Expected:
        """This, or what may be seen in its place where that has this ``cause``."""
        instead = self.instead
        return instead if instead is not None and instead.cause == cause else self

    def state(self, step: str) -> str:
        """The keeper's state at the end of ``step``."""
        if self.final:
            return "rejected"
        return "unknown" if step == "deliver" and self.sent else "unreachable"


@dataclass(frozen=True)
class Case:
    """A fault, as the sandbox takes it, and what is expected of a run in each step."""

    name: str
    fault: Mapping[str, Any]
    reach: Expected | None
    deliver: Expected | None

    def expected(self, step: str) -> Expected | None:
        """What is expected in ``step``; None where the fault cannot occur."""
        return self.reach if step == "reach" else self.deliver


def _network(name: str, cause: str, reason: str, counted: str = "") -> Case:
    expected = Expected(cause, reason, counted=counted)
    return Case(name, {name: True}, expected, expected)


def _peer(name: str, value: Any, cause: str, reason: str) -> Case:
    expected = Expected(cause, reason, final=True, counted="connections")
    return Case(name, {name: value}, expected, expected)


def _answer(name: str, fault: Mapping[str, Any], cause: str, reason: str, final: bool) -> Case:
    expected = Expected(cause, reason, final=final, sent=True, counted="requests")
    return Case(name, fault, expected, expected)


def _reset() -> Case:
    # The reset may overtake the beginning of the handshake.
    early = Expected(
        "connection_refused",
        "connection refused (the connection was reset)",
        counted="connections",
    )
    expected = Expected(
        "tls",
        "TLS handshake failed (the connection was closed during the TLS handshake)",
        counted="connections",
        instead=early,
    )
    return Case("reset", {"reset": True}, expected, expected)


def _status(status: int, *, final: bool) -> Case:
    reason = f"unexpected HTTP answer (status {status} sandbox_fault)"
    return _answer(f"status {status}", {"status": status}, "http_status", reason, final)


_NO_ANSWER = "no response in time (the request was sent, no complete answer came)"

CASES = (
    _network("refuse", "connection_refused", "connection refused"),
    _network(
        "blackhole",
        "connect_timeout",
        "connection timed out (nothing answered the TCP connection)",
    ),
    _network(
        "stall_tls",
        "tls_timeout",
        "TLS handshake timed out (the TLS handshake did not end in time)",
        "connections",
    ),
    _reset(),
    # OpenSSL's words for it have changed, and may again.
    _network("plain_http", "tls", "TLS handshake failed ({detail})", "connections"),
    _peer(
        "wrong_identity",
        "spiffe://spike.ist/spike/nexus",
        "peer_identity",
        "wrong SPIFFE ID (found spiffe://spike.ist/spike/nexus,"
        " expected spiffe://spike.ist/spike/keeper)",
    ),
    _peer(
        "untrusted",
        True,
        "peer_untrusted",
        "its certificate is not trusted"
        " (it is signed by an authority that is not in the trust bundle)",
    ),
    _peer(
        "expired",
        True,
        "peer_untrusted",
        "its certificate is not trusted (the certificate has expired)",
    ),
    _peer(
        "refuse_identity",
        True,
        "identity_refused",
        "it refused our SVID (TLS alert unknown_ca)",
    ),
    _status(404, final=True),
    _status(400, final=True),
    _status(408, final=False),
    _status(429, final=False),
    _status(500, final=False),
    _status(503, final=False),
    _answer(
        "redirect",
        {"redirect": _ELSEWHERE},
        "http_status",
        "unexpected HTTP answer (status 307, a redirect, which is never followed)",
        final=True,
    ),
    _answer(
        "close",
        {"close": True},
        "bad_response",
        "invalid response (the connection was closed before a complete answer)",
        final=False,
    ),
    _answer(
        "garbage",
        {"garbage": True},
        "bad_response",
        "invalid response (the answer is not valid HTTP)",
        final=False,
    ),
    _answer(
        "huge_body",
        {"huge_body": True},
        "bad_response",
        "invalid response (the answer is longer than 65536 bytes)",
        final=False,
    ),
    _answer("drip", {"drip": True}, "response_timeout", _NO_ANSWER, final=False),
    _answer("delay", {"delay": "15s"}, "response_timeout", _NO_ANSWER, final=False),
    Case(
        "bad_json",
        {"bad_json": True},
        Expected(
            "http_status",
            "unexpected HTTP answer (status 200 to a request without a shard, so this is not a"
            " SPIKE Keeper)",
            final=True,
            sent=True,
            counted="requests",
        ),
        Expected(
            "bad_response",
            "invalid response (status 200 without SPIKE's empty answer)",
            sent=True,
            counted="requests",
        ),
    ),
    Case(
        "accept_empty",
        {"accept_empty": True},
        Expected(
            "http_status",
            "unexpected HTTP answer (status 200 to a request without a shard, so this is not a"
            " SPIKE Keeper)",
            final=True,
            sent=True,
            counted="requests",
        ),
        None,
    ),
)


def inject(case: Case, sandbox: Sandbox, number: int, step: str) -> None:
    """Put keeper ``number`` under the case's fault, in ``step``."""
    fault = dict(case.fault)
    if fault.get("redirect") == _ELSEWHERE:
        fault["redirect"] = f"{sandbox.keepers[0].url}/v1/store/contribute"
    sandbox.keepers[number - 1].inject({**fault, "when": step} if step == "deliver" else fault)


__all__ = ["CASES", "Case", "Expected", "inject"]
