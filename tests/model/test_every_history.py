# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every history of a small world, not a sample: breadth first, through the code that decides.

Three keepers, a threshold of 2, a Nexus that polls, pushes, restarts with and without its data, is
silent, or has its keepers in another order; a host that reboots or is rebuilt; two runs, each of
which can be cut anywhere, with changed settings, given up, or content with a key that it finds. The
world is made of tuples, so that all of its states can be walked through; what a run decides is
decided by ``guard`` itself.

What is assumed, because no run can know better: where neither a journal nor the database of Nexus
tells of a key, a Nexus that has one keeps it, and does not refuse connections for a whole look; and
nobody loses the journal of an unfinished run.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._decide import guard
from ansible_collections.dayzero.spike.plugins.module_utils._decide.guard import (
    Abandonment,
    Decision,
    Judgement,
    Standing,
    decide,
    decide_abandonment,
    goes_on,
)
from ansible_collections.dayzero.spike.plugins.module_utils._key.root_key import Token
from ansible_collections.dayzero.spike.plugins.module_utils._options.cluster import Cluster
from ansible_collections.dayzero.spike.plugins.module_utils._options.settings import Silence
from ansible_collections.dayzero.spike.plugins.module_utils._spike.nexus import Nexus, Verdict
from ansible_collections.dayzero.spike.plugins.module_utils._spike.nexus_data import Database
from ansible_collections.dayzero.spike.plugins.module_utils._state.journal import Record

pytestmark = pytest.mark.slow
# As large as the first one, which make test explores.
_LARGE = ("a fresh cluster whose database is not seen", "a fresh cluster, silence never counts")

# A key by its number: 1 and 2 are those that runs draw, 8 is one that somebody else's cluster has,
# and 9 stands for every key that nobody drew.
FOREIGN, WRONG = 8, 9
MOST_RUNS = 2
RIGHT, SWAPPED = (1, 2, 3), (2, 1, 3)
CLUSTERS = {
    order: Cluster(tuple(f"https://k{number}" for number in order), 2, "circl-1.6.2")
    for order in (RIGHT, SWAPPED)
}
FINGERPRINTS = {order: cluster.fingerprint() for order, cluster in CLUSTERS.items()}
# Of which key a journal's token is does not matter to the guard: Nexus's answer tells.
TOKEN = Token(bytes(12), b"sealed", "00" * 32)

Order = tuple[int, ...]
# A shard: of which key, and at which x.
Shard = tuple[int, int]


@dataclass(frozen=True)
class Journal:
    key: int
    order: Order
    delivered: frozenset[int] = frozenset()
    finished: bool = False


@dataclass(frozen=True)
class Run:
    """A run under way: the settings it was given, and how far it is.

    ``to_send`` are the ids that are still to be sent a shard of ``key``; None before that is known.
    """

    order: Order
    accept: bool
    looked: bool = False
    key: int = 0
    to_send: tuple[int, ...] | None = None


@dataclass(frozen=True)
class State:
    """The world. ``shards`` are those of keepers 1 to 3; ``collected`` what Nexus has of each.

    ``proved`` is a key that a cluster lives with. ``loose``: somebody gave up a run whose shards
    may be out, and has not restarted everything since. ``misled``: shards were sent in an order
    that Nexus does not have, of which it makes a key that nobody drew. ``budget`` is how many more
    things may happen that no run does.
    """

    shards: tuple[Shard | None, ...] = (None, None, None)
    key: int = 0
    collected: tuple[Shard | None, ...] = (None, None, None)
    data: int = 0
    up: bool = True
    silent: bool = False
    journal: Journal | None = None
    kept: tuple[int, Order] | None = None
    run: Run | None = None
    runs: int = 0
    drawn: int = 0
    proved: int = 0
    loose: bool = False
    misled: bool = False
    budget: int = 0


@dataclass(frozen=True)
class World:
    """What does not change: Nexus's own order, and whether the host sees Nexus's database."""

    nexus_order: Order = RIGHT
    sees_database: bool = True
    silence: Silence = Silence.REFUSED


