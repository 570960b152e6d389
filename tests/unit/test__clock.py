# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._clock import (
    DURATION_EXAMPLE,
    Duration,
    as_utc,
    from_utc,
    parse_duration,
)
from hypothesis import given, settings
from hypothesis import strategies as st

QUICK = settings(max_examples=100, deadline=None)
NANOSECONDS = {
    "ns": 1,
    "us": 10**3,
    "\u00b5s": 10**3,
    "\u03bcs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("1m30s", 90),
        ("1h", 3600),
        ("1h15m30.918273645s", 4530.918273645),
        ("1.5h", 5400),
        ("500ms", 0.5),
        ("250us", 0.00025),
        ("250\u00b5s", 0.00025),
        ("250\u03bcs", 0.00025),
        ("7ns", 7e-9),
        (".5s", 0.5),
        ("5.s", 5),
        ("+5s", 5),
        ("0s", 0),
        ("1s1s", 2),
        ("5m1h", 3900),
        (" 30s\n", 30),
        ("9223372036.854775807s", 9223372036.854775807),
    ],
)
def test_a_go_duration_is_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == Duration(seconds, text.strip())


@pytest.mark.parametrize(
    ("text", "seconds", "shown"),
    [
        ("45", 45, "45s"),
        ("0", 0, "0s"),
        ("1.5", 1.5, "1.5s"),
        (".5", 0.5, ".5s"),
        (" 30 ", 30, "30s"),
    ],
)
def test_a_number_of_seconds_is_shown_with_its_unit(text: str, seconds: float, shown: str) -> None:
    assert parse_duration(text) == Duration(seconds, shown)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        ".",
        "s",
        ".s",
        "-1s",
        "-1",
        "+5",
        "++5s",
        "1 s",
        "1h 5m",
        "1h-5m",
        "1d",
        "1S",
        "1e3",
        "1e3s",
        "0x10s",
        "1_0s",
        "1,5s",
        "inf",
        "nan",
        "None",
        "\u0663s",
        "30s;",
        "30s\n30s",
    ],
)
def test_anything_else_is_refused_and_quoted(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a duration$") as caught:
        parse_duration(text)
    assert repr(text) in str(caught.value)


def test_what_a_refusal_gives_for_an_example_is_a_duration() -> None:
    examples = re.findall(r"[0-9]\w+", DURATION_EXAMPLE)
    assert [parse_duration(text).seconds for text in examples] == [30, 90, 0.5]


@pytest.mark.parametrize("text", ["9223372036.854775808s", "9223372037", "2562048h", "9" * 400])
def test_what_is_too_long_for_go_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is longer than Go's longest duration, about 292 years"):
        parse_duration(text)


@QUICK
@given(
    st.lists(
        st.tuples(st.integers(0, 10**4), st.sampled_from(sorted(NANOSECONDS))),
        min_size=1,
        max_size=6,
    )
)
def test_the_parts_add_up(parts: list[tuple[int, str]]) -> None:
    text = "".join(f"{number}{unit}" for number, unit in parts)
    total = sum(number * NANOSECONDS[unit] for number, unit in parts)
    assert parse_duration(text).seconds == pytest.approx(total / 10**9, rel=1e-15)


@QUICK
@given(st.text(max_size=12))
def test_every_text_is_a_duration_or_a_value_error(text: str) -> None:
    try:
        duration = parse_duration(text)
    except ValueError:
        return
    assert duration.seconds >= 0
    assert parse_duration(duration.text) == duration


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        pytest.param(datetime(2026, 7, 1, tzinfo=timezone.utc), "2026-07-01T00:00:00Z", id="UTC"),
        pytest.param(
            datetime(2026, 7, 1, 1, 30, tzinfo=timezone(timedelta(hours=2))),
            "2026-06-30T23:30:00Z",
            id="another zone",
        ),
        pytest.param(
            datetime(2026, 7, 1, 12, 0, 59, 999_999, timezone.utc),
            "2026-07-01T12:00:59Z",
            id="a part of a second",
        ),
    ],
)
def test_a_moment_is_written_in_utc_to_the_second(moment: datetime, text: str) -> None:
    assert as_utc(moment) == text


@QUICK
@given(
    st.datetimes(datetime(1970, 1, 2), datetime(9999, 12, 30)),
    st.timedeltas(timedelta(hours=-23), timedelta(hours=23)),
)
def test_a_moment_that_was_written_is_read_back_to_the_second(
    moment: datetime, offset: timedelta
) -> None:
    aware = moment.replace(tzinfo=timezone(offset))
    found = from_utc(as_utc(aware))
    assert found.tzinfo is timezone.utc
    assert timedelta(0) <= aware - found < timedelta(seconds=1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2026-07-01",
        "2026-07-01 12:00:00Z",
        "2026-07-01T12:00:00",
        "2026-07-01T12:00:00+00:00",
        "2026-07-01T12:00:00.5Z",
        "2026-13-01T12:00:00Z",
        "2026-02-29T12:00:00Z",
        "2026-07-01T12:00:00Z and more",
    ],
)
def test_what_is_no_written_moment_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"does not match|out of range|remains"):
        from_utc(text)
