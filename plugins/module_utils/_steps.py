# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The points at which a crash could cut a run, for the tests that cut it there."""

from __future__ import annotations

from collections.abc import Callable

# Called with a name before and after each change that a crash could separate from the next.
StepHook = Callable[[str], None]


def ignore_step(name: str) -> None:
    """The step hook of a real run: nothing."""


__all__ = ["StepHook", "ignore_step"]
