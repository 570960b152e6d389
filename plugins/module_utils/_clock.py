# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The clock, durations as SPIKE's settings have them, and moments as they are shown."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timezone
from decimal import Decimal

from ._dataclass import dataclass

# Monotonic, in seconds.
Clock = Callable[[], float]

# Go's time.ParseDuration; both micro signs (U+00B5, U+03BC) are accepted there as well.
_UNITS = {
    "ns": Decimal("1e-9"),
    "us": Decimal("1e-6"),
    "\u00b5s": Decimal("1e-6"),
    "\u03bcs": Decimal("1e-6"),
    "ms": Decimal("1e-3"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
}
_NUMBER = r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)"
_PART = re.compile(rf"({_NUMBER})(ns|us|\u00b5s|\u03bcs|ms|s|m|h)")
_WHOLE = re.compile(rf"\+?(?:{_PART.pattern})+")
_SECONDS = re.compile(_NUMBER)
# Go keeps a duration in 63 bits of nanoseconds, about 292 years.
DURATION_EXAMPLE = "give a number of seconds or a Go duration such as 30s, 1m30s or 500ms"
_MOMENT = "%Y-%m-%dT%H:%M:%SZ"
_LONGEST = Decimal(2**63 - 1) * Decimal("1e-9")


@dataclass(frozen=True)
class Duration:
    """A length of time.

    ``seconds`` is what the code counts with; ``text`` is what the operator wrote, with the unit
    put behind a bare number, for messages.
    """

    seconds: float
    text: str


def parse_duration(value: str) -> Duration:
    """Read ``value``, for example ``30s``, ``1m30s``, ``1.5h`` or ``45`` (seconds).

    Raises ValueError, with a sentence that quotes the value, for anything else, negative
    durations and those too long for Go included.
    """
    text = value.strip()
    if _SECONDS.fullmatch(text):
        seconds = Decimal(text)
        shown = f"{text}s"
    elif _WHOLE.fullmatch(text):
        seconds = sum(
            (Decimal(number) * _UNITS[unit] for number, unit in _PART.findall(text)), Decimal(0)
        )
        shown = text
    else:
        raise ValueError(f"{value!r} is not a duration")
    if seconds > _LONGEST:
        raise ValueError(f"{value!r} is longer than Go's longest duration, about 292 years")
    return Duration(float(seconds), shown)


def as_utc(moment: datetime) -> str:
    """A moment, aware, as it stands in messages and files: RFC 3339, in UTC, to the second."""
    return moment.astimezone(timezone.utc).strftime(_MOMENT)


def from_utc(text: str) -> datetime:
    """Read what ``as_utc`` wrote; raises ValueError for what is no such moment."""
    return datetime.strptime(text, _MOMENT).replace(tzinfo=timezone.utc)


__all__ = ["DURATION_EXAMPLE", "Clock", "Duration", "as_utc", "from_utc", "parse_duration"]
