# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What Nexus answers, and how it comes by its root key.

Source: SPIKE, app/nexus/internal/initialization/recovery, route/bootstrap and route/operator.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from .._key.shamir import CIRCL_1_6_2, recover, split
from .._third_party import AESGCM, InvalidTag
from .faults import Step
from .http import Request, Response
from .keeper import read_shard
from .roles import RECOVER, RESTORE, has_role
from .stats import Stats

_STEPS = {
    "/v1/bootstrap/verify": Step.VERIFY,
    "/v1/operator/recover": Step.RECOVER,
    "/v1/operator/restore": Step.RESTORE,
}
_NONCE_SIZE = 12
_MARK = b"initialised"
_BAD_REQUEST = Response.json(400, {"err": "api_bad_request"})
_random = secrets.SystemRandom()


class Nexus:
    """Nexus's memory and its data directory. ``trust_domain`` is that of the bootstrap.

    ``shares`` and ``scheme`` say how it splits its key for those who recover it. ``ended``: a set
    of shards has ended the process, and whoever runs it is to stop it.
    """

    def __init__(
        self,
        trust_domain: str,
        threshold: int,
        data_dir: Path,
        stats: Stats,
        *,
        shares: int = 3,
        scheme: str = CIRCL_1_6_2,
    ) -> None:
        self.shares = shares
        self.scheme = scheme
        self.ended = False
        self.database = data_dir / "spike.db"
        self._trust_domain = trust_domain
        self.threshold = threshold
        self._stats = stats
        self._changed = threading.Condition()
        self._root_key: bytes | None = None
        self._collected: dict[int, bytes] = {}
        # What operators have given; not what keepers have.
        self._restored: dict[int, bytes] = {}
        self._to_push = False
        self._data_unreadable = False

    @property
    def root_key_sha256(self) -> str | None:
        with self._changed:
            return hashlib.sha256(self._root_key).hexdigest() if self._root_key else None

    @property
    def data_unreadable(self) -> bool:
        with self._changed:
            return self._data_unreadable

    def wait_initialised(self, timeout: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._root_key is not None, timeout)

    def poll(self, keepers: Mapping[int, Callable[[], bytes | None]]) -> bool:
        """Ask the keepers, by id, for their shards; True as soon as there is a root key.

        As in SPIKE: in random order, only until there is a threshold, and with the shards of
        earlier polls. Shards of two keys therefore make a third key, and nothing tells.
        """
        for number in _random.sample(sorted(keepers), len(keepers)):
            shard = keepers[number]()
            with self._changed:
                if self._root_key is not None:
                    return True
                if shard is not None:
                    self._collected[number] = shard
                if len(self._collected) >= self.threshold:
                    chosen = _random.sample(sorted(self._collected), self.threshold)
                    self._open(recover({one: self._collected[one] for one in chosen}))
                    return True
        return False

    def set_threshold(self, threshold: int) -> None:
        """How many shards it takes for the root key from now on."""
        with self._changed:
            self.threshold = threshold

    def hold(self, root_key: bytes) -> None:
        """Be initialised with ``root_key``, without any shards."""
        with self._changed:
            self._open(root_key)

    def split(self, keepers: int, scheme: str) -> list[bytes]:
        """Split the root key, as Nexus does for its keepers. Raises ValueError without one."""
        with self._changed:
            if self._root_key is None:
                raise ValueError("Nexus has no root key yet")
            return split(self._root_key, self.threshold, keepers, scheme)

    def forget(self, *, keep_data: bool) -> None:
        """Lose what a process loses when it ends, and its data unless ``keep_data``."""
        with self._changed:
            self._root_key = None
            self._collected.clear()
            self._restored.clear()
            self._to_push = False
            self.ended = False
            self._data_unreadable = False
            if not keep_data:
                self.database.unlink(missing_ok=True)

    def take_push(self) -> bool:
        """Whether the keepers are to be sent their shards after a restore; once each time."""
        with self._changed:
            due, self._to_push = self._to_push, False
            return due

    def admits(self, peer: str | None) -> bool:
        # Nexus serves everybody whom its trust domain vouches for, and decides by the route.
        return True

    def note(self, request: Request) -> Step:
        step = _step(request)
        self._stats.requested(step)
        return step

    def answer(self, request: Request, peer: str | None) -> Response:
        """Raises OSError where the request ends the process."""
        step = _step(request)
        if step is Step.RECOVER:
            return self._recover(peer)
        if step is Step.RESTORE:
            return self._restore(request, peer)
        with self._changed:
            ready = self._root_key is not None
        if request.method == "POST" and not ready:
            # Before anybody is asked who they are.
            return Response.json(503, {"err": "state_not_ready"})
        if step is not Step.VERIFY:
            return _BAD_REQUEST
        if not has_role(peer, self._trust_domain, "bootstrap"):
            return Response.json(401, {"hash": "", "err": "access_unauthorized"})
        try:
            nonce, ciphertext = _read_token(request.body)
        except ValueError:
            return _BAD_REQUEST
        with self._changed:
            root_key = self._root_key
        if root_key is None:
            return Response.json(503, {"err": "state_not_ready"})
        try:
            plaintext = AESGCM(root_key).decrypt(nonce, ciphertext, None)
        except InvalidTag:
            return Response.json(500, {"hash": "", "err": "api_internal_error"})
        return Response.json(200, {"hash": hashlib.sha256(plaintext).hexdigest()})

    def _recover(self, peer: str | None) -> Response:
        if not has_role(peer, self._trust_domain, RECOVER):
            return Response.json(401, {"shards": None, "err": "access_unauthorized"})
        with self._changed:
            if self._root_key is None:
                return Response.json(500, {"shards": None, "err": "api_internal_error"})
            shards = split(self._root_key, self.threshold, self.shares, self.scheme)
        return Response.json(200, {"shards": {str(i): list(s) for i, s in enumerate(shards, 1)}})

    def _restore(self, request: Request, peer: str | None) -> Response:
        """Take a shard as SPIKE does: no index is checked, and nothing is ever taken back."""
        if not has_role(peer, self._trust_domain, RESTORE):
            return Response.json(401, {"err": "access_unauthorized"})
        try:
            number, shard = _read_number(request.body), read_shard(request.body)
        except ValueError:
            return _BAD_REQUEST
        if shard is None or not any(shard):
            return _BAD_REQUEST
        with self._changed:
            if len(self._restored) < self.threshold:
                self._restored.setdefault(number, shard)
                if len(self._restored) == self.threshold:
                    self._open_restored()
            collected = len(self._restored)
        remaining = self.threshold - collected
        answer = {"collected": collected, "remaining": remaining, "restored": remaining == 0}
        return Response.json(200, answer)

    def _open_restored(self) -> None:
        try:
            key = recover(self._restored)
        except ValueError:
            key = b""
        if not any(key):
            # A set that does not make a key: SPIKE logs it, and exits.
            self.ended = True
            raise ConnectionAbortedError
        # Whatever key was there before is replaced.
        self._open(key)
        self._to_push = True

    def _open(self, root_key: bytes) -> None:
        cipher = AESGCM(root_key)
        try:
            data = self.database.read_bytes()
        except FileNotFoundError:
            nonce = secrets.token_bytes(_NONCE_SIZE)
            self.database.write_bytes(nonce + cipher.encrypt(nonce, _MARK, None))
        else:
            try:
                cipher.decrypt(data[:_NONCE_SIZE], data[_NONCE_SIZE:], None)
            except InvalidTag:
                # SPIKE too goes on with the key that it has.
                self._data_unreadable = True
        self._root_key = root_key
        self._changed.notify_all()


def _step(request: Request) -> Step:
    return _STEPS.get(request.path, Step.OTHER) if request.method == "POST" else Step.OTHER


def _read_number(body: bytes) -> int:
    """Return the index that goes with a shard: any number will do. Raises ValueError."""
    try:
        document = json.loads(body)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    number = document.get("id", 0) if isinstance(document, dict) else None
    if not isinstance(number, int) or isinstance(number, bool):
        raise ValueError("not a number")
    return number


def _read_token(body: bytes) -> tuple[bytes, bytes]:
    """Return the nonce and the ciphertext. Raises ValueError."""
    try:
        document = json.loads(body)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(document, dict):
        raise ValueError("not an object")
    nonce, ciphertext = (_read_base64(document.get(name)) for name in ("nonce", "ciphertext"))
    if len(nonce) != _NONCE_SIZE or not ciphertext:
        raise ValueError("not a nonce and a ciphertext")
    return nonce, ciphertext


def _read_base64(value: object) -> bytes:
    if not isinstance(value, str):
        raise ValueError("not a text")
    return base64.b64decode(value, validate=True)


__all__ = ["Nexus"]
