# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pages of ``docs`` as RST, which is what antsibull-docs reads.

It knows the Markdown that these pages use: headings, paragraphs, lists, tables, code and links.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

LABEL = "ansible_collections.dayzero.spike.docsite"
_SOURCE = "https://github.com/dayzero-collections/dayzero.spike/blob/main"
# REUSE-IgnoreStart
_HEADER = (
    "..",
    "  Copyright (c) 2026, the dayzero.spike authors",
    "  GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)",
    "  SPDX-License-Identifier: GPL-3.0-or-later",
)
# REUSE-IgnoreEnd
_UNDERLINES = "=-~"
_INLINE = re.compile(
    r"(?P<code>`[^`]+`)"
    r"|\*\*(?P<bold>.+?)\*\*"
    r"|(?<![\w*])\*(?P<emphasis>[^*\s][^*]*)\*"
    r"|\[(?P<text>[^\]]+)\]\((?P<target>[^)\s]+)\)",
    re.DOTALL,
)
_HEADING = re.compile(r"(#+) (.+)")
_FENCE = re.compile(r"```(\w*)")
_ITEM = re.compile(r"(\s*)([-*]|\d+\.) +(.*)")
_RULE = re.compile(r"\|[-|: ]+\|")
_CELL = re.compile(r"(?<!\\)\|")


def of_markdown(name: str, text: str) -> str:
    """The page ``name`` of ``docs``, which has the Markdown ``text``."""
    page = name.removesuffix(".md").replace("-", "_")
    lines = re.sub(r"<!--.*?-->\n?", "", text, flags=re.DOTALL).splitlines()
    made = [*_HEADER, "", f"  Generated from docs/{name} by make generate: change that.", ""]
    return "\n".join([*made, *_blocks(page, lines)]).rstrip() + "\n"


def _blocks(page: str, lines: Sequence[str]) -> Iterator[str]:
    rest = list(lines)
    while rest:
        line = rest[0]
        heading, fence = _HEADING.match(line), _FENCE.match(line)
        if not line.strip():
            rest.pop(0)
        elif heading:
            rest.pop(0)
            yield from _heading(page, len(heading[1]), heading[2])
        elif fence:
            end = rest.index("```", 1)
            yield from _code(fence[1] or "text", rest[1:end])
            del rest[: end + 1]
        elif line.startswith("    "):
            yield from _code("text", [text[4:] for text in _take_indented(rest)])
        elif line.startswith("|"):
            rows = _take(rest, lambda text: text.startswith("|"))
            yield from _table(page, rows)
        elif _ITEM.match(line):
            yield from _list(page, _take_list(rest))
        else:
            paragraph = _take(rest, lambda text: bool(text.strip()) and not _FENCE.match(text))
            yield from (_inline(page, " ".join(paragraph)), "")


def _take(rest: list[str], fits: Callable[[str], bool]) -> list[str]:
    taken = []
    while rest and fits(rest[0]):
        taken.append(rest.pop(0))
    return taken


def _take_indented(rest: list[str]) -> list[str]:
    taken = _take(rest, lambda text: text.startswith("    ") or not text.strip())
    while not taken[-1].strip():
        taken.pop()
    return taken


def _take_list(rest: list[str]) -> list[str]:
    # A list ends at a blank line that no further item follows.
    taken: list[str] = []
    while rest:
        if not rest[0].strip():
            following = rest[1] if len(rest) > 1 else ""
            if not (_ITEM.match(following) or following.startswith("  ")):
                break
        taken.append(rest.pop(0))
    return taken


def anchor(title: str) -> str:
    """What a heading is called in a link, as on GitHub, in the characters of a label."""
    kept = re.sub(r"[^\w\- ]", "", title.lower())
    return kept.replace(" ", "_").replace("-", "_")


def _heading(page: str, level: int, title: str) -> Iterator[str]:
    label = f"{LABEL}.{page}" if level == 1 else f"{LABEL}.{page}.{anchor(title)}"
    plain = title.replace("`", "")
    yield from (f".. _{label}:", "", plain, _UNDERLINES[level - 1] * len(plain), "")


def _code(language: str, lines: Sequence[str]) -> Iterator[str]:
    # What is cut short is no JSON any more, and no YAML.
    name = {"json": "text", "": "text", "sh": "bash"}.get(language, language)
    yield from (f".. code-block:: {name}", "")
    yield from (f"   {line}".rstrip() for line in lines)
    yield ""


def _table(page: str, rows: Sequence[str]) -> Iterator[str]:
    yield from (".. list-table::", "   :header-rows: 1", "")
    for row in rows:
        if _RULE.fullmatch(row.strip()):
            continue
        for number, cell in enumerate(_CELL.split(row.strip().strip("|"))):
            mark = "* -" if number == 0 else "  -"
            yield f"   {mark} {_inline(page, cell.strip())}".rstrip()
    yield ""


def _list(page: str, lines: Sequence[str]) -> Iterator[str]:
    items: list[list[str]] = []
    for line in lines:
        item = _ITEM.match(line)
        if item:
            items.append([item[1] + item[2] + " ", item[3]])
        elif line.strip():
            items[-1].append(line.strip())
    deep = 0
    for mark, *words in items:
        depth = len(mark) - len(mark.lstrip())
        if depth != deep:
            yield ""
        deep = depth
        yield f"{mark}{_inline(page, ' '.join(words))}"
    yield ""


def _inline(page: str, text: str) -> str:
    made, at = "", 0
    for found in _INLINE.finditer(text):
        made += _plain(text[at : found.start()])
        # RST knows the end of a mark by what follows it.
        joined = "\\ " if made and (made[-1].isalnum() or made[-1] in "_/") else ""
        made += joined + _marked(page, found)
        at = found.end()
        if text[at : at + 1].isalnum():
            made += "\\ "
    return made + _plain(text[at:])


def _marked(page: str, found: re.Match[str]) -> str:
    if found["code"]:
        return f"``{found['code'][1:-1]}``"
    if found["bold"]:
        return f"**{found['bold'].replace('`', '')}**"
    if found["emphasis"]:
        return f"*{found['emphasis'].replace('`', '')}*"
    return _link(page, found["text"].replace("`", ""), found["target"])


def _link(page: str, text: str, target: str) -> str:
    role = re.fullmatch(r"\.\./roles/(\w+)/README\.md", target)
    if role:
        return f":ref:`{text} <ansible_collections.dayzero.spike.{role[1]}_role>`"
    if re.match(r"https?:", target):
        return f"`{text} <{target}>`__"
    if target.startswith("../"):
        return f"`{text} <{_SOURCE}/{target[3:]}>`__"
    name, _sharp, place = target.partition("#")
    label = f"{LABEL}.{name.removesuffix('.md').replace('-', '_') or page}"
    return f":ref:`{text} <{label}{f'.{anchor(place)}' if place else ''}>`"


def _plain(text: str) -> str:
    return re.sub(r"([*|\\])", r"\\\1", text)


__all__ = ["LABEL", "anchor", "of_markdown"]
