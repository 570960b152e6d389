# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an operator is told of keepers that failed: by cause, and by what else is known.

``{option}`` stands for what the reader calls that option, see ``_naming``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .._dataclass import dataclass
from .._errors import RERUN, Advice, Cause, Failure, Finding
from .._options.cluster import Keeper
from .errand import Errand

# A message ends with this where a keeper that is started can help: nothing answered, or too late.
ENSURE_RUNNING = "Ensure all keepers are running and rerun bootstrap."
ALL_ALIKE = (
    "All keepers failed in the same way: look first at what they have in common, this host with its"
    " network, its clock and its settings."
)
# A line that names more keepers than this is no longer read.
_MOST_NAMED = 10


@dataclass(frozen=True)
class FailedKeeper:
    """A keeper that was not reached, or did not take its shard, after ``attempts``."""

    keeper: Keeper
    attempts: int
    failure: Failure

    @property
    def words(self) -> KeeperWords:
        """What is said of it."""
        return words_for(self.failure)


@dataclass(frozen=True)
class KeeperWords:
    """``phrase`` is the cause in a message, ``why`` what is behind it, ``hint`` what to do.

    ``if_started``: a keeper that is started, or started sooner, can help.
    """

    phrase: str
    why: str
    hint: str
    if_started: bool = False


_WORDS: Mapping[tuple[Cause, Finding | None], KeeperWords] = {
    (Cause.CONNECTION_REFUSED, None): KeeperWords(
        "connection refused",
        "Nothing listens on that port: the keeper is not running, or it listens elsewhere.",
        "Start the keeper, or correct the host and port in {keeper_url}.",
        if_started=True,
    ),
    (Cause.CONNECT_TIMEOUT, None): KeeperWords(
        "connection timed out",
        "The host is down, or a firewall drops what is sent to that port.",
        "Check that the host is up, and that routes and firewalls let TCP through to this port.",
        if_started=True,
    ),
    (Cause.NAME_RESOLUTION, None): KeeperWords(
        "name resolution failed",
        "The name in {keeper_url} is wrong, or the name service of this host does not answer.",
        "Correct the name in {keeper_url}, or make this host's name service resolve it.",
    ),
    (Cause.TLS, None): KeeperWords(
        "TLS handshake failed",
        "Something other than a SPIKE Keeper listens there, or a proxy ends the TLS connection.",
        "Make sure that a SPIKE Keeper listens on this port, with TLS 1.2 or later and no proxy in"
        " front of it.",
    ),
    (Cause.TLS_TIMEOUT, None): KeeperWords(
        "TLS handshake timed out",
        "The keeper accepts connections and then stalls, often because it waits for its own SVID.",
        "Look at the keeper's log, and check that it gets its SVID from its SPIRE agent.",
        if_started=True,
    ),
    (Cause.PEER_UNTRUSTED, None): KeeperWords(
        "its certificate is not trusted",
        "Its trust domain, its chain or this host's trust bundle is not the right one.",
        "Compare the keeper's trust domain with {trust_root_keeper}, refresh the trust bundle, and"
        " check both clocks.",
    ),
    (Cause.PEER_UNTRUSTED, Finding.EXPIRED): KeeperWords(
        "its certificate is not trusted",
        "The keeper's SVID has expired: its SPIRE agent does not renew it, or this host's clock is"
        " ahead.",
        "Renew that keeper's SVID: check its SPIRE agent, and the clocks of both hosts.",
    ),
    (Cause.PEER_UNTRUSTED, Finding.NOT_YET_VALID): KeeperWords(
        "its certificate is not trusted",
        "This host's clock is behind, or the clock that the keeper's SVID was issued by is ahead.",
        "Set the clocks of both hosts.",
    ),
    (Cause.PEER_UNTRUSTED, Finding.UNKNOWN_AUTHORITY): KeeperWords(
        "its certificate is not trusted",
        "The keeper belongs to another SPIRE server or trust domain than {trust_root_keeper} says,"
        " or this host's trust bundle is out of date.",
        "Refresh this host's trust bundle, and compare the keeper's trust domain with"
        " {trust_root_keeper}.",
    ),
    (Cause.PEER_IDENTITY, None): KeeperWords(
        "wrong SPIFFE ID",
        "Something other than a keeper answers at this URL, or its SPIRE entry is wrong.",
        "Correct {keeper_url}, or the SPIRE entry of what answers there.",
    ),
    (Cause.PEER_IDENTITY, Finding.OTHER_TRUST_DOMAIN): KeeperWords(
        "wrong SPIFFE ID",
        "It is a keeper, of a trust domain that is not in {trust_root_keeper}.",
        "Add its trust domain to {trust_root_keeper}, or correct {keeper_url}.",
    ),
    (Cause.IDENTITY_REFUSED, None): KeeperWords(
        "it refused our SVID",
        "This host's trust domain is not in the keeper's SPIKE_TRUST_ROOT_BOOTSTRAP, or the"
        " keeper's trust bundle does not hold this host's authority.",
        "Compare the keeper's SPIKE_TRUST_ROOT_BOOTSTRAP with {trust_root_bootstrap}, and its trust"
        " bundle with ours.",
    ),
    (Cause.IDENTITY_REFUSED, Finding.OURS_EXPIRED): KeeperWords(
        "it refused our SVID",
        "This host's SVID has expired, and no newer one could be had.",
        "Renew this host's SVID: check its SPIRE agent and its clock.",
    ),
    (Cause.HTTP_STATUS, None): KeeperWords(
        "unexpected HTTP answer",
        "A proxy or another service answers in the keeper's place, or the keeper has a fault.",
        "Point {keeper_url} at the keeper itself, without a path or a proxy, and look at the"
        " keeper's log.",
    ),
    (Cause.BAD_RESPONSE, None): KeeperWords(
        "invalid response",
        "Something other than a SPIKE Keeper answers, or the keeper ended in the middle of it.",
        "Make sure that a SPIKE Keeper answers at this URL, and look at its log.",
    ),
    (Cause.RESPONSE_TIMEOUT, None): KeeperWords(
        "no response in time",
        "The keeper took the request and is too slow, or hangs.",
        "Look at the keeper's log and load, or raise {keeper_timeout}.",
        if_started=True,
    ),
    (Cause.LOCAL, None): KeeperWords(
        "this host cannot connect",
        "This host, not the keeper, lacks something: open files, threads, ports or the permission"
        " to connect.",
        "Raise the limit that the detail names on this host, or let the running user connect.",
    ),
}