class BrokenPromise(AssertionError):
    """An invariant does not hold."""


@functools.cache
def _judged(
    order: Order,
    journal: Journal | None,
    kept_for: Order | None,
    nexus: Nexus,
    database: bool,
    silence: Silence,
    accept: bool,
) -> tuple[Standing, Judgement, Abandonment | object]:
    record = None
    if journal is not None:
        record = Record(CLUSTERS[journal.order], TOKEN, journal.delivered, journal.finished)
    standing = Standing(
        CLUSTERS[order],
        record,
        None if kept_for is None else FINGERPRINTS[kept_for],
        Verdict(nexus, "its words"),
        Database("spike.db") if database else None,
        silence=silence,
        accept_existing=accept,
    )
    return standing, decide(standing, force=False), decide_abandonment(standing, force=False)


def judged(
    world: World, state: State, order: Order, accept: bool
) -> tuple[Standing, Judgement, Abandonment | object]:
    """What the guard makes of the state."""
    kept = state.kept
    if kept is not None and state.journal is not None and kept[0] != state.journal.key:
        # It does not open the journal's token: it was drawn and never sent.
        kept = None
    asked = state.journal.key if state.journal else kept[0] if kept else 0
    return _judged(
        order,
        state.journal,
        None if kept is None else kept[1],
        answer(state, asked),
        world.sees_database and state.data != 0,
        world.silence,
        accept,
    )


def answer(state: State, asked: int) -> Nexus:
    """What Nexus says of a token of the key ``asked``, of nobody's where that is 0."""
    if state.silent:
        return Nexus.SILENT
    if not state.up:
        return Nexus.REFUSED
    if not state.key:
        return Nexus.NOT_READY
    return Nexus.PROVED if state.key == asked else Nexus.OTHER_KEY


def kept_key(state: State) -> int:
    """The key that waits and can be gone on with, 0 where there is none."""
    if state.kept is None or (state.journal and state.journal.key != state.kept[0]):
        return 0
    return state.kept[0]


# -- what a run does, step by step; it can be cut between any two


def run_steps(world: World, state: State) -> Iterator[State]:
    """The world after the next step of the run, and after its end by a cut."""
    run = state.run
    assert run is not None
    yield dataclasses.replace(state, run=None)
    if run.to_send is None:
        yield _after_a_look(world, state, run)
    elif run.to_send:
        yield _after_a_shard(world, state, run)
    else:
        yield _after_the_proof(state)


def _after_a_look(world: World, state: State, run: Run) -> State:
    standing, judgement, _unused = judged(world, state, run.order, run.accept)
    if not run.looked:
        if goes_on(standing, judgement):
            return dataclasses.replace(state, run=dataclasses.replace(run, looked=True))
    elif judgement.sends:
        return _begin_to_send(state, run, judgement, standing)
    return _end_without_sending(state, run, judgement)


def _begin_to_send(state: State, run: Run, judgement: Judgement, standing: Standing) -> State:
    resume = judgement.decision is Decision.RESUME
    key = kept_key(state) if resume else state.drawn + 1
    if state.key not in (0, key):
        raise BrokenPromise("shards are about to leave although Nexus has another key")
    journal = state.journal
    if journal is None or not resume:
        journal = Journal(key, run.order)
    proved = standing.verdict.nexus is Nexus.PROVED
    spared = journal.delivered if proved else frozenset()
    return dataclasses.replace(
        state,
        drawn=max(state.drawn, key) if key < FOREIGN else state.drawn,
        kept=(key, run.order),
        journal=dataclasses.replace(journal, delivered=spared),
        run=dataclasses.replace(
            run, key=key, to_send=tuple(number for number in (1, 2, 3) if number not in spared)
        ),
    )


