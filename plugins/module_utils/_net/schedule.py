# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When the attempts at one keeper start: a pure function of the settings."""

from __future__ import annotations

# The last attempt must leave itself time for a handshake and an answer: one fifteenth of the
# timeout, which makes SPIKE's defaults (30s, 5 attempts, 2s doubling) come out as 0, 2, 6, 14, 28.
LATEST_START = 14 / 15
# A start fits only where those after it find this much room each: in less, floats run together.
_ROOM_SECONDS = 1e-6


def start_times(
    timeout: float, attempts: int, initial_interval: float, max_interval: float
) -> tuple[float, ...]:
    """Seconds after the step's begin at which each of ``attempts`` attempts starts.

    The first starts at 0, each following one after a wait of ``initial_interval``, doubled every
    time up to ``max_interval``. Starts that would come later than LATEST_START of ``timeout`` are
    spread evenly between the last that fits and that limit instead, the last of them at the limit:
    every attempt is made, and made while there is time for an answer. A start at the very limit
    fits only as the last one, so that no two attempts share a moment.

    ``timeout`` > 0, ``attempts`` >= 1, intervals > 0; all in seconds.
    """
    limit = timeout * LATEST_START
    starts = [0.0]
    wait = min(initial_interval, max_interval)
    while len(starts) < attempts:
        due = starts[-1] + wait
        following = attempts - len(starts) - 1
        if due + following * _ROOM_SECONDS > limit:
            break
        starts.append(due)
        wait = min(wait * 2, max_interval)
    missing = attempts - len(starts)
    step = (limit - starts[-1]) / missing if missing else 0.0
    last_fitting = starts[-1]
    starts += [last_fitting + step * i for i in range(1, missing)]
    if missing:
        starts.append(limit)
    return tuple(starts)


__all__ = ["LATEST_START", "start_times"]
