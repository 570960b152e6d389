# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The two steps at the keepers: every keeper's attempts, under the settings' times, reported."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

from .._clock import Duration
from .._decide.errand import Errand
from .._decide.keeper_words import FailedKeeper, advice_on
from .._errors import KeepersFailed
from .._net.attempt import Attempt
from .._net.broadcast import (
    Outcome,
    Runner,
    Schedule,
    broadcast,
)
from .._net.schedule import start_times
from .._options.cluster import Keeper
from .._options.settings import KeeperSettings
from .._spike.keeper import reach
from .report import RunReport
from .session import Session

# One request to one keeper.
Work = Callable[[Keeper, Attempt], None]


def at_every_keeper(
    errand: Errand,
    keepers: Sequence[Keeper],
    work: Work,
    *,
    of: int,
    settings: KeeperSettings,
    limit: Duration,
    runner: Runner,
    report: RunReport,
    on_success: Callable[[Keeper], None] = lambda keeper: None,
    on_pause: Callable[[], float] = lambda: math.inf,
) -> None:
    """Do ``work`` at all ``keepers`` at once, each with the settings' attempts, within ``limit``.

    ``on_success`` is called as each keeper succeeds, ``on_pause`` as ``broadcast`` does. Raises
    KeepersFailed, after all have ended, when any has failed, of how many there are.
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
        report.attempt(errand, keepers[index], number, settings.keeper_max_retries)

    def on_outcome(index: int, outcome: Outcome) -> None:
        report.outcome(errand, keepers[index], outcome)
        if outcome.failure is None:
            on_success(keepers[index])

    outcomes = broadcast(
        [functools.partial(work, keeper) for keeper in keepers],
        schedule,
        runner,
        on_attempt=on_attempt,
        on_outcome=on_outcome,
        on_pause=on_pause,
    )
    failed = [
        FailedKeeper(keeper, outcome.attempts, outcome.failure)
        for keeper, outcome in zip(keepers, outcomes)
        if outcome.failure is not None
    ]
    if failed:
        advice = advice_on(errand, failed, of, limit.text)
        raise KeepersFailed(advice, tuple(keeper.keeper.id for keeper in failed))


def reach_keepers(session: Session) -> None:
    """Reach every keeper; raises KeepersFailed, and the report says which failed and why."""

    def work(peer: Keeper, attempt: Attempt) -> None:
        session.tools.step(f"keeper {peer.id}: before preflight")
        reach(session.keepers, peer, attempt)
        session.tools.step(f"keeper {peer.id}: preflight answered")

    at_every_keeper(
        Errand.REACH,
        session.settings.keepers,
        work,
        of=len(session.settings.keepers),
        settings=session.settings,
        limit=session.clipped(session.settings.keeper_timeout),
        runner=session.workers,
        report=session.report,
    )


__all__ = ["at_every_keeper", "reach_keepers"]
