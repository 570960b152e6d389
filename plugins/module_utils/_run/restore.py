# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The flow of a restore: everything is checked before the first shard is sent.

options -> identity -> journal -> checks -> Nexus -> shards -> proof -> result
"""

from __future__ import annotations

from dataclasses import replace

from .._decide.emergency_words import CHECK_LINES, Trouble, trouble
from .._errors import Cause, DayZeroError, Failure, IdentityError, Phase
from .._key.recovery import SetRefused, rebuild
from .._key.root_key import RootKey, Token, wipe
from .._key.shard_line import Shard, line_of, parse_line
from .._net.transport import Transport
from .._options.emergency_settings import RestoreSettings
from .._spiffe.source import SvidSettings
from .._spiffe.spiffe_id import BOOTSTRAP_PATH, RESTORE_PATH, IdRule
from .._spike.nexus import Nexus, Verdict
from .._spike.nexus_state import NexusState
from .._spike.recovery import Progress, give
from .._state.restore_parts import Given, RestoreParts
from .emergency import journal_path, token_of_journal, until_answered
from .restore_report import RestoreReport
from .session import NexusSession, Tools
from .survey import inquire_of_nexus

# How long Nexus is asked whether it has a key, and afterwards for its proof: it has it at once.
_LOOK_SECONDS = 5.0
_PROOF_SECONDS = 15.0


def restore(settings: RestoreSettings, tools: Tools, report: RestoreReport, *, check: bool) -> None:
    """Check the shards, give them to a Nexus that has no key, and ask for its proof.

    With ``check`` nothing is sent. Raises DayZeroError.
    """
    with tools.resources as resources:
        session = NexusSession(settings, tools, report, resources)
        _Restore(session, settings, report, check).run()
    session.enter(Phase.DONE)


class _Restore:
    def __init__(
        self, session: NexusSession, settings: RestoreSettings, report: RestoreReport, check: bool
    ) -> None:
        self.session = session
        self.settings = settings
        self.report = report
        self.check = check
        self.url = settings.nexus_api_url

    def run(self) -> None:
        session, settings = self.session, self.settings
        parts = not settings.complete and not self.check
        memory_dir = session.open_memory_dir(create=parts)
        session.enter(Phase.IDENTITY)
        scratch_dir = session.scratch_dir(memory_dir)
        prover = self._prover(scratch_dir)
        session.take_identity_of(
            IdRule(RESTORE_PATH, settings.trust_root_pilot), {}, scratch_dir=scratch_dir
        )
        session.enter(Phase.GUARD)
        token = token_of_journal(session)
        shards = self._read()
        if settings.complete:
            self._check(shards, token)
            shards = shards[: settings.shamir_threshold]
        self._require_keyless()
        if self.check:
            self.report.changed = True
            return
        session.enter(Phase.DELIVER)
        if settings.complete:
            self._give_all(shards)
        else:
            if memory_dir is None:
                raise RuntimeError("there is no directory for what was given so far")
            self._give_parts(shards, RestoreParts(memory_dir, self.url, session.tools.step))
        if self.report.restored:
            session.enter(Phase.VERIFY)
            self._prove(token, prover)

    # -- before anything is sent

    def _prover(self, scratch_dir: str | None) -> Transport | None:
        """The way to Nexus for whoever may ask it for a proof; None where we have only the role.

        Taken first: whoever gave files for it is to know before a shard is sent.
        """
        settings = self.settings
        source: SvidSettings = settings
        given = settings.proof_svid_cert is not None
        if given:
            source = replace(
                settings,
                svid_source="files",
                svid_cert=settings.proof_svid_cert,
                svid_key=settings.proof_svid_key,
            )
        elif settings.svid_source == "files":
            # These files are those of the role.
            return None
        try:
            self.session.take_identity_of(
                IdRule(BOOTSTRAP_PATH, settings.trust_root_bootstrap),
                {},
                scratch_dir=scratch_dir,
                source=source,
            )
        except IdentityError:
            if given:
                raise
            return None
        return self.session.nexus

    def _read(self) -> list[Shard]:
        shards = []
        for text in self.settings.lines:
            shard = parse_line(text)
            self.session.protect_shard(shard.value)
            line = line_of(shard.index, shard.value)
            self.session.tools.mask(line.decode())
            wipe(line)
            shards.append(shard)
        return shards

    def _check(self, shards: list[Shard], token: Token | None) -> None:
        settings, threshold = self.settings, self.settings.shamir_threshold
        journal = journal_path(self.session)

        def known(key: RootKey) -> bool:
            return token is not None and key.opens(token)

        refused: SetRefused | None = None
        given = {shard.index: shard.value for shard in shards}
        try:
            checked = rebuild(given, threshold, len(settings.keepers), known)
        except SetRefused as error:
            refused = error
        if refused is not None:
            odd = refused.odd
            raise trouble(
                Trouble.NOT_ONE_SET,
                problem=str(refused),
                outcome="Nothing was sent.",
                odd_one=f"Shard {odd} is the one that does not fit the others." if odd else "",
                likely="A digit or an index is mistyped, or a shard is of another cluster or of"
                " another time.",
                first_step=CHECK_LINES,
                threshold=threshold,
            )
        self.session.protect_key(checked.key)
        opened = None if token is None else known(checked.key)
        self.report.checked(checked.scheme, token_opened=opened)
        if opened is False:
            raise trouble(Trouble.NOT_THE_TOKENS, journal=journal, outcome="Nothing was sent.")
        if token is None and len(shards) == threshold and not settings.unchecked:
            raise trouble(Trouble.UNCHECKABLE, threshold=threshold, journal=journal)

    def _require_keyless(self) -> None:
        """Raise unless Nexus says itself that it has no key: a live one would change it."""
        with RootKey.draw() as nobodys:
            token = nobodys.seal()
        verdict = self._ask(token, _LOOK_SECONDS, hoped_for=Nexus.NOT_READY)
        if verdict.nexus is Nexus.NOT_READY:
            return
        if _has_a_key(verdict):
            self.report.nexus_state = NexusState.READY
            self.report.nexus_detail = "Nexus has a root key"
            raise trouble(Trouble.LIVE, url=self.url)
        raise trouble(Trouble.NOT_KEYLESS, verdict.failure, url=self.url, detail=verdict.detail)

    def _ask(self, token: Token, seconds: float, *, hoped_for: Nexus) -> Verdict:
        """What Nexus says to ``token``, asked again for ``seconds`` until it is ``hoped_for``."""
        return inquire_of_nexus(
            self.session,
            token,
            self.session.within(seconds),
            enough=lambda verdict: verdict.nexus is hoped_for,
        ).verdict

    # -- shards

    def _give_all(self, shards: list[Shard]) -> None:
        for count, shard in enumerate(shards, 1):
            progress = self._give(shard)
            if progress.restored:
                # Earlier than it can be by ours alone, it is live on a mixture.
                self.report.mixed = count < len(shards)
                return
            if progress.collected != count:
                raise self._miscounted(shard, progress, count)
        raise self._miscounted(shards[-1], progress, len(shards))

    def _give_parts(self, shards: list[Shard], parts: RestoreParts) -> None:
        for shard in shards:
            before = parts.read()
            progress = self._give(shard)
            if progress.restored:
                parts.forget()
                return
            after = Given((*before.indices, shard.index), progress.collected)
            if before.indices and progress.collected != before.collected + 1:
                if progress.collected < before.collected or shard.index not in before.indices:
                    parts.write(Given((shard.index,), progress.collected))
                raise self._miscounted(shard, progress, before.collected + 1)
            parts.write(after)

    def _give(self, shard: Shard) -> Progress:
        session = self.session
        session.tools.step(f"shard {shard.index}: before it is given")
        # From here on Nexus may have it.
        self.report.changed = True
        progress = until_answered(
            session,
            lambda attempt: give(session.nexus, self.url, shard.index, shard.value, attempt),
        )
        session.tools.step(f"shard {shard.index}: answered")
        if isinstance(progress, Failure):
            sent = self.report.sent
            self.report.changed = bool(sent) or progress.sent
            raise trouble(
                Trouble.NOT_GIVEN,
                progress,
                url=self.url,
                index=shard.index,
                detail=progress.detail,
                sent_before=f"It has taken {', '.join(map(str, sent))} before." if sent else "",
            )
        self.report.given(shard.index, progress)
        return progress

    def _miscounted(self, shard: Shard, progress: Progress, expected: int) -> DayZeroError:
        return trouble(
            Trouble.OTHER_COUNT,
            url=self.url,
            index=shard.index,
            collected=_counted(progress.collected),
            expected=_counted(expected),
        )

    # -- the proof

    def _prove(self, token: Token | None, prover: Transport | None) -> None:
        reason = ""
        if token is None:
            reason = f"there is no journal {journal_path(self.session)} with a token to open"
        elif prover is None:
            reason = "this identity may not ask for the proof, and no bootstrap's is here"
        if reason and self.report.mixed:
            raise trouble(
                Trouble.WRONG_KEY,
                url=self.url,
                detail="it was restored before it had all shards of this run, so with others",
            )
        if token is None or prover is None:
            self.report.nexus_state = NexusState.READY
            self.report.nexus_detail = "it says that it is restored"
            self.report.unproved(reason, self.url)
            return
        self.session.nexus = prover
        verdict = self._ask(token, _PROOF_SECONDS, hoped_for=Nexus.PROVED)
        if verdict.nexus is Nexus.PROVED:
            self.report.proved = True
            return
        kind = Trouble.WRONG_KEY if verdict.nexus is Nexus.OTHER_KEY else Trouble.UNPROVED
        raise trouble(kind, verdict.failure, url=self.url, detail=verdict.detail)


def _has_a_key(verdict: Verdict) -> bool:
    """Whether it is Nexus's own word that it has one: without, it says so before it looks at us."""
    if verdict.nexus in (Nexus.PROVED, Nexus.OTHER_KEY):
        return True
    failure = verdict.failure
    return (
        failure is not None
        and failure.cause is Cause.HTTP_STATUS
        and failure.detail == "status 401 access_unauthorized"
    )


def _counted(count: int) -> str:
    return "1 shard" if count == 1 else f"{count} shards"


__all__ = ["restore"]
