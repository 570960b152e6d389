# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The flow of a run: the only room that knows all phases.

options -> identity -> guard -> reach -> key + journal -> deliver -> verify -> result
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime

from ansible_collections.dayzero.spike.plugins.module_utils._attempt import (
    Attempt,
    Clock,
)
from ansible_collections.dayzero.spike.plugins.module_utils._broadcast import (
    Report as AttemptReport,
)
from ansible_collections.dayzero.spike.plugins.module_utils._durable_file import Step as StepHook
from ansible_collections.dayzero.spike.plugins.module_utils._durable_file import ignore_step
from ansible_collections.dayzero.spike.plugins.module_utils._errors import (
    ConfigError,
    NexusFailed,
    OutOfTime,
    Phase,
)
from ansible_collections.dayzero.spike.plugins.module_utils._guard import (
    Decision,
    Standing,
    decide,
)
from ansible_collections.dayzero.spike.plugins.module_utils._identity import (
    obtain_identity,
)
from ansible_collections.dayzero.spike.plugins.module_utils._journal import (
    Cluster,
    Journal,
    Record,
)
from ansible_collections.dayzero.spike.plugins.module_utils._keeper import (
    deliver,
    reach,
)
from ansible_collections.dayzero.spike.plugins.module_utils._keeper_steps import (
    TimeLimit,
    at_every_keeper,
)
from ansible_collections.dayzero.spike.plugins.module_utils._memory import (
    Memory,
    Remembered,
)
from ansible_collections.dayzero.spike.plugins.module_utils._memory_dir import (
    default_memory_dir,
    open_memory_dir,
)
from ansible_collections.dayzero.spike.plugins.module_utils._nexus import (
    Inquiry,
    Nexus,
    Verdict,
    ask,
    inquire,
)
from ansible_collections.dayzero.spike.plugins.module_utils._pending_key import (
    PendingKey,
)
from ansible_collections.dayzero.spike.plugins.module_utils._process import (
    forbid_core_dumps,
)
from ansible_collections.dayzero.spike.plugins.module_utils._report import (
    NexusState,
    RunReport,
    Step,
)
from ansible_collections.dayzero.spike.plugins.module_utils._root_key import (
    RootKey,
    Token,
    spellings,
    wipe,
)
from ansible_collections.dayzero.spike.plugins.module_utils._run_lock import (
    locked_state_dir,
)
from ansible_collections.dayzero.spike.plugins.module_utils._settings import (
    Peer,
    Settings,
)
from ansible_collections.dayzero.spike.plugins.module_utils._sockets import (
    Resolve,
    resolve_with_system,
)
from ansible_collections.dayzero.spike.plugins.module_utils._spiffe_id import (
    KEEPER_PATH,
    NEXUS_PATH,
    IdRule,
)
from ansible_collections.dayzero.spike.plugins.module_utils._spiffe_tls import (
    PeerTls,
)
from ansible_collections.dayzero.spike.plugins.module_utils._transport import (
    Transport,
)
from ansible_collections.dayzero.spike.plugins.module_utils._workers import (
    Workers,
)

# The guard's question to Nexus, before anything is sent, takes no longer.
_PROBE_SECONDS = 5.0
# How often the journal notes deliveries while others are still under way.
_NOTE_SECONDS = 0.2
# SPIKE Nexus keeps its database under this name in its data directory.
_NEXUS_DATABASE = "spike.db"

_NEXUS_STATES = {
    Nexus.PROVED: NexusState.READY,
    Nexus.NOT_READY: NexusState.NOT_READY,
    Nexus.OTHER_KEY: NexusState.OTHER_KEY,
}
_NEXUS_CODES = {
    Nexus.OTHER_KEY: "crypto_cipher_verification_failed",
    Nexus.NOT_NEXUS: "spiffe_invalid_spiffe_id",
    Nexus.REFUSES_US: "access_unauthorized",
}


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


