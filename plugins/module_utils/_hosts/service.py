# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A service of SPIKE on this host: looked at once, or waited for until it is as it should be."""

from __future__ import annotations

import enum
from collections.abc import Callable

from .._clock import Clock, Duration
from .._dataclass import dataclass
from .._errors import Advice, DayZeroError
from .._spiffe.spiffe_id import IdRule, SpiffeId
from . import audit
from .answer import NoAnswer
from .audit import Holds, Shard
from .unit import Unit

_LOOK_SECONDS = 0.3
_CALL_SECONDS = 5.0


class WaitFor(enum.Enum):
    """What a service is waited for; the values are the option's ``wait_for``."""

    NOTHING = "nothing"
    ANSWER = "answer"
    SHARD = "shard"


class NotAsAwaited(DayZeroError):
    """The time is up, or the service has given up."""

    code = "retry_context_canceled"


@dataclass(frozen=True)
class Service:
    """Which service, and what is awaited of it.

    ``address`` is empty where nobody is to be called. ``taken_within``: only a shard counts that
    was taken this many seconds before the look began, or later; None where any does.
    """

    unit: str
    address: str
    rule: IdRule
    wait_for: WaitFor
    timeout: Duration
    taken_within: float | None
    log_lines: int


@dataclass(frozen=True)
class Seen:
    """A service as it was seen."""

    unit: Unit
    shard: Shard
    answered_by: SpiffeId | None
    no_answer: str


@dataclass(frozen=True)
class Senses:
    """How a service is looked at: systemd, the journal, its port, and the time."""

    clock: Clock
    sleep: Callable[[float], None]
    look_at: Callable[[str], Unit]
    shard_of: Callable[[Unit], Shard]
    who_answers: Callable[[str, float], SpiffeId]
    last_lines: Callable[[str, str, int], list[str]]


def look(service: Service, senses: Senses) -> Seen:
    """Look at the service once."""
    found = senses.look_at(service.unit)
    shard = senses.shard_of(found) if service.rule.path.endswith("/keeper") else audit.NO_SHARD
    answered_by, no_answer = None, ""
    if service.address and found.running:
        try:
            answered_by = senses.who_answers(service.address, _CALL_SECONDS)
        except NoAnswer as answer:
            no_answer = str(answer)
    return Seen(found, shard, answered_by, no_answer)


def await_service(service: Service, senses: Senses) -> Seen:
    """Look until the service is as awaited; raises NotAsAwaited, with its last lines, if not."""
    began = senses.clock()
    while True:
        seen = look(service, senses)
        waited = senses.clock() - began
        missing = _missing(service, seen, waited)
        if not missing:
            return seen
        if seen.unit.given_up:
            raise _failure(service, seen, f"{missing}: the unit has ended", senses)
        if waited >= service.timeout.seconds:
            raise _failure(service, seen, f"{missing} within {service.timeout.text}", senses)
        senses.sleep(_LOOK_SECONDS)


def _missing(service: Service, seen: Seen, waited: float) -> str:
    """What is not as awaited, in words that a time can be put behind; empty if all is."""
    if service.wait_for is WaitFor.ANSWER:
        if seen.answered_by is None:
            return f"did not answer at {service.address}"
        if not service.rule.admits(seen.answered_by):
            return f"did not answer at {service.address} as {service.rule}"
    if service.wait_for is WaitFor.SHARD and not _fresh(service, seen.shard, waited):
        return "did not take a shard"
    return ""


def _fresh(service: Service, shard: Shard, waited: float) -> bool:
    if shard.holds is not Holds.HELD or shard.age is None:
        return False
    return service.taken_within is None or shard.age <= service.taken_within + waited


def _failure(service: Service, seen: Seen, what: str, senses: Senses) -> NotAsAwaited:
    name = service.unit
    lines = senses.last_lines(name, seen.unit.invocation, service.log_lines)
    why = [f"systemd: {name} is {seen.unit.detail}."]
    if seen.no_answer:
        why.append(f"At {service.address}: {seen.no_answer}.")
    if seen.answered_by is not None and not service.rule.admits(seen.answered_by):
        why.append(f"At {service.address} answers {seen.answered_by}.")
    why += [f"{name}: {line}" for line in lines]
    return NotAsAwaited(Advice(f"{name} {what}.", tuple(why), _steps(service, seen)))


def _steps(service: Service, seen: Seen) -> tuple[str, ...]:
    if service.wait_for is WaitFor.SHARD:
        return (
            "Make sure that SPIKE Nexus is running, has its root key, and reaches this keeper.",
            "Run the same again.",
        )
    if not seen.unit.exists:
        return (f"Install {service.unit}, or correct its name.",)
    return (
        f"Read its log: journalctl -u {service.unit}.",
        "Make sure that SPIRE's agent is running here, that its socket is the one in the"
        f" settings, and that an entry gives the unit's user {service.rule}.",
        "Where the entry selects unix:sha256, the agent's unix attestor must have"
        " discover_workload_path = true.",
        "Run the same again.",
    )


__all__ = [
    "NotAsAwaited",
    "Seen",
    "Senses",
    "Service",
    "WaitFor",
    "await_service",
    "look",
]