def named(ids: Sequence[int]) -> str:
    """Keepers by their ids, and no more of them than can be read."""
    shown = ", ".join(str(i) for i in ids[:_MOST_NAMED])
    more = len(ids) - _MOST_NAMED
    rest = f" and {more} more" if more > 0 else ""
    return f"{'keeper' if len(ids) == 1 else 'keepers'} {shown}{rest}"


def words_for(failure: Failure) -> KeeperWords:
    """The words for ``failure``: those for what was found out, where there are any."""
    found = _WORDS.get((failure.cause, failure.finding))
    return found if found is not None else _WORDS[failure.cause, None]


def advice_on(errand: Errand, failed: Sequence[FailedKeeper], total: int, timeout: str) -> Advice:
    """What is told of the keepers that ``failed``, of ``total``; ``timeout`` as it was given."""
    sentences = [_sentence(errand, keeper, timeout) for keeper in failed]
    if len(sentences) > 1:
        sentences.insert(0, f"Failed to {errand.failed_to} {len(failed)} of {total} keepers:")
    groups = _alike(failed)
    why = [f"{about}: {first.words.why} ({first.failure.detail})" for about, first in groups]
    if len(groups) == 1 and len(failed) == total:
        why.insert(0, ALL_ALIKE)
    steps = [f"{about}: {first.words.hint}" for about, first in groups]
    last = RERUN if errand is Errand.REACH else "Rerun bootstrap: it goes on with the same key."
    return Advice("\n".join(sentences), tuple(why), (*steps, last))


def _sentence(errand: Errand, failed: FailedKeeper, timeout: str) -> str:
    words, detail = failed.words, failed.failure.detail
    attempts = "1 attempt" if failed.attempts == 1 else f"{failed.attempts} attempts"
    reason = words.phrase if detail == words.phrase else f"{words.phrase} ({detail})"
    remedy = ENSURE_RUNNING if words.if_started else words.hint
    return (
        f"Failed to {errand.failed_to} keeper {failed.keeper.id} at {failed.keeper.url}"
        f" after {attempts} ({timeout} timeout): {reason}. {remedy}"
    )


def _alike(failed: Sequence[FailedKeeper]) -> list[tuple[str, FailedKeeper]]:
    """Whose failures mean the same, and the first of them; most keepers first."""
    groups: dict[KeeperWords, list[FailedKeeper]] = {}
    for keeper in failed:
        groups.setdefault(keeper.words, []).append(keeper)
    alike = []
    for keepers in sorted(groups.values(), key=len, reverse=True):
        about = named([keeper.keeper.id for keeper in keepers])
        alike.append((about[:1].upper() + about[1:], keepers[0]))
    return alike


__all__ = [
    "ALL_ALIKE",
    "ENSURE_RUNNING",
    "FailedKeeper",
    "KeeperWords",
    "advice_on",
    "named",
    "words_for",
]
