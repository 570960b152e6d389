# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an operator is told of Nexus, and of a run that the cluster's state forbids, as data.

``{option}`` stands for what the reader calls that option, see ``_naming``; ``{fact}`` for what was
found in this case. Each step is one action. A step that gives up data comes last, and says so.
"""

from __future__ import annotations

from collections.abc import Mapping

from .._dataclass import dataclass
from .._errors import (
    RERUN,
    Advice,
    Cause,
    Failure,
    Finding,
)
from .situation import Situation


@dataclass(frozen=True)
class NexusWords:
    """What is behind a failure at Nexus, and the first thing to do about it."""

    why: str
    step: str


_NEXUS: Mapping[tuple[Cause, Finding | None], NexusWords] = {
    (Cause.CONNECTION_REFUSED, None): NexusWords(
        "The connection was reset: Nexus is starting or ending, or something in between refuses.",
        "Look at Nexus's log, and at what is between this host and Nexus.",
    ),
    (Cause.CONNECTION_REFUSED, Finding.PORT_REFUSES): NexusWords(
        "Nexus is not running, or {nexus_api_url} has another host or port than it.",
        "Start Nexus, or correct {nexus_api_url}.",
    ),
    (Cause.CONNECT_TIMEOUT, None): NexusWords(
        "Nexus's host is down, {nexus_api_url} names another host, or a firewall drops what is"
        " sent to that port.",
        "Make Nexus's port reachable from this host, or correct {nexus_api_url}.",
    ),
    (Cause.NAME_RESOLUTION, None): NexusWords(
        "The name in {nexus_api_url} is wrong, or the name service of this host does not answer.",
        "Correct the name in {nexus_api_url}, or make this host's name service resolve it.",
    ),
    (Cause.TLS, None): NexusWords(
        "Something other than Nexus listens there, or a proxy ends the TLS connection.",
        "Correct {nexus_api_url}, so that it leads to Nexus itself and not to a proxy.",
    ),
    (Cause.TLS_TIMEOUT, None): NexusWords(
        "Nexus accepts connections and then stalls, often because it waits for its own SVID.",
        "Look at Nexus's log, and check that it gets its SVID from its SPIRE agent.",
    ),
    (Cause.PEER_UNTRUSTED, None): NexusWords(
        "Nexus's trust domain, its chain or this host's trust bundle is not the right one.",
        "Compare Nexus's trust domain with {trust_root_nexus}, and refresh this host's trust"
        " bundle.",
    ),
    (Cause.PEER_UNTRUSTED, Finding.EXPIRED): NexusWords(
        "Nexus's SVID has expired: its SPIRE agent does not renew it, or this host's clock is"
        " ahead (it says {now}).",
        "Renew Nexus's SVID: check its SPIRE agent, and the clocks of both hosts.",
    ),
    (Cause.PEER_UNTRUSTED, Finding.NOT_YET_VALID): NexusWords(
        "This host's clock is behind (it says {now}), or the clock that Nexus's SVID was issued by"
        " is ahead.",
        "Set the clocks of both hosts.",
    ),
    (Cause.PEER_UNTRUSTED, Finding.UNKNOWN_AUTHORITY): NexusWords(
        "Nexus belongs to another SPIRE server or trust domain than {trust_root_nexus} says, or"
        " this host's trust bundle is out of date.",
        "Refresh this host's trust bundle, and compare Nexus's trust domain with"
        " {trust_root_nexus}.",
    ),
    (Cause.PEER_IDENTITY, None): NexusWords(
        "Something other than Nexus answers at {nexus_api_url}, or Nexus's SPIRE entry is wrong.",
        "Correct {nexus_api_url}, or Nexus's SPIRE entry.",
    ),
    (Cause.PEER_IDENTITY, Finding.OTHER_TRUST_DOMAIN): NexusWords(
        "It is a Nexus, of a trust domain that is not in {trust_root_nexus}.",
        "Add its trust domain to {trust_root_nexus}, or correct {nexus_api_url}.",
    ),
    (Cause.IDENTITY_REFUSED, None): NexusWords(
        "This host's trust domain is not in Nexus's SPIKE_TRUST_ROOT_BOOTSTRAP, or Nexus's trust"
        " bundle does not hold this host's authority.",
        "Compare Nexus's SPIKE_TRUST_ROOT_BOOTSTRAP with {trust_root_bootstrap}, and its trust"
        " bundle with ours.",
    ),
    (Cause.IDENTITY_REFUSED, Finding.OURS_EXPIRED): NexusWords(
        "This host's SVID has expired, and no newer one could be had.",
        "Renew this host's SVID: check its SPIRE agent and its clock.",
    ),
    (Cause.HTTP_STATUS, None): NexusWords(
        "A proxy answers in Nexus's place, or Nexus has a fault. A lite backend of SPIKE v0.8.0"
        " answers 400 once it has a key.",
        "Look at Nexus's log, and correct {nexus_api_url} if it leads to a proxy.",
    ),
    (Cause.BAD_RESPONSE, None): NexusWords(
        "Something other than Nexus answers, or Nexus ended in the middle of its answer.",
        "Look at Nexus's log, and correct {nexus_api_url} if it leads elsewhere.",
    ),
    (Cause.RESPONSE_TIMEOUT, None): NexusWords(
        "Nexus took the question and is too slow, or hangs.",
        "Look at Nexus's log and load, and restart it if it hangs.",
    ),
    (Cause.LOCAL, None): NexusWords(
        "This host, not Nexus, lacks something: open files, threads, ports or the permission to"
        " connect.",
        "Raise the limit that the detail names on this host, or let the running user connect.",
    ),
}


def nexus_words(failure: Failure) -> NexusWords:
    """The words for ``failure`` at Nexus: those for what was found out, where there are any."""
    found = _NEXUS.get((failure.cause, failure.finding))
    return found if found is not None else _NEXUS[failure.cause, None]


_OTHER_SETTINGS = (
    "Nexus's own settings are not those of this run: with other keepers, another order, threshold,"
    " number of shares or share scheme it makes another key of the same shards."
)
_COMPARE = (
    "Compare Nexus's settings with these: SPIKE_NEXUS_KEEPER_PEERS must be, in this order,"
    " {numbered}; SPIKE_NEXUS_SHAMIR_THRESHOLD must be {threshold}, SPIKE_NEXUS_SHAMIR_SHARES"
    " {shares}, and the SPIKE release one of share scheme {scheme}."
)
# Two ways on, the one without loss first; each step says to which of them it belongs.
_OTHER_KEY_STEPS = (
    _COMPARE,
    "To keep the key that Nexus has: restart nothing before it has sent the keepers its own shards"
    " (SPIKE_NEXUS_KEEPER_UPDATE_INTERVAL, 5m by default).",
    "To keep the key that Nexus has: then give up this run, {abandon}.",
    "To keep the key that Nexus has: then rerun bootstrap with {accept}.",
    "To use this run's key instead, only if Nexus holds nothing that is wanted: correct Nexus's"
    " settings where they differ.",
    "To use this run's key instead: stop Nexus.",
    "To use this run's key instead: move Nexus's database (spike.db) away, and keep the file.",
    "To use this run's key instead: restart every keeper.",
    "To use this run's key instead: start Nexus.",
    "To use this run's key instead: rerun bootstrap, it goes on with the same key.",
)
_ACCEPT_SILENCE = (
    "If this Nexus never had a key and cannot be asked before day zero: rerun bootstrap with"
    " {nexus_silence} set to accept."
)
_RECOVER = (
    "If Nexus does not get its key back: restore it from the custodians' recovery shards, by"
    " {do_restore}."
)
_THEN_RERUN = "Then rerun bootstrap."
GIVE_IT_UP = (
    "If that run is not wanted: give it up, {abandon}.",
    "If that run is not wanted: then stop Nexus, so that it forgets the shards of that run.",
    "If that run is not wanted: then restart every keeper, so that they forget theirs.",
    "If that run is not wanted: then start Nexus.",
    "If that run is not wanted: then rerun bootstrap.",
)
_START_OVER = (
    "Only if all that Nexus stores is to be given up: rerun bootstrap with {with_force}; that data"
    " can never be read again."
)

ADVICE: Mapping[Situation, Advice] = {
    Situation.NOT_NEXUS: Advice(
        "What answers at {url} {is_what}: {detail}. Nothing was sent.",
        ("{because}",),
        ("{first_step}", RERUN),
    ),
    Situation.REFUSES_US: Advice(
        "Nexus at {url} refuses this host's SVID: {detail}. Nothing was sent.",
        ("{because}",),
        ("{first_step}", RERUN),
    ),
    Situation.UNCLEAR: Advice(
        "Nexus at {url} gave no clear answer ({detail}), so it may hold a root key. Nothing was"
        " sent.",
        (
            "{because}",
            'What was seen does not stand for "no key": {nexus_silence} is {silence}.',
        ),
        ("{first_step}", RERUN, _ACCEPT_SILENCE),
    ),
    Situation.BOOTSTRAPPED: Advice(
        "Nexus at {url} already holds a root key, and no run that sent it is known here. Nothing"
        " was sent.",
        (
            "This cluster was bootstrapped already, from another host, with another {state_dir}, or"
            " before this host was rebuilt: Nexus said so itself ({detail}).",
            "{nexus_api_url} leads to the Nexus of another cluster.",
        ),
        (
            "If it is the cluster that you expect, nothing needs to be done: rerun bootstrap with"
            " {accept}, and runs on this host succeed.",
            "If it is another cluster: correct {nexus_api_url}.",
            _THEN_RERUN,
        ),
    ),
    Situation.LOST_RUN: Advice(
        "Nexus at {url} holds another root key than the unfinished run's, of which keepers may have"
        " shards. Nothing was sent.",
        (
            _OTHER_SETTINGS,
            "Nexus had its key before that run, and gives the keepers its own shards.",
            "Nexus mixed in shards of an earlier run that it still had in memory.",
            "Somebody else bootstraps the same cluster.",
        ),
        _OTHER_KEY_STEPS,
    ),
    Situation.KEY_REPLACED: Advice(
        "Nexus at {url} holds another root key than the one that it proved before. Nothing was"
        " sent.",
        (
            "{nexus_api_url} leads to the Nexus of another cluster.",
            "The cluster was given another key since, by a forced run or a restore elsewhere.",
            "Nexus has restarted, and mixed shards of two splits (other keepers, another order,"
            " threshold or SPIKE release) into a wrong key.",
        ),
        (
            "If it is another cluster: correct {nexus_api_url}.",
            _THEN_RERUN,
            "If the cluster was given its new key on purpose: move the journal {journal} away.",
            "If the cluster was given its new key on purpose: then rerun bootstrap with {accept}.",
            "If Nexus has restarted since it was last well: stop Nexus, before it stores anything"
            " under the wrong key, and restart no keeper yet: they may have the last shards of the"
            " right one.",
            "Only with the custodians' recovery shards at hand: restart every keeper, so that wrong"
            " shards are forgotten.",
            "Only with the custodians' recovery shards at hand: start Nexus, which then has no"
            " key.",
            "Only with the custodians' recovery shards at hand: restore Nexus, by {do_restore}.",
            _THEN_RERUN,
        ),
    ),
    Situation.FORGOTTEN: Advice(
        "This cluster was bootstrapped before, and Nexus at {url} has no root key in memory now."
        " What it stores is encrypted under the key that it had, so nothing was sent.",
        (
            "Nexus has restarted, and still collects the shards from its keepers.",
            "Its keepers have restarted too, and lost their shards.",
            "{nexus_api_url} leads to a new Nexus, or its data was removed.",
        ),
        (
            "Make sure that the keepers run, and wait until Nexus has its key back (seconds after a"
            " restart, minutes when it has asked in vain for long).",
            RERUN,
            _RECOVER,
            _THEN_RERUN,
            _START_OVER,
        ),
    ),
    Situation.FINISHED_UNCLEAR: Advice(
        "This cluster was bootstrapped before, and Nexus at {url} does not say whether it has its"
        " key ({detail}). Nothing was sent.",
        ("{because}",),
        ("{first_step}", RERUN, _RECOVER, _THEN_RERUN, _START_OVER),
    ),
    Situation.KEY_LOST: Advice(
        "An earlier run sent shards, and its root key is no longer in {runtime_dir} ({key})."
        " Nothing was sent.",
        (
            "{rebooted}",
            "{runtime_dir} or {state_dir} is another one now.",
            "The user's last session ended, and systemd removed what it had in memory (RemoveIPC).",
            "{not_rebooted}",
        ),
        (
            "If {runtime_dir} or {state_dir} is another one now: put it back.",
            _THEN_RERUN,
            "Otherwise make sure that Nexus runs, and wait a minute: where enough keepers have"
            " their shards, it gets the key from them.",
            _THEN_RERUN,
            "If it is refused again: stop Nexus, so that it forgets what it has of the lost key.",
            "If it is refused again: restart every keeper, so that they forget their shards.",
            "If it is refused again: start Nexus.",
            "If it is refused again: rerun bootstrap once with {with_force}, to draw a new key.",
        ),
    ),
    Situation.DATABASE: Advice(
        "Nexus has a database ({database}), so it had a root key before. Nothing was sent.",
        (
            "This Nexus was initialised before, and what it stores is encrypted under its key;"
            " nothing is known of that here.",
        ),
        (
            "Start Nexus, if it does not run, and let it get its key back from its keepers.",
            "Rerun bootstrap with {accept}.",
            _RECOVER,
            "Then rerun bootstrap with {accept}.",
            "Only if what it stores is to be given up: stop Nexus.",
            "Only if what it stores is to be given up: move the database away, and keep the file.",
            "Only if what it stores is to be given up: restart every keeper.",
            "Only if what it stores is to be given up: start Nexus.",
            "Only if what it stores is to be given up: rerun bootstrap.",
        ),
    ),
    Situation.DATABASE_HIDDEN: Advice(
        "{nexus_data_dir}: whether Nexus has the database {database} cannot be seen ({hidden}). It"
        " decides whether a new root key may be drawn. Nothing was sent.",
        ("{nexus_data_dir} is closed to {user}, as SPIKE makes it.",),
        (
            "Look for it as root, and set {nexus_database} to present or absent; or let {user} look"
            " (setfacl -m u:{user}:x on each directory of that path).",
            RERUN,
        ),
    ),
    Situation.SETTINGS_DIFFER: Advice(
        "The settings are not those of the earlier run: {difference}. Nothing was sent, because"
        " shards of two splits must never meet.",
        (
            "The settings were changed since that run.",
            "The cluster's owners have changed it, and Nexus did not confirm that it is alive"
            " ({detail}).",
        ),
        (
            "If the cluster was changed on purpose and has its key: make sure that Nexus runs at"
            " {url}.",
            "Then rerun bootstrap: once Nexus proves its key, the new settings are taken over.",
            "Otherwise put the settings back.",
            _THEN_RERUN,
            "If this is another cluster: give it a {state_dir} of its own.",
        ),
    ),
    Situation.KEY_OF_OTHER_SETTINGS: Advice(
        "A root key of an unfinished run is kept in {runtime_dir} ({key}), for other keepers,"
        " another threshold or another scheme than now, and its journal is gone. Nothing was sent.",
        ("The settings were changed, and the journal in {state_dir} was removed, since that run.",),
        (
            "Put the settings back, and the journal if there is a copy of it.",
            _THEN_RERUN,
            *GIVE_IT_UP,
        ),
    ),
    Situation.BEGUN_ELSEWHERE: Advice(
        "An unfinished run with another {state_dir} keeps a root key for the same keepers"
        " ({elsewhere}), and may have sent shards of it. Nothing was sent.",
        ("The same cluster was begun with another {state_dir} on this host.",),
        (
            "Rerun bootstrap with the {state_dir} of that run.",
            "If that run is not wanted: give it up with its own {state_dir}, {abandon}.",
            *GIVE_IT_UP[1:],
        ),
    ),
    Situation.ABANDON_PROVED: Advice(
        "Nexus at {url} proves the unfinished run's root key, so that run is not given up: its key"
        " is the cluster's. Nothing was changed.",
        ("Nexus came up with the key after that run ended.",),
        ("Rerun bootstrap without {state}: it finishes that run.",),
    ),
    Situation.ABANDON_UNCLEAR: Advice(
        "Nexus at {url} cannot be asked whether it has the unfinished run's root key ({detail}), so"
        " that run is not given up. Nothing was changed.",
        ("{because}",),
        (
            "{first_step}",
            "Run it again.",
            "Only if this Nexus is known not to have that key: run it again with {with_force}.",
        ),
    ),
    Situation.OTHER_KEY_AT_THE_END: Advice(
        "All shards are delivered, but Nexus at {url} has another root key than theirs: {detail}.",
        (
            f"{_OTHER_SETTINGS} {{heard_before}}",
            "Nexus mixed in shards of an earlier run that it still had in memory.",
            "Nexus had its key before this run, and gives the keepers its own shards.",
            "Somebody else bootstraps the same cluster.",
        ),
        _OTHER_KEY_STEPS,
    ),
    Situation.UNPROVED: Advice(
        "All shards are delivered, but Nexus at {url} did not prove the root key within {limit}"
        " ({requests}): {detail}.",
        ("{because}",),
        ("{first_step}", "Rerun bootstrap: it goes on with the same key."),
    ),
    Situation.NO_VERIFICATION: Advice(
        "All shards are delivered, but Nexus at {url} does not verify root keys: {detail}.",
        (
            "{nexus_api_url} leads to a proxy or to something other than Nexus.",
            "It is a SPIKE v0.8.0 with the lite backend, which has no verification.",
        ),
        (
            "Correct {nexus_api_url} if it leads elsewhere.",
            "Rerun bootstrap: it goes on with the same key.",
            "If this Nexus has no verification: nothing is left to do, its shards are delivered;"
            " set {verify} to false before another day zero.",
        ),
    ),
}

# A run that was forced, against a Nexus that had said so.
HAD_IT_BEFORE = (
    "Nexus had its key before this run: it said so before the delivery, and force overrode it."
)
# Nexus runs, has heard the shards' keepers in vain, and says so itself.
KEYLESS_AT_THE_END = Advice(
    ADVICE[Situation.UNPROVED].msg,
    (
        "Nexus asks other keepers than those that have the shards, or cannot reach them; or it has"
        " asked in vain for so long that it asks only every few minutes.",
    ),
    (
        _COMPARE,
        "Correct Nexus's settings where they differ.",
        "Restart Nexus: it has no key, so nothing is lost, and it asks its keepers at once.",
        "Rerun bootstrap: it goes on with the same key.",
    ),
)


__all__ = [
    "ADVICE",
    "GIVE_IT_UP",
    "HAD_IT_BEFORE",
    "KEYLESS_AT_THE_END",
    "NexusWords",
    "nexus_words",
]
