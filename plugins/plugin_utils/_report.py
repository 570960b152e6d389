# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an operator reads at the end of a run: each thing once, the next step last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Result = Mapping[str, Any]

# A table of more keepers shows those that are not as they should be, and counts the others.
_MOST_ROWS = 20
_COLUMNS = ("keeper", "url", "state", "attempts", "seconds", "cause")
_KNOWN_OF_KEEPERS = ("reach", "deliver", "verify")
_RECOVERY = (
    "Make recovery shards now, with the playbook dayzero.spike.recover: without them, the root key"
    " is lost on the day on which Nexus and the keepers all lose their memory."
)


def failed(result: Result) -> bool:
    """Whether a run, or what Ansible has of one, has failed."""
    return bool(result.get("failed") or "code" in result or "phase" not in result)


def success(result: Result, *, check: bool) -> list[str]:
    """What a bootstrap has done, or in check mode would do, in two or three lines."""
    lines = [_done(result, check=check)]
    if result.get("resumed"):
        lines.append("It has gone on with the key of an unfinished run.")
    if result.get("forced"):
        lines.append(f"{str(result['forced'])[:1].upper()}{str(result['forced'])[1:]}.")
    lines.append(_of_nexus(result["nexus"]))
    if result["changed"] and not check and result["nexus"]["state"] == "ready":
        lines.append(_RECOVERY)
    return lines


def failure(result: Result) -> list[str]:
    """What an operator needs next to the message: every keeper, then why, then what to do."""
    lines = table(result) if result.get("phase") in _KNOWN_OF_KEEPERS else []
    if result.get("phase") == "reach":
        lines.append("This run has sent no shard.")
    elif result.get("phase") == "deliver":
        lines.append(
            "A keeper that is delivered has its shard, one that is unknown may have it. A rerun"
            " goes on with the same key."
        )
    if result.get("why"):
        lines += ["Why:", *(f"- {line}" for line in result["why"])]
    if result.get("what_to_do"):
        steps = enumerate(result["what_to_do"], 1)
        lines += ["What to do:", *(f"{number}. {step}" for number, step in steps)]
    return lines


def message(result: Result) -> str:
    """The one line of a failure; a process that died has left no words."""
    if "phase" in result or "rc" not in result:
        return str(result.get("msg") or "The module ended without a word.")
    complaint = (str(result.get("module_stderr") or "").strip().splitlines() or [""])[-1]
    return (
        f"The module ended without a result (exit status {result['rc']}"
        f"{', ' if complaint else ''}{complaint}): it was killed, or its Python cannot start. Run"
        " the same again. It goes on where that run ended."
    )


def status(result: Result) -> list[str]:
    """How the bootstrap stands and what to do next, in one line; then every keeper, with hints."""
    hints = [
        f"Keeper {keeper['id']}: {keeper['hint']}" for keeper in result["keepers"] if keeper["hint"]
    ]
    nothing = " Nothing is to be done." if result.get("next") == "nothing" and not hints else ""
    return [f"{result['summary']}{nothing} Nexus: {result['nexus']['url']}", *table(result), *hints]


def table(result: Result) -> list[str]:
    """A row for each keeper and one for Nexus, under their titles."""
    keepers = list(result["keepers"])
    left_out: dict[str, int] = {}
    if len(keepers) > _MOST_ROWS:
        for keeper in keepers:
            if not keeper["cause"]:
                left_out[keeper["state"]] = left_out.get(keeper["state"], 0) + 1
        keepers = [keeper for keeper in keepers if keeper["cause"]]
    rows = [_COLUMNS, *(_row(keeper["id"], keeper) for keeper in keepers)]
    nexus = result["nexus"]
    if nexus["state"] != "skipped":
        rows.append(_row("Nexus", nexus))
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    lines = [
        "  ".join(
            word.rjust(width) if title in ("attempts", "seconds") else word.ljust(width)
            for title, word, width in zip(_COLUMNS, row, widths)
        ).rstrip()
        for row in rows
    ]
    others = ", ".join(f"{number} {state}" for state, number in left_out.items())
    return [*lines, f"Not shown: {others}."] if others else lines


def settings(given: Mapping[str, Any]) -> list[str]:
    """The settings that were in force, by name; those that are not set are left out."""
    held = {name: value for name, value in given.items() if value not in (None, "", [], {})}
    return ["Settings:", *(f"  {name}: {_value(value)}" for name, value in sorted(held.items()))]


def _value(value: Any) -> str:
    many = isinstance(value, Sequence) and not isinstance(value, str)
    return ", ".join(str(part) for part in value) if many else str(value)


def _row(name: object, entry: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        str(name),
        str(entry["url"]),
        str(entry["state"]),
        str(entry["attempts"]),
        f"{entry['elapsed']:.1f}",
        str(entry.get("cause") or "-"),
    )


def _done(result: Result, *, check: bool) -> str:
    keepers = result["keepers"]
    sent = sum(keeper["state"] == "delivered" and keeper["attempts"] > 0 for keeper in keepers)
    if check:
        would = "would change the cluster" if result["changed"] else "has nothing to do"
        return f"Checked only, nothing was sent: a real run {would}."
    if sent:
        had = f" ({len(keepers) - sent} had theirs)" if sent < len(keepers) else ""
        return f"Sent {_count(sent, 'shard')} to {_count(sent, 'keeper')}{had}."
    if result["changed"]:
        return "Nothing was sent. The journal has the new settings of the cluster."
    return "Nothing was sent: the cluster is bootstrapped."


def _of_nexus(nexus: Mapping[str, Any]) -> str:
    if nexus["state"] == "ready":
        return f"SPIKE Nexus at {nexus['url']} holds the root key."
    state = str(nexus["state"]).replace("_", " ")
    return f"SPIKE Nexus at {nexus['url']}: {state}{_in_brackets(nexus['detail'])}."


def _in_brackets(text: object) -> str:
    return f" ({text})" if text else ""


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


__all__ = ["failed", "failure", "message", "settings", "status", "success", "table"]
