# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A stand-in for SPIRE's server program, which keeps its entries in a file and notes its calls.

Source: SPIRE, cmd/spire-server/cli/entry; spire-api-sdk, types/entry.proto.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

_PROGRAM = """#!{python}
import json, sys
entries_file, calls_file = {entries!r}, {calls!r}
command, arguments = sys.argv[2], sys.argv[3:]
with open(calls_file, "a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\\n")
given, selectors = {{}}, []
while arguments:
    flag, value = arguments[0], arguments[1]
    arguments = arguments[2:]
    if flag == "-selector":
        kind, _, text = value.partition(":")
        selectors.append({{"type": kind, "value": text}})
    else:
        given[flag] = value

def name(spiffe_id):
    domain, _, path = spiffe_id.partition("://")[2].partition("/")
    return {{"trust_domain": domain, "path": "/" + path}}

with open(entries_file) as file:
    entries = json.load(file)
answer = {{"results": [{{"status": {{"code": 0, "message": "OK"}}}}]}}
if command == "show":
    answer = {{"entries": [e for e in entries if e["spiffe_id"] == name(given["-spiffeID"])]}}
else:
    entries = [e for e in entries if e["id"] != given["-entryID"]]
    if command != "delete":
        entries.append({{
            "id": given["-entryID"],
            "spiffe_id": name(given["-spiffeID"]),
            "parent_id": name(given["-parentID"]),
            "selectors": selectors,
            "expires_at": given.get("-entryExpiry", "0"),
        }})
    with open(entries_file, "w") as file:
        json.dump(entries, file)
print(json.dumps(answer))
"""


class FakeSpireServer:
    """The program at ``path``; other processes run it."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "spire-server"
        self._entries = directory / "entries.json"
        self._calls = directory / "calls"
        self._entries.write_text("[]")
        self._calls.touch()
        self.path.write_text(
            _PROGRAM.format(
                python=sys.executable, entries=str(self._entries), calls=str(self._calls)
            )
        )
        self.path.chmod(0o755)

    @property
    def entries(self) -> list[dict[str, Any]]:
        """The entries that are there now."""
        found: list[dict[str, Any]] = json.loads(self._entries.read_text())
        return found

    def hold(self, *entries: dict[str, Any]) -> None:
        """Have ``entries``, made by somebody else."""
        self._entries.write_text(json.dumps(entries))

    def asked(self) -> list[str]:
        """What it was asked to do, in order."""
        return [json.loads(line)[1] for line in self._calls.read_text().splitlines()]

    def argument(self, command: str, flag: str) -> str:
        """What the last ``command`` gave for ``flag``."""
        *_others, last = (
            call
            for call in map(json.loads, self._calls.read_text().splitlines())
            if call[1] == command
        )
        return str(last[last.index(flag) + 1])


__all__ = ["FakeSpireServer"]
