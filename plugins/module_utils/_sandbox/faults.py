# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can be wrong with a server of the sandbox: plain data, read from a plain mapping."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

from .._clock import (
    DURATION_EXAMPLE,
    parse_duration,
)
from .._dataclass import dataclass
from .._errors import ConfigError


class Level(enum.Enum):
    """On what a fault acts, and so what ``failures`` counts."""

    PORT = "port"
    CONNECTION = "connection"
    REQUEST = "request"


class Kind(enum.Enum):
    """Every fault; the values are its names in a mapping."""

    REFUSE = "refuse"
    BLACKHOLE = "blackhole"
    RESET = "reset"
    STALL_TLS = "stall_tls"
    PLAIN_HTTP = "plain_http"
    WRONG_IDENTITY = "wrong_identity"
    UNTRUSTED = "untrusted"
    EXPIRED = "expired"
    REFUSE_IDENTITY = "refuse_identity"
    STATUS = "status"
    REDIRECT = "redirect"
    CLOSE = "close"
    GARBAGE = "garbage"
    BAD_JSON = "bad_json"
    ACCEPT_EMPTY = "accept_empty"
    OTHER_KEY = "other_key"
    DRIP = "drip"
    HUGE_BODY = "huge_body"
    DELAY = "delay"

    @property
    def level(self) -> Level:
        if self in (Kind.REFUSE, Kind.BLACKHOLE):
            return Level.PORT
        if self in _ON_CONNECTIONS:
            return Level.CONNECTION
        return Level.REQUEST


_ON_CONNECTIONS = (
    Kind.RESET,
    Kind.STALL_TLS,
    Kind.PLAIN_HTTP,
    Kind.WRONG_IDENTITY,
    Kind.UNTRUSTED,
    Kind.EXPIRED,
    Kind.REFUSE_IDENTITY,
)


class When(enum.Enum):
    """Which step of a bootstrap a fault hits."""

    REACH = "reach"
    DELIVER = "deliver"
    ALWAYS = "always"


_MODIFIERS = ("failures", "until", "when")
_DRIP_SECONDS = 0.1


@dataclass(frozen=True)
class Fault:
    """One fault of one server.

    ``text`` is the SPIFFE ID of ``wrong_identity`` and the URL of ``redirect``; ``number`` is the
    ``status``, or the seconds between two bytes of a ``drip``. ``delay`` (seconds) comes before
    the answer of any fault on requests. ``failures`` is how many connections, or requests, it
    hits before the server is healthy, and ``until`` the seconds for which it lasts; None: for
    ever. ``when`` says which requests it hits. A fault on the port or on connections cannot know
    what will be asked: with DELIVER it begins as soon as the first empty request (``{}``) has
    been answered, and the open connections end then.
    """

    kind: Kind
    text: str = ""
    number: float = 0
    delay: float = 0
    failures: int | None = None
    until: float | None = None
    when: When = When.ALWAYS

    @classmethod
    def parse(cls, fields: Mapping[str, Any], where: str = "faults") -> Fault:
        """Read a mapping such as ``{"status": 503, "failures": 2, "when": "deliver"}``.

        It names one fault, or ``delay`` alone, besides ``failures``, ``until`` and ``when``. A
        flag that is false counts as absent. Raises ConfigError, which names ``where``.
        """
        return _Parser(where, fields).fault()

    def hits(self, step: Step) -> bool:
        """Tell whether this fault, one on requests, hits a request of ``step``."""
        if self.kind is Kind.ACCEPT_EMPTY:
            return step is Step.REACH
        return self.when is When.ALWAYS or self.when.value == step.value


class Step(enum.Enum):
    """What a request is for."""

    REACH = "reach"
    DELIVER = "deliver"
    VERIFY = "verify"
    RECOVER = "recover"
    RESTORE = "restore"
    OTHER = "other"


