# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The variables of the role in an inventory: those that cannot be, and those that nothing reads."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

PREFIX = "spike_bootstrap_"
# What the role registers, and a play may meet again.
_RESULTS = {f"{PREFIX}{name}" for name in ("result", "status", "proof")}
# The playbooks set it themselves.
_KEEPERS = f"{PREFIX}keeper_peers"
# What decides whether a value can be.
_DECIDING = ("type", "elements", "choices")

Variables = Mapping[str, Any]


def problems(spec: Mapping[str, Mapping[str, Any]], given: Variables) -> list[str]:
    """What is wrong with the values, one sentence each. ``spec`` is the role's, ``given`` set.

    The role would find it too, and then show its whole specification.
    """
    names = [name for name in given if name in spec and given[name] is not None]
    arguments = {name: _deciding(spec[name]) for name in names}
    validated = ArgumentSpecValidator(arguments).validate({name: given[name] for name in names})
    return [f"{message[:1].upper()}{message[1:]}." for message in validated.error_messages]


def unread(
    spec: Mapping[str, Mapping[str, Any]],
    host: str,
    given: Variables,
    keepers: Mapping[str, Variables],
) -> list[str]:
    """The variables that nothing reads, a sentence each: ``given`` on ``host``, or at a keeper."""
    found = [_unknown(name, spec) for name in _ours(given) if name not in {*spec, *_RESULTS}]
    if _KEEPERS in given:
        found.append(
            f"{_KEEPERS} is set and not read: the keepers are the hosts of the group spike_keepers,"
            " with their spike_keeper_url."
        )
    elsewhere: dict[str, list[str]] = {}
    for keeper, variables in keepers.items():
        for name in _ours(variables):
            if name not in given and name not in _RESULTS:
                elsewhere.setdefault(name, []).append(keeper)
    found += [
        f"{name} is set for {_shown(hosts)} and not read there: set it for {host}, the bootstrap"
        " host."
        for name, hosts in elsewhere.items()
    ]
    return found


def _deciding(entry: Mapping[str, Any]) -> dict[str, Any]:
    argument = {key: entry[key] for key in _DECIDING if key in entry}
    if "choices" in argument:
        # Null is "not set", and no choice that an operator would be shown.
        argument["choices"] = [choice for choice in argument["choices"] if choice is not None]
    return argument


def _ours(variables: Variables) -> list[str]:
    return sorted(name for name in variables if name.startswith(PREFIX))


def _unknown(name: str, spec: Mapping[str, Any]) -> str:
    (close,) = difflib.get_close_matches(name, spec, n=1) or ("",)
    meant = f" {close} may be meant." if close else ""
    return f"{name} is no variable of the role, and nothing reads it.{meant}"


def _shown(hosts: Sequence[str]) -> str:
    return hosts[0] if len(hosts) == 1 else f"{hosts[0]} and {len(hosts) - 1} more"


__all__ = ["problems", "unread"]
