# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a server has seen, counted so that a test can wait for it instead of sleeping."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from .faults import Step


class Stats:
    """Counters of one server; they only grow, and any thread may read them.

    ``connections`` are those accepted by TCP, at the monotonic times ``accepted_at``;
    ``handshakes`` those whose TLS handshake was completed; ``http_bytes`` is what arrived inside
    TLS. ``reach_requests``, ``shard_requests``, ``verify_requests``,
    ``recover_requests`` and ``restore_requests`` count the requests that
    arrived whole, whatever a fault then made of them, and ``shards`` are the shards in them, as
    they were stored or would have been.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.connections = 0
        self.accepted_at: list[float] = []
        self.handshakes = 0
        self.http_bytes = 0
        self.reach_requests = 0
        self.shard_requests = 0
        self.verify_requests = 0
        self.recover_requests = 0
        self.restore_requests = 0
        self.shards: list[bytes] = []

    def wait_for(self, predicate: Callable[[Stats], bool], timeout: float = 10) -> bool:
        """Wait until ``predicate`` holds for these counters; False after ``timeout`` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: predicate(self), timeout)

    def connected(self) -> None:
        with self._changed:
            self.connections += 1
            self.accepted_at.append(time.monotonic())
            self._changed.notify_all()

    def shook_hands(self) -> None:
        with self._changed:
            self.handshakes += 1
            self._changed.notify_all()

    def received(self, size: int) -> None:
        with self._changed:
            self.http_bytes += size
            self._changed.notify_all()

    def requested(self, step: Step, shard: bytes | None = None) -> None:
        with self._changed:
            if step is Step.REACH:
                self.reach_requests += 1
            elif step is Step.DELIVER:
                self.shard_requests += 1
            elif step is Step.VERIFY:
                self.verify_requests += 1
            elif step is Step.RECOVER:
                self.recover_requests += 1
            elif step is Step.RESTORE:
                self.restore_requests += 1
            if shard is not None:
                self.shards.append(shard)
            self._changed.notify_all()


__all__ = ["Stats"]
