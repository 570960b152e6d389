# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Any history of runs, kills, restarts and reboots keeps the promises.

A cluster that once verified never silently changes its key, and not even force changes one that
Nexus proves; shards of two splits never meet without force; a refused run sent nothing; and an
operator who does what the messages say gets a cluster that works. The runs are real processes and
real kills (see module_forks).
"""

from __future__ import annotations

import collections
import contextlib
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._key.shamir import (
    CIRCL_1_6_1,
    CIRCL_1_6_2,
    recover,
    split,
)
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.cluster import SandboxKeeper
from ansible_collections.dayzero.spike.tests.support.module_forks import Ended, Forks
from ansible_collections.dayzero.spike.tests.support.operator import Operator
from ansible_collections.dayzero.spike.tests.support.rerun_world import (
    World,
    sends_a_shard,
    world,
)
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

pytestmark = pytest.mark.slow

_SETTINGS = settings(
    stateful_step_count=25,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
CONFIGURATIONS: Mapping[str, Mapping[str, Any]] = {
    "right": {},
    "threshold 3": {"shamir_threshold": 3},
    "old scheme": {"share_scheme": CIRCL_1_6_1},
    "swapped order": {"keeper_peers": "swapped"},
}
# Of these shards a Nexus with the right settings makes a key that nobody drew.
MISLEADING = frozenset({"threshold 3", "swapped order"})
SWAPPED = (2, 1, 3)
SOMEBODYS = bytes(31) + b"\7"
# Most runs are what an operator means to do.
CONFIGURATION = st.sampled_from(["right", "right", "right", *CONFIGURATIONS])
FORCE = st.sampled_from([False, False, False, False, True])
VERIFY = st.sampled_from([True, True, False])
ACCEPT = st.sampled_from([False, False, False, True])
# After how many steps a run dies: a run that has nothing to do has some 10, a whole one some 60.
KILL = st.one_of(st.none(), st.integers(1, 10), st.integers(11, 65))


def _heal_all(cluster: World) -> None:
    for keeper in cluster.keepers:
        keeper.heal()
    cluster.nexus.heal()


EVENTS: Mapping[str, Callable[[World], None]] = {
    "all are well": _heal_all,
    "Nexus blinks": lambda cluster: cluster.nexus.inject({"refuse": True, "until": "60ms"}),
    "Nexus is slow": lambda cluster: cluster.nexus.inject({"delay": "50ms"}),
    "Nexus cannot be reached": lambda cluster: cluster.nexus.inject({"blackhole": True}),
    "a proxy answers for Nexus": lambda cluster: cluster.nexus.inject({"status": 500}),
    "Nexus is misheard once": lambda cluster: cluster.nexus.inject(
        {"other_key": True, "failures": 1}
    ),
    "Nexus restarts": lambda cluster: cluster.nexus.restart(),
    "Nexus restarts without its data": lambda cluster: cluster.nexus.restart(keep_data=False),
    "Nexus stops": lambda cluster: cluster.nexus.stop(),
    "Nexus starts": lambda cluster: cluster.nexus.start(),
    "the host reboots": World.reboot,
}
KEEPER_EVENTS: Mapping[str, Callable[[SandboxKeeper], None]] = {
    "restarts": SandboxKeeper.restart,
    "cannot be reached": lambda keeper: keeper.inject({"refuse": True}),
    "takes no shard": lambda keeper: keeper.inject({"status": 500, "when": "deliver"}),
    "takes it and does not answer": lambda keeper: keeper.inject(
        {"close": True, "when": "deliver"}
    ),
}


@dataclass(frozen=True)
class Origin:
    """Of which split of which key a shard is; keys by their hash, as nobody else should see one."""

    key: str
    configuration: str


class AnyHistory(RuleBasedStateMachine):
    """The cluster, and what the promises say about it.

    ``verified`` is the hash of the key that Nexus proved, until a forced run sends another one.
    ``drawn`` is the hash of the key that the journal is about, where a run came to keep it.
    ``journalled`` is the configuration that the journal is about, ``kept_for`` that of the kept
    key. ``forced``: shards of several splits may meet, until they have all been forgotten, because
    somebody forced a run or gave one up and has not restarted everything.
    """

    forks: Forks
    counts: collections.Counter[str]
    broken: list[str]

    def __init__(self) -> None:
        super().__init__()
        self.resources = contextlib.ExitStack()
        self.cluster: World = self.resources.enter_context(world(self.forks))
        self.origins: dict[bytes, Origin] = {}
        self.verified: str | None = None
        self.drawn: str | None = None
        self.forced = False
        self.given_up: set[Origin] = set()
        self.journalled: str | None = None
        self.kept_for: str | None = None
        self.history: list[str] = []
        self.counts["histories"] += 1

    # -- runs

    @initialize(begun=st.sampled_from(["", "", "unfinished", "lost"]))
    def something_was_begun(self, begun: str) -> None:
        if begun:
            self.cluster.keepers[2].inject({"status": 500, "when": "deliver"})
            self.cluster.keepers[1].inject({"status": 500, "when": "deliver"})
            self._run("right", False)
            _heal_all(self.cluster)
        if begun == "lost":
            # Nexus came up with a key of its own.
            self.cluster.nexus.hold(SOMEBODYS)
            shards = split(SOMEBODYS, 2, 3, CIRCL_1_6_2)
            origin = Origin(hashlib.sha256(SOMEBODYS).hexdigest(), "right")
            self.origins.update(dict.fromkeys(shards, origin))
            self.history.append("Nexus has another key")

    @rule(configuration=CONFIGURATION, force=FORCE, verify=VERIFY, accept=ACCEPT, kill=KILL)
    def run(
        self, configuration: str, force: bool, verify: bool, accept: bool, kill: int | None
    ) -> None:
        self._run(configuration, force, verify=verify, kill=kill, accept_existing=accept)

    @rule(force=FORCE, kill=KILL)
    def give_up(self, force: bool, kill: int | None) -> None:
        proved = self.drawn is not None and self.drawn == self.cluster.nexus.root_key_sha256
        before, key = self._token(), self._pending_key()
        ended = self._ended("right", force, kill=kill, state="abandoned")
        gone = self._token() != before or self._pending_key() != key
        # force takes the place of Nexus's word only where Nexus cannot be asked.
        asked = not force or self.cluster.nexus.is_well
        self._promise(not (gone and proved and asked), "a run was given up that Nexus proves")
        if gone:
            # Its shards may be out, and nobody remembers them.
            self.forced = True
            self.given_up |= {self.origins[shard] for shard in self._shards()}
            self.counts["given up"] += 1
        assert ended.killed or not sends_a_shard(ended)

    # -- what else happens: one rule for all, so that most steps are runs

    @rule(event=st.sampled_from(sorted(EVENTS)))
    def happens(self, event: str) -> None:
        self.history.append(event)
        EVENTS[event](self.cluster)

    @rule(event=st.sampled_from(sorted(KEEPER_EVENTS)), index=st.integers(0, 2))
    def happens_to_keeper(self, event: str, index: int) -> None:
        self.history.append(f"keeper {index + 1} {event}")
        KEEPER_EVENTS[event](self.cluster.keepers[index])

    @rule()
    def nexus_looks_after_its_keepers(self) -> None:
        if self.verified is None or self.forced or self.cluster.nexus.root_key_sha256 is None:
            return
        # What it pushes under another scheme than its own is SPIKE's matter, not ours.
        if all(self.origins[shard].configuration == "right" for shard in self._shards()):
            self.history.append("Nexus pushes")
            self.cluster.nexus.push()

    # -- what must hold

    @invariant()
    def every_step_counts(self) -> None:
        self.counts["steps"] += 1

    @invariant()
    def shards_of_two_splits_never_meet_without_force(self) -> None:
        origins = {self.origins[shard] for shard in self._shards()}
        known = {origin.key for origin in self.origins.values()}
        key = self.cluster.nexus.root_key_sha256
        # With another threshold than Nexus has, even the right shards make a wrong key.
        misled = any(origin.configuration in MISLEADING for origin in self.origins.values())
        third_key = key is not None and key not in known and not misled
        if self.forced:
            # Whoever forces may mix, until what was there before is gone.
            self.forced = third_key or len(origins) > 1 or bool(origins & self.given_up)
        self._promise(self.forced or len(origins) <= 1, f"shards of {len(origins)} splits met")
        self._promise(self.forced or not third_key, "Nexus has a key that nobody drew")

    @invariant()
    def a_verified_cluster_never_silently_changes_its_key(self) -> None:
        key = self.cluster.nexus.root_key_sha256
        if self.forced and key != self.verified:
            # Mixed shards can become any key.
            self.verified = None
        self._promise(self.verified is None or key in (None, self.verified), "the key has changed")

    def teardown(self) -> None:
        with self.resources:
            _heal_all(self.cluster)
            self.cluster.nexus.start()
            operator = _Operator(self)
            last = operator.until_done(self._run("right", False))
            again = self.cluster.run(**operator.options).result
            self._promise(
                (again["phase"], again["changed"]) == ("done", False),
                f"not done: {again}\n{operator.done}",
            )
            if last["nexus"]["state"] == "ready":
                self._assert_not_even_force_changes_it()

    # -- how

    def _promise(self, kept: bool, words: str) -> None:
        if not kept:
            self.broken.append("\n".join([words, *self.history]))
        assert kept, words

    def _assert_not_even_force_changes_it(self) -> None:
        sent = [keeper.stats.shard_requests for keeper in self.cluster.keepers]
        for configuration in ("threshold 3", "right"):
            forced = self.cluster.run(force=True, **self._options(configuration)).result
            self._promise(forced["phase"] == "done", f"not left alone: {forced}")
            self.counts["forced where Nexus proves the key"] += 1
        now = [keeper.stats.shard_requests for keeper in self.cluster.keepers]
        self._promise(now == sent, "force sent a shard to a cluster whose key is proved")

    def _options(self, configuration: str) -> dict[str, Any]:
        """The options of a configuration, for this cluster."""
        options = dict(CONFIGURATIONS[configuration])
        if options.get("keeper_peers") == "swapped":
            options["keeper_peers"] = [self.cluster.keepers[i - 1].url for i in SWAPPED]
        return options

    def _ended(
        self, configuration: str, force: bool, *, kill: int | None = None, **options: Any
    ) -> Ended:
        """How a run ends that sends no shards, or whose shards are looked at by the caller."""
        ended = self.cluster.run(
            kill=kill,
            force=force,
            # Nexus needs a moment when it is there, and for ever when it is not.
            init_verification_timeout="400ms",
            **{**self._options(configuration), **options},
        )
        self.cluster.settle()
        self._note_run(ended, configuration, force, options)
        return ended

    def _run(
        self,
        configuration: str,
        force: bool,
        *,
        verify: bool = True,
        kill: int | None = None,
        **options: Any,
    ) -> Ended:
        arrived = [len(keeper.stats.shards) for keeper in self.cluster.keepers]
        pending = self._pending_key()
        token = self._token()
        other_split = token is not None and self.journalled not in (None, configuration)
        proved = self.drawn is not None and self.drawn == self.cluster.nexus.root_key_sha256
        # force takes the place of Nexus's word where Nexus cannot be asked.
        may_replace = force and not (proved and self.cluster.nexus.is_well)
        self.counts["forced where Nexus proves the key"] += force and proved
        ended = self._ended(configuration, force, kill=kill, verify=verify, **options)
        if self._token() == token and self._journalled_cluster() == self._cluster_of(configuration):
            # Taken over from its owners, or as it was.
            self.journalled = configuration
        if self._pending_key() != pending:
            self.kept_for = configuration
        if self._token() != token:
            self._promise(
                may_replace or token is None,
                "a key that Nexus proves was replaced" if proved else "a key was replaced unforced",
            )
            self.journalled = configuration
            self.drawn = self._drawn()
            if force:
                # A new key was drawn and is about to be sent, now or by the run that goes on.
                self.forced = True
                self.verified = None
        sent = {
            keeper.id: keeper.stats.shards[before:]
            for keeper, before in zip(self.cluster.keepers, arrived, strict=True)
            if len(keeper.stats.shards) > before
        }
        if sent:
            self._promise(may_replace or not other_split, "it was split in another way unforced")
            assert ended.killed or ended.result["changed"]
            keys = [key for key in (self._pending_key(), pending) if key is not None]
            self._note_origin(configuration, sent, keys)
        if not ended.killed:
            result = ended.result
            if (result["phase"], result["nexus"]["state"]) == ("done", "ready"):
                self.verified = self.cluster.nexus.root_key_sha256
        return ended

    def _note_origin(
        self, configuration: str, sent: Mapping[int, list[bytes]], keys: list[bytes]
    ) -> None:
        """Note of which key the shards are that a run has sent: all of the same."""
        assert all(len(set(shards)) == 1 for shards in sent.values())
        order = SWAPPED if configuration == "swapped order" else (1, 2, 3)
        only = {order.index(number) + 1: shards[0] for number, shards in sent.items()}
        threshold = 3 if configuration == "threshold 3" else 2
        if len(only) >= threshold:
            keys = [recover(dict(list(only.items())[:threshold]))]
        scheme = CIRCL_1_6_1 if configuration == "old scheme" else CIRCL_1_6_2
        for key in keys:
            shards = split(key, threshold, 3, scheme)
            if all(shard == shards[number - 1] for number, shard in only.items()):
                origin = Origin(hashlib.sha256(key).hexdigest(), configuration)
                self.origins.update(dict.fromkeys(shards, origin))
                return
        self._promise(False, "a run sent shards of no key, or of two")

    def _drawn(self) -> str | None:
        """The hash of the key that the run before this has drawn."""
        key = self._pending_key()
        # A run removes it only when Nexus has proved it.
        return (
            self.cluster.nexus.root_key_sha256 if key is None else hashlib.sha256(key).hexdigest()
        )

    def _pending_key(self) -> bytes | None:
        try:
            key = self.cluster.key_file.read_bytes()[-32:]
        except FileNotFoundError:
            return None
        # A run that was killed while it removed the key has left zeros.
        return key if any(key) else None

    def _token(self) -> object:
        try:
            return self.cluster.journal()["token"]
        except FileNotFoundError:
            return None

    def _shards(self) -> list[bytes]:
        """What keepers hold, and what Nexus has collected of them and may yet combine."""
        return [*self._held(), *self.cluster.collected_by_nexus()]

    def _held(self) -> list[bytes]:
        return [keeper.shard for keeper in self.cluster.keepers if keeper.shard is not None]

    def _journalled_cluster(self) -> object:
        try:
            return self.cluster.journal()["cluster"]
        except FileNotFoundError:
            return None

    def _cluster_of(self, configuration: str) -> dict[str, Any]:
        options = self.cluster.options(**self._options(configuration))
        return {
            "keepers": options["keeper_peers"],
            "threshold": options["shamir_threshold"],
            "scheme": options.get("share_scheme", CIRCL_1_6_2),
        }

    def _note_run(
        self, ended: Ended, configuration: str, force: bool, options: Mapping[str, Any]
    ) -> None:
        if ended.killed:
            end = f"killed at {ended.points[-1]}"
        else:
            end = f"{ended.result['phase']} {ended.result.get('code', '')}"
        self.history.append(f"run: {configuration}, {force=}, {options}: {end}")
        self.counts["runs"] += 1
        self.counts["forced"] += force
        self.counts["sent shards"] += sends_a_shard(ended)
        if ended.killed:
            self.counts["killed"] += 1
        elif ended.result["phase"] == "done":
            self.counts["done"] += 1
        elif ended.result["phase"] == "guard":
            self.counts["refused"] += 1
        else:
            self.counts["failed"] += 1


class _Operator(Operator):
    """Follows the messages, with the promises looked at after each run.

    Nothing that Nexus stores is wanted, there are no recovery shards, and whatever key Nexus has is
    as good as another.
    """

    def __init__(self, history: AnyHistory) -> None:
        super().__init__(
            history.cluster,
            true=(
                "If it is the cluster that you expect, nothing needs to be done",
                "If the cluster was given its new key on purpose",
                "Only if all that Nexus stores is to be given up",
                "To use this run's key instead, only if Nexus holds nothing that is wanted",
                "To use this run's key instead",
                "If it is refused again",
            ),
        )
        self._history = history
        self._configuration = "right"

    def make_the_run(self, options: Mapping[str, Any]) -> dict[str, Any]:
        accept = bool(options.get("accept_existing"))
        force = bool(options.get("force"))
        ended = self._history._run(self._configuration, force, accept_existing=accept)
        return ended.result

    def correct(self) -> None:
        """Put the settings back: they are those of the journal, else those of the kept key."""
        earlier = self._history.journalled or self._history.kept_for
        if earlier is not None:
            self._configuration = earlier
            self.options.update(self._history._options(self._configuration))


@pytest.mark.parametrize(
    ("histories", "rare"),
    [
        pytest.param(15, frozenset({"forced where Nexus proves the key", "given up"}), id="some"),
        pytest.param(75, frozenset(), id="many", marks=pytest.mark.long),
    ],
)
def test_any_history_of_runs_kills_restarts_and_reboots_keeps_the_promises(
    histories: int, rare: frozenset[str], record_property: Callable[[str, object], None]
) -> None:
    counts: collections.Counter[str] = collections.Counter()
    broken: list[str] = []
    with Forks() as forks:
        tables = {"forks": forks, "counts": counts, "broken": broken}
        machine = type("Machine", (AnyHistory,), tables)
        try:
            run_state_machine_as_test(machine, settings=settings(_SETTINGS, max_examples=histories))
        except BaseException:
            # Which keeper is first, and what Nexus combines, is chance: Hypothesis may not see the
            # promise broken again, and would tell only that.
            if broken:
                pytest.fail("\n\n".join(broken), pytrace=False)
            raise
    # It was about something.
    ends = (
        "done",
        "failed",
        "forced",
        "forced where Nexus proves the key",
        "given up",
        "killed",
        "refused",
    )
    assert not [end for end in ends if not counts[end] and end not in rare], counts
    numbers = ", ".join(f"{count} {name}" for name, count in counts.items())
    record_property("table", f"model: {numbers}; no promise broken")