def _after_a_shard(world: World, state: State, run: Run) -> State:
    assert run.to_send is not None
    assert state.journal is not None
    number, *rest = run.to_send
    keeper = run.order[number - 1]
    if state.proved and run.key != state.proved:
        raise BrokenPromise("a keeper of a cluster that has a key was sent a shard of another")
    shards = _put(state.shards, keeper, (run.key, number))
    return dataclasses.replace(
        state,
        shards=shards,
        misled=state.misled or world.nexus_order != run.order,
        journal=dataclasses.replace(state.journal, delivered=state.journal.delivered | {number}),
        run=dataclasses.replace(run, to_send=tuple(rest)),
    )


def _after_the_proof(state: State) -> State:
    assert state.journal is not None
    if answer(state, state.journal.key) is not Nexus.PROVED:
        return dataclasses.replace(state, run=None)
    return _finished(state)


def _end_without_sending(state: State, run: Run, judgement: Judgement) -> State:
    decision = judgement.decision
    if decision in (Decision.FINISH, Decision.NOTHING):
        return _finished(state)
    if decision is Decision.ADOPT:
        key = state.journal.key if state.journal else kept_key(state)
        return _finished(dataclasses.replace(state, journal=Journal(key, run.order)))
    return dataclasses.replace(state, run=None)


def _finished(state: State) -> State:
    assert state.journal is not None
    if state.key != state.journal.key:
        raise BrokenPromise("a run has ended well, and Nexus does not have its key")
    return dataclasses.replace(
        state,
        journal=dataclasses.replace(state.journal, finished=True),
        kept=None,
        run=None,
        proved=state.journal.key,
    )


def abandoned(world: World, state: State, order: Order) -> Iterator[State]:
    """The world after an unfinished run was given up, if it may be."""
    _unused, _unused, decision = judged(world, state, order, accept=False)
    if decision is Abandonment.ABANDON:
        yield dataclasses.replace(state, journal=None, kept=None, loose=True)


# -- what else happens


def _put(slots: tuple[Shard | None, ...], number: int, shard: Shard | None) -> tuple:
    return (*slots[: number - 1], shard, *slots[number:])


def nexus_works(world: World, state: State) -> Iterator[State]:
    """Nexus polls one of its keepers, or sends them its own shards."""
    if not state.up:
        return
    if state.key:
        pushed = tuple((state.key, world.nexus_order.index(keeper) + 1) for keeper in (1, 2, 3))
        yield dataclasses.replace(state, shards=pushed)
        return
    for position, keeper in enumerate(world.nexus_order, 1):
        shard = state.shards[keeper - 1]
        if shard is None or state.collected[position - 1] == shard:
            continue
        collected = _put(state.collected, position, shard)
        have = [(one, at) for at, one in enumerate(collected, 1) if one is not None]
        if len(have) < 2:
            yield dataclasses.replace(state, collected=collected)
        for two in itertools.combinations(have, 2):
            yield _initialised(state, _key_of(two))


def _key_of(two: tuple[tuple[Shard, int], ...]) -> int:
    keys = {key for (key, _unused), _unused in two}
    right = all(index == position for (_unused, index), position in two)
    return keys.pop() if right and len(keys) == 1 else WRONG


def _initialised(state: State, key: int) -> State:
    if state.proved and key != state.proved:
        raise BrokenPromise("a cluster that had a key has come up with another")
    return dataclasses.replace(state, key=key, collected=(None, None, None), data=state.data or key)


def events(world: World, state: State) -> Iterator[State]:
    """What happens to the world by itself, or by its operators: each costs one of the budget."""
    if state.budget == 0:
        return
    left = dataclasses.replace(state, budget=state.budget - 1)
    known = world.sees_database or state.journal is not None or state.kept is not None
    if known or not state.proved:
        # See what is assumed, at the top.
        yield dataclasses.replace(left, up=False, key=0, collected=(None, None, None))
        if not state.proved:
            yield dataclasses.replace(left, up=False, key=0, collected=(None, None, None), data=0)
    yield dataclasses.replace(left, silent=not state.silent)
    for keeper in (1, 2, 3):
        if state.shards[keeper - 1] is not None:
            yield dataclasses.replace(left, shards=_put(state.shards, keeper, None))
    if state.kept is not None:
        yield dataclasses.replace(left, kept=None, run=None)
    if state.proved and state.journal is not None and (state.key or world.sees_database):
        # The bootstrap host is rebuilt.
        yield dataclasses.replace(left, journal=None, kept=None, run=None)
    if state.loose:
        # What the operator is told to do.
        yield dataclasses.replace(
            left, shards=(None,) * 3, key=0, collected=(None,) * 3, loose=False
        )


