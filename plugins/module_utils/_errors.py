# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every error an operator can meet, with the fields the result needs.

DayZeroError
|-- ConfigError          an option that is refused; nothing was contacted
|-- LibraryMissing       a Python library that the host must have
|-- IdentityError        our own SVID or trust bundle cannot be had or used
|-- GuardRefusal         the cluster's state forbids this run; nothing was sent
|   `-- StateUnusable    the journal, the key of an unfinished run, or the lock cannot be used
|-- KeepersFailed        at least one keeper was not reached or did not take its shard
|-- NexusFailed          Nexus did not prove the root key
|-- OutOfTime            the time for the whole run is used up
|-- NoThread             this host lets the run start not even one thread
`-- AttemptFailed        one attempt at one peer; collected, never shown alone

No message ever holds key or shard bytes: messages are made of names, addresses, numbers and
fixed sentences only, never of the text of somebody else's exception.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence

from ._dataclass import dataclass
from ._naming import (
    Naming,
    fill,
    place_of,
)

RERUN = "Rerun bootstrap."


@dataclass(frozen=True)
class Advice:
    """What an operator is told of a failure.

    ``msg`` is what happened and to whom; ``why`` what can have caused it, the likeliest first, each
    with its evidence; ``what_to_do`` the steps in order, each of them one action. ``{option}``
    stands for what the reader calls that option, see ``Naming``.
    """

    msg: str
    why: tuple[str, ...] = ()
    what_to_do: tuple[str, ...] = ()

    def about(self, **facts: object) -> Advice:
        """The same of one case: with each ``{fact}``, and without the lines that are then empty."""
        return self._each(lambda text: fill(text, facts))

    def rerun(self, name: str) -> Advice:
        """The same where not the bootstrap is to be run again, but ``name``."""
        return self._each(lambda text: text.replace("erun bootstrap", f"erun {name}"))

    def spelt(self, naming: Naming) -> Advice:
        """The same in the reader's own names."""
        return self._each(naming.spell)

    def _each(self, change: Callable[[str], str]) -> Advice:
        return Advice(
            change(self.msg),
            tuple(filter(None, (change(text).strip() for text in self.why))),
            tuple(filter(None, (change(text).strip() for text in self.what_to_do))),
        )


class Phase(enum.Enum):
    """Where a run is; the values are the result's ``phase``."""

    CONFIG = "config"
    IDENTITY = "identity"
    GUARD = "guard"
    REACH = "reach"
    DELIVER = "deliver"
    VERIFY = "verify"
    DONE = "done"


class Cause(enum.Enum):
    """Why an attempt failed; the values are the result's ``cause``."""

    CONNECTION_REFUSED = "connection_refused"
    CONNECT_TIMEOUT = "connect_timeout"
    NAME_RESOLUTION = "name_resolution"
    TLS = "tls"
    TLS_TIMEOUT = "tls_timeout"
    PEER_UNTRUSTED = "peer_untrusted"
    PEER_IDENTITY = "peer_identity"
    IDENTITY_REFUSED = "identity_refused"
    HTTP_STATUS = "http_status"
    BAD_RESPONSE = "bad_response"
    RESPONSE_TIMEOUT = "response_timeout"
    LOCAL = "local"


class Finding(enum.Enum):
    """What is known of a failure beyond its cause; it decides what an operator is told."""

    PORT_REFUSES = "every address of the name refused the connection"
    EXPIRED = "the peer's certificate has expired"
    NOT_YET_VALID = "the peer's certificate is not valid yet"
    UNKNOWN_AUTHORITY = "no authority of the trust bundle has signed it"
    OTHER_TRUST_DOMAIN = "the right part, of a trust domain that is not allowed"
    OURS_EXPIRED = "our own SVID has expired"


@dataclass(frozen=True)
class Failure:
    """Why one attempt at one peer failed.

    ``detail`` is one line without secrets. ``final``: trying again cannot fix it. ``sent``: the
    peer may have received the request. ``finding`` is None where nothing further is known.
    """

    cause: Cause
    detail: str
    final: bool = False
    sent: bool = False
    finding: Finding | None = None


