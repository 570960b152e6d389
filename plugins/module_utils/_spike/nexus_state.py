# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The state of Nexus, as results say it."""

from __future__ import annotations

import enum


class NexusState(enum.Enum):
    """The state of Nexus; the values are the result's ``nexus.state``."""

    READY = "ready"
    NOT_READY = "not_ready"
    UNREACHABLE = "unreachable"
    UNCLEAR = "unclear"
    OTHER_KEY = "other_key"
    SKIPPED = "skipped"


__all__ = ["NexusState"]
