# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The two errands at keepers."""

from __future__ import annotations

import enum

from .._errors import Phase


class Errand(enum.Enum):
    """What is done at every keeper, with the words of its attempt lines and messages."""

    REACH = ("Reaching keeper", "reach", Phase.REACH)
    DELIVER = ("Sending shard to keeper", "send the shard to", Phase.DELIVER)

    def __init__(self, doing: str, failed_to: str, phase: Phase) -> None:
        self.doing = doing
        self.failed_to = failed_to
        self.phase = phase


__all__ = ["Errand"]
