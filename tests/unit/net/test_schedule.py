# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._net.schedule import (
    LATEST_START,
    start_times,
)
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

# From a nanosecond, Go's shortest, to more than a week.
SECONDS = st.floats(1e-9, 1e6)


def rounded(starts: tuple[float, ...]) -> list[float]:
    return [round(start, 2) for start in starts]


@pytest.mark.parametrize(
    ("timeout", "attempts", "initial", "longest", "expected"),
    [
        pytest.param(30, 5, 2, 30, [0, 2, 6, 14, 28], id="the defaults"),
        pytest.param(1, 5, 2, 30, [0, 0.23, 0.47, 0.7, 0.93], id="1s: nothing fits"),
        pytest.param(30, 1, 2, 30, [0], id="one attempt"),
        pytest.param(30, 2, 2, 30, [0, 2], id="all fit: nothing is spread"),
        pytest.param(60, 5, 2, 30, [0, 2, 6, 14, 30], id="all five fit"),
        pytest.param(30, 8, 2, 30, [0, 2, 6, 14, 17.5, 21, 24.5, 28], id="four are spread"),
        pytest.param(30, 5, 2, 3, [0, 2, 5, 8, 11], id="the wait grows no further"),
        pytest.param(30, 4, 5, 2, [0, 2, 4, 6], id="longer first than most: the most counts"),
        pytest.param(3, 5, 2, 30, [0, 2, 2.27, 2.53, 2.8], id="one fits"),
        pytest.param(15, 4, 2, 30, [0, 2, 6, 14], id="the last fits at the very limit"),
        pytest.param(15, 5, 2, 30, [0, 2, 6, 10, 14], id="at the very limit with one to come"),
    ],
)
def test_the_attempts_start_at_these_times(
    timeout: float, attempts: int, initial: float, longest: float, expected: list[float]
) -> None:
    assert rounded(start_times(timeout, attempts, initial, longest)) == expected


@settings(max_examples=300, deadline=None)
@given(SECONDS, st.integers(1, 1000), SECONDS, SECONDS)
# A start that fits by a rounding error, with many attempts still to come.
@example(15.000000000000002, 1000, 2.0, 30.0)
@example(15.0, 1000, 2.0, 30.0)
@example(1e6, 1000, 1e-9, 1e6)
def test_all_attempts_start_in_time_and_in_order(
    timeout: float, attempts: int, initial: float, longest: float
) -> None:
    starts = start_times(timeout, attempts, initial, longest)
    assert len(starts) == attempts
    assert starts[0] == 0
    assert all(before < after for before, after in zip(starts, starts[1:]))
    assert timeout - starts[-1] >= timeout * (1 - LATEST_START) * (1 - 1e-12)


@settings(max_examples=200, deadline=None)
@given(st.floats(0.1, 1e4), st.integers(1, 50), st.floats(0.01, 100), st.floats(0.01, 100))
def test_starts_that_fit_stay_and_the_others_are_spread_evenly(
    timeout: float, attempts: int, initial: float, longest: float
) -> None:
    limit = timeout * 14 / 15
    starts = start_times(timeout, attempts, initial, longest)
    ideal = [0.0]
    while len(ideal) < attempts:
        ideal.append(ideal[-1] + min(initial * 2 ** (len(ideal) - 1), longest))
    # Right at the limit a rounding error decides: 100 microseconds around it decide nothing here.
    kept = [start for start in ideal if start < limit - 1e-4]
    assume(all(abs(start - limit) > 1e-4 for start in ideal))
    assert starts[: len(kept)] == pytest.approx(kept)
    if len(kept) < attempts:
        gap = (limit - kept[-1]) / (attempts - len(kept))
        spread = [kept[-1] + gap * i for i in range(1, attempts - len(kept) + 1)]
        assert starts[len(kept) :] == pytest.approx(spread)