class _Parser:
    def __init__(self, where: str, fields: Mapping[str, Any]) -> None:
        self._where = where
        if not isinstance(fields, Mapping):
            raise self._refusal("a fault is a mapping such as {refuse: true}")
        self._fields = {name: value for name, value in fields.items() if value is not False}

    def fault(self) -> Fault:
        kind = self._kind()
        if kind.level is not Level.REQUEST and "delay" in self._fields:
            raise self._refusal(f"delay is a delay of the answer: {kind.value} gives none")
        if kind.level is Level.PORT and "failures" in self._fields:
            raise self._refusal(
                f"what {kind.value} turns away cannot be counted; give until (a duration) instead"
            )
        return Fault(
            kind,
            text=self._text(kind),
            number=self._number(kind),
            delay=self._seconds("delay") or 0,
            failures=self._failures(),
            until=self._seconds("until"),
            when=self._when(),
        )

    def _kind(self) -> Kind:
        known = [kind.value for kind in Kind]
        unknown = sorted(str(name) for name in set(self._fields) - {*known, *_MODIFIERS})
        if unknown:
            raise self._refusal(
                f"{', '.join(unknown)} is unknown; known are {', '.join([*known, *_MODIFIERS])}"
            )
        named = [kind for kind in Kind if kind.value in self._fields]
        others = [kind for kind in named if kind is not Kind.DELAY]
        if len(others) > 1:
            raise self._refusal(f"only one of {', '.join(kind.value for kind in others)} can be")
        if not named:
            raise self._refusal(f"one of {', '.join(known)} is missing")
        return (others or named)[0]

    def _text(self, kind: Kind) -> str:
        if kind not in (Kind.WRONG_IDENTITY, Kind.REDIRECT):
            return ""
        value = self._fields[kind.value]
        if not isinstance(value, str) or not value.isascii() or not value.isprintable():
            raise self._refusal(f"{kind.value} is a URI, not {value!r}")
        if kind is Kind.WRONG_IDENTITY and not value.startswith("spiffe://"):
            raise self._refusal(f"{kind.value} is a SPIFFE ID, not {value!r}")
        return value

    def _number(self, kind: Kind) -> float:
        value = self._fields[kind.value]
        if kind is Kind.STATUS:
            if not _is_whole(value) or not 200 <= value <= 599:
                raise self._refusal(f"status is a number from 200 to 599, not {value!r}")
            return int(value)
        if kind is Kind.DRIP:
            return _DRIP_SECONDS if value is True else self._seconds("drip") or _DRIP_SECONDS
        if kind not in (Kind.DELAY, Kind.WRONG_IDENTITY, Kind.REDIRECT) and value is not True:
            raise self._refusal(f"{kind.value} is true or false, not {value!r}")
        return 0

    def _seconds(self, name: str) -> float | None:
        if name not in self._fields:
            return None
        value = self._fields[name]
        try:
            return parse_duration(str(value)).seconds
        except ValueError as problem:
            raise self._refusal(f"{name}: {problem}; {DURATION_EXAMPLE}") from None

    def _failures(self) -> int | None:
        value = self._fields.get("failures")
        if value is None:
            return None
        if not _is_whole(value) or value < 1:
            raise self._refusal(f"failures is a number from 1, not {value!r}")
        return int(value)

    def _when(self) -> When:
        value = self._fields.get("when", When.ALWAYS.value)
        names = [when.value for when in When]
        if value not in names:
            raise self._refusal(f"when is one of {', '.join(names)}, not {value!r}")
        return When(value)

    def _refusal(self, problem: str) -> ConfigError:
        return ConfigError(self._where, problem)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def parse_faults(faults: Mapping[Any, Any], keepers: int) -> dict[int | str, Fault]:
    """Read faults by server: keeper ids, also as text, and ``nexus``.

    Raises ConfigError, which names ``faults`` and the server, for anything that is not one.
    """
    if not isinstance(faults, Mapping):
        raise ConfigError("faults", "they are a mapping such as {2: {refuse: true}}")
    ids = {str(number): number for number in range(1, keepers + 1)}
    parsed: dict[int | str, Fault] = {}
    for name, fields in faults.items():
        where = f"faults[{name}]"
        server: int | str | None = "nexus" if name == "nexus" else ids.get(str(name))
        if server is None:
            raise ConfigError(where, f"there are keepers 1 to {keepers}, and nexus")
        if server in parsed:
            raise ConfigError(where, "it is given twice")
        parsed[server] = Fault.parse(fields, where)
        if server == "nexus":
            _check_nexus(parsed[server], where)
        else:
            _check_keeper(parsed[server], where)
    return parsed


def _check_nexus(fault: Fault, where: str) -> None:
    if fault.when is not When.ALWAYS or fault.kind is Kind.ACCEPT_EMPTY:
        raise ConfigError(where, "when and accept_empty are about keepers")


def _check_keeper(fault: Fault, where: str) -> None:
    if fault.kind is Kind.OTHER_KEY:
        raise ConfigError(where, "other_key is about nexus")


__all__ = ["Fault", "Kind", "Level", "Step", "When", "parse_faults"]
