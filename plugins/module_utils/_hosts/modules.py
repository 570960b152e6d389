# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From an AnsibleModule to this wing and back: what each module is given, does and returns."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, Protocol

from .._clock import DURATION_EXAMPLE, Duration, parse_duration
from .._errors import DayZeroError
from .._naming import Naming
from .._spiffe.spiffe_id import KEEPER_PATH, NEXUS_PATH, IdRule, SpiffeId, parse_trust_domain
from . import answer, audit, binary, entries, program, unit
from .service import Seen, Senses, Service, WaitFor, await_service, look
from .spire_server import SpireServer

_PATHS = {"keeper": KEEPER_PATH, "nexus": NEXUS_PATH}


class Module(Protocol):
    """What is needed of an AnsibleModule."""

    params: Mapping[str, Any]
    check_mode: bool
    _diff: bool

    def exit_json(self, **result: Any) -> NoReturn:
        """End with success."""

    def fail_json(self, msg: str, **result: Any) -> NoReturn:
        """End with a failure."""


def service_info_arguments() -> dict[str, dict[str, Any]]:
    """The options of ``spike_service_info``."""
    return {
        "unit": {"type": "str", "required": True},
        "part": {"type": "str", "choices": ["keeper", "nexus"], "required": True},
        "trust_roots": {"type": "list", "elements": "str", "default": ["spike.ist"]},
        "address": {"type": "str"},
        "started_with": {"type": "str"},
        "binary": {"type": "path"},
        "wait_for": {
            "type": "str",
            "choices": [one.value for one in WaitFor],
            "default": "nothing",
        },
        "timeout": {"type": "str", "default": "60s"},
        "taken_within": {"type": "float"},
        "log_lines": {"type": "int", "default": 20},
    }


def entries_arguments() -> dict[str, dict[str, Any]]:
    """The options of ``spike_entries``."""
    return {
        "entries": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "options": {
                "spiffe_id": {"type": "str", "required": True},
                "parent_id": {"type": "str", "required": True},
                "selectors": {"type": "list", "elements": "str", "required": True},
                "x509_svid_ttl": {"type": "str"},
                "jwt_svid_ttl": {"type": "str"},
            },
        },
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "expires_in": {"type": "str"},
        "retire": {"type": "bool", "default": False},
        "spire_server": {"type": "str", "default": "spire-server"},
        "socket": {"type": "path"},
        "id_prefix": {"type": "str", "default": "dayzero-spike"},
    }


def service_info(module: Module) -> NoReturn:
    """Look at a service, or wait for it."""
    _end(module, lambda: _service_info(module.params))


def manage_entries(module: Module) -> NoReturn:
    """Bring SPIRE's entries to what is wanted."""
    _end(module, lambda: _manage_entries(module))


def _end(module: Module, work: Callable[[], dict[str, Any]]) -> NoReturn:
    try:
        result = work()
    except DayZeroError as error:
        advice = error.advice.spelt(Naming.VARIABLES)
        module.fail_json(msg=advice.msg, why=list(advice.why), what_to_do=list(advice.what_to_do))
    except program.ProgramFailed as error:
        module.fail_json(msg=f"{error}.", why=[], what_to_do=[])
    module.exit_json(**result)


def _service_info(params: Mapping[str, Any]) -> dict[str, Any]:
    service = _service(params)
    senses = Senses(
        clock=time.monotonic,
        sleep=time.sleep,
        look_at=unit.look_at,
        shard_of=audit.shard_of,
        who_answers=answer.who_answers,
        last_lines=unit.last_lines,
    )
    waits = service.wait_for is not WaitFor.NOTHING
    seen = await_service(service, senses) if waits else look(service, senses)
    return {"changed": False, **_told(seen, params)}


def _told(seen: Seen, params: Mapping[str, Any]) -> dict[str, Any]:
    wanted, path = params["started_with"], params["binary"]
    stale = bool(wanted) and seen.unit.running and seen.unit.started_with != wanted
    return {
        "exists": seen.unit.exists,
        "running": seen.unit.running,
        "state": seen.unit.detail,
        "uptime": _rounded(seen.unit.uptime),
        "stale": stale,
        "program_stale": bool(path) and seen.unit.running and not seen.unit.runs(path),
        "shard": seen.shard.holds.value,
        "shard_age": _rounded(seen.shard.age),
        "spiffe_id": None if seen.answered_by is None else str(seen.answered_by),
        "no_answer": seen.no_answer,
        "share_scheme": _share_scheme(path),
    }