def run(settings: Settings, tools: Tools, report: RunReport, *, check: bool) -> None:
    """Bootstrap the cluster, or finish what an earlier run began; ``report`` tells what was done.

    With ``check`` everything up to reaching all keepers is done, and nothing is sent or written.
    Raises DayZeroError; ``report.phase`` is the phase in which the run ended.
    """
    with ExitStack() as resources:
        _Run(settings, tools, report, check, resources).run()


class _Run:
    def __init__(
        self,
        settings: Settings,
        tools: Tools,
        report: RunReport,
        check: bool,
        resources: ExitStack,
    ) -> None:
        self.settings = settings
        self.tools = tools
        self.report = report
        self.check = check
        self.resources = resources
        self.began = tools.clock()
        self.workers: Workers[AttemptReport] = Workers(tools.clock)
        self.cluster = Cluster(
            tuple(peer.url for peer in settings.peers),
            settings.shamir_threshold,
            settings.share_scheme,
        )

    def run(self) -> None:
        memory_dir = self._open_memory_dir()
        self._enter(Phase.IDENTITY)
        self._take_identity()
        self._enter(Phase.GUARD)
        memory = self._open_memory(memory_dir)
        remembered = memory.recall()
        if remembered.key is not None:
            self._guard_key(remembered.key)
        verdict = self._probe(remembered)
        decision = self._decide(remembered, verdict)
        record = remembered.record
        if decision in (Decision.NOTHING, Decision.FINISH):
            assert record is not None
            self._finish(memory, record)
            return
        resume = decision is Decision.RESUME
        # Whoever took a shard may have lost it since, in a restart: as long as Nexus has no key
        # everybody gets the same shard again, which is harmless. A Nexus that has the key looks
        # after the keepers itself.
        proved = verdict.nexus is Nexus.PROVED
        spared = record.delivered if record and resume and proved else frozenset()
        self.report.already_delivered(record.delivered if record and resume else spared)

        self._enter(Phase.REACH)
        self._reach()
        self.report.already_delivered(spared)
        if self.check:
            self.report.changed = True
            return
        key = remembered.key
        if key is None or not resume:
            key = RootKey.draw()
            self._guard_key(key)
            record = None
        self.report.resumed = resume
        if record is None:
            record = memory.begin(key, self.cluster)

        self._enter(Phase.DELIVER)
        record = self._deliver(key, memory, record, spared)
        if not self.settings.verify:
            self.report.note(
                "Nexus was not asked to prove the root key (verify: false); the key stays in"
                f" {self.settings.runtime_dir} until a run with verify finishes."
            )
            self._enter(Phase.DONE)
            return
        self._enter(Phase.VERIFY)
        self._verify(record.token)
        self._finish(memory, record)

    # -- what a run stands on

    def _open_memory_dir(self) -> int | None:
        path = self.settings.runtime_dir or default_memory_dir()
        self.settings = replace(self.settings, runtime_dir=path)
        # spire-agent hands over the SVID's key in a file, which must lie in memory too.
        create = not self.check or self.settings.svid_source == "spire_agent"
        descriptor = open_memory_dir(path, create=create)
        if descriptor is not None:
            self.resources.callback(os.close, descriptor)
        return descriptor

    def _take_identity(self) -> None:
        settings = self.settings
        identity = obtain_identity(settings, now=self.tools.now)
        self.keepers = self._transport(
            PeerTls(identity, IdRule(KEEPER_PATH, settings.trust_root_keeper))
        )
        self.nexus = self._transport(
            PeerTls(identity, IdRule(NEXUS_PATH, settings.trust_root_nexus))
        )

    def _transport(self, tls: PeerTls) -> Transport:
        transport = Transport(tls, resolve=self.tools.resolve)
        self.resources.callback(transport.close)
        return transport

    def _open_memory(self, memory_dir: int | None) -> Memory:
        settings, tools = self.settings, self.tools
        assert settings.runtime_dir is not None
        state_dir = self.resources.enter_context(
            locked_state_dir(
                settings.state_dir,
                create=not self.check,
                patience=settings.keeper_timeout,
                clock=tools.clock,
                sleep=tools.sleep,
            )
        )
        journal = (
            None if state_dir is None else Journal(state_dir, settings.state_dir, step=tools.step)
        )
        return Memory(journal, PendingKey(memory_dir, settings.runtime_dir, step=tools.step))

    # -- guard

    def _probe(self, remembered: Remembered) -> Verdict:
        if remembered.record is not None:
            token = remembered.record.token
        elif remembered.key is not None:
            token = remembered.key.seal()
        else:
            # Sealed under a key that nobody else has ever seen, so Nexus can only say whether it
            # holds a key at all.
            with RootKey.draw() as nobodys:
                token = nobodys.seal()
        inquiry = self._inquire(
            token,
            self._within(_PROBE_SECONDS),
            enough=lambda verdict: verdict.nexus is not Nexus.UNCLEAR,
        )
        return inquiry.verdict

    def _decide(self, remembered: Remembered, verdict: Verdict) -> Decision:
        standing = Standing(
            cluster=self.cluster,
            nexus_api_url=self.settings.nexus_api_url,
            record=remembered.record,
            pending_for=remembered.key_for,
            verdict=verdict,
            database=_nexus_database(self.settings.nexus_data_dir),
        )
        return decide(standing, force=self.settings.force)

    # -- keepers

    def _reach(self) -> None:
        def work(peer: Peer, attempt: Attempt) -> None:
            self.tools.step(f"keeper {peer.id}: before preflight")
            reach(self.keepers, peer, attempt)
            self.tools.step(f"keeper {peer.id}: preflight answered")

        at_every_keeper(
            Step.REACH,
            self.settings.peers,
            work,
            settings=self.settings,
            limit=self._keeper_limit(),
            runner=self.workers,
            report=self.report,
        )

    def _deliver(
        self, key: RootKey, memory: Memory, record: Record, spared: frozenset[int]
    ) -> Record:
        settings = self.settings
        shards = key.shards(settings.shamir_threshold, len(settings.peers), settings.share_scheme)
        for shard in shards:
            self.resources.callback(wipe, shard)
            for spelling in spellings(shard):
                self.tools.mask(spelling)
        log = _DeliveryLog(memory, record, self.tools.clock)

        def work(peer: Peer, attempt: Attempt) -> None:
            self.tools.step(f"keeper {peer.id}: before shard")
            deliver(self.keepers, peer, shards[peer.id - 1], attempt)
            self.tools.step(f"keeper {peer.id}: shard answered")

        # From here on a shard may be out, whatever happens.
        self.report.changed = True
        try:
            at_every_keeper(
                Step.DELIVER,
                [peer for peer in settings.peers if peer.id not in spared],
                work,
                settings=settings,
                limit=self._keeper_limit(),
                runner=self.workers,
                report=self.report,
                on_success=log.delivered,
            )
        finally:
            log.flush()
        return log.record

    def _keeper_limit(self) -> TimeLimit:
        given = self.settings.keeper_timeout
        seconds = self._within(given.seconds)
        if seconds < given.seconds:
            return TimeLimit(seconds, f"the whole run's {self.settings.timeout.text}")
        return TimeLimit(seconds, given.text)

    # -- proof

    def _verify(self, token: Token) -> None:
        limit = self.settings.init_verification_timeout
        seconds = self._within(limit.seconds)
        inquiry = self._inquire(
            token, seconds, enough=lambda verdict: verdict.nexus is Nexus.PROVED
        )
        verdict = inquiry.verdict
        if verdict.nexus is Nexus.PROVED:
            return
        text = limit.text if seconds == limit.seconds else self.settings.timeout.text
        raise NexusFailed(
            _unproved(self.settings.nexus_api_url, inquiry, text),
            code=_NEXUS_CODES.get(verdict.nexus),
        )

    def _inquire(
        self, token: Token, seconds: float, *, enough: Callable[[Verdict], bool]
    ) -> Inquiry:
        def ask_once(attempt: Attempt) -> Verdict:
            self.tools.step("nexus: before question")
            verdict = ask(self.nexus, self.settings.nexus_api_url, token, attempt)
            self.tools.step("nexus: answered")
            return verdict

        inquiry = inquire(
            ask_once, enough, seconds=seconds, clock=self.tools.clock, sleep=self.tools.sleep
        )
        self.report.nexus(
            _NEXUS_STATES.get(inquiry.verdict.nexus, NexusState.UNREACHABLE),
            inquiry.verdict.detail,
            attempts=inquiry.attempts,
            elapsed=inquiry.elapsed,
        )
        return inquiry

    def _finish(self, memory: Memory, record: Record) -> None:
        if not self.check:
            memory.finish(record)
        self.report.already_delivered(record.delivered)
        self._enter(Phase.DONE)

    # -- throughout

    def _enter(self, phase: Phase) -> None:
        self.tools.step(f"phase {phase.value}")
        self.report.phase = phase

    def _within(self, seconds: float) -> float:
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

    def _guard_key(self, key: RootKey) -> None:
        """Whatever happens now, the key is in no core dump and no output, and is wiped."""
        forbid_core_dumps()
        self.resources.callback(key.wipe)
        for spelling in key.spellings():
            self.tools.mask(spelling)


