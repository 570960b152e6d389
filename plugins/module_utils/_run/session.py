# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One run of a module: who we are, how long we may take, and what has been told so far."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import field, replace
from datetime import datetime
from typing import TYPE_CHECKING

from .._clock import Clock, Duration
from .._dataclass import dataclass
from .._errors import (
    RERUN,
    Advice,
    ConfigError,
    OutOfTime,
    Phase,
)
from .._key.root_key import RootKey, spellings, wipe
from .._net.credentials import (
    Credentials,
    LiveTls,
)
from .._net.sockets import (
    Lookups,
    Resolve,
    resolve_with_system,
)
from .._net.transport import Transport
from .._net.workers import Workers
from .._options.settings import CommonSettings, Settings
from .._process import (
    allow_open_files,
    booted_at,
    forbid_core_dumps,
)
from .._spiffe.identity import Trusted, obtain_identity
from .._spiffe.scratch_dir import scratch_directory
from .._spiffe.source import SvidSettings
from .._spiffe.spiffe_id import (
    BOOTSTRAP_PATH,
    KEEPER_PATH,
    NEXUS_PATH,
    IdRule,
)
from .._spiffe.svid import Identity
from .._state.journal import NAME as JOURNAL
from .._state.memory_dir import (
    default_memory_dir,
    open_memory_dir,
)
from .._state.pending_key import file_name
from .._state.run_lock import note_phase
from .._steps import StepHook, ignore_step
from .._uncut import UNCUT, Resources
from .report import Report, RunReport

if TYPE_CHECKING:
    from .._decide.refusals import Surroundings
    from .._net.broadcast import Attempted


@dataclass(frozen=True)
class Tools:
    """What a run takes from the world.

    ``clock`` is monotonic, in seconds; ``now`` is the time of day, with its zone; ``mask`` is told
    every spelling of a secret; ``step`` is told every point at which a crash could cut the run.
    ``booted`` says when the host was started, None where it does not know. ``resources`` are given
    back when the run ends.
    """

    clock: Clock
    sleep: Callable[[float], None]
    now: Callable[[], datetime]
    mask: Callable[[str], None]
    step: StepHook = ignore_step
    resolve: Resolve = resolve_with_system
    booted: Callable[[], datetime | None] = booted_at
    resources: Resources = field(default_factory=Resources)


