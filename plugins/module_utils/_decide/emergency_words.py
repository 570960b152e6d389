# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an operator is told in an emergency, as data; ``{fact}`` is what was found in this case.

Each step is one action, and the harmless ones come first.
"""

from __future__ import annotations

import enum

from .._errors import Advice, Cause, DayZeroError, Failure, GuardRefusal, NexusFailed
from .nexus_words import NexusWords, nexus_words

_AGAIN = "Rerun bootstrap."
_STOP = (
    "Stop Nexus now, before it writes: what it stores under a wrong key is lost, and it pushes that"
    " key's shards to the keepers."
)
_RESTART_ALL = "Restart every keeper, so that none keeps a shard of the wrong key. Start Nexus."
CHECK_LINES = (
    "Have each custodian decrypt again, and compare the SHA-256 of the line with the one in"
    " recovery.json."
)


class Trouble(enum.Enum):
    """What ends a recovery or a restore; ``code`` is that of the result."""

    NO_KEY = ("Nexus has no key to recover", "root_key_missing")
    NUMBER = ("another number of shards", "shamir_shard_count")
    NOT_ONE_SET = ("shards that are not one set", "shamir_reconstruction_failed")
    NOT_THE_TOKENS = ("a key that does not open the token", "crypto_cipher_verification_failed")
    NEXUS_SILENT = ("no clear answer", "nexus_unclear")
    LIVE = ("a live Nexus", "state_already_initialized")
    NOT_KEYLESS = ("Nexus does not say that it has no key", "nexus_unclear")
    UNCHECKABLE = ("a set that nothing checks", "shamir_unchecked")
    NOT_GIVEN = ("a shard that was not taken", "nexus_unclear")
    OTHER_COUNT = ("another count than was sent", "shamir_shard_count")
    WRONG_KEY = ("live on a wrong key", "crypto_cipher_verification_failed")
    UNPROVED = ("restored, and not proved", "state_not_ready")
    JOURNAL = ("a journal that cannot be read", "store_invalid_configuration")
    FILES = ("files that cannot be written", "store_invalid_configuration")

    def __init__(self, words: str, code: str) -> None:
        self.words = words
        self.code = code


ADVICE = {
    Trouble.NO_KEY: Advice(
        "Nexus at {url} has no root key, so there is nothing to recover.",
        ("It was restarted, or it was never given one.",),
        (
            "Ask how the cluster stands, with {ask_status}.",
            "If its keepers have lost their shards, restore the key from the custodians' shards,"
            " with {do_restore}.",
        ),
    ),
    Trouble.NUMBER: Advice(
        "Nexus at {url} handed out shards {found}, and {keeper_peers} says that there are"
        " {shares}. Nothing was handed out.",
        (
            "{keeper_peers} is not the list of Nexus's SPIKE_NEXUS_KEEPER_PEERS, or its"
            " SPIKE_NEXUS_SHAMIR_SHARES is another number.",
        ),
        ("Correct {keeper_peers}, and with it {custodians}.", _AGAIN),
    ),
    Trouble.NOT_ONE_SET: Advice(
        "The shards are refused: {problem}. {outcome}",
        ("{odd_one}", "{likely}"),
        ("{first_step}", "Check that {shamir_threshold} ({threshold}) is that of Nexus.", _AGAIN),
    ),
    Trouble.NOT_THE_TOKENS: Advice(
        "The shards give a key, and not the one that the journal {journal} knows. {outcome}",
        (
            "They are of another cluster, or of another time of this one.",
            "The journal is that of another cluster: {state_dir} is not the bootstrap's.",
        ),
        (
            "Compare with the recovery.json that was written with these shards: its keepers and its"
            " date.",
            "Correct {state_dir}, if it is not the one of the bootstrap of this cluster.",
            _AGAIN,
        ),
    ),
    Trouble.NEXUS_SILENT: Advice(
        "Nexus at {url} did not hand out its shards: {detail}.",
        ("{because}",),
        ("{nexus_step}", _AGAIN),
    ),
    Trouble.LIVE: Advice(
        "Nexus at {url} has a root key. A restore would replace it, so nothing was sent.",
        ("The cluster is alive, or somebody has restored it already.",),
        (
            "Ask for its proof, with {ask_status}, as the bootstrap's identity.",
            "Only if that says that Nexus holds another key: stop Nexus, restart every keeper, and"
            " start Nexus.",
            "Then rerun bootstrap.",
        ),
    ),
    Trouble.NOT_KEYLESS: Advice(
        "Nexus at {url} does not say that it has no root key: {detail}. Nothing was sent.",
        ("{because}", "A Nexus of release v0.8.0 or older does not listen before it has a key."),
        ("{nexus_step}", _AGAIN),
    ),
    Trouble.UNCHECKABLE: Advice(
        "Nothing says that these shards are of this cluster: they are just the {threshold} that it"
        " takes, and there is no journal {journal}. Nothing was sent.",
        (
            "They are one set, whose key splits into them. A set of another cluster is that too,"
            " and would leave Nexus live on a wrong key.",
        ),
        (
            "Run it on the host and with the {state_dir} of the bootstrap, where the journal is.",
            "Or give one more shard than the {threshold}: all must then agree.",
            "Or, if you are sure that they are of this cluster, set {unchecked} to true.",
        ),
    ),
    Trouble.NOT_GIVEN: Advice(
        "Shard {index} could not be given to Nexus at {url}: {detail}. {sent_before}",
        ("{because}", "A set that makes no key ends Nexus."),
        (
            "{nexus_step}",
            "Restart Nexus, so that it has no shard of this run: what it has it never gives back.",
            _AGAIN,
        ),
    ),
    Trouble.OTHER_COUNT: Advice(
        "Nexus at {url} has {collected} after shard {index} was sent, instead of {expected}. It has"
        " no root key yet.",
        (
            "It was restarted meanwhile, and has forgotten those of before.",
            "It already had a shard of that index, which it does not replace, or it has shards that"
            " were given before or by somebody else.",
        ),
        (
            "Restart Nexus, so that it has none: it holds no key, and nothing is lost.",
            "Give all shards again.",
        ),
    ),
    Trouble.WRONG_KEY: Advice(
        "Nexus at {url} is live on a wrong key: {detail}.",
        (
            "It had a shard of before, or somebody else gave it one meanwhile.",
            "A shard was wrong, and could not be checked.",
        ),
        (_STOP, _RESTART_ALL, CHECK_LINES, _AGAIN),
    ),
    Trouble.UNPROVED: Advice(
        "Nexus at {url} says that it is restored, and did not prove the key: {detail}. Until it"
        " does, take it for live on a wrong key.",
        ("{because}",),
        (
            "Ask for its proof at once, with {ask_status}, as the bootstrap's identity.",
            f"If there is none: {_STOP[0].lower()}{_STOP[1:]}",
            _RESTART_ALL,
            CHECK_LINES,
            _AGAIN,
        ),
    ),
    Trouble.JOURNAL: Advice(
        "The journal {journal} is there and cannot be used: {problem} Nothing was sent or handed"
        " out.",
        ("It belongs to another user, or is damaged.",),
        (
            "Let the running user read it: it holds nothing secret.",
            "If it is damaged, move it away, and keep it. Shards are then checked without it.",
            _AGAIN,
        ),
    ),
    Trouble.FILES: Advice(
        "The encrypted shards could not be written to {directory}: {problem}.",
        ("The running user may not write there, or there is no space.",),
        ("Make it writable for the running user, or give another directory.", _AGAIN),
    ),
}

# After a restore that nothing could prove: what its result says to do.
NO_PROOF = (
    "Nexus is live, and nothing has proved its key: {reason}. Take it for live on a wrong key"
    " until it is proved."
)
NO_PROOF_STEPS = ADVICE[Trouble.UNPROVED].what_to_do

_REFUSES_US = NexusWords(
    "It does not take this identity: its SPIKE_TRUST_ROOT_PILOT is not {trust_root_pilot}, or the"
    " identity is not of the role that this takes.",
    "Compare Nexus's SPIKE_TRUST_ROOT_PILOT with {trust_root_pilot}, and check the SPIRE entry.",
)


def trouble(kind: Trouble, failure: Failure | None = None, **facts: object) -> DayZeroError:
    """The error for ``kind``; ``failure`` is what came of asking Nexus, where it was."""
    words = NexusWords("", "Look at Nexus's log.")
    if failure is not None:
        refused = failure.cause is Cause.IDENTITY_REFUSED or failure.detail.startswith("status 401")
        words = _REFUSES_US if refused and failure.finding is None else nexus_words(failure)
    after = kind in (Trouble.WRONG_KEY, Trouble.UNPROVED)
    error = NexusFailed if after else GuardRefusal
    advice = ADVICE[kind].about(**facts, because=words.why, nexus_step=words.step)
    raised = error(advice, code=kind.code)
    if not after:
        # The flow knows where it is.
        raised.phase = None
    return raised


__all__ = ["ADVICE", "CHECK_LINES", "NO_PROOF", "NO_PROOF_STEPS", "Trouble", "trouble"]
