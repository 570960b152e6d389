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
from dataclasses import dataclass


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


@dataclass(frozen=True)
class Failure:
    """Why one attempt at one peer failed.

    ``detail`` is one line without secrets. ``final``: trying again cannot mend it. ``sent``: the
    peer may have received the request.
    """

    cause: Cause
    detail: str
    final: bool = False
    sent: bool = False


class DayZeroError(Exception):
    """The root of the collection's errors.

    ``phase`` is None where the flow knows it better than the place that failed. ``code`` is
    SPIKE's own error code where SPIKE has one (spike-sdk-go, errors/sentinel.go).
    """

    phase: Phase | None = None
    code = "gen_general_failure"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code


class ConfigError(DayZeroError):
    """An option is refused: it is named in the message and in ``option``."""

    phase = Phase.CONFIG
    code = "data_invalid_input"

    def __init__(self, option: str, problem: str, *, code: str | None = None) -> None:
        super().__init__(f"{option}: {problem}", code=code)
        self.option = option


class LibraryMissing(DayZeroError):
    """The host's Python lacks a library, or has one that is too old."""

    phase = Phase.CONFIG


class IdentityError(DayZeroError):
    """Our own SVID or trust bundle cannot be had, or is not one to bootstrap with.

    Where an option is to blame, the message begins with its name, which is also in ``option``.
    """

    phase = Phase.IDENTITY
    code = "spiffe_unable_to_fetch_x509_source"

    def __init__(self, problem: str, *, option: str | None = None, code: str | None = None) -> None:
        super().__init__(f"{option}: {problem}" if option else problem, code=code)
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
    """Keepers were not reached, or did not take their shard; the outcomes say which and why."""

    code = "bootstrap_keeper_unreachable"


class NexusFailed(DayZeroError):
    """Nexus did not prove within its time that it holds the root key."""

    phase = Phase.VERIFY
    code = "state_not_ready"


class OutOfTime(DayZeroError):
    """The time allowed for the whole run was used up."""

    code = "retry_maximum_elapsed_time_reached"


class NoThread(DayZeroError):
    """Not even one thread could be started beside the ``running`` ones of this process."""

    def __init__(self, running: int) -> None:
        super().__init__(
            f"This host allows the run no further thread ({running} running): a limit on processes"
            " and threads is reached. Raise it (ulimit -u of the running user, TasksMax of the"
            " systemd unit, the pids limit of the container) or end what uses it up, and run again."
        )
        self.running = running


class AttemptFailed(DayZeroError):
    """One attempt at one peer failed."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.cause.value}: {failure.detail}")
        self.failure = failure


__all__ = [
    "AttemptFailed",
    "Cause",
    "ConfigError",
    "DayZeroError",
    "Failure",
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
