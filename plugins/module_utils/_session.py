# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One run of a module: who we are, how long we may take, and what has been told so far."""

from __future__ import annotations

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
from ansible_collections.dayzero.spike.plugins.module_utils._errors import OutOfTime, Phase
from ansible_collections.dayzero.spike.plugins.module_utils._identity import obtain_identity
from ansible_collections.dayzero.spike.plugins.module_utils._keeper_steps import TimeLimit
from ansible_collections.dayzero.spike.plugins.module_utils._memory_dir import default_memory_dir
from ansible_collections.dayzero.spike.plugins.module_utils._process import forbid_core_dumps
from ansible_collections.dayzero.spike.plugins.module_utils._report import RunReport
from ansible_collections.dayzero.spike.plugins.module_utils._root_key import RootKey
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

    def take_identity(self, *, scratch_dir: str | None = None) -> None:
        """Obtain our identity and open the ways to keepers and Nexus.

        ``scratch_dir``, in memory, is for a source that hands over files; by default it is
        ``runtime_dir``.
        """
        source = replace(self.settings, runtime_dir=scratch_dir or self.runtime_dir)
        identity = obtain_identity(source, now=self.tools.now)
        self.keepers = self._transport(
            PeerTls(identity, IdRule(KEEPER_PATH, self.settings.trust_root_keeper))
        )
        self.nexus = self._transport(
            PeerTls(identity, IdRule(NEXUS_PATH, self.settings.trust_root_nexus))
        )

    def guard_key(self, key: RootKey) -> None:
        """Whatever happens now, the key is in no core dump and no output, and is wiped."""
        forbid_core_dumps()
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

    def keeper_limit(self) -> TimeLimit:
        """The time for one step at the keepers."""
        given = self.settings.keeper_timeout
        seconds = self.within(given.seconds)
        if seconds < given.seconds:
            return TimeLimit(seconds, f"the whole run's {self.settings.timeout.text}")
        return TimeLimit(seconds, given.text)

    def _transport(self, tls: PeerTls) -> Transport:
        transport = Transport(tls, resolve=self.tools.resolve, step=self.tools.step)
        self.resources.callback(transport.close)
        return transport


__all__ = ["Session", "Tools"]