class NexusSession:
    """What every phase of a module that speaks to Nexus needs at hand.

    ``runtime_dir`` is where the key of an unfinished run waits. ``nexus`` is the way to it, and
    there is none before an identity is taken. ``resources`` are given back by the one that made
    the session.
    """

    nexus: Transport
    settings: CommonSettings
    report: Report

    def __init__(
        self, settings: CommonSettings, tools: Tools, report: Report, resources: ExitStack
    ) -> None:
        """Raises ConfigError where no runtime_dir is given and the host has no default for it."""
        allow_open_files()
        self.began = tools.clock()
        self._locked_dir: int | None = None
        self.tools = tools
        self.report = report
        self.resources = resources
        self.runtime_dir = settings.runtime_dir or default_memory_dir()
        self.settings = replace(settings, runtime_dir=self.runtime_dir)

    def enter(self, phase: Phase) -> None:
        """Begin ``phase``."""
        self.tools.step(f"phase {phase.value}")
        self.report.phase = phase
        self._note_phase()

    def holds_the_lock_of(self, state_dir: int) -> None:
        """Note in the lock of the open ``state_dir`` which phase the run is in, from now on."""
        self._locked_dir = state_dir
        self.resources.callback(self._give_the_lock_back)
        self._note_phase()

    def _give_the_lock_back(self) -> None:
        self._locked_dir = None

    def _note_phase(self) -> None:
        if self._locked_dir is not None:
            note_phase(self._locked_dir, self.report.phase.value, self.tools.now())

    def open_memory_dir(self, *, create: bool) -> int | None:
        """Open ``runtime_dir`` until the session ends, as ``_memory_dir.open_memory_dir`` does."""
        descriptor = open_memory_dir(self.runtime_dir, create=create)
        if descriptor is not None:
            self.resources.callback(os.close, descriptor)
        return descriptor

    def take_identity_of(
        self,
        rule: IdRule,
        trusted: Trusted,
        *,
        scratch_dir: str | None = None,
        source: SvidSettings | None = None,
    ) -> Credentials:
        """Obtain an identity that ``rule`` admits, and open the way to Nexus with it.

        ``trusted`` are the trust domains whose bundles are needed beside that of Nexus.
        ``scratch_dir``, in memory, is for a source that hands over files; by default it is
        ``runtime_dir``. ``source`` is another one than that of the settings.
        """
        tools, settings = self.tools, self.settings
        needed = {**trusted, "trust_root_nexus": settings.trust_root_nexus}

        def obtain(stopped: Callable[[], bool]) -> Identity:
            timeout = self.clipped(settings.spiffe_source_timeout)
            return obtain_identity(
                replace(source or settings, spiffe_source_timeout=timeout),
                rule,
                needed,
                scratch_dir=scratch_dir or self.runtime_dir,
                now=tools.now,
                stopped=stopped,
            )

        credentials = Credentials(obtain, clock=tools.clock, now=tools.now)
        self.resources.callback(credentials.close)
        self.lookups = Lookups(tools.resolve)
        self.nexus = self._transport(credentials, IdRule(NEXUS_PATH, settings.trust_root_nexus))
        # No root key is in memory yet.
        forbid_core_dumps()
        return credentials

    def scratch_dir(self, memory_dir: int | None) -> str | None:
        """Where spire-agent puts its files as long as there is no runtime_dir.

        A run that changes nothing must not make one: one that it made and removed could be taken
        from under a run that has just begun. None: runtime_dir will do, or nothing is needed.
        """
        if memory_dir is not None or not self.settings.writes_files:
            return None
        beside = os.path.dirname(self.runtime_dir.rstrip("/"))
        try:
            with UNCUT:
                scratch = self.resources.enter_context(
                    scratch_directory(beside, "spike-bootstrap-svid-")
                )
        except OSError as error:
            raise ConfigError(
                "runtime_dir",
                f"it does not exist, and spire-agent needs a private directory in {beside} instead:"
                f" {(error.strerror or 'unusable').lower()}",
                "give one in memory that the running user owns, for example /run/spike-bootstrap",
            ) from None
        descriptor = open_memory_dir(scratch, create=False)
        if descriptor is not None:
            os.close(descriptor)
        return scratch

    def protect_key(self, key: RootKey) -> None:
        """Whatever happens now, the key is in no output, and is wiped."""
        self.resources.callback(key.wipe)
        for spelling in key.spellings():
            self.tools.mask(spelling)

    def protect_shard(self, shard: bytearray) -> None:
        """Whatever happens now, the shard is in no output, and is wiped."""
        self.resources.callback(wipe, shard)
        for spelling in spellings(shard):
            self.tools.mask(spelling)

    @property
    def surroundings(self) -> Surroundings:
        """What messages say of this host and of the run's directories."""
        from .._decide.refusals import Surroundings

        settings = self.settings
        return Surroundings(
            url=settings.nexus_api_url,
            journal=os.path.join(settings.state_dir, JOURNAL),
            key=os.path.join(self.runtime_dir, file_name(settings.state_dir)),
            now=self.tools.now(),
            booted=self.tools.booted(),
        )

    def within(self, seconds: float) -> float:
        """The time for something that may take ``seconds``, within what the whole run has left."""
        whole = self.settings.timeout
        if whole.seconds <= 0:
            return seconds
        left = self.began + whole.seconds - self.tools.clock()
        if left <= 0:
            phase = self.report.phase.value
            raise OutOfTime(
                Advice(
                    f"The time for the whole run ({whole.text}) was used up in phase {phase}.",
                    ("The limit {timeout} is shorter than the steps of this run together.",),
                    (f"Raise {{timeout}} above {whole.text}, or set it to 0 for no limit.", RERUN),
                )
            )
        return min(seconds, left)

    def clipped(self, given: Duration) -> Duration:
        """``given``, or what the whole run has left where that is less, in the operator's words."""
        seconds = self.within(given.seconds)
        if seconds < given.seconds:
            return Duration(seconds, f"the whole run's {self.settings.timeout.text}")
        return given

    def _transport(self, credentials: Credentials, rule: IdRule) -> Transport:
        transport = Transport(
            LiveTls(credentials, rule), lookups=self.lookups, step=self.tools.step
        )
        self.resources.callback(transport.close)
        return transport


class Session(NexusSession):
    """A session of the bootstrap: with the way to the keepers, ``keepers``."""

    keepers: Transport
    settings: Settings
    report: RunReport

    def __init__(
        self, settings: Settings, tools: Tools, report: RunReport, resources: ExitStack
    ) -> None:
        """Raises ConfigError where no runtime_dir is given and the host has no default for it."""
        super().__init__(settings, tools, report, resources)
        self.workers: Workers[Attempted] = Workers(tools.clock)

    def take_identity(self, *, scratch_dir: str | None = None) -> None:
        """Obtain the bootstrap's identity and open the ways to keepers and Nexus."""
        settings = self.settings
        credentials = self.take_identity_of(
            IdRule(BOOTSTRAP_PATH, settings.trust_root_bootstrap),
            {"trust_root_keeper": settings.trust_root_keeper},
            scratch_dir=scratch_dir,
        )
        self.keepers = self._transport(credentials, IdRule(KEEPER_PATH, settings.trust_root_keeper))


__all__ = ["NexusSession", "Session", "Tools"]