def _service(params: Mapping[str, Any]) -> Service:
    address = params["address"] or ""
    wait_for = WaitFor(params["wait_for"])
    try:
        if address:
            answer.split_address(address)
        elif wait_for is WaitFor.ANSWER:
            raise ValueError("it is needed where an answer is awaited, for example :8443")
    except ValueError as error:
        raise DayZeroError(f"address: {error}.") from None
    try:
        trust_roots = tuple(parse_trust_domain(one.strip()) for one in params["trust_roots"])
    except ValueError as error:
        raise DayZeroError(f"trust_roots: {error}.") from None
    return Service(
        unit=params["unit"],
        address=address,
        rule=IdRule(_PATHS[params["part"]], trust_roots),
        wait_for=wait_for,
        timeout=_duration("timeout", params["timeout"]),
        taken_within=params["taken_within"],
        log_lines=params["log_lines"],
    )


def _share_scheme(path: str | None) -> str | None:
    if not path:
        return None
    try:
        return binary.share_scheme(path)
    except (OSError, ValueError):
        # An empty file cannot be mapped.
        return None


def _manage_entries(module: Module) -> dict[str, Any]:
    params = module.params
    lifetime = _ttl("expires_in", params["expires_in"])
    expires_at = None if lifetime is None else int(time.time()) + lifetime
    wanted = [_wanted(entry, expires_at) for entry in params["entries"]]
    server = SpireServer(params["spire_server"], params["socket"])
    existing = [one for spiffe_id in dict.fromkeys(entry.spiffe_id for entry in wanted)
                for one in server.show(spiffe_id)]  # fmt: skip
    if params["state"] == "absent":
        made = entries.withdrawal(wanted, existing, params["id_prefix"])
    else:
        made = entries.plan(wanted, existing, params["id_prefix"], retire=params["retire"])
    steps = [step for step in made.steps if step.act is not entries.Act.NOTHING]
    if not module.check_mode:
        for step in steps:
            server.take(step)
    result: dict[str, Any] = {
        "changed": bool(steps),
        "entries": [
            {"act": step.act.value, **entries.shown(entry)}
            for step in made.steps
            for entry in [step.after or step.before]
            if entry is not None
        ],
        "superseded": [entries.shown(entry) for entry in made.superseded],
        "others": [entries.shown(entry) for entry in made.others],
    }
    if module._diff:
        result["diff"] = {
            "before": _listed([step.before for step in steps]),
            "after": _listed([step.after for step in steps]),
        }
    return result


def _listed(listed: list[entries.Existing | None]) -> str:
    return "".join(
        f"{json.dumps(entries.shown(entry), indent=2)}\n" for entry in listed if entry is not None
    )


def _wanted(entry: Mapping[str, Any], expires_at: int | None) -> entries.Wanted:
    for name in ("spiffe_id", "parent_id"):
        try:
            SpiffeId.parse(entry[name])
        except ValueError as error:
            raise DayZeroError(f"entries: {name}: {error}.") from None
    if not entry["selectors"]:
        raise DayZeroError(f"entries: {entry['spiffe_id']} has no selectors.")
    return entries.Wanted(
        spiffe_id=entry["spiffe_id"],
        parent_id=entry["parent_id"],
        selectors=frozenset(entry["selectors"]),
        x509_svid_ttl=_ttl("x509_svid_ttl", entry["x509_svid_ttl"]),
        jwt_svid_ttl=_ttl("jwt_svid_ttl", entry["jwt_svid_ttl"]),
        expires_at=expires_at,
    )


def _ttl(option: str, value: str | None) -> int | None:
    return None if value in (None, "") else int(_duration(option, str(value)).seconds)


def _duration(option: str, value: str) -> Duration:
    try:
        return parse_duration(value)
    except ValueError as error:
        raise DayZeroError(f"{option}: {error}: {DURATION_EXAMPLE}.") from None


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


__all__ = [
    "entries_arguments",
    "manage_entries",
    "service_info",
    "service_info_arguments",
]
