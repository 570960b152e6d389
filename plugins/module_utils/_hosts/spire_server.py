# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The commands of SPIRE's server that show, create, update and delete registration entries.

Source: SPIRE, cmd/spire-server/cli/entry. With JSON its exit status is 0 also where an entry was
refused: the status of each result says it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from .._errors import Advice, DayZeroError
from . import program
from .entries import Act, Existing, Step, read


class ServerFailed(DayZeroError):
    """SPIRE's server cannot be asked, or refuses."""

    code = "gen_general_failure"


class SpireServer:
    """A SPIRE server, by its own program on its own host."""

    def __init__(self, path: str, socket_path: str | None) -> None:
        self._path = path
        self._socket = ["-socketPath", socket_path] if socket_path else []

    def show(self, spiffe_id: str) -> list[Existing]:
        """The entries with a SPIFFE ID."""
        return read(self._ask("show", "-spiffeID", spiffe_id))

    def take(self, step: Step) -> None:
        """Take one step of a plan."""
        if step.act is Act.CREATE and step.after is not None:
            answer = self._ask("create", *_arguments(step.after))
        elif step.act is Act.UPDATE and step.after is not None:
            answer = self._ask("update", *_arguments(step.after))
        elif step.act is Act.DELETE and step.before is not None:
            answer = self._ask("delete", "-entryID", step.before.entry_id)
        else:
            return
        entry = step.after or step.before
        for result in answer.get("results") or []:
            status = result.get("status") or {}
            if int(status.get("code") or 0) != 0:
                message = str(status.get("message") or f"code {status.get('code')}")
                raise _failed(
                    f"SPIRE's server refuses the entry of"
                    f" {entry.spiffe_id if entry else 'unknown'}: {message}"
                )

    def _ask(self, command: str, *arguments: str) -> dict[str, Any]:
        asked = [self._path, "entry", command, *self._socket, "-output", "json", *arguments]
        try:
            ended = program.run(asked)
        except program.ProgramFailed as failure:
            raise _failed(
                f"SPIRE's server cannot be asked: {failure}",
                "Set spike_entries_spire_server to the path of spire-server on the host of SPIRE's"
                " server, for example /opt/spire/bin/spire-server.",
            ) from None
        if ended.status != 0:
            raise _failed(
                f"spire-server entry {command} failed: {ended.last_line}",
                "Make sure that SPIRE's server is running on this host, and that"
                " spike_entries_socket, where it is set, is the socket of its API.",
            )
        try:
            answer = json.loads(ended.output)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise _failed(
                f"spire-server entry {command} did not print JSON",
                "Use SPIRE 1.5 or later.",
            )
        return answer


def _arguments(entry: Existing) -> list[str]:
    rest = entry.rest
    arguments = ["-entryID", entry.entry_id, "-spiffeID", entry.spiffe_id]
    arguments += ["-parentID", entry.parent_id]
    for selector in sorted(entry.selectors):
        arguments += ["-selector", selector]
    arguments += _number("-x509SVIDTTL", entry.x509_svid_ttl)
    arguments += _number("-jwtSVIDTTL", entry.jwt_svid_ttl)
    # An update replaces the whole entry, so what is not managed here is said again.
    arguments += _number("-entryExpiry", rest.get("expires_at", 0))
    for name in rest.get("federates_with", ()):
        arguments += ["-federatesWith", name if "://" in name else f"spiffe://{name}"]
    for name in rest.get("dns_names", ()):
        arguments += ["-dns", name]
    for flag, given in (
        ("-admin", "admin"),
        ("-downstream", "downstream"),
        ("-storeSVID", "store_svid"),
    ):
        arguments += [flag] * bool(rest.get(given))
    arguments += ["-hint", rest["hint"]] if rest.get("hint") else []
    return arguments


def _number(flag: str, value: int) -> Sequence[str]:
    return [flag, str(value)] if value else []


def _failed(problem: str, remedy: str = "") -> ServerFailed:
    text = f"{problem}. {remedy}".strip() if remedy else f"{problem}."
    return ServerFailed(Advice(text, (), (remedy,) if remedy else ()))


__all__ = ["ServerFailed", "SpireServer"]
