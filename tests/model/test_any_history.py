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
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox._cluster import SandboxKeeper
from ansible_collections.dayzero.spike.plugins.module_utils._shamir import (
    CIRCL_1_6_1,
    CIRCL_1_6_2,
    recover,
    split,
)
from ansible_collections.dayzero.spike.tests.support.module_forks import Ended, Forks
from ansible_collections.dayzero.spike.tests.support.rerun_world import (
    World,
    sends_a_shard,
    world,
)
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

pytestmark = pytest.mark.slow

_SETTINGS = settings(
    max_examples=50,
    stateful_step_count=25,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
_MOST_RERUNS = 6

CONFIGURATIONS: Mapping[str, Mapping[str, Any]] = {
    "right": {},
    "threshold 3": {"shamir_threshold": 3},
    "old scheme": {"share_scheme": CIRCL_1_6_1},
}
# Most runs are what an operator means to do.
CONFIGURATION = st.sampled_from(["right", "right", "right", *CONFIGURATIONS])
FORCE = st.sampled_from([False, False, False, False, True])
VERIFY = st.sampled_from([True, True, False])
# After how many steps a run dies: a run that has nothing to do has some 10, a whole one some 60.
KILL = st.one_of(st.none(), st.integers(1, 10), st.integers(11, 65))


def _heal_all(cluster: World) -> None:
    for keeper in cluster.keepers:
        keeper.heal()


EVENTS: Mapping[str, Callable[[World], None]] = {
    "keepers are well": _heal_all,
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
    ``journalled`` is the configuration that the journal is about. ``forced``: shards of several
    splits may meet, until they have all been forgotten.
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
        self.journalled: str | None = None
        self.history: list[str] = []
        self.counts["histories"] += 1

    # -- runs

    @rule(configuration=CONFIGURATION, force=FORCE, verify=VERIFY, kill=KILL)
    def run(self, configuration: str, force: bool, verify: bool, kill: int | None) -> None:
        self._run(configuration, force, verify=verify, kill=kill)

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
        misled = any(origin.configuration == "threshold 3" for origin in self.origins.values())
        third_key = key is not None and key not in known and not misled
        if self.forced:
            # Whoever forces may mix, until what was there before is gone.
            self.forced = third_key or len(origins) > 1
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
            configuration = self._operate_until_done()
            again = self.cluster.run(**CONFIGURATIONS[configuration]).result
            self._promise(
                (again["phase"], again["changed"]) == ("done", False), f"not done: {again}"
            )
            other = "threshold 3" if configuration == "right" else "right"
            forced = self._run(other, force=True).result
            self._promise(
                forced["code"] == "store_invalid_configuration", f"forced to change: {forced}"
            )

    # -- how

    def _promise(self, kept: bool, words: str) -> None:
        if not kept:
            self.broken.append("\n".join([words, *self.history]))
        assert kept, words

    def _run(
        self, configuration: str, force: bool, *, verify: bool = True, kill: int | None = None
    ) -> Ended:
        arrived = [len(keeper.stats.shards) for keeper in self.cluster.keepers]
        pending = self._pending_key()
        token = self._token()
        other_split = token is not None and self.journalled not in (None, configuration)
        proved = self.drawn is not None and self.drawn == self.cluster.nexus.root_key_sha256
        may_replace = force and not proved
        self.counts["forced where Nexus proves the key"] += force and proved
        ended = self.cluster.run(
            kill=kill,
            force=force,
            verify=verify,
            # Nexus needs a moment when it is there, and for ever when it is not.
            init_verification_timeout="400ms",
            **CONFIGURATIONS[configuration],
        )
        self.cluster.settle()
        self._note_run(ended, configuration, force, verify)
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
        only = {number: shards[0] for number, shards in sent.items()}
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

    def _note_run(self, ended: Ended, configuration: str, force: bool, verify: bool) -> None:
        if ended.killed:
            end = f"killed at {ended.points[-1]}"
        else:
            end = f"{ended.result['phase']} {ended.result.get('code', '')}"
        self.history.append(f"run: {configuration}, {force=}, {verify=}: {end}")
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

    def _operate_until_done(self) -> str:
        """Do what the messages say; no history is so bad that they do not lead out of it.

        Returns the configuration with which it is done.
        """
        _heal_all(self.cluster)
        self.cluster.nexus.start()
        configuration, force = "right", False
        for _ in range(_MOST_RERUNS):
            result = self._run(configuration, force).result
            if result["phase"] == "done":
                return configuration
            if force and result["code"] == "store_invalid_configuration":
                # Nexus proves the key, so the settings are put back.
                assert self.journalled is not None
                configuration, force = self.journalled, False
            else:
                force = self._do_as_told(result["code"], result["msg"])
        self._promise(False, f"no end of it: {result['code']}: {result['msg']}")
        return configuration

    def _do_as_told(self, code: str, message: str) -> bool:
        """Returns whether the next run is to be forced."""
        if code == "root_key_missing":
            self.cluster.restart_everything()
            return True
        if "restart neither it nor a keeper" in message:
            # Nexus has another key than the unfinished run's, and its data is not wanted.
            self.cluster.nexus.stop(keep_data=False)
            self.cluster.restart_everything()
            return False
        if "let it recover the key from its keepers" in message:
            held = self._held()
            recovers = len(held) > 1 and len({self.origins[shard].key for shard in held}) == 1
            return not (recovers and self.cluster.nexus.wait_initialised())
        # It goes on with the same key; or there is nothing that anybody would want back.
        return code not in ("state_not_ready", "bootstrap_keeper_unreachable")


def test_any_history_of_runs_kills_restarts_and_reboots_keeps_the_promises(
    record_property: Callable[[str, object], None],
) -> None:
    counts: collections.Counter[str] = collections.Counter()
    broken: list[str] = []
    with Forks() as forks:
        tables = {"forks": forks, "counts": counts, "broken": broken}
        machine = type("Machine", (AnyHistory,), tables)
        try:
            run_state_machine_as_test(machine, settings=_SETTINGS)
        except BaseException:
            # Which keeper is first, and what Nexus combines, is chance: Hypothesis may not see the
            # promise broken again, and would tell only that.
            if broken:
                pytest.fail("\n\n".join(broken), pytrace=False)
            raise
    # It was about something.
    ends = ("done", "failed", "forced", "forced where Nexus proves the key", "killed", "refused")
    assert all(counts[end] > 0 for end in ends)
    numbers = ", ".join(f"{count} {name}" for name, count in counts.items())
    record_property("table", f"model: {numbers}; no promise broken")
