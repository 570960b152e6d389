# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run reports to the operator: the result, and the attempt lines."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .._dataclass import dataclass
from .._decide.errand import Errand
from .._errors import Failure, Phase
from .._naming import Naming
from .._options.cluster import Keeper
from .._spike.nexus_state import NexusState

if TYPE_CHECKING:
    from .._net.broadcast import Outcome

# How often a line says that Nexus is still waited for.
_WAITING_SECONDS = 10.0


class KeeperState(enum.Enum):
    """How far a keeper is; the values are the result's ``state``."""

    PENDING = "pending"
    REACHED = "reached"
    DELIVERED = "delivered"
    UNREACHABLE = "unreachable"
    REJECTED = "rejected"
    UNKNOWN = "unknown"


@dataclass
class _Record:
    keeper: Keeper
    state: KeeperState = KeeperState.PENDING
    attempts: int = 0
    elapsed: float = 0.0
    failure: Failure | None = None

    @property
    def failed(self) -> bool:
        return self.failure is not None


class Report:
    """What every module tells: how far it came, whether it changed anything, what Nexus said."""

    def __init__(self, nexus_api_url: str | None, naming: Naming = Naming.OPTIONS) -> None:
        self.phase = Phase.CONFIG
        self.changed = False
        self.warnings: list[str] = []
        # Takes each line as it happens.
        self.live: Callable[[str], None] = lambda line: None
        self._naming = naming
        self.nexus_state = NexusState.SKIPPED
        self.nexus_attempts = 0
        self.nexus_elapsed = 0.0
        self.nexus_detail = ""
        self._nexus_api_url = nexus_api_url

    def nexus(self, state: NexusState, detail: str, *, attempts: int, elapsed: float) -> None:
        """Note what Nexus said last, after ``attempts`` requests and ``elapsed`` seconds."""
        self.nexus_state = state
        self.nexus_detail = detail
        self.nexus_attempts = attempts
        self.nexus_elapsed = elapsed

    def result(self) -> dict[str, Any]:
        """The result's part that success and failure share."""
        return {
            "changed": self.changed,
            "phase": self.phase.value,
            "nexus": {
                "url": self._nexus_api_url,
                "state": self.nexus_state.value,
                "attempts": self.nexus_attempts,
                "elapsed": _rounded(self.nexus_elapsed),
                "detail": self.nexus_detail,
            },
        }

    def diff(self, *, would_deliver: bool) -> dict[str, Any] | None:
        """Diff mode's view; None where there is none."""
        return None


