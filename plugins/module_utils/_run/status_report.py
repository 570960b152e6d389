# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a status reports: all that a run reports, and next to it the journal and the outlook."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .._naming import Naming
from .._options.cluster import Keeper
from .report import RunReport

if TYPE_CHECKING:
    # Both import libraries that the host may lack, and a report must be able to say so.
    from .._decide.outlook import Outlook
    from .._state.journal import Record


class StatusReport(RunReport):
    """The record of one status; what was not learnt before a failure is None in the result."""

    def __init__(
        self,
        peers: Sequence[Keeper],
        nexus_api_url: str | None,
        naming: Naming = Naming.OPTIONS,
    ) -> None:
        super().__init__(peers, nexus_api_url, naming)
        self.outlook: Outlook | None = None
        self._journal: dict[str, Any] | None = None

    def journal(
        self,
        path: str,
        record: Record | None,
        *,
        pending_key: bool,
        running: bool,
        unusable: bool = False,
    ) -> None:
        """Note what an earlier run left: its record, and whether its key is still kept.

        ``unusable``: one of the two is there and cannot be read.
        """
        self._journal = {
            "path": path,
            "state": "unusable" if unusable else _state(record),
            "cluster": _cluster(record),
            "delivered": sorted(record.delivered) if record else [],
            "pending_key": pending_key,
            "running": running,
        }

    def result(self) -> dict[str, Any]:
        """The result's part that success and failure share."""
        of_a_run = super().result()
        # A status sends nothing, so it neither resumes nor forces.
        del of_a_run["resumed"], of_a_run["forced"]
        return {
            **of_a_run,
            "journal": self._journal,
            "next": self.outlook.next.value if self.outlook else None,
            "summary": self._naming.spell(self.outlook.summary) if self.outlook else None,
        }


def _state(record: Record | None) -> str:
    if record is None:
        return "none"
    return "finished" if record.finished else "delivering"


def _cluster(record: Record | None) -> dict[str, Any] | None:
    if record is None:
        return None
    return {
        "keepers": list(record.cluster.keepers),
        "threshold": record.cluster.threshold,
        "scheme": record.cluster.scheme,
    }


__all__ = ["StatusReport"]
