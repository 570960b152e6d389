# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a recovery and a restore both tell: what is known of the shards and of their key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .._naming import Naming
from .._options.cluster import Keeper
from .report import Report


class ShardsReport(Report):
    """The record of a run that has a set of shards in its hands."""

    def __init__(
        self, peers: Sequence[Keeper], nexus_api_url: str | None, naming: Naming = Naming.OPTIONS
    ) -> None:
        super().__init__(nexus_api_url, naming)
        self._shares = len(peers)
        self._scheme: str | None = None
        self._token_opened: bool | None = None

    def checked(self, scheme: str | None, *, token_opened: bool | None) -> None:
        """Note that the shards are one set, and whether their key opens the journal's token."""
        self._scheme = scheme
        self._token_opened = token_opened

    def result(self) -> dict[str, Any]:
        """The result's part that success and failure share."""
        return {
            **super().result(),
            "shares": self._shares,
            "scheme": self._scheme,
            "token_opened": self._token_opened,
        }


__all__ = ["ShardsReport"]