def successors(world: World, state: State) -> Iterator[State]:
    """Every state that can come next."""
    if state.run is not None:
        yield from run_steps(world, state)
    elif state.runs < MOST_RUNS:
        begun = dataclasses.replace(state, runs=state.runs + 1)
        for order, accept in itertools.product(CLUSTERS, (False, True)):
            yield dataclasses.replace(begun, run=Run(order, accept))
        yield from abandoned(world, begun, RIGHT)
    if not state.up:
        yield dataclasses.replace(state, up=True)
    yield from nexus_works(world, state)
    yield from events(world, state)


# -- what must hold in every state


def check(world: World, state: State) -> None:
    """Raise BrokenPromise where the state cannot be."""
    if state.loose or state.misled:
        return
    shards = [one for one in (*state.shards, *state.collected) if one is not None]
    if len({key for key, _unused in shards}) > 1:
        raise BrokenPromise("shards of two keys have met")
    if state.key == WRONG:
        raise BrokenPromise("Nexus has a key that nobody drew")
    if state.data and state.key and state.data != state.key:
        raise BrokenPromise("Nexus cannot read what it has stored")


def explore(
    world: World, first: State, further: Callable[[World, State], None] = check
) -> tuple[int, int]:
    """Walk through every state that can be reached; how many there are, and how deep."""
    seen = {first}
    layer = collections.deque([first])
    depth = 0
    while layer:
        depth += 1
        following: collections.deque[State] = collections.deque()
        for state in layer:
            for after in successors(world, state):
                if after not in seen:
                    seen.add(after)
                    further(world, after)
                    following.append(after)
        layer = following
    return len(seen), depth


BUDGET = 3
# What is left of a world in which hardly anything can happen would prove nothing.
LEAST_STATES = 400
FRESH = State(budget=BUDGET)
# Somebody else's cluster, with data, that nothing is known of here.
ALIVE = State(
    shards=tuple((FOREIGN, number) for number in RIGHT),
    key=FOREIGN,
    data=FOREIGN,
    proved=FOREIGN,
    budget=BUDGET,
)
WORLDS = {
    "a fresh cluster": (World(), FRESH),
    "a fresh cluster whose database is not seen": (World(sees_database=False), FRESH),
    "a fresh cluster, silence never counts": (World(silence=Silence.NEVER), FRESH),
    "a Nexus with its keepers in another order": (World(nexus_order=SWAPPED), FRESH),
    "somebody else's cluster": (World(), ALIVE),
    "somebody else's cluster whose database is not seen": (World(sees_database=False), ALIVE),
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.long if name in _LARGE else ()) for name in WORLDS],
)
def test_every_promise_holds_in_every_state(
    name: str, record_property: Callable[[str, object], None]
) -> None:
    states, depth = explore(*WORLDS[name])
    record_property("table", f"every state: {name:<52} {states:>8} states, {depth:>3} steps deep")
    assert states > LEAST_STATES


def test_a_nexus_that_cannot_be_asked_and_is_taken_for_a_fresh_one_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The fault that this project had: see what it costs.
    everything = frozenset({Nexus.REFUSED, Nexus.SILENT})
    monkeypatch.setattr(guard, "_VOUCHED", dict.fromkeys(Silence, everything))
    _judged.cache_clear()
    try:
        with pytest.raises(BrokenPromise, match="although Nexus has another key"):
            explore(*WORLDS["somebody else's cluster whose database is not seen"])
    finally:
        _judged.cache_clear()
