# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Our identity for as long as a run lasts: SVIDs expire, and a wait for Nexus outlives them.

It is taken again before it expires, and once when a peer does not accept it or is not known to it:
an SVID that has expired is refused with the same TLS alert as one that is not trusted (go-spiffe).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from .._clock import Clock, as_utc
from .._errors import (
    Cause,
    Failure,
    Finding,
    IdentityError,
    NoThread,
)
from .._spiffe.spiffe_id import IdRule
from .._spiffe.svid import Identity, validity
from .attempt import Attempt
from .peer_tls import PeerTls
from .workers import SharedCalls

# SPIRE's agent has a newer SVID when half of the old one's life is over.
_EXPIRES_SOON = 1 / 3
# A source that has no newer one is not asked for every connection.
_PAUSE_SECONDS = 1.0
_PAUSE_AFTER_DOUBT = 5.0
# What ending spire-agent and removing its files takes at most.
_CLOSING_SECONDS = 2.0
_KEY = "identity"
_DOUBTS = (Cause.IDENTITY_REFUSED, Cause.PEER_UNTRUSTED)


class Credentials:
    """Our identity, the newest that could be had; safe to use from many threads."""

    def __init__(
        self,
        obtain: Callable[[Callable[[], bool]], Identity],
        *,
        clock: Clock,
        now: Callable[[], datetime],
    ) -> None:
        """``obtain`` takes it from its source; it is given a function that says when to stop.

        Raises what ``obtain`` raises.
        """
        self._closed = threading.Event()
        self._obtain = obtain
        self._clock = clock
        self._now = now
        self._calls: SharedCalls[bool] = SharedCalls()
        self._identity = obtain(self._closed.is_set)
        self._taken_at = clock()
        self._doubted_at: float | None = None

    def close(self) -> None:
        """Take no newer identity any more, and leave nothing behind of one that is being taken."""
        self._closed.set()
        self._calls.settle(_KEY, _CLOSING_SECONDS)

    @property
    def identity(self) -> Identity:
        """The identity as it is now."""
        return self._identity

    def for_connection(self, attempt: Attempt) -> Identity:
        """The identity to open a connection with; taken again where it is about to expire."""
        if self._is_due():
            # A source that hangs must not use up the time in which a peer may accept the old one.
            self._ask(self._take_if_due, attempt.remaining() / 2)
        return self._identity

    def renewed_since(self, shown: Identity, attempt: Attempt) -> bool:
        """After a peer did not accept ``shown``, or was not known to it: is there another now?"""
        if self._identity is shown:
            # A caller that is doubted at the same moment waits for the same answer.
            self._ask(lambda: self._take_if_doubted(shown), attempt.remaining())
        return self._identity is not shown

    def explained(self, failure: Failure) -> Failure:
        """``failure`` with what our own certificate says about it."""
        if failure.cause is not Cause.IDENTITY_REFUSED or not self._expired():
            return failure
        expired = as_utc(validity(self._identity.chain[0])[1])
        detail = f"{failure.detail}; our SVID expired at {expired}"
        return replace(failure, detail=detail, finding=Finding.OURS_EXPIRED)

    def _expires_soon(self) -> bool:
        begins, ends = validity(self._identity.chain[0])
        return (ends - self._now()) < (ends - begins) * _EXPIRES_SOON

    def _expired(self) -> bool:
        return self._now() > validity(self._identity.chain[0])[1]

    def _is_due(self) -> bool:
        return self._clock() - self._taken_at >= _PAUSE_SECONDS and self._expires_soon()

    def _ask(self, job: Callable[[], bool], timeout: float) -> None:
        try:
            self._calls.result(_KEY, job, timeout)
        except NoThread:
            # The identity that there is may still do.
            return

    # One of these runs at a time, and who asked for it may have been overtaken by the one before:
    # whether there is still a reason is decided here, and not where it is asked for.

    def _take_if_due(self) -> bool:
        return self._is_due() and self._take()

    def _take_if_doubted(self, shown: Identity) -> bool:
        now = self._clock()
        paused = self._doubted_at is not None and now - self._doubted_at < _PAUSE_AFTER_DOUBT
        if self._identity is not shown or paused:
            return False
        self._doubted_at = now
        return self._take()

    def _take(self) -> bool:
        if self._closed.is_set():
            # Nobody waits for this call any more, nor removes what it leaves.
            return False
        try:
            fresh = self._obtain(self._closed.is_set)
        except Exception:
            # The one that there is may still do; where it does not, its peer says why. A defect in
            # a source is told when a run begins, and must not end one that goes on without it.
            fresh = self._identity
        if (fresh.chain, fresh.bundles) != (self._identity.chain, self._identity.bundles):
            self._identity = fresh
        self._taken_at = self._clock()
        return True


class LiveTls:
    """TLS to one kind of peer, always with the newest identity."""

    def __init__(self, credentials: Credentials, rule: IdRule) -> None:
        """Raises IdentityError where OpenSSL refuses the identity, or one of its bundles."""
        self._credentials = credentials
        self._rule = rule
        self._lock = threading.Lock()
        self._identity = credentials.identity
        self._tls = PeerTls(self._identity, rule)

    def current(self, attempt: Attempt) -> PeerTls:
        """The TLS to open a connection with; ``attempt`` is told whose identity it shows."""
        identity = self._credentials.for_connection(attempt)
        with self._lock:
            if identity is not self._identity:
                try:
                    self._tls, self._identity = PeerTls(identity, self._rule), identity
                except IdentityError:
                    # The newer one is of no use; the older one may still be.
                    self._identity = identity
            attempt.shown = identity
            return self._tls

    def may_try_again(self, failure: Failure, attempt: Attempt) -> bool:
        """Whether ``failure`` may be due to an identity that has been replaced since."""
        shown = attempt.shown
        return (
            failure.cause in _DOUBTS
            and isinstance(shown, Identity)
            and self._credentials.renewed_since(shown, attempt)
        )

    def explained(self, failure: Failure) -> Failure:
        """``failure`` with what our own certificate says about it."""
        return self._credentials.explained(failure)


__all__ = ["Credentials", "LiveTls"]
