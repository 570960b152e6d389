# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run tells the operator: the result, the messages, the attempt lines, the hints."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.dayzero.spike.plugins.module_utils._broadcast import Outcome
from ansible_collections.dayzero.spike.plugins.module_utils._errors import Cause, Failure, Phase
from ansible_collections.dayzero.spike.plugins.module_utils._settings import Peer


class KeeperState(enum.Enum):
    """How far a keeper is; the values are the result's ``state``."""

    PENDING = "pending"
    REACHED = "reached"
    DELIVERED = "delivered"
    UNREACHABLE = "unreachable"
    REJECTED = "rejected"
    UNKNOWN = "unknown"


class NexusState(enum.Enum):
    """How Nexus stands; the values are the result's ``nexus.state``."""

    READY = "ready"
    NOT_READY = "not_ready"
    UNREACHABLE = "unreachable"
    OTHER_KEY = "other_key"
    SKIPPED = "skipped"


class Step(enum.Enum):
    """The two steps at the keepers, with the words of their attempt lines and messages."""

    REACH = ("Reaching keeper", "reach", Phase.REACH)
    DELIVER = ("Sending shard to keeper", "send the shard to", Phase.DELIVER)

    def __init__(self, doing: str, failed_to: str, phase: Phase) -> None:
        self.doing = doing
        self.failed_to = failed_to
        self.phase = phase


_PHRASES = {
    Cause.CONNECTION_REFUSED: "connection refused",
    Cause.CONNECT_TIMEOUT: "connection timed out",
    Cause.NAME_RESOLUTION: "name resolution failed",
    Cause.TLS: "TLS handshake failed",
    Cause.TLS_TIMEOUT: "TLS handshake timed out",
    Cause.PEER_UNTRUSTED: "its certificate is not trusted",
    Cause.PEER_IDENTITY: "wrong SPIFFE ID",
    Cause.IDENTITY_REFUSED: "it refused our SVID",
    Cause.HTTP_STATUS: "unexpected HTTP answer",
    Cause.BAD_RESPONSE: "invalid response",
    Cause.RESPONSE_TIMEOUT: "no response in time",
}

_HINTS = {
    Cause.CONNECTION_REFUSED: "Start the keeper, or correct the host and port in keeper_peers.",
    Cause.CONNECT_TIMEOUT: (
        "Check that the host is up, and that routes and firewalls let TCP through to this port."
    ),
    Cause.NAME_RESOLUTION: (
        "Make this host's name service resolve the keeper's name, or correct keeper_peers."
    ),
    Cause.TLS: (
        "Check that a SPIKE Keeper listens on this port, and speaks TLS 1.2 or later, with no"
        " proxy in between."
    ),
    Cause.TLS_TIMEOUT: (
        "The port accepts connections and then stalls: look at the keeper's log, whether it has"
        " its SVID, and at what stands between."
    ),
    Cause.PEER_UNTRUSTED: (
        "Compare the keeper's trust domain with trust_root_keeper, refresh the trust bundle, and"
        " check both clocks."
    ),
    Cause.PEER_IDENTITY: (
        "Something else than a keeper answers here, or its SPIRE entry is wrong: correct"
        " keeper_peers, trust_root_keeper or the entry."
    ),
    Cause.IDENTITY_REFUSED: (
        "The keeper must admit our SPIFFE ID as a bootstrap: compare its SPIKE_TRUST_ROOT_BOOTSTRAP"
        " and its trust bundle with ours."
    ),
    Cause.HTTP_STATUS: (
        "Check that keeper_peers points at SPIKE Keepers themselves, without a path or a proxy, and"
        " look at the keeper's log."
    ),
    Cause.BAD_RESPONSE: (
        "Look at the keeper's log, and check that it is one: what came back is no answer of a"
        " keeper's."
    ),
    Cause.RESPONSE_TIMEOUT: (
        "The keeper took the request and is too slow, or hangs: look at its log and load, or raise"
        " keeper_timeout."
    ),
}

_LAST_WORDS = "Ensure all keepers are running and rerun bootstrap."


@dataclass
class _Keeper:
    peer: Peer
    state: KeeperState = KeeperState.PENDING
    attempts: int = 0
    elapsed: float = 0.0
    failure: Failure | None = None

    @property
    def failed(self) -> bool:
        return self.failure is not None


