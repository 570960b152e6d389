# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a recovery tells: the encrypted shards, and what is known of the key that they make."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .._naming import Naming
from .._options.cluster import Keeper
from .._spike.nexus_state import NexusState
from .shards_report import ShardsReport

if TYPE_CHECKING:
    # It imports libraries that the host may lack, and a report must be able to say so.
    from .._state.recovery_files import SealedShard


class RecoverReport(ShardsReport):
    """The record of one recovery."""

    def __init__(
        self, peers: Sequence[Keeper], nexus_api_url: str | None, naming: Naming = Naming.OPTIONS
    ) -> None:
        super().__init__(peers, nexus_api_url, naming)
        self._shards: list[dict[str, Any]] = []
        self._document: dict[str, Any] | None = None
        self.threshold: int | None = None

    def nexus_said(self, state: NexusState, detail: str) -> None:
        """Note what came of asking Nexus for its shards."""
        self.nexus(state, detail, attempts=1, elapsed=0.0)

    def handed_out(self, shards: Sequence[SealedShard], document: dict[str, Any]) -> None:
        """Note the shards as custodians get them, and the ``document`` that describes them."""
        self._document = document
        self._shards = [
            {
                "index": shard.index,
                "custodian": shard.envelope.custodian.name,
                "key_id": shard.envelope.key_id,
                "ciphertext": shard.ciphertext,
                "sha256": shard.digest,
            }
            for shard in shards
        ]

    def result(self) -> dict[str, Any]:
        """The result's part that success and failure share."""
        return {
            **super().result(),
            "shards": self._shards,
            "recovery": self._document,
            "threshold": self.threshold,
        }


__all__ = ["RecoverReport"]
