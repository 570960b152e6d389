# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An operator who does what the steps of a result say, to the letter, and nothing else.

Every step is known by its words. One that is not fails the test: a step that nobody has tried is
none to print.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.dayzero.spike.tests.support.module_forks import Ended
from ansible_collections.dayzero.spike.tests.support.rerun_world import World

Result = dict[str, Any]
# What is followed only if it is so: the beginnings of steps. Without one, a step is always done.
CONDITIONS = (
    "If it is the cluster that you expect, nothing needs to be done",
    "If it is another cluster",
    "If the cluster was given its new key on purpose",
    "If Nexus has restarted since it was last well",
    "Only with the custodians' recovery shards at hand",
    "If Nexus does not get its key back",
    "Only if all that Nexus stores is to be given up",
    "Only if what it stores is to be given up",
    "To keep the key that Nexus has",
    "To use this run's key instead, only if Nexus holds nothing that is wanted",
    "To use this run's key instead",
    "If this Nexus never had a key and cannot be asked before day zero",
    "If the cluster was changed on purpose and has its key",
    "If this is another cluster",
    "If that run is not wanted",
    "If it is refused again",
    "If this Nexus has no verification",
    "If runtime_dir or state_dir is another one now",
    "Only if this Nexus is known not to have that key",
)
_NEXUS_SECONDS = 5
_MOST_ROUNDS = 6


class UnknownStepError(AssertionError):
    """A result has a step that this operator cannot do."""


class Operator:
    """Follows what results say in ``world``.

    ``options`` are those with which the run was made, and change as steps tell to change them.
    ``true`` are the conditions that hold, with what they begin; those that are not named do not.
    ``fix`` makes well whatever is wrong with keepers, Nexus or the host when a step says to look
    at it. ``right`` are the options as they should have been, for steps that tell to correct one.
    ``recovery_key`` is the key that the operator's recovery shards give.
    """

    def __init__(
        self,
        world: World,
        options: Mapping[str, Any] | None = None,
        *,
        true: tuple[str, ...] = (),
        fix: Callable[[], None] = lambda: None,
        right: Mapping[str, Any] | None = None,
        recovery_key: bytes | None = None,
    ) -> None:
        unknown = set(true) - set(CONDITIONS)
        assert not unknown, unknown
        self.world = world
        self.options = dict(options or {})
        self.done: list[str] = []
        self._true = true
        self._mend = fix
        self._right = dict(right or {})
        self._recovery_key = recovery_key
        self._last: Result | None = None
        self._force_once = False

    def run(self) -> Result:
        """Run the module with the options of now; force holds for one run."""
        options = dict(self.options)
        if not self._force_once:
            options.pop("force", None)
        self._force_once = False
        self._last = self.make_the_run(options)
        return self._last

    def make_the_run(self, options: Mapping[str, Any]) -> Result:
        """Run the module with these options."""
        result = self.world.run(**options).result
        self.world.settle()
        return result

    def correct(self) -> None:
        """Give options the values that they should have had."""
        self.options.update(self._right)
        self._mend()

    def until_done(self, ended: Ended | Result) -> Result:
        """Follow the steps of a result, and of what the reruns say, to a run that ends well."""
        result = ended.result if isinstance(ended, Ended) else ended
        for _unused in range(_MOST_ROUNDS):
            if not result.get("failed"):
                return result
            result = self.follow(result)
        raise AssertionError(f"no end of it: {result['msg']}\n{self._diary()}")

    def follow(self, result: Result) -> Result:
        """Do the steps in order, until a rerun ends well or is refused for another reason."""
        assert result["what_to_do"], f"nothing is advised: {result['msg']}"
        self._last = None
        for step in result["what_to_do"]:
            action = self._relevant(step)
            if action is None:
                continue
            self.done.append(step)
            self._do(action)
            last = self._last
            if last is not None and (not last.get("failed") or last["code"] != result["code"]):
                return last
        last = self._last
        if last is None:
            raise AssertionError(f"no step tells to rerun\n{self._diary()}")
        return last

    def _relevant(self, step: str) -> str | None:
        """The action of a step that is to be done; None where its condition does not hold."""
        for condition in sorted(CONDITIONS, key=len, reverse=True):
            if step.startswith(f"{condition}:"):
                if condition not in self._true:
                    return None
                return step[len(condition) + 1 :].strip()
        return step

    def _do(self, action: str) -> None:
        for pattern, method in _ACTIONS:
            found = re.match(pattern, action, re.IGNORECASE)
            if found:
                method(self, *found.groups())
                return
        raise UnknownStepError(f"nobody can do this: {action!r}\n{self._diary()}")

    def _diary(self) -> str:
        return "\n".join(f"did: {step}" for step in self.done)

    # -- what steps tell to do

    def _rerun(self) -> None:
        self.run()

    def _rerun_plainly(self) -> None:
        self.options.pop("state", None)
        self.run()

    def _nothing(self) -> None:
        """Nothing is left to do: what a run says now is the end of it."""
        self.run()

    def _rerun_accepting(self) -> None:
        self.options["accept_existing"] = True
        self.run()

    def _rerun_vouching(self) -> None:
        self.options["nexus_silence"] = "accept"
        self.run()

    def _rerun_with_force(self) -> None:
        self.options["force"] = self._force_once = True
        self.world.new_history()
        self.run()

    def _abandon(self) -> None:
        result = self.world.run(**self.options, state="abandoned").result
        assert not result.get("failed"), f"{result['msg']}\n{self._diary()}"
        self.world.new_history()

    def _abandon_it(self) -> None:
        before = self.options
        self.options = {**before, **self._right}
        self._abandon()
        self.options = before

    def _correct_and_rerun(self) -> None:
        self._correct()
        self.run()

    def _look_into_it(self) -> None:
        self._mend()

    def _correct(self, *_names: str) -> None:
        self.correct()

    def _compare(self, numbered: str, threshold: str, shares: str, scheme: str) -> None:
        """What is printed is what the run had: the lines can be compared."""
        options = self.world.options(**self.options)
        assert [url for _unused, url in re.findall(r"(\d+)\. (\S+?)(?:,|$)", numbered)] == (
            options["keeper_peers"]
        )
        assert int(threshold) == options["shamir_threshold"]
        assert int(shares) == len(options["keeper_peers"])
        assert scheme == options.get("share_scheme", "circl-1.6.2")

    def _correct_nexus(self) -> None:
        """Nexus gets the settings that were printed."""
        options = self.world.options(**self.options)
        ids = {keeper.url: keeper.id for keeper in self.world.keepers}
        self.world.nexus.configure(
            [ids[url] for url in options["keeper_peers"]], options["shamir_threshold"]
        )

    def _stop_nexus(self) -> None:
        self.world.nexus.stop()

    def _move_database(self) -> None:
        database = self.world.nexus.data_dir / "spike.db"
        if database.exists():
            database.rename(database.with_suffix(".db.away"))

    def _restart_keepers(self) -> None:
        for keeper in self.world.keepers:
            keeper.restart()
        self.world.new_history()

    def _start_nexus(self) -> None:
        self._mend()
        self.world.nexus.start()

    def _restart_nexus(self) -> None:
        self.world.nexus.restart()

    def _wait_for_nexus(self) -> None:
        self._mend()
        self.world.nexus.start()
        self.world.nexus.wait_initialised(0.3)

    def _wait_for_push(self) -> None:
        assert self.world.nexus.wait_initialised(_NEXUS_SECONDS)
        self.world.nexus.push()
        self.world.new_history()

    def _recover(self) -> None:
        assert self._recovery_key is not None
        self.world.nexus.stop()
        self.world.nexus.hold(self._recovery_key)

    def _move_journal(self, path: str) -> None:
        assert path == str(self.world.state_dir / "journal.json")
        (self.world.state_dir / "journal.json").rename(self.world.state_dir / "journal.old")

    def _look_as_root(self) -> None:
        self.options["nexus_database"] = "absent"

    def _own_state_dir(self) -> None:
        self.options["state_dir"] = str(self.world.state_dir.parent / "another-state")


