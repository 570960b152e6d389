# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where our SVID comes from, as the operator says it."""

from __future__ import annotations

from collections.abc import Mapping

from .._clock import Duration
from .._dataclass import dataclass

SVID_SOURCES = ("workload_api", "files", "spire_agent")


@dataclass(frozen=True)
class SvidSettings:
    """The source of our SVID; each field is documented with the option of the same name."""

    svid_source: str
    spiffe_endpoint_socket: str | None
    spiffe_source_timeout: Duration
    svid_cert: str | None
    svid_key: str | None
    svid_bundle: str | None
    spire_agent_path: str
    federated_bundles: Mapping[str, str]

    @property
    def writes_files(self) -> bool:
        """Whether the source hands over files, and so needs a directory in memory for the key."""
        return self.svid_source == "spire_agent"


__all__ = ["SVID_SOURCES", "SvidSettings"]
