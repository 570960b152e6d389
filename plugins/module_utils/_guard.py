# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""May this run draw a key, must it finish another's, or is there nothing to do: pure.

SPIKE Nexus that restarts over data answers like a fresh one, and shards of two keys that meet in
it become a third. So a key is drawn only where nothing speaks against it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from ansible_collections.dayzero.spike.plugins.module_utils._errors import (
    Cause,
    GuardRefusal,
    StateUnusable,
)
from ansible_collections.dayzero.spike.plugins.module_utils._journal import Cluster, Record
from ansible_collections.dayzero.spike.plugins.module_utils._nexus import Nexus, Verdict
from ansible_collections.dayzero.spike.plugins.module_utils._nexus_data import Database


class Decision(enum.Enum):
    """What a run does."""

    NOTHING = "nothing"  # finished before, and Nexus proves it
    FINISH = "finish"  # Nexus proves an unfinished run's key and nothing is left to send
    RESUME = "resume"  # send an unfinished run's key again
    DRAW = "draw"  # draw a new key


@dataclass(frozen=True)
class Standing:
    """All that is known before anything is sent.

    ``pending_for`` is the fingerprint of the cluster that a kept key was split for, None without
    a key that fits the journal. ``verdict`` is what Nexus says of the journal's token, or of the
    kept key's, or of a random one where there is neither. ``database`` is the Nexus database that
    was found, or that may be there. ``begun_elsewhere`` is the path of a key that an unfinished run
    with another state directory keeps for this cluster.
    """

    cluster: Cluster
    nexus_api_url: str
    record: Record | None
    pending_for: str | None
    verdict: Verdict
    database: Database | None = None
    begun_elsewhere: str | None = None


def decide(standing: Standing, *, force: bool) -> Decision:
    """What to do; raises GuardRefusal, which says why and what the operator does.

    ``force`` turns a refusal into a new key, or into going on with an unfinished run's where there
    is one, and changes nothing else: a cluster whose Nexus proves its key is never overwritten. Nor
    does it let a key be sent beside that of another unfinished run: this is a StateUnusable.
    """
    decision = _decision(standing, force)
    begins = decision is Decision.DRAW or (decision is Decision.RESUME and standing.record is None)
    if begins and standing.begun_elsewhere is not None:
        raise StateUnusable(
            "An unfinished run with another state_dir keeps a root key for the same keepers,"
            f" {standing.begun_elsewhere}, and may have sent shards of it. Nothing was sent. Rerun"
            " bootstrap with that state_dir. If that key is not wanted, restart Nexus and every"
            " keeper so that they forget its shards, and remove the file."
        )
    return decision


def _decision(standing: Standing, force: bool) -> Decision:
    refusal = _refusal(standing)
    proved = standing.verdict.nexus is Nexus.PROVED
    record = standing.record
    if refusal is not None:
        if not force or proved:
            raise refusal
        # A third key would only add to what can be mixed.
        return Decision.RESUME if _has_its_key(standing) else Decision.DRAW
    if record is None:
        return Decision.DRAW if standing.pending_for is None else Decision.RESUME
    if record.finished:
        return Decision.NOTHING
    complete = len(record.delivered) == len(record.cluster.keepers)
    if proved and (complete or standing.pending_for is None):
        return Decision.FINISH
    return Decision.RESUME


def _has_its_key(standing: Standing) -> bool:
    """Whether there is an unfinished run of this very cluster that can go on."""
    record, now = standing.record, standing.cluster
    return (
        record is not None
        and not record.finished
        and record.cluster == now
        and standing.pending_for == now.fingerprint()
    )


def _refusal(standing: Standing) -> GuardRefusal | None:
    record, nexus = standing.record, standing.verdict.nexus
    url = standing.nexus_api_url
    other = _other_cluster(standing)
    if other is not None:
        return other
    if nexus is Nexus.NOT_NEXUS:
        return GuardRefusal(
            f"{not_nexus(url, standing.verdict)} Nothing was sent.",
            code="spiffe_invalid_spiffe_id",
        )
    if nexus is Nexus.REFUSES_US:
        return GuardRefusal(
            f"Nexus at {url} refuses this host's SVID: {standing.verdict.detail}. It must admit"
            " our SPIFFE ID as a bootstrap; compare its trust_root_bootstrap setting.",
            code="access_unauthorized",
        )
    if nexus is Nexus.OTHER_KEY and record is not None and not record.finished:
        return GuardRefusal(
            f"Nexus at {url} holds another root key than the unfinished run's, of which keepers may"
            " have shards. Nothing was sent. It had its key before that run, or made it with shards"
            " of an earlier one that were still in its memory, or somebody else bootstraps the same"
            f" cluster. {other_key_ways_on()}"
        )
    if nexus is Nexus.OTHER_KEY:
        whose = "another root key than the one that was drawn here" if record else "a root key"
        return GuardRefusal(
            f"Nexus at {url} already holds {whose}. This cluster has been bootstrapped; nothing"
            " was sent, and nothing needs to be done if it is the cluster that you expect. Running"
            " with force would make all that it stores unreadable."
        )
    if nexus is Nexus.UNCLEAR:
        return GuardRefusal(
            f"Nexus at {url} gives no clear answer ({standing.verdict.detail}), so it may hold a"
            " root key. Nothing was sent. Look at its log, and rerun bootstrap when it answers."
            " A lite backend of SPIKE v0.8.0 answers 400 once it has a key.",
            code="state_not_ready",
        )
    if nexus is Nexus.PROVED:
        return None
    return _refusal_without_proof(standing)