class RunReport:
    """The record of one run, from which every result has the same shape."""

    def __init__(self, peers: Sequence[Peer], nexus_api_url: str | None) -> None:
        self.phase = Phase.CONFIG
        self.changed = False
        self.resumed = False
        self.nexus_state = NexusState.SKIPPED
        self.nexus_attempts = 0
        self.nexus_elapsed = 0.0
        self.nexus_detail = ""
        self._nexus_api_url = nexus_api_url
        self._keepers = [_Keeper(peer) for peer in peers]
        self._log: list[str] = []
        self._before: dict[str, str] | None = None

    def already_delivered(self, ids: frozenset[int]) -> None:
        """Note which keepers have their shard from an earlier run and are not sent it again."""
        for keeper in self._keepers:
            if keeper.peer.id in ids:
                keeper.state = KeeperState.DELIVERED
        if self._before is None:
            self._before = self._states()

    def attempt(self, step: Step, peer: Peer, number: int, most: int) -> None:
        """Note that an attempt starts."""
        line = f"{step.doing} {peer.id} at {peer.url}... (attempt {number}/{most})"
        self._log.append(line)

    def outcome(self, step: Step, peer: Peer, outcome: Outcome) -> None:
        """Note how a step ended at one keeper."""
        keeper = self._keepers[peer.id - 1]
        keeper.attempts = outcome.attempts
        keeper.elapsed = outcome.elapsed
        keeper.failure = outcome.failure
        keeper.state = _state(step, outcome)
        if step is Step.DELIVER and outcome.sent:
            self.changed = True

    def nexus(self, state: NexusState, detail: str, *, attempts: int, elapsed: float) -> None:
        """Note what Nexus said last, after ``attempts`` requests and ``elapsed`` seconds."""
        self.nexus_state = state
        self.nexus_detail = detail
        self.nexus_attempts = attempts
        self.nexus_elapsed = elapsed

    def proof_skipped(self, runtime_dir: str, *, replaced: bool) -> None:
        """Note that Nexus was not asked for its proof; ``replaced``: it has another key."""
        self.nexus_state = NexusState.OTHER_KEY if replaced else NexusState.SKIPPED
        self.nexus_detail = (
            f"not asked to prove the root key (verify: false), which stays in {runtime_dir} until"
            " a run with verify ends well"
        )

    @property
    def failed_keepers(self) -> list[int]:
        """The ids of the keepers whose last step failed, in id order."""
        return [keeper.peer.id for keeper in self._keepers if keeper.failed]

    def keepers_message(self, step: Step, timeout: str) -> str:
        """The message for the keepers that failed in ``step``; ``timeout`` as it was given."""
        failed = [keeper for keeper in self._keepers if keeper.failed]
        sentences = [self._sentence(step, keeper, timeout) for keeper in failed]
        if len(sentences) == 1:
            return sentences[0]
        total = len(self._keepers)
        head = f"Failed to {step.failed_to} {len(failed)} of {total} keepers:"
        return "\n".join([head, *sentences])

    def result(self) -> dict[str, Any]:
        """The result's part that success and failure share."""
        failed = [keeper for keeper in self._keepers if keeper.failed]
        result: dict[str, Any] = {
            "changed": self.changed,
            "phase": self.phase.value,
            "failed_keepers": self.failed_keepers,
            "keepers": [_entry(keeper) for keeper in self._keepers],
            "nexus": {
                "url": self._nexus_api_url,
                "state": self.nexus_state.value,
                "attempts": self.nexus_attempts,
                "elapsed": _rounded(self.nexus_elapsed),
                "detail": self.nexus_detail,
            },
            "resumed": self.resumed,
            "log": list(self._log),
        }
        if failed:
            result["keeper_id"] = failed[0].peer.id
            result["keeper_url"] = failed[0].peer.url
        return result

    def diff(self, *, would_deliver: bool) -> dict[str, Any]:
        """Diff mode's view: the keepers' states before and after; ``would_deliver``: check mode."""
        before = self._before or {k.peer.url: KeeperState.PENDING.value for k in self._keepers}
        after = self._states()
        if would_deliver:
            after = dict.fromkeys(after, KeeperState.DELIVERED.value)
        return {"before": before, "after": after}

    def _states(self) -> dict[str, str]:
        return {keeper.peer.url: keeper.state.value for keeper in self._keepers}

    def _sentence(self, step: Step, keeper: _Keeper, timeout: str) -> str:
        assert keeper.failure is not None
        attempts = "1 attempt" if keeper.attempts == 1 else f"{keeper.attempts} attempts"
        reason = _PHRASES[keeper.failure.cause]
        if keeper.failure.detail != reason:
            reason += f" ({keeper.failure.detail})"
        # Waiting cannot mend a final failure, and running keepers are not enough.
        remedy = f"{_HINTS[keeper.failure.cause]} " if keeper.failure.final else ""
        return (
            f"Failed to {step.failed_to} keeper {keeper.peer.id} at {keeper.peer.url}"
            f" after {attempts} ({timeout} timeout): {reason}. {remedy}{_LAST_WORDS}"
        )


def _state(step: Step, outcome: Outcome) -> KeeperState:
    if outcome.failure is None:
        return KeeperState.REACHED if step is Step.REACH else KeeperState.DELIVERED
    if outcome.failure.final:
        return KeeperState.REJECTED
    if step is Step.DELIVER and outcome.sent:
        return KeeperState.UNKNOWN
    return KeeperState.UNREACHABLE


def _entry(keeper: _Keeper) -> dict[str, Any]:
    failure = keeper.failure
    return {
        "id": keeper.peer.id,
        "url": keeper.peer.url,
        "state": keeper.state.value,
        "attempts": keeper.attempts,
        "elapsed": _rounded(keeper.elapsed),
        "cause": failure.cause.value if failure else None,
        "detail": failure.detail if failure else "",
        "hint": _HINTS[failure.cause] if failure else "",
    }


def _rounded(seconds: float) -> float:
    return round(seconds, 3)


__all__ = ["KeeperState", "NexusState", "RunReport", "Step"]