class RunReport(Report):
    """The record of one run, from which every result has the same shape."""

    def __init__(
        self,
        keepers: Sequence[Keeper],
        nexus_api_url: str | None,
        naming: Naming = Naming.OPTIONS,
    ) -> None:
        super().__init__(nexus_api_url, naming)
        self.resumed = False
        self.forced: str | None = None
        self._keepers = [_Record(keeper) for keeper in keepers]
        self._log: list[str] = []
        self._before: dict[str, str] | None = None
        self._other_changes: dict[str, tuple[str, str]] = {}
        self._next_word_at = _WAITING_SECONDS

    def begins(self, *, with_shard: frozenset[int]) -> None:
        """Note how it was before: the keepers ``with_shard`` have one of the same key."""
        self.have_their_shard(with_shard)
        self._before = self._states()

    def have_their_shard(self, ids: frozenset[int]) -> None:
        """Note which keepers are known to have their shard, and are not sent it."""
        for record in self._keepers:
            if record.keeper.id in ids:
                record.state = KeeperState.DELIVERED

    def attempt(self, errand: Errand, keeper: Keeper, number: int, most: int) -> None:
        """Note that an attempt starts."""
        line = f"{errand.doing} {keeper.id} at {keeper.url}... (attempt {number}/{most})"
        self._log.append(line)
        self.live(line)

    def waiting_for_nexus(self, last: str, waited: float) -> None:
        """Say every 10 s, and only live, that Nexus is waited for; ``last`` is what it said last.

        No result has these lines: how often Nexus is asked is chance.
        """
        if waited >= self._next_word_at:
            self._next_word_at = waited - waited % _WAITING_SECONDS + _WAITING_SECONDS
            self.live(
                f"Waiting for SPIKE Nexus at {self._nexus_api_url} to prove the root key..."
                f" ({waited:.0f} s; {last})"
            )

    def outcome(self, errand: Errand, keeper: Keeper, outcome: Outcome) -> None:
        """Note how a step ended at one keeper."""
        record = self._keepers[keeper.id - 1]
        record.attempts = outcome.attempts
        record.elapsed = outcome.elapsed
        record.failure = outcome.failure
        record.state = _state(errand, outcome)
        if errand is Errand.DELIVER and outcome.sent:
            self.changed = True

    def proof_skipped(self, runtime_dir: str, *, replaced: bool) -> None:
        """Note that Nexus was not asked for its proof; ``replaced``: it has another key."""
        self.nexus_state = NexusState.OTHER_KEY if replaced else NexusState.SKIPPED
        self.nexus_detail = (
            f"not asked to prove the root key (verify: false), which stays in {runtime_dir} until"
            " a run with verify ends well"
        )

    def force_overrides(self, refused: str, *, check: bool) -> str:
        """Note what force overrides, and return the words: it is never quiet."""
        self.forced = (
            f"force {'would override' if check else 'has overridden'} a refusal ({refused}) and"
            f" {'would replace' if check else 'replaces'} the root key that Nexus holds or may hold"
        )
        self.warnings.append(f"{self.forced}: what Nexus stores becomes unreadable.")
        return self.forced

    def accepted(self) -> None:
        """Note that the key that Nexus has counts as this cluster's."""
        self.nexus_detail = "it holds a root key of which nothing is known here, accepted as it is"

    def abandoned(self, journal: str | None) -> None:
        """Note that a run was given up, with its journal, if it had one, now at ``journal``."""
        if journal is not None:
            self.warnings.append(
                f"The unfinished run was given up; its journal is now {journal}. Keepers and Nexus"
                " may still hold shards of its key. Restart Nexus and every keeper before a run"
                " that draws a new key, so that the two cannot mix."
            )

    def result(self) -> dict[str, Any]:
        """The result's part that success and failure share."""
        failed = [keeper for keeper in self._keepers if keeper.failed]
        result: dict[str, Any] = {
            **super().result(),
            "failed_keepers": [keeper.keeper.id for keeper in failed],
            "keepers": [self._entry(keeper) for keeper in self._keepers],
            "resumed": self.resumed,
            "forced": self.forced,
            "log": list(self._log),
        }
        if failed:
            result["keeper_id"] = failed[0].keeper.id
            result["keeper_url"] = failed[0].keeper.url
        return result

    def diff(self, *, would_deliver: bool) -> dict[str, Any]:
        """Diff mode's view: what changed, or in check mode (``would_deliver``) would be changed.

        The keepers' states, by id; and where force replaces a root key, that it does.
        """
        before = dict(self._before or dict.fromkeys(self._states(), KeeperState.PENDING.value))
        after = dict(self._states())
        if would_deliver:
            after = dict.fromkeys(after, KeeperState.DELIVERED.value)
        if self.forced is not None:
            before["root key"] = "what Nexus holds, or may hold"
            after["root key"] = "replaced by force, what Nexus stores becomes unreadable"
        for name, (old, new) in self._other_changes.items():
            before[name], after[name] = old, new
        return {"before": before, "after": after}

    def also_changed(self, what: str, before: str, after: str) -> None:
        """Note for diff mode that something other than a keeper was, or would be, changed."""
        self._other_changes[what] = (before, after)

    def _states(self) -> dict[str, str]:
        return {f"keeper {keeper.keeper.id}": keeper.state.value for keeper in self._keepers}

    def _entry(self, keeper: _Record) -> dict[str, Any]:
        failure = keeper.failure
        hint = ""
        if failure:
            from .._decide.keeper_words import words_for

            hint = self._naming.spell(words_for(failure).hint)
        return {
            "id": keeper.keeper.id,
            "url": keeper.keeper.url,
            "state": keeper.state.value,
            "attempts": keeper.attempts,
            "elapsed": _rounded(keeper.elapsed),
            "cause": failure.cause.value if failure else None,
            "detail": failure.detail if failure else "",
            "hint": hint,
        }


def _state(errand: Errand, outcome: Outcome) -> KeeperState:
    if outcome.failure is None:
        return KeeperState.REACHED if errand is Errand.REACH else KeeperState.DELIVERED
    if outcome.failure.final:
        return KeeperState.REJECTED
    if errand is Errand.DELIVER and outcome.sent:
        return KeeperState.UNKNOWN
    return KeeperState.UNREACHABLE


def _rounded(seconds: float) -> float:
    return round(seconds, 3)


__all__ = ["KeeperState", "Report", "RunReport"]
