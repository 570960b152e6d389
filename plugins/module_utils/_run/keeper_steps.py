# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The two steps at the keepers: every keeper's attempts, under the settings' times, reported."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

from ansible_collections.dayzero.spike.plugins.module_utils._attempt import Attempt
from ansible_collections.dayzero.spike.plugins.module_utils._broadcast import (
    Outcome,
    Runner,
    Schedule,
    broadcast,
)
from ansible_collections.dayzero.spike.plugins.module_utils._duration import Duration
from ansible_collections.dayzero.spike.plugins.module_utils._errors import KeepersFailed
from ansible_collections.dayzero.spike.plugins.module_utils._report import RunReport, Step
from ansible_collections.dayzero.spike.plugins.module_utils._schedule import start_times
from ansible_collections.dayzero.spike.plugins.module_utils._settings import Peer, Settings

# One request to one keeper.
Work = Callable[[Peer, Attempt], None]


def at_every_keeper(
    step: Step,
    peers: Sequence[Peer],
    work: Work,
    *,
    settings: Settings,
    limit: Duration,
    runner: Runner,
    report: RunReport,
    on_success: Callable[[Peer], None] = lambda peer: None,
    on_pause: Callable[[], float] = lambda: math.inf,
) -> None:
    """Do ``work`` at all ``peers`` at once, each with the settings' attempts, within ``limit``.

    ``on_success`` is called as each keeper succeeds, ``on_pause`` as ``broadcast`` does. Raises
    KeepersFailed, after all have ended, when any has failed; the report says which and why.
    """
    schedule = Schedule(
        start_times(
            limit.seconds,
            settings.keeper_max_retries,
            settings.keeper_retry_initial_interval.seconds,
            settings.keeper_retry_max_interval.seconds,
        ),
        limit.seconds,
    )

    def on_attempt(index: int, number: int) -> None:
        report.attempt(step, peers[index], number, settings.keeper_max_retries)

    def on_outcome(index: int, outcome: Outcome) -> None:
        report.outcome(step, peers[index], outcome)
        if outcome.failure is None:
            on_success(peers[index])

    outcomes = broadcast(
        [functools.partial(work, peer) for peer in peers],
        schedule,
        runner,
        on_attempt=on_attempt,
        on_outcome=on_outcome,
        on_pause=on_pause,
    )
    if any(outcome.failure for outcome in outcomes):
        raise KeepersFailed(report.keepers_message(step, limit.text))


__all__ = ["at_every_keeper"]