class DayZeroError(Exception):
    """The root of the collection's errors.

    ``phase`` is None where the flow knows it better than the place that failed. ``code`` is
    SPIKE's own error code where SPIKE has one (spike-sdk-go, errors/sentinel.go).
    """

    phase: Phase | None = None
    code = "gen_general_failure"

    def __init__(self, advice: Advice | str, *, code: str | None = None) -> None:
        self.advice = Advice(advice) if isinstance(advice, str) else advice
        super().__init__(self.message)
        if code is not None:
            self.code = code

    @property
    def message(self) -> str:
        """What happened, with the module's own names."""
        return self.advice.spelt(Naming.OPTIONS).msg


class ConfigError(DayZeroError):
    """An option is refused: it is named in the message and in ``option``.

    ``remedy`` is an instruction that shows a valid example, without its capital and its period.
    """

    phase: Phase | None = Phase.CONFIG
    code = "data_invalid_input"

    def __init__(
        self,
        option: str,
        problem: str,
        remedy: str = "",
        *,
        why: Sequence[str] = (),
        code: str | None = None,
        phase: Phase | None = None,
    ) -> None:
        super().__init__(_refusal_of(option, problem, remedy, why), code=code)
        self.option = option
        if phase is not None:
            self.phase = phase


class LibraryMissing(DayZeroError):
    """The host's Python lacks a library, or has one that is too old."""

    phase = Phase.CONFIG


class IdentityError(DayZeroError):
    """Our own SVID or trust bundle cannot be had, or is not one to bootstrap with.

    Where an option is to blame, the message begins with its name, which is also in ``option``.
    """

    phase = Phase.IDENTITY
    code = "spiffe_unable_to_fetch_x509_source"

    def __init__(
        self,
        problem: str,
        remedy: str = "",
        *,
        option: str | None = None,
        why: Sequence[str] = (),
        code: str | None = None,
    ) -> None:
        super().__init__(_refusal_of(option, problem, remedy, why), code=code)
        self.option = option


class GuardRefusal(DayZeroError):
    """The cluster, or what an earlier run left, forbids this run."""

    phase: Phase | None = Phase.GUARD
    code = "state_already_initialized"


class StateUnusable(GuardRefusal):
    """What a run must remember cannot be read, written or locked; not even force overrides it."""

    phase = None  # the journal is written in every later phase too
    code = "store_invalid_configuration"


class KeepersFailed(DayZeroError):
    """Keepers were not reached, or did not take their shard. ``ids``: which, in their order."""

    code = "bootstrap_keeper_unreachable"

    def __init__(self, advice: Advice, ids: tuple[int, ...]) -> None:
        super().__init__(advice)
        self.ids = ids


class NexusFailed(DayZeroError):
    """Nexus did not prove within its time that it holds the root key."""

    phase = Phase.VERIFY
    code = "state_not_ready"


class OutOfTime(DayZeroError):
    """The time allowed for the whole run was used up."""

    code = "retry_max_elapsed_time_reached"


class NoThread(DayZeroError):
    """Not even one thread could be started next to the ``running`` ones of this process."""

    def __init__(self, running: int) -> None:
        super().__init__(
            Advice(
                f"This host allows the run no further thread ({running} running).",
                ("A limit on processes and threads is reached.",),
                (
                    "Raise the limit (ulimit -u of the running user, TasksMax of the systemd unit,"
                    " the pids limit of the container), or end what uses it up.",
                    RERUN,
                ),
            )
        )
        self.running = running


class AttemptFailed(DayZeroError):
    """One attempt at one peer failed."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.cause.value}: {failure.detail}")
        self.failure = failure


def _refusal_of(option: str | None, problem: str, remedy: str, why: Sequence[str]) -> Advice:
    about = f"{place_of(option)}: " if option else ""
    if not remedy:
        return Advice(f"{about}{problem}", tuple(why))
    step = f"{remedy[:1].upper()}{remedy[1:]}."
    return Advice(f"{about}{problem}; {remedy}", tuple(why), (f"{about}{step}", RERUN))


__all__ = [
    "RERUN",
    "Advice",
    "AttemptFailed",
    "Cause",
    "ConfigError",
    "DayZeroError",
    "Failure",
    "Finding",
    "GuardRefusal",
    "IdentityError",
    "KeepersFailed",
    "LibraryMissing",
    "NexusFailed",
    "NoThread",
    "OutOfTime",
    "Phase",
    "StateUnusable",
]