_CORRECTING = r"(?:Correct|Add|Point|Refresh|Compare|Make|Raise|Renew|Set|Look|Check|Give|Let)"
# Each is tried in this order; the words are those of a task of one's own.
_ACTIONS: tuple[tuple[str, Callable[..., None]], ...] = (
    (
        r"Compare Nexus's settings with these: SPIKE_NEXUS_KEEPER_PEERS must be, in this order,"
        r" (.*); SPIKE_NEXUS_SHAMIR_THRESHOLD must be (\d+), SPIKE_NEXUS_SHAMIR_SHARES (\d+), and"
        r" the SPIKE release one of share scheme (\S+)\.$",
        Operator._compare,
    ),
    (r"correct Nexus's settings where they differ\.$", Operator._correct_nexus),
    (r"(?:then )?rerun bootstrap(?: once)? with force: true", Operator._rerun_with_force),
    (r"run it again with force: true\.$", Operator._rerun_with_force),
    (r"(?:then )?rerun bootstrap with accept_existing: true", Operator._rerun_accepting),
    (r"rerun bootstrap with nexus_silence set to accept\.$", Operator._rerun_vouching),
    (r"Rerun bootstrap without state\b", Operator._rerun_plainly),
    (r"nothing is left to do, its shards are delivered", Operator._nothing),
    (r"Look for it as root, and set nexus_database to present or absent", Operator._look_as_root),
    (r"Rerun bootstrap with the state_dir of that run\.$", Operator._correct_and_rerun),
    (r"(?:then )?rerun bootstrap\b", Operator._rerun),
    (r"Run it again\.$", Operator._rerun),
    (r"(?:then )?give up this run, run once with state: abandoned\.$", Operator._abandon),
    (r"give it up, run once with state: abandoned\.$", Operator._abandon),
    (r"give it up with its own state_dir, run once with state: abandoned\.$", Operator._abandon_it),
    (r"(?:then )?stop Nexus\b", Operator._stop_nexus),
    (r"move .*database.* away, and keep the file\.$", Operator._move_database),
    (r"(?:then )?restart every keeper\b", Operator._restart_keepers),
    (r"(?:then )?start Nexus\b", Operator._start_nexus),
    (r"Restart Nexus: it has no key", Operator._restart_nexus),
    (r"restart nothing before it has sent the keepers its own shards", Operator._wait_for_push),
    (r"Make sure that the keepers run, and wait until Nexus has", Operator._wait_for_nexus),
    (r"(?:Otherwise )?make sure that Nexus runs\b", Operator._wait_for_nexus),
    (r"restore (?:it|Nexus)\b.*, by (?:spike_restore|the playbook .*)\.$", Operator._recover),
    (r"move the journal (\S+) away\.$", Operator._move_journal),
    (r"give it a state_dir of its own\.$", Operator._own_state_dir),
    (r"(?:Otherwise )?put (?:it|the settings) back\b", Operator._correct),
    (r"(?:Keepers? [\d, ]+(?: and \d+ more)?: )", Operator._look_into_it),
    (rf"(?:\w+: )?{_CORRECTING}\b", Operator._correct),
)


__all__ = ["CONDITIONS", "Operator", "UnknownStepError"]
