# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Go program gospike as Python objects: SPIKE's arithmetic, and a whole SPIKE on loopback."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.authority import Authority
from ansible_collections.dayzero.spike.tests.support.directories import memory_directory

# gospike ends when its stdin does; one that has not by then is killed.
_END_SECONDS = 10


class GoSpikeError(Exception):
    """gospike refused a message, or ended; the message is its own."""


@dataclass(frozen=True)
class KeeperState:
    """What happened at one keeper.

    ``contributes`` counts the shards that it took, ``requests`` all the HTTP requests.
    """

    id: int
    has_shard: bool
    contributes: int
    requests: int


@dataclass(frozen=True)
class NexusState:
    """What Nexus has; ``root_key_sha256`` is hex, and empty until ``ready``."""

    ready: bool
    root_key_sha256: str
    requests: int


@dataclass(frozen=True)
class ClusterState:
    """A SPIKE, seen from inside.

    ``consistent``: any threshold of the keepers' shards recovers one and the same root key, which
    is the one that Nexus has, and every shard is, to the byte, what SPIKE's SDK makes of it.
    """

    keepers: tuple[KeeperState, ...]
    nexus: NexusState
    consistent: bool


class _Talk:
    """A gospike process and the conversation with it: one JSON line each way."""

    def __init__(self, binary: Path, command: str) -> None:
        # A file and not a pipe: nobody reads it while the conversation lasts.
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed by end)
        self._process = subprocess.Popen(
            [str(binary), command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._messages = self._process.stdin
        self._answers = self._process.stdout

    def ask(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Send a message and return its answer."""
        try:
            self._messages.write(json.dumps(message) + "\n")
            self._messages.flush()
            line = self._answers.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise GoSpikeError(f"gospike has ended: {self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise GoSpikeError(answer["error"])
        return answer

    def end(self) -> None:
        """End the process; nothing of it is left."""
        with contextlib.suppress(BrokenPipeError):
            self._messages.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._answers.close()
        self._log.close()

    def await_end(self, seconds: float) -> str:
        """Wait until the process has ended by itself, and return its last words."""
        self._process.wait(seconds)
        return self._last_words()

    def _last_words(self) -> str:
        self._process.wait(_END_SECONDS)
        self._log.seek(0)
        return "".join(self._log.readlines()[-5:]).strip() or "without a word"


class GoShamir:
    """SPIKE's split and recovery, as its SDK and CIRCL >= 1.6.2 do them. A context manager."""

    def __init__(self, binary: Path) -> None:
        self._binary = binary

    def __enter__(self) -> GoShamir:
        self._splitter = _Talk(self._binary, "split")
        self._recoverer = _Talk(self._binary, "recover")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._splitter.end()
        self._recoverer.end()

    def split(self, root_key: bytes, threshold: int, shares: int) -> list[bytes]:
        """Split a root key (32 bytes); shard *i* stands at index *i* - 1."""
        answer = self._splitter.ask(
            {"root_key": root_key.hex(), "threshold": threshold, "shares": shares}
        )
        return [bytes.fromhex(answer["shards"][str(x)]) for x in range(1, shares + 1)]

    def recover(self, shards: Mapping[int, bytes], threshold: int) -> bytes:
        """Recover a root key from the first ``threshold`` of the shards, in id order."""
        texts = {str(x): shard.hex() for x, shard in shards.items()}
        answer = self._recoverer.ask({"shards": texts, "threshold": threshold})
        return bytes.fromhex(answer["root_key"])


class GoLine:
    """The line of a custodian as SPIKE's tools read it. A context manager."""

    def __init__(self, binary: Path) -> None:
        self._binary = binary

    def __enter__(self) -> GoLine:
        self._reader = _Talk(self._binary, "line")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._reader.end()

    def read(self, line: str) -> tuple[int, bytes]:
        """The index and the shard in ``line``. Raises GoSpikeError."""
        answer = self._reader.ask({"line": line})
        return answer["index"], bytes.fromhex(answer["shard"])


class GoSpike:
    """Keepers and a Nexus made of SPIKE's own libraries, on free loopback ports.

    A context manager. ``nexus_poll`` is the time between two rounds of Nexus over its keepers;
    after ``lifetime`` the process ends by itself. Both in seconds.
    """

    def __init__(
        self,
        binary: Path,
        authority: Authority,
        *,
        keepers: int = 3,
        threshold: int = 2,
        nexus_poll: float = 0.2,
        lifetime: float = 120,
    ) -> None:
        self._binary = binary
        self._authority = authority
        self._keepers = keepers
        self._threshold = threshold
        self._nexus_poll = nexus_poll
        self._lifetime = lifetime
        self.keeper_urls: tuple[str, ...] = ()
        self.nexus_url = ""

    def __enter__(self) -> GoSpike:
        self._talk = _Talk(self._binary, "serve")
        try:
            served = self._serve()
        except BaseException:
            self._talk.end()
            raise
        self.keeper_urls = tuple(served["keepers"])
        self.nexus_url = served["nexus"]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._talk.end()

    def state(self) -> ClusterState:
        """Return the state now."""
        return _cluster_state(self._talk.ask({"cmd": "state"}))

    def await_ready(self, seconds: float = 10) -> ClusterState:
        """Return the state when Nexus has a root key, and after ``seconds`` at the latest."""
        return _cluster_state(self._talk.ask({"cmd": "await_ready", "seconds": seconds}))

    def await_key(self, seconds: float = 10) -> NexusState:
        """Return Nexus's state at the very moment in which it has a root key, or after that."""
        return NexusState(**self._talk.ask({"cmd": "await_key", "seconds": seconds}))

    def restart(self) -> ClusterState:
        """Restart everything at once: nobody has a shard or a key any more."""
        return _cluster_state(self._talk.ask({"cmd": "restart"}))

    def ended(self, seconds: float = 10) -> str:
        """Wait until the process has ended by itself, and return its last words."""
        return self._talk.await_end(seconds)

    def _serve(self) -> dict[str, Any]:
        # gospike has read the files when it answers.
        with memory_directory() as directory:
            bundle = directory / "bundle.pem"
            bundle.write_bytes(self._authority.bundle_pem())
            return self._talk.ask(
                {
                    "keepers": self._keepers,
                    "threshold": self._threshold,
                    "trust_domain": self._authority.trust_domain,
                    "keeper": self._svid(directory, "keeper"),
                    "nexus": self._svid(directory, "nexus"),
                    "bundle": str(bundle),
                    "nexus_poll": self._nexus_poll,
                    "lifetime": self._lifetime,
                }
            )

    def _svid(self, directory: Path, role: str) -> dict[str, str]:
        svid = self._authority.issue(f"spiffe://{self._authority.trust_domain}/spike/{role}")
        cert, key = self._authority.write(directory, role, svid)
        return {"cert": str(cert), "key": str(key)}


def _cluster_state(answer: dict[str, Any]) -> ClusterState:
    return ClusterState(
        keepers=tuple(KeeperState(**keeper) for keeper in answer["keepers"]),
        nexus=NexusState(**answer["nexus"]),
        consistent=answer["consistent"],
    )


__all__ = [
    "ClusterState",
    "GoLine",
    "GoShamir",
    "GoSpike",
    "GoSpikeError",
    "KeeperState",
    "NexusState",
]
