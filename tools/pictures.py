# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pictures of the documentation, as SVG; ``make generate`` writes them."""

from __future__ import annotations

import runpy
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
_SCHEDULE = _ROOT / "plugins" / "module_utils" / "_net" / "schedule.py"

_INK, _PALE, _LINE = "#1f2933", "#eef2f6", "#7b8794"
_ATTEMPT, _END = "#2563a8", "#b42318"
_GOOD, _STOP, _ASK = "#e3f2e6", "#fde8e6", "#fff6db"

# What is shown of the schedule: (timeout, attempts, initial and longest interval) in seconds.
_SHOWN = ((30.0, 5, 2.0, 30.0), (60.0, 5, 2.0, 30.0), (10.0, 5, 2.0, 30.0), (10.0, 4, 1.0, 30.0))


def schedule() -> str:
    """When the attempts at one keeper start, for some settings."""
    # By its path: the collection need not be where Python would find it.
    start_times = runpy.run_path(str(_SCHEDULE))["start_times"]
    left, right, step, top = 150.0, 700.0, 74.0, 30.0
    parts = []
    for row, (timeout, attempts, initial, longest) in enumerate(_SHOWN):
        y = top + row * step + 28
        scale = (right - left) / timeout
        starts = start_times(timeout, attempts, initial, longest)
        parts += [
            _text(16, y - 6, f"{timeout:g}s, {attempts} attempts", weight="bold"),
            _text(16, y + 12, f"{initial:g}s doubling to {longest:g}s", colour=_LINE),
            f'<rect x="{left}" y="{y - 10}" width="{right - left}" height="20" fill="{_PALE}"/>',
        ]
        for start, end in zip(starts, (*starts[1:], timeout)):
            x, width = left + start * scale, (end - start) * scale
            parts += [
                f'<rect x="{x + 1:.1f}" y="{y - 10}" width="{max(width - 2, 1):.1f}" height="20"'
                f' fill="{_ATTEMPT}" fill-opacity="0.22"/>',
                f'<rect x="{x:.1f}" y="{y - 14}" width="3" height="28" fill="{_ATTEMPT}"/>',
                _text(x + 1, y - 19, f"{round(start, 2):g}", anchor="middle"),
            ]
        parts += [
            f'<rect x="{right}" y="{y - 14}" width="3" height="28" fill="{_END}"/>',
            _text(right + 8, y + 4, f"{timeout:g}", colour=_END),
        ]
    bottom = top + len(_SHOWN) * step
    parts += [
        f'<rect x="16" y="{bottom - 2}" width="3" height="14" fill="{_ATTEMPT}"/>',
        _text(26, bottom + 9, "an attempt starts (seconds)"),
        f'<rect x="226" y="{bottom - 2}" width="20" height="14" fill="{_ATTEMPT}"'
        ' fill-opacity="0.22"/>',
        _text(254, bottom + 9, "its time, until the next is due"),
        f'<rect x="476" y="{bottom - 2}" width="3" height="14" fill="{_END}"/>',
        _text(486, bottom + 9, "keeper_timeout: the failure is known"),
    ]
    return _svg(
        750,
        int(bottom + 24),
        "When the attempts at one keeper start",
        parts,
    )


@dataclass(frozen=True)
class _Box:
    x: int
    y: int
    lines: Sequence[str]
    fill: str
    width: int = 200

    @property
    def height(self) -> int:
        return 18 * len(self.lines) + 16

    def draw(self) -> list[str]:
        box = (
            f'<rect x="{self.x}" y="{self.y}" width="{self.width}" height="{self.height}" rx="6"'
            f' fill="{self.fill}" stroke="{_LINE}"/>'
        )
        middle = self.x + self.width / 2
        return [
            box,
            *(
                _text(middle, self.y + 21 + 18 * number, line, anchor="middle")
                for number, line in enumerate(self.lines)
            ),
        ]


def rerun() -> str:
    """What to do after a run that did not end well, as a flow chart."""
    failed = _Box(40, 20, ["A run has failed,", "or its connection was lost"], _PALE)
    follow = _Box(
        40, 110, ["Do what it says under", "'What to do', then", "run day_zero again"], _PALE
    )
    refused = _Box(40, 220, ["Is it refused?"], _ASK)
    done = _Box(40, 300, ["It goes on with the same", "key, or has nothing to do"], _GOOD)
    shards = _Box(40, 390, ["Finished: save", "recovery shards"], _GOOD)
    status = _Box(310, 210, ["Run status, and read", "the line that it ends with"], _PALE)
    existing = _Box(
        580, 20, ["Nexus has a key that this", "host knows nothing of:", "accept_existing"], _GOOD
    )
    settings = _Box(
        580, 120, ["The settings are not those", "of the unfinished run: put", "them back"], _GOOD
    )
    abandon = _Box(
        580, 220, ["The unfinished run is not", "wanted any more: abandon,", "then day_zero"], _GOOD
    )
    recover = _Box(
        580,
        320,
        ["Finished, but Nexus has no", "key: let it recover it from", "the keepers or the shards"],
        _ASK,
    )
    force = _Box(
        580,
        420,
        ["No copy of the old key is", "left anywhere: force", "(destroys its data)"],
        _STOP,
    )
    boxes = [failed, follow, refused, done, shards, status]
    answers = [existing, settings, abandon, recover, force]
    parts = [
        *_down(failed, follow),
        *_down(follow, refused),
        *_down(refused, done, "no"),
        *_down(done, shards),
        *_arrow([(240, 237), (310, 237)], "yes", (266, 230)),
    ]
    for answer in answers:
        y = answer.y + answer.height // 2
        parts += _arrow([(510, 237), (545, 237), (545, y), (580, y)])
    for box in (*boxes, *answers):
        parts += box.draw()
    return _svg(800, 510, "Rerun, abandon, recover: which, and when", parts)


def _down(above: _Box, below: _Box, label: str = "") -> list[str]:
    x = above.x + above.width // 2
    start = above.y + above.height
    return _arrow([(x, start), (x, below.y)], label, (x + 8, (start + below.y) / 2 + 4))


def _arrow(
    points: Sequence[tuple[float, float]], label: str = "", at: tuple[float, float] = (0, 0)
) -> list[str]:
    line = " ".join(f"{x},{y}" for x, y in points)
    drawn = (
        f'<polyline points="{line}" fill="none" stroke="{_LINE}" stroke-width="1.5"'
        ' marker-end="url(#head)"/>'
    )
    return [drawn, _text(*at, label)] if label else [drawn]


def _text(
    x: float, y: float, words: str, *, anchor: str = "start", weight: str = "", colour: str = _INK
) -> str:
    bold = f' font-weight="{weight}"' if weight else ""
    return (
        f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" fill="{colour}"{bold}>'
        f"{escape(words, quote=False)}</text>"
    )


def _svg(width: int, height: int, title: str, parts: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
        f' width="{width}" height="{height}" role="img" font-family="sans-serif" font-size="13">'
    )
    marker = (
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7"'
        f' markerHeight="7" orient="auto">'
        f'<path d="M0,0 L8,4 L0,8 z" fill="{_LINE}"/></marker></defs>'
    )
    paper = f'<rect width="{width}" height="{height}" fill="#ffffff"/>'
    lines = [head, f"<title>{escape(title)}</title>", marker, paper, *parts, "</svg>"]
    return "\n".join(lines) + "\n"


def inlined(picture: str) -> str:
    """A picture as RST: antsibull-docs takes no files but pages."""
    lines = ["", ".. raw:: html", "", *(f"   {line}" for line in picture.splitlines()), ""]
    return "\n".join(lines)
