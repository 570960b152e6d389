# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a restore tells: how far Nexus is, and whether it has proved its key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .._decide.emergency_words import NO_PROOF, NO_PROOF_STEPS
from .._errors import Advice
from .._naming import Naming
from .._options.cluster import Keeper
from .shards_report import ShardsReport

if TYPE_CHECKING:
    # It imports libraries that the host may lack, and a report must be able to say so.
    from .._spike.recovery import Progress


class RestoreReport(ShardsReport):
    """The record of one restore; ``mixed``: Nexus was restored with shards that are not ours."""

    def __init__(
        self, peers: Sequence[Keeper], nexus_api_url: str | None, naming: Naming = Naming.OPTIONS
    ) -> None:
        super().__init__(peers, nexus_api_url, naming)
        self._progress: Progress | None = None
        self._steps: tuple[str, ...] = ()
        self.sent: list[int] = []
        self.proved = False
        self.mixed = False

    @property
    def restored(self) -> bool:
        """Whether Nexus has said that it has a key again."""
        return self._progress is not None and self._progress.restored

    def given(self, index: int, progress: Progress) -> None:
        """Note that Nexus has answered to a shard."""
        self.sent.append(index)
        self._progress = progress

    def unproved(self, reason: str, url: str) -> None:
        """Note that nothing proves the key with which Nexus is live: it is never quiet."""
        again = {Naming.OPTIONS: "spike_restore"}.get(
            self._naming, "the playbook dayzero.spike.restore"
        )
        advice = Advice(NO_PROOF, what_to_do=NO_PROOF_STEPS).about(reason=reason, url=url)
        told = advice.rerun(again).spelt(self._naming)
        self.warnings.append(told.msg)
        self._steps = told.what_to_do

    def result(self) -> dict[str, Any]:
        """The result's part that success and failure share."""
        progress = self._progress
        result = {
            **super().result(),
            "sent": list(self.sent),
            "collected": progress.collected if progress else None,
            "remaining": progress.remaining if progress else None,
            "restored": self.restored,
            "proved": self.proved,
        }
        if self._steps:
            result["what_to_do"] = list(self._steps)
        return result


__all__ = ["RestoreReport"]