class _DeliveryLog:
    """Notes deliveries in the journal; several at once where they come fast."""

    def __init__(self, memory: Memory, record: Record, clock: Clock) -> None:
        self.record = record
        self._memory = memory
        self._clock = clock
        self._fresh: list[int] = []
        self._noted = clock()

    def delivered(self, peer: Peer) -> None:
        self._fresh.append(peer.id)
        if self._clock() - self._noted >= _NOTE_SECONDS:
            self.flush()

    def flush(self) -> None:
        if self._fresh:
            self.record = self.record.with_delivered(self._fresh)
            self._memory.note(self.record)
            self._fresh.clear()
        self._noted = self._clock()


def _nexus_database(directory: str | None) -> str | None:
    """The path of the Nexus database in ``directory``, None where there is none."""
    if directory is None:
        return None
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return None
    except OSError as error:
        problem = (error.strerror or "unreadable").lower()
        raise ConfigError(
            "nexus_data_dir",
            f"{directory} cannot be read: {problem}; whether Nexus has data decides whether a new"
            " root key may be drawn",
        ) from None
    return os.path.join(directory, _NEXUS_DATABASE) if _NEXUS_DATABASE in names else None


def _unproved(url: str, inquiry: Inquiry, timeout: str) -> str:
    nexus, detail = inquiry.verdict.nexus, inquiry.verdict.detail
    if nexus is Nexus.OTHER_KEY:
        return (
            f"Nexus at {url} came up with another root key than the one that was delivered:"
            f" {detail}. Shards of an earlier run were still in its memory, or somebody else"
            " bootstraps the same cluster. Stop Nexus, remove its new and empty database, restart"
            " the keepers, and rerun bootstrap with force."
        )
    if nexus is Nexus.NOT_NEXUS:
        return (
            f"All shards are delivered, but what answers at {url} is not Nexus: {detail}. Correct"
            " nexus_api_url, trust_root_nexus or Nexus's SPIRE entry, and rerun bootstrap."
        )
    if nexus is Nexus.REFUSES_US:
        return (
            f"All shards are delivered, but Nexus at {url} refuses this host's SVID: {detail}."
            " Compare its trust_root_bootstrap setting, and rerun bootstrap."
        )
    if inquiry.verdict.final:
        return (
            f"All shards are delivered, but Nexus at {url} does not verify root keys: {detail}."
            " Check nexus_api_url; where Nexus has no verification, run with verify: false."
        )
    requests = "1 request" if inquiry.attempts == 1 else f"{inquiry.attempts} requests"
    return (
        f"All shards are delivered, but Nexus at {url} did not prove the root key within {timeout}"
        f" ({requests}): {detail}. Check that Nexus runs and has the same keepers in"
        " SPIKE_NEXUS_KEEPER_PEERS, and rerun bootstrap: it goes on with the same key."
    )


__all__ = ["Tools", "run"]
