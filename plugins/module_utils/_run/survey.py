# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can be learnt of a cluster without changing it: the part that a run and a status share."""

from __future__ import annotations

from collections.abc import Callable

from ansible_collections.dayzero.spike.plugins.module_utils._attempt import Attempt
from ansible_collections.dayzero.spike.plugins.module_utils._guard import Standing
from ansible_collections.dayzero.spike.plugins.module_utils._journal import Cluster
from ansible_collections.dayzero.spike.plugins.module_utils._keeper import reach
from ansible_collections.dayzero.spike.plugins.module_utils._keeper_steps import at_every_keeper
from ansible_collections.dayzero.spike.plugins.module_utils._memory import Remembered
from ansible_collections.dayzero.spike.plugins.module_utils._nexus import (
    Inquiry,
    Nexus,
    Verdict,
    ask,
    inquire,
)
from ansible_collections.dayzero.spike.plugins.module_utils._nexus_data import look_for_database
from ansible_collections.dayzero.spike.plugins.module_utils._report import NexusState, Step
from ansible_collections.dayzero.spike.plugins.module_utils._root_key import RootKey, Token
from ansible_collections.dayzero.spike.plugins.module_utils._session import Session
from ansible_collections.dayzero.spike.plugins.module_utils._settings import Peer, Settings

# The guard's questions to Nexus, before anything is sent, take no longer together; but each is
# given as long as an answer can be expected to take.
_PROBE_SECONDS = 5.0
_LEAST_PROBE_SECONDS = 1.0

_NEXUS_STATES = {
    Nexus.PROVED: NexusState.READY,
    Nexus.NOT_READY: NexusState.NOT_READY,
    Nexus.OTHER_KEY: NexusState.OTHER_KEY,
}


def cluster_of(settings: Settings) -> Cluster:
    """The cluster that the options describe."""
    keepers = tuple(peer.url for peer in settings.peers)
    return Cluster(keepers, settings.shamir_threshold, settings.share_scheme)


def take_standing(session: Session, remembered: Remembered, *, asked: float = 0.0) -> Standing:
    """How the cluster stands, given what an earlier run left; asks Nexus, within 5 seconds.

    ``asked`` are the seconds that an earlier question took, and they count; one second is left for
    this one in any case. Raises ConfigError where ``nexus_data_dir`` is no directory.
    """
    settings = session.settings
    database = look_for_database(settings.nexus_data_dir)
    return Standing(
        cluster=cluster_of(settings),
        nexus_api_url=settings.nexus_api_url,
        record=remembered.record,
        pending_for=remembered.key_for,
        begun_elsewhere=remembered.begun_elsewhere,
        verdict=_probe(session, remembered, max(_PROBE_SECONDS - asked, _LEAST_PROBE_SECONDS)),
        database=database,
    )


def _probe(session: Session, remembered: Remembered, seconds: float) -> Verdict:
    if remembered.record is not None:
        token = remembered.record.token
    elif remembered.key is not None:
        token = remembered.key.seal()
    else:
        # Sealed under a key that nobody else has ever seen, so Nexus can only say whether it
        # holds a key at all.
        with RootKey.draw() as nobodys:
            token = nobodys.seal()
    inquiry = inquire_of_nexus(
        session,
        token,
        session.within(seconds),
        enough=lambda verdict: verdict.nexus is not Nexus.UNCLEAR,
    )
    return inquiry.verdict


def inquire_of_nexus(
    session: Session, token: Token, seconds: float, *, enough: Callable[[Verdict], bool]
) -> Inquiry:
    """Ask Nexus about ``token``, as ``inquire`` does, and report what it said last."""
    tools = session.tools

    def ask_once(attempt: Attempt) -> Verdict:
        tools.step("nexus: before question")
        verdict = ask(session.nexus, session.settings.nexus_api_url, token, attempt)
        tools.step("nexus: answered")
        return verdict

    inquiry = inquire(ask_once, enough, seconds=seconds, clock=tools.clock, sleep=tools.sleep)
    session.report.nexus(
        _NEXUS_STATES.get(inquiry.verdict.nexus, NexusState.UNREACHABLE),
        inquiry.verdict.detail,
        attempts=inquiry.attempts,
        elapsed=inquiry.elapsed,
    )
    return inquiry


def reach_keepers(session: Session) -> None:
    """Reach every keeper; raises KeepersFailed, and the report says which failed and why."""

    def work(peer: Peer, attempt: Attempt) -> None:
        session.tools.step(f"keeper {peer.id}: before preflight")
        reach(session.keepers, peer, attempt)
        session.tools.step(f"keeper {peer.id}: preflight answered")

    at_every_keeper(
        Step.REACH,
        session.settings.peers,
        work,
        settings=session.settings,
        limit=session.clipped(session.settings.keeper_timeout),
        runner=session.workers,
        report=session.report,
    )


__all__ = ["cluster_of", "inquire_of_nexus", "reach_keepers", "take_standing"]
