# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a keeper answers: ``POST /v1/store/contribute``, and nothing else.

Source: SPIKE, app/keeper/internal/route/store; the shape of the shard is Go's ``*[32]byte``.
"""

from __future__ import annotations

import json
import threading
from typing import Any

from .._key.shamir import SIZE
from .faults import Step
from .http import Request, Response
from .roles import has_role
from .stats import Stats

_PATH = "/v1/store/contribute"
_BAD_REQUEST = Response.json(400, {"err": "api_bad_request"})


class Keeper:
    """One keeper's memory: at most one shard. ``trust_domain`` is that of the bootstrap."""

    def __init__(self, trust_domain: str, stats: Stats) -> None:
        self._trust_domain = trust_domain
        self._stats = stats
        self._changed = threading.Condition()
        self._shard: bytes | None = None

    @property
    def shard(self) -> bytes | None:
        with self._changed:
            return self._shard

    def store(self, shard: bytes | None) -> None:
        """Hold ``shard``, and forget the one that was held; None: as after a restart."""
        with self._changed:
            self._shard = shard
            self._changed.notify_all()

    def wait_for_shard(self, timeout: float) -> bool:
        """Wait until it holds a shard; False after ``timeout`` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self._shard is not None, timeout)

    def admits(self, peer: str | None) -> bool:
        return has_role(peer, self._trust_domain, "bootstrap")

    def note(self, request: Request) -> Step:
        step = Step.OTHER
        shard = None
        if _is_contribution(request):
            try:
                shard = read_shard(request.body)
                step = Step.REACH if shard is None else Step.DELIVER
            except ValueError:
                step = Step.DELIVER
        self._stats.requested(step, shard)
        return step

    def answer(self, request: Request, peer: str | None) -> Response:
        if not _is_contribution(request):
            return _BAD_REQUEST
        try:
            shard = read_shard(request.body)
        except ValueError:
            return _BAD_REQUEST
        if shard is None or not any(shard):
            return _BAD_REQUEST
        self.store(shard)
        return Response.json(200, {})


def _is_contribution(request: Request) -> bool:
    return request.method == "POST" and request.path == _PATH


def read_shard(body: bytes) -> bytes | None:
    """Return the shard as Go reads it, or None without one. Raises ValueError.

    A shorter array is filled up with zeros and the rest of a longer one is dropped, without a
    word: SPIKE accepts both.
    """
    try:
        document = json.loads(body)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(document, dict):
        raise ValueError("not an object")
    numbers = document.get("shard")
    if numbers is None:
        return None
    if not isinstance(numbers, list):
        raise ValueError("not an array")
    return bytes(_octet(number) for number in numbers[:SIZE]).ljust(SIZE, b"\0")


def _octet(number: Any) -> int:
    # Go leaves an element as it is where the array holds null.
    if number is None:
        return 0
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number <= 255:
        raise ValueError("not an octet")
    return number


__all__ = ["Keeper", "read_shard"]
