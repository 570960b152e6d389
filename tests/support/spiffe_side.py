# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Our side of a connection in tests: identities, transports and attempts."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._errors import AttemptFailed, Failure
from ansible_collections.dayzero.spike.plugins.module_utils._net.attempt import Attempt
from ansible_collections.dayzero.spike.plugins.module_utils._net.credentials import (
    Credentials,
    LiveTls,
)
from ansible_collections.dayzero.spike.plugins.module_utils._net.sockets import (
    Lookups,
    Resolve,
    resolve_with_system,
)
from ansible_collections.dayzero.spike.plugins.module_utils._net.transport import Transport
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.authority import (
    Authority,
    IssuedSvid,
)
from ansible_collections.dayzero.spike.plugins.module_utils._spiffe.spiffe_id import (
    KEEPER_PATH,
    IdRule,
)
from ansible_collections.dayzero.spike.plugins.module_utils._spiffe.svid import (
    Identity,
    build_identity,
    certificates_from_pem,
    private_key_from_pem,
)

DOMAIN = "spike.ist"
BOOTSTRAP = f"spiffe://{DOMAIN}/spike/bootstrap"
KEEPER = f"spiffe://{DOMAIN}/spike/keeper"
KEEPER_RULE = IdRule(KEEPER_PATH, (DOMAIN,))
# How much later than its limit an attempt may end, in seconds.
SLACK = 0.2


def identity_with(svid: IssuedSvid, **bundles: bytes) -> Identity:
    """Our identity; ``bundles`` are PEM texts by trust domain, with an underscore for a dot."""
    return build_identity(
        certificates_from_pem(svid.chain_pem),
        private_key_from_pem(svid.key_pem),
        {name.replace("_", "."): certificates_from_pem(pem) for name, pem in bundles.items()},
    )


def bootstrap_of(authority: Authority, **issue: object) -> Identity:
    """A bootstrap's identity from ``authority``, which is also the only one that it trusts."""
    svid = authority.issue(f"spiffe://{authority.trust_domain}/spike/bootstrap", **issue)
    bundle = {authority.trust_domain.replace(".", "_"): authority.bundle_pem()}
    return identity_with(svid, **bundle)


@contextlib.contextmanager
def transport_for(
    identity: Identity, rule: IdRule = KEEPER_RULE, resolve: Resolve = resolve_with_system
) -> Iterator[Transport]:
    """A transport with one identity, however long it lives; it is closed at the end."""
    credentials = Credentials(
        lambda stopped: identity, clock=time.monotonic, now=lambda: datetime.now(timezone.utc)
    )
    transport = Transport(LiveTls(credentials, rule), lookups=Lookups(resolve))
    try:
        yield transport
    finally:
        transport.close()


def attempt(seconds: float = 5.0, *, cut: float | None = None) -> Attempt:
    """An attempt that ends after ``seconds``, and after ``cut`` unless its request was sent."""
    now = time.monotonic()
    cut_at = now + (seconds if cut is None else cut)
    return Attempt(1, cut_at=cut_at, ends_at=now + seconds, clock=time.monotonic)


class LateAttempt(Attempt):
    """An attempt that holds its request back until ``event``, if one is given."""

    def __init__(self, event: threading.Event | None, seconds: float = 5.0) -> None:
        ends_at = time.monotonic() + seconds
        super().__init__(1, cut_at=ends_at, ends_at=ends_at, clock=time.monotonic)
        self._event = event

    def mark_sent(self) -> None:
        if self._event is not None:
            assert self._event.wait(self.remaining())
        super().mark_sent()


def failure_of(act: Callable[[], object]) -> Failure:
    """The failure with which ``act`` ends; nothing of what caused it may hang on the exception."""
    with pytest.raises(AttemptFailed) as caught:
        act()
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None
    assert "\n" not in caught.value.failure.detail
    return caught.value.failure


@dataclass(frozen=True)
class Timed:
    """A failure, and the seconds until it was known."""

    failure: Failure
    elapsed: float


def timed_failure_of(act: Callable[[], object]) -> Timed:
    """The failure with which ``act`` ends, and when."""
    began = time.monotonic()
    failure = failure_of(act)
    return Timed(failure, time.monotonic() - began)


__all__ = [
    "BOOTSTRAP",
    "DOMAIN",
    "KEEPER",
    "KEEPER_RULE",
    "SLACK",
    "LateAttempt",
    "Timed",
    "attempt",
    "bootstrap_of",
    "failure_of",
    "identity_with",
    "timed_failure_of",
    "transport_for",
]