def _refusal_without_proof(standing: Standing) -> GuardRefusal | None:
    """Nexus has no key, or cannot be reached: is it fresh, or has it only lost its memory?"""
    record = standing.record
    if record is not None and record.finished:
        state = (
            "has no root key in memory"
            if standing.verdict.nexus is Nexus.NOT_READY
            else "cannot be reached"
        )
        return GuardRefusal(
            f"This cluster was bootstrapped before, and Nexus at {standing.nexus_api_url} {state}"
            f" ({standing.verdict.detail}). Its data is encrypted under the key that it had, so"
            " nothing was sent. Start Nexus and let it recover the key from its keepers, or run"
            " SPIKE's recovery with the operator's shards; or correct nexus_api_url, if that is not"
            " its address. Running with force would make the data unreadable.",
            code="state_not_ready",
        )
    if record is not None and standing.pending_for is None:
        return GuardRefusal(
            "An earlier run sent shards and its root key is not in runtime_dir: a reboot has"
            " emptied it, or the end of a login session (systemd's RemoveIPC), or runtime_dir or"
            " state_dir is another one now. In the last case put it back and rerun. Otherwise Nexus"
            " may have kept shards of that key, and mixed with those of a new one they make a"
            f" third. Restart Nexus at {standing.nexus_api_url} and every keeper so that they"
            " forget them, then run once with force.",
            code="root_key_missing",
        )
    if record is None and standing.database is not None:
        return _database_refusal(standing.database)
    return None


def _database_refusal(database: Database) -> GuardRefusal:
    if database.hidden:
        return GuardRefusal(
            f"nexus_data_dir: whether Nexus has the database {database.path} cannot be seen:"
            f" {database.hidden}. It decides whether a new root key may be drawn, so nothing was"
            " sent. Let the running user look for it, for example with setfacl -m u:USER:x on each"
            " directory of that path, or correct nexus_data_dir."
        )
    return GuardRefusal(
        f"nexus_data_dir holds the database {database.path}, which is encrypted under a root key"
        " already. Nothing was sent. Start Nexus and let it recover its key; if the data is not"
        " wanted, move the database away."
    )


def _other_cluster(standing: Standing) -> GuardRefusal | None:
    record, now = standing.record, standing.cluster
    proved = standing.verdict.nexus is Nexus.PROVED
    if record is not None and record.cluster != now:
        way_on = (
            "Put the settings back: a cluster that has its key needs no bootstrap for other"
            " keepers or another threshold, Nexus splits its key by itself for those in its own"
            " settings."
            if record.finished
            else "Put the settings back and finish that run."
            if proved
            else "Put the settings back and finish that run, or see the documentation of force."
        )
        return GuardRefusal(
            "The keepers, threshold or scheme are not those of the earlier run: its journal says"
            f" {record.cluster.describe()}; now given is {now.describe()}. Shards of two splits"
            f" must never meet, nothing was sent. {way_on} If this is another cluster, give it a"
            " state_dir of its own.",
            code="store_invalid_configuration",
        )
    if record is None and standing.pending_for not in (None, now.fingerprint()):
        # Nexus that proves the key cannot be forced to take another.
        way_out = "" if proved else ", or see the documentation of force"
        return GuardRefusal(
            "A root key of an unfinished run is kept in runtime_dir, for other keepers, another"
            f" threshold or another scheme than {now.describe()}, and its journal is gone. Put both"
            f" the settings and the journal back{way_out}.",
            code="store_invalid_configuration",
        )
    return None


def other_key_ways_on() -> str:
    """What to do where keepers may have shards of another key than the one that Nexus holds."""
    return (
        "If Nexus has data that is wanted, restart neither it nor a keeper until it has sent the"
        " keepers its own shards again (SPIKE_NEXUS_KEEPER_UPDATE_INTERVAL, 5m by default); then"
        " the cluster is whole and needs no bootstrap. If not, stop Nexus, move its database away,"
        " restart the keepers, start Nexus and rerun bootstrap: it goes on with the key of the"
        " unfinished run."
    )


def not_nexus(url: str, verdict: Verdict) -> str:
    """What to tell of a peer that is not Nexus, or cannot be known to be, by its certificate."""
    if verdict.cause is Cause.PEER_UNTRUSTED:
        return (
            f"What answers at {url} is not trusted: {verdict.detail}. Check that Nexus has a valid"
            " SVID from its agent, that the clocks of both hosts agree, and that our trust bundle"
            " for trust_root_nexus is current."
        )
    return (
        f"What answers at {url} is not Nexus: {verdict.detail}. Correct nexus_api_url,"
        " trust_root_nexus or Nexus's SPIRE entry."
    )


__all__ = ["Decision", "Standing", "decide", "not_nexus", "other_key_ways_on"]
