# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The flow of a recovery: every shard checked, then encrypted for its custodian.

options -> custodians' keys -> identity -> journal -> shards -> checks -> encryption -> files
"""

from __future__ import annotations

import hashlib

from .._decide.emergency_words import Trouble, trouble
from .._errors import ConfigError, Failure, Phase
from .._key.custodians import Custodian, Envelope, KeyUnusable, envelope_for
from .._key.recovery import Checked, SetRefused, rebuild
from .._key.root_key import Token, wipe
from .._key.shard_line import line_of
from .._options.emergency_settings import RecoverSettings
from .._spiffe.spiffe_id import RECOVER_PATH, IdRule
from .._spike.nexus_state import NexusState
from .._spike.recovery import NoKey, fetch
from .._state.recovery_files import (
    FilesUnusable,
    RecoveryFiles,
    SealedShard,
    describe,
    document_of,
)
from .emergency import journal_path, token_of_journal, until_answered
from .recover_report import RecoverReport
from .session import NexusSession, Tools


def recover(settings: RecoverSettings, tools: Tools, report: RecoverReport, *, check: bool) -> None:
    """Fetch the recovery shards, check them, and hand them out encrypted; ``report`` has them.

    With ``check`` nothing is handed out or written. Raises DayZeroError.
    """
    with tools.resources as resources:
        session = NexusSession(settings, tools, report, resources)
        _Recovery(session, settings, report, check).run()
    session.enter(Phase.DONE)


class _Recovery:
    def __init__(
        self, session: NexusSession, settings: RecoverSettings, report: RecoverReport, check: bool
    ) -> None:
        self.session = session
        self.settings = settings
        self.report = report
        self.check = check

    def run(self) -> None:
        session, settings = self.session, self.settings
        self.report.threshold = settings.shamir_threshold
        envelopes = [self._envelope(custodian) for custodian in settings.custodians]
        memory_dir = session.open_memory_dir(create=False)
        session.enter(Phase.IDENTITY)
        session.take_identity_of(
            IdRule(RECOVER_PATH, settings.trust_root_pilot),
            {},
            scratch_dir=session.scratch_dir(memory_dir),
        )
        session.enter(Phase.GUARD)
        token = token_of_journal(session)
        shards = self._fetch()
        session.enter(Phase.VERIFY)
        checked = self._check(shards, token)
        if checked.scheme is None:
            raise RuntimeError("a whole set of shards was checked without finding its scheme")
        self.report.checked(checked.scheme, token_opened=None if token is None else True)
        session.enter(Phase.DELIVER)
        self._hand_out(shards, envelopes, checked.scheme)

    def _envelope(self, custodian: Custodian) -> Envelope:
        problem = ""
        try:
            return envelope_for(custodian, self.session.tools.now())
        except KeyUnusable as error:
            problem = str(error)
        raise ConfigError(
            "custodians",
            f"the key of {custodian.name} {problem}. Nothing was handed out",
            f"give a public key of {custodian.name} that can encrypt now",
        )

    def _fetch(self) -> dict[int, bytearray]:
        session, settings = self.session, self.settings
        url = settings.nexus_api_url
        keyless = False
        shards: dict[int, bytearray] | Failure
        try:
            shards = until_answered(session, lambda attempt: fetch(session.nexus, url, attempt))
        except NoKey:
            keyless = True
            shards = {}
        if keyless:
            self.report.nexus_said(NexusState.NOT_READY, "Nexus has no root key")
            raise trouble(Trouble.NO_KEY, url=url)
        if isinstance(shards, Failure):
            self.report.nexus_said(NexusState.UNCLEAR, shards.detail)
            raise trouble(Trouble.NEXUS_SILENT, shards, url=url, detail=shards.detail)
        for shard in shards.values():
            session.protect_shard(shard)
        self.report.nexus_said(NexusState.READY, "it handed out its shards")
        return shards

    def _check(self, shards: dict[int, bytearray], token: Token | None) -> Checked:
        settings, url = self.settings, self.settings.nexus_api_url
        shares, threshold = len(settings.keepers), settings.shamir_threshold
        if sorted(shards) != list(range(1, shares + 1)):
            found = ", ".join(map(str, sorted(shards)))
            raise trouble(Trouble.NUMBER, url=url, found=found, shares=shares)
        refused: SetRefused | None = None
        try:
            checked = rebuild(shards, threshold, shares)
        except SetRefused as error:
            refused = error
        if refused is not None:
            raise trouble(
                Trouble.NOT_ONE_SET,
                problem=str(refused),
                outcome="Nothing was handed out.",
                odd_one="",
                likely="{shamir_threshold} is not that of Nexus, or Nexus splits its key in a way"
                " that this collection does not know.",
                first_step="Upgrade the collection dayzero.spike, if SPIKE is newer than it.",
                threshold=threshold,
            )
        self.session.protect_key(checked.key)
        if token is not None and not checked.key.opens(token):
            raise trouble(
                Trouble.NOT_THE_TOKENS,
                journal=journal_path(self.session),
                outcome="Nothing was handed out.",
            )
        return checked

    def _hand_out(
        self, shards: dict[int, bytearray], envelopes: list[Envelope], scheme: str
    ) -> None:
        settings = self.settings
        digests = [self._digest(index, shards[index]) for index in sorted(shards)]
        description = describe(
            settings.cluster, scheme, envelopes, digests, self.session.tools.now()
        )
        files = (
            None
            if settings.directory is None
            else RecoveryFiles(settings.directory, self.session.tools.step)
        )
        problem = ""
        try:
            kept = None if files is None else files.read(description)
            if kept is not None:
                self.report.handed_out(kept, document_of(description, kept))
                return
            self.report.changed = files is not None
            if self.check:
                return
            sealed = [
                SealedShard(index, envelope, digest, self._seal(index, shards[index], envelope))
                for index, envelope, digest in zip(sorted(shards), envelopes, digests)
            ]
            if files is not None:
                files.write(description, sealed)
            self.report.handed_out(sealed, document_of(description, sealed))
        except FilesUnusable as error:
            problem = str(error)
        if problem:
            self.report.changed = False
            raise trouble(Trouble.FILES, directory=settings.directory, problem=problem)

    def _seal(self, index: int, shard: bytearray, envelope: Envelope) -> str:
        line = line_of(index, shard)
        try:
            return envelope.seal(line)
        finally:
            wipe(line)

    def _digest(self, index: int, shard: bytearray) -> str:
        line = line_of(index, shard)
        try:
            self.session.tools.mask(line.decode())
            return hashlib.sha256(line).hexdigest()
        finally:
            wipe(line)


__all__ = ["recover"]
