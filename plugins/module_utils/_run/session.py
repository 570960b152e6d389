# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One run of a module: who we are, how long we may take, and what has been told so far."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime

from ansible_collections.dayzero.spike.plugins.module_utils._attempt import Clock
from ansible_collections.dayzero.spike.plugins.module_utils._broadcast import (
    Report as AttemptReport,
)
from ansible_collections.dayzero.spike.plugins.module_utils._durable_file import Step as StepHook
from ansible_collections.dayzero.spike.plugins.module_utils._durable_file import ignore_step
from ansible_collections.dayzero.spike.plugins.module_utils._duration import Duration
from ansible_collections.dayzero.spike.plugins.module_utils._errors import (
    ConfigError,
    OutOfTime,
    Phase,
)
from ansible_collections.dayzero.spike.plugins.module_utils._identity import obtain_identity
from ansible_collections.dayzero.spike.plugins.module_utils._memory_dir import (
    default_memory_dir,
    open_memory_dir,
)
from ansible_collections.dayzero.spike.plugins.module_utils._process import (
    allow_open_files,
    forbid_core_dumps,
)
from ansible_collections.dayzero.spike.plugins.module_utils._report import RunReport
from ansible_collections.dayzero.spike.plugins.module_utils._root_key import RootKey
from ansible_collections.dayzero.spike.plugins.module_utils._scratch_dir import scratch_directory
from ansible_collections.dayzero.spike.plugins.module_utils._settings import Settings
from ansible_collections.dayzero.spike.plugins.module_utils._sockets import (
    Resolve,
    resolve_with_system,
)
from ansible_collections.dayzero.spike.plugins.module_utils._spiffe_id import (
    KEEPER_PATH,
    NEXUS_PATH,
    IdRule,
)
from ansible_collections.dayzero.spike.plugins.module_utils._spiffe_tls import PeerTls
from ansible_collections.dayzero.spike.plugins.module_utils._transport import Transport
from ansible_collections.dayzero.spike.plugins.module_utils._workers import Workers


@dataclass(frozen=True)
class Tools:
    """What a run takes from the world.

    ``clock`` is monotonic, in seconds; ``now`` is the time of day, with its zone; ``mask`` is told
    every spelling of a secret; ``step`` is told every point at which a crash could cut the run.
    """

    clock: Clock
    sleep: Callable[[float], None]
    now: Callable[[], datetime]
    mask: Callable[[str], None]
    step: StepHook = ignore_step
    resolve: Resolve = resolve_with_system


class Session:
    """What every phase of a run needs at hand.

    ``runtime_dir`` is where the key of an unfinished run waits. ``keepers`` and ``nexus`` are the
    ways to them, and there are none before ``take_identity``. ``resources`` are given back by
    whoever made the session.
    """

    keepers: Transport
    nexus: Transport

    def __init__(
        self, settings: Settings, tools: Tools, report: RunReport, resources: ExitStack
    ) -> None:
        """Raises ConfigError where no runtime_dir is given and the host has no default for it."""
        allow_open_files()
        self.began = tools.clock()
        self.tools = tools
        self.report = report
        self.resources = resources
        self.workers: Workers[AttemptReport] = Workers(tools.clock)
        self.runtime_dir = settings.runtime_dir or default_memory_dir()
        self.settings = replace(settings, runtime_dir=self.runtime_dir)

    def enter(self, phase: Phase) -> None:
        """Begin ``phase``."""
        self.tools.step(f"phase {phase.value}")
        self.report.phase = phase

    def open_memory_dir(self, *, create: bool) -> int | None:
        """Open ``runtime_dir`` until the session ends, as ``_memory_dir.open_memory_dir`` does."""
        descriptor = open_memory_dir(self.runtime_dir, create=create)
        if descriptor is not None:
            self.resources.callback(os.close, descriptor)
        return descriptor

    def take_identity(self, *, scratch_dir: str | None = None) -> None:
        """Obtain our identity and open the ways to keepers and Nexus.

        ``scratch_dir``, in memory, is for a source that hands over files; by default it is
        ``runtime_dir``.
        """
        source = replace(
            self.settings,
            runtime_dir=scratch_dir or self.runtime_dir,
            spiffe_source_timeout=self.clipped(self.settings.spiffe_source_timeout),
        )
        identity = obtain_identity(source, now=self.tools.now)
        self.keepers = self._transport(
            PeerTls(identity, IdRule(KEEPER_PATH, self.settings.trust_root_keeper))
        )
        self.nexus = self._transport(
            PeerTls(identity, IdRule(NEXUS_PATH, self.settings.trust_root_nexus))
        )
        # Only now: it closes our own /proc/self/fd, through which OpenSSL has read the SVID. And
        # already now: no root key is in memory yet.
        forbid_core_dumps()

    def scratch_dir(self, memory_dir: int | None) -> str | None:
        """Where spire-agent puts its files as long as there is no runtime_dir.

        Whoever changes nothing must not make one, and one that it made and removed could be taken
        from under a run that has just begun. None: runtime_dir will do, or nothing is needed.
        """
        if memory_dir is not None or self.settings.svid_source != "spire_agent":
            return None
        beside = os.path.dirname(self.runtime_dir.rstrip("/"))
        try:
            scratch = self.resources.enter_context(
                scratch_directory(beside, "spike-bootstrap-svid-")
            )
        except OSError as error:
            raise ConfigError(
                "runtime_dir",
                f"it does not exist, and spire-agent needs a private directory in {beside} instead:"
                f" {(error.strerror or 'unusable').lower()}; give one in memory that the running"
                " user owns",
            ) from None
        descriptor = open_memory_dir(scratch, create=False)
        if descriptor is not None:
            os.close(descriptor)
        return scratch

    def guard_key(self, key: RootKey) -> None:
        """Whatever happens now, the key is in no output, and is wiped."""
        self.resources.callback(key.wipe)
        for spelling in key.spellings():
            self.tools.mask(spelling)

    def within(self, seconds: float) -> float:
        """The time for something that may take ``seconds``, within what the whole run has left."""
        whole = self.settings.timeout
        if whole.seconds <= 0:
            return seconds
        left = self.began + whole.seconds - self.tools.clock()
        if left <= 0:
            raise OutOfTime(
                f"The whole run's time ({whole.text}) was used up in phase"
                f" {self.report.phase.value}. Raise timeout and rerun bootstrap."
            )
        return min(seconds, left)

    def clipped(self, given: Duration) -> Duration:
        """``given``, or what the whole run has left where that is less, in the operator's words."""
        seconds = self.within(given.seconds)
        if seconds < given.seconds:
            return Duration(seconds, f"the whole run's {self.settings.timeout.text}")
        return given

    def _transport(self, tls: PeerTls) -> Transport:
        transport = Transport(tls, resolve=self.tools.resolve, step=self.tools.step)
        self.resources.callback(transport.close)
        return transport


__all__ = ["Session", "Tools"]
