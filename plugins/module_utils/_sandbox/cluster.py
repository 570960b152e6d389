# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The whole sandbox: keepers, Nexus, a throwaway SPIFFE authority and a bootstrap identity."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .._errors import ConfigError
from .._key.shamir import CIRCL_1_6_2, SCHEMES
from .acceptor import Acceptor
from .authority import Authority
from .faults import (
    Fault,
    parse_faults,
)
from .keeper import Keeper
from .nexus import Nexus
from .roles import RECOVER, RESTORE, role_id
from .server import Server
from .stats import Stats
from .tls import ServerIdentity

NEXUS_MAIN = "main"
NEXUS_0_8_0 = "v0.8.0"
NEXUS_BEHAVIOURS = (NEXUS_MAIN, NEXUS_0_8_0)

# As many keepers as SPIKE allows by default (SPIKE_NEXUS_SHAMIR_MAX_SHARE_COUNT).
_MOST_KEEPERS = 1000
# A certificate must not be what ends a rehearsal.
_SVID_MARGIN_SECONDS = 3600


class _Node:
    """What keepers and Nexus have in common: a server that can fail."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.url = server.url
        self.stats = server.stats

    def start(self) -> None:
        """Listen, unless a fault forbids it."""
        self._server.start()

    def inject(self, fault: Fault | Mapping[str, Any]) -> None:
        """Put it under ``fault`` from now on, instead of the one that it was under."""
        self._server.inject(fault if isinstance(fault, Fault) else Fault.parse(fault))

    @property
    def is_well(self) -> bool:
        """Whether it is under no fault."""
        return self._server.is_well

    def heal(self) -> None:
        """End its fault: from now on it is reached."""
        self._server.heal()


class SandboxKeeper(_Node):
    """Keeper ``id``, at ``url``."""

    def __init__(self, number: int, server: Server, keeper: Keeper) -> None:
        super().__init__(server)
        self.id = number
        self._keeper = keeper

    @property
    def shard(self) -> bytes | None:
        """The shard that it holds."""
        return self._keeper.shard

    def wait_for_shard(self, timeout: float = 5) -> bool:
        """Wait until it holds a shard; False after ``timeout`` seconds."""
        return self._keeper.wait_for_shard(timeout)

    def stop(self) -> None:
        """End as a process ends: the shard is lost, and connections are refused."""
        self._server.stop()
        self._keeper.store(None)

    def restart(self) -> None:
        self.stop()
        self.start()

    def show_shard(self) -> bytes | None:
        """Return the shard as Nexus gets it: None also from a keeper that cannot be reached."""
        return self._keeper.shard if self._server.reachable else None

    def take_shard(self, shard: bytes) -> bool:
        """Hold a shard that Nexus pushes; False from a keeper that cannot be reached."""
        if not self._server.reachable:
            return False
        self._keeper.store(shard)
        return True


class SandboxNexus(_Node):
    """Nexus, at ``url``, with its database in ``data_dir``.

    It talks to its keepers inside the process: what is rehearsed is the bootstrap.
    """

    def __init__(
        self,
        server: Server,
        nexus: Nexus,
        keepers: list[SandboxKeeper],
        *,
        scheme: str,
        behaviour: str,
        poll_seconds: float,
        push_seconds: float | None,
    ) -> None:
        super().__init__(server)
        self.data_dir = nexus.database.parent
        self._nexus = nexus
        self._all_keepers = keepers
        self._keepers = self._next_keepers = keepers
        self._next_threshold = nexus.threshold
        self._scheme = scheme
        self._silent_at_first = behaviour == NEXUS_0_8_0
        self._poll_seconds = poll_seconds
        self._push_seconds = push_seconds
        self._next_push = 0.0
        self._lock = threading.RLock()
        self._running = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sandbox-nexus", daemon=True)
        self._thread.start()

    @property
    def root_key_sha256(self) -> str | None:
        """The SHA-256 of its root key in hex, or None as long as it has none."""
        return self._nexus.root_key_sha256

    @property
    def data_unreadable(self) -> bool:
        """Whether its root key cannot open the data that it had kept."""
        return self._nexus.data_unreadable

    def wait_initialised(self, timeout: float = 10) -> bool:
        """Wait until it has a root key and listens; False after ``timeout`` seconds."""
        if not self._nexus.wait_initialised(timeout):
            return False
        # Whoever made the key also opens the port before the lock is free again.
        with self._lock:
            return True

    def configure(self, order: Sequence[int] | None = None, threshold: int | None = None) -> None:
        """Give it settings of its own: its keepers by id, in its order, and its threshold.

        They need not be those of the cluster: it then makes another key of the same shards, as
        SPIKE does. Like an environment, they count from its next start.
        """
        with self._lock:
            if order is not None:
                by_id = {keeper.id: keeper for keeper in self._all_keepers}
                self._next_keepers = [by_id[number] for number in order]
            if threshold is not None:
                self._next_threshold = threshold
            if not self._running:
                self._take_settings()

    def _take_settings(self) -> None:
        self._keepers = self._next_keepers
        self._nexus.shares = len(self._keepers)
        self._nexus.set_threshold(self._next_threshold)

    def hold(self, root_key: bytes) -> None:
        """Be initialised with ``root_key``, as after a bootstrap that somebody else did."""
        with self._lock:
            self._running = True
            self._nexus.hold(root_key)
            self._server.start()

    def push(self) -> None:
        """Send the keepers their shards of its own split. Raises ValueError without a key."""
        with self._lock:
            shards = self._nexus.split(len(self._keepers), self._scheme)
            for keeper, shard in zip(self._keepers, shards):
                keeper.take_shard(shard)

    def start(self) -> None:
        """Poll the keepers; listen too, unless it is a release that needs its key first."""
        with self._lock:
            if not self._running:
                self._take_settings()
            self._running = True
            if not self._silent_at_first or self._nexus.root_key_sha256 is not None:
                self._server.start()

    def stop(self, *, keep_data: bool = True) -> None:
        """End as a process ends: key and collected shards are lost, connections refused."""
        with self._lock:
            self._running = False
            self._server.stop()
            self._nexus.forget(keep_data=keep_data)

    def restart(self, *, keep_data: bool = True) -> None:
        self.stop(keep_data=keep_data)
        self.start()

    def close(self) -> None:
        self._closing.set()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        while not self._closing.wait(self._poll_seconds):
            with self._lock:
                if self._running:
                    self._work()

    def _work(self) -> None:
        if self._nexus.ended:
            self.stop()
        elif self._nexus.take_push():
            self.push()
        elif self._nexus.root_key_sha256 is None:
            shown = {i: keeper.show_shard for i, keeper in enumerate(self._keepers, 1)}
            if self._nexus.poll(shown):
                self._server.start()
                self._next_push = time.monotonic() + (self._push_seconds or 0)
        elif self._push_seconds is not None and time.monotonic() >= self._next_push:
            self._next_push = time.monotonic() + self._push_seconds
            self.push()


class Sandbox:
    """An embedded SPIKE, running from the moment it is made until ``close``.

    ``directory`` gets the files of the bootstrap identity (``svid_cert``, ``svid_key``,
    ``svid_bundle``; ``recover_svid`` and ``restore_svid`` are the chain and the key of those who
    recover and restore; and ``federated_bundles`` by trust domain where keepers or Nexus are in
    another one) and Nexus's data directory. ``faults`` is a mapping from a keeper's id or
    ``nexus`` to a fault, see ``Fault``. ``nexus_keepers`` (ids, in Nexus's own order) and
    ``nexus_threshold`` are settings of Nexus that are not those of the cluster.
    ``nexus_behaviour`` is ``main`` or ``v0.8.0``, which does
    not listen before it has a key. ``nexus_push_seconds``: how often Nexus pushes its own split
    to the keepers; None: never by itself. After ``lifetime_seconds`` it closes by itself.

    Raises ConfigError for what cannot be, before anything has been started.
    """

    def __init__(
        self,
        directory: str | Path,
        *,
        keepers: int = 3,
        threshold: int = 2,
        trust_domain: str = "spike.ist",
        scheme: str = CIRCL_1_6_2,
        faults: Mapping[Any, Any] | None = None,
        nexus_behaviour: str = NEXUS_MAIN,
        nexus_poll_seconds: float = 0.2,
        nexus_push_seconds: float | None = None,
        nexus_keepers: Sequence[int] | None = None,
        nexus_threshold: int | None = None,
        lifetime_seconds: float = 600,
        keeper_trust_domain: str | None = None,
        nexus_trust_domain: str | None = None,
        address: str = "127.0.0.1",
    ) -> None:
        parsed = check_plan(
            keepers=keepers,
            threshold=threshold,
            scheme=scheme,
            faults=faults or {},
            nexus_behaviour=nexus_behaviour,
            nexus_poll_seconds=nexus_poll_seconds,
            lifetime_seconds=lifetime_seconds,
            nexus_keepers=nexus_keepers,
            nexus_threshold=nexus_threshold,
        )
        self.threshold = threshold
        self.scheme = scheme
        self.trust_domain = trust_domain
        self.keeper_trust_domain = keeper_trust_domain or trust_domain
        self.nexus_trust_domain = nexus_trust_domain or trust_domain
        self.directory = Path(directory)
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.authorities = {
            name: Authority(name)
            for name in (trust_domain, self.keeper_trust_domain, self.nexus_trust_domain)
        }
        self.authority = self.authorities[trust_domain]
        self._svid_seconds = lifetime_seconds + _SVID_MARGIN_SECONDS
        self._write_identity()
        self.closed = threading.Event()
        self._close_lock = threading.Lock()
        # What has been started so far is ended when the rest cannot be.
        with contextlib.ExitStack() as started:
            self._acceptor = Acceptor()
            started.callback(self._acceptor.close)
            self.keepers = list(self._make_keepers(keepers, address, started))
            self.nexus = self._make_nexus(
                nexus_behaviour, nexus_poll_seconds, nexus_push_seconds, address, started
            )
            self.nexus.configure(nexus_keepers, nexus_threshold)
            for node in (*self.keepers, self.nexus):
                number = node.id if isinstance(node, SandboxKeeper) else "nexus"
                if number in parsed:
                    node.inject(parsed[number])
                node.start()
            self._started = started.pop_all()
            # Last: whatever expires is closed by what has been started.
            self._acceptor.call_later(lifetime_seconds, self._expire)

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def restart(self) -> None:
        """Restart everything at once: no keeper has a shard any more, and Nexus has no key."""
        for keeper in self.keepers:
            keeper.stop()
        self.nexus.stop()
        for node in (*self.keepers, self.nexus):
            node.start()

    def close(self) -> None:
        """End every server, connection and thread; when it returns, they have ended."""
        with self._close_lock:
            self._started.close()
            self.closed.set()

    def _expire(self) -> None:
        # On the acceptor's thread, for which a close() that is under way waits.
        if self._close_lock.acquire(blocking=False):
            try:
                self._started.close()
                self.closed.set()
            finally:
                self._close_lock.release()

    def _write_identity(self) -> None:
        directory = self.directory / "identity"
        directory.mkdir(mode=0o700, exist_ok=True)
        svid = self.authority.issue(
            role_id(self.trust_domain, "bootstrap"), lifetime_seconds=self._svid_seconds
        )
        self.svid_cert, self.svid_key = self.authority.write(directory, "svid", svid)
        self.recover_svid, self.restore_svid = (
            self.authority.write(
                directory,
                name,
                self.authority.issue(
                    role_id(self.trust_domain, role), lifetime_seconds=self._svid_seconds
                ),
            )
            for name, role in (("recover", RECOVER), ("restore", RESTORE))
        )
        self.svid_bundle = directory / "bundle.pem"
        self.svid_bundle.write_bytes(self.authority.bundle_pem())
        self.federated_bundles: dict[str, Path] = {}
        for name, authority in self.authorities.items():
            if name != self.trust_domain:
                path = directory / f"bundle.{name}.pem"
                path.write_bytes(authority.bundle_pem())
                self.federated_bundles[name] = path

    def _make_keepers(
        self, count: int, address: str, started: contextlib.ExitStack
    ) -> Iterator[SandboxKeeper]:
        # One SVID for all: SPIKE's keepers do not differ in their SPIFFE IDs.
        identity = self._server_identity(self.keeper_trust_domain, "keeper")
        for number in range(1, count + 1):
            stats = Stats()
            keeper = Keeper(self.trust_domain, stats)
            server = Server(self._acceptor, identity, keeper, stats, address)
            started.callback(server.close)
            yield SandboxKeeper(number, server, keeper)

    def _make_nexus(
        self,
        behaviour: str,
        poll_seconds: float,
        push_seconds: float | None,
        address: str,
        started: contextlib.ExitStack,
    ) -> SandboxNexus:
        data_dir = self.directory / "nexus"
        data_dir.mkdir(mode=0o700, exist_ok=True)
        stats = Stats()
        nexus = Nexus(self.trust_domain, self.threshold, data_dir, stats, scheme=self.scheme)
        identity = self._server_identity(self.nexus_trust_domain, "nexus")
        server = Server(self._acceptor, identity, nexus, stats, address)
        started.callback(server.close)
        node = SandboxNexus(
            server,
            nexus,
            self.keepers,
            scheme=self.scheme,
            behaviour=behaviour,
            poll_seconds=poll_seconds,
            push_seconds=push_seconds,
        )
        # Before its server: it must not open the port again.
        started.callback(node.close)
        return node

    def _server_identity(self, trust_domain: str, role: str) -> ServerIdentity:
        return ServerIdentity(
            self.authorities[trust_domain],
            role_id(trust_domain, role),
            self.authority,
            self.directory / "identity",
            self._svid_seconds,
        )


def check_plan(
    *,
    keepers: int,
    threshold: int,
    scheme: str,
    faults: Mapping[Any, Any],
    nexus_behaviour: str,
    nexus_poll_seconds: float,
    lifetime_seconds: float,
    nexus_keepers: Sequence[int] | None = None,
    nexus_threshold: int | None = None,
) -> dict[int | str, Fault]:
    """Raise ConfigError for arguments of Sandbox that cannot be, else return the faults."""
    if not 1 <= keepers <= _MOST_KEEPERS:
        raise ConfigError("keepers", f"{keepers} is not from 1 to {_MOST_KEEPERS}")
    if not 1 <= threshold <= keepers:
        raise ConfigError("threshold", f"{threshold} is not from 1 to the number of keepers")
    if scheme not in SCHEMES:
        raise ConfigError("scheme", f"{scheme!r} is not one of {', '.join(SCHEMES)}")
    if nexus_behaviour not in NEXUS_BEHAVIOURS:
        names = ", ".join(NEXUS_BEHAVIOURS)
        raise ConfigError("nexus_behaviour", f"{nexus_behaviour!r} is not one of {names}")
    if not nexus_poll_seconds > 0:
        raise ConfigError("nexus_poll", "it must be greater than 0")
    if not 0 < lifetime_seconds <= threading.TIMEOUT_MAX:
        raise ConfigError("lifetime", "it must be greater than 0, and have an end")
    own = list(range(1, keepers + 1) if nexus_keepers is None else nexus_keepers)
    if not own or len(set(own)) != len(own) or not set(own) <= set(range(1, keepers + 1)):
        raise ConfigError("nexus_keepers", f"{own} are not ids of keepers from 1 to {keepers}")
    if not 1 <= (threshold if nexus_threshold is None else nexus_threshold) <= len(own):
        raise ConfigError("nexus_threshold", f"it is not from 1 to Nexus's {len(own)} keepers")
    return parse_faults(faults, keepers)


__all__ = [
    "NEXUS_0_8_0",
    "NEXUS_BEHAVIOURS",
    "NEXUS_MAIN",
    "Sandbox",
    "SandboxKeeper",
    "SandboxNexus",
    "check_plan",
]
