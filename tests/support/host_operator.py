# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host with something wrong on it, and an operator who does what the printed steps say.

A step is written as it is printed, with ``<name>`` for what differs from case to case. What was
printed there is handed to the action, which uses that and nothing it knows better.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.dayzero.spike.plugins.module_utils._key.shamir import recover
from ansible_collections.dayzero.spike.tests.support.rerun_world import World

Result = dict[str, Any]
NOBODY = 65534
_PLACE = re.compile(r"<\w+>")
# What a run imports late is imported before the user is changed: an interpreter of root's own is
# out of reach of anybody else. Groups go first, while it may still be done.
_AS_USER = """
import _strptime, encodings.idna, os, pwd
from ansible_collections.dayzero.spike.plugins.module_utils._run import bootstrap, delivery
from ansible_collections.dayzero.spike.plugins.module_utils._decide import keeper_words, refusals
from ansible_collections.dayzero.spike.plugins.module_utils._spiffe import (
    from_files, from_spire_agent, from_workload_api,
)
os.setgroups([])
os.setresgid({user}, {user}, {user})
os.setresuid({user}, {user}, {user})
"""


@dataclass
class Site:
    """A host beside its cluster.

    ``options`` are those of the next run, ``prelude`` what is wrong with its process, and ``user``
    who runs it. ``last`` is the result of the last run, ``notes`` what an operator has put away.
    """

    cluster: World
    resources: contextlib.ExitStack
    files: Path
    options: dict[str, Any] = field(default_factory=dict)
    prelude: str = ""
    user: int = 0
    last: Result = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def state_dir(self) -> Path:
        return Path(self.options.get("state_dir", self.cluster.state_dir))

    @property
    def runtime_dir(self) -> Path:
        return Path(self.options.get("runtime_dir", self.cluster.runtime_dir))

    @property
    def journal(self) -> Path:
        return self.state_dir / "journal.json"

    def run(self, *, check: bool = False, **options: Any) -> Result:
        """Run the module; with ``options`` for this time alone."""
        prelude = self.prelude
        if self.user:
            prelude = _AS_USER.format(user=self.user) + prelude
        given = {**self.options, **options, "_ansible_check_mode": check}
        ended = self.cluster.start(prelude=prelude, **given).end()
        # A check says what it would change, and a run is given up before any phase that sends.
        whole = check or given.get("state") == "abandoned"
        self.last = ended.result if whole else self.cluster.checked(ended).result
        self.cluster.settle()
        return self.last

    def become(self, user: int) -> None:
        """From now on ``user`` runs the module, and may read the files of the identity."""
        sandbox = self.cluster.sandbox
        self.user = user
        for directory in sandbox.svid_key.parents:
            if directory.is_relative_to(self.cluster.state_dir.parent):
                directory.chmod(0o711)
        os.chown(sandbox.svid_key, user, -1)

    def own_directories(self, user: int) -> None:
        """Give the directories of a run, and what is in them, to ``user``."""
        self.state_dir.mkdir(mode=0o700, exist_ok=True)
        for directory in (self.state_dir, self.runtime_dir):
            for path in (directory, *directory.iterdir()):
                os.chown(path, user, -1)

    def leave_unfinished(self) -> None:
        """An earlier run, which was cut off after its first shard."""
        for keeper in self.cluster.keepers[1:]:
            keeper.inject({"status": 500, "when": "deliver"})
        assert self.run()["failed_keepers"] == [2, 3]
        for keeper in self.cluster.keepers:
            keeper.heal()

    def assert_proved(self) -> None:
        """Nexus has proved the key that the keepers' shards make, and no copy of it is left."""
        assert not self.last.get("failed"), self.last["msg"]
        assert (self.last["phase"], self.last["nexus"]["state"]) == ("done", "ready")
        self.cluster.assert_one_key()
        shards = {keeper.id: keeper.shard for keeper in self.cluster.keepers}
        assert all(shards.values())
        expected = self.cluster.split(recover({1: shards[1], 3: shards[3]}))
        assert [shards[number] for number in sorted(shards)] == expected
        left = [path.name for path in self.runtime_dir.iterdir() if "root-key" in path.name]
        assert all(name.endswith(".away") for name in left), left


Action = Callable[..., Any]
# The step as it is printed, and what is done about it.
Step = tuple[str, Action]


def pattern_of(printed: str) -> re.Pattern[str]:
    """What a printed step must match, with a group for each ``<name>``."""
    return re.compile("(.+?)".join(re.escape(part) for part in _PLACE.split(printed)))


def follow(site: Site, steps: tuple[Step, ...]) -> None:
    """Do ``steps`` in their order, which are all that the last run has printed."""
    printed = list(site.last["what_to_do"])
    assert len(printed) == len(steps), printed
    for line, (expected, act) in zip(printed, steps, strict=True):
        found = pattern_of(expected).fullmatch(line)
        assert found, f"printed: {line!r}\nknown: {expected!r}"
        act(site, *found.groups())


# -- what steps tell to do


def rerun(site: Site) -> None:
    site.run()


def rerun_in_check_mode(site: Site) -> None:
    result = site.run(check=True)
    assert not result.get("failed"), result["msg"]


def nothing(_site: Site, *_found: str) -> None:
    """A step whose condition does not hold, or that another one has done."""


def command(words: str) -> Action:
    """Run the command that is printed behind ``words``, as an administrator."""

    def act(_site: Site, *found: str) -> None:
        subprocess.run([*shlex.split(words), *found], check=True)

    return act


def become(site: Site, user: str, *_found: str) -> None:
    """Run as who is printed, by number; the files of the identity go along."""
    found = re.search(r"(?:user id )?(\d+)\)?$", user)
    assert found, user
    site.become(int(found[1]))


def give(**options: Any) -> Action:
    """Give options other values."""

    def act(site: Site, *_found: str) -> None:
        site.options.update({name: _of(site, value) for name, value in options.items()})

    return act


def _of(site: Site, value: Any) -> Any:
    return value(site) if callable(value) else value


def without_what_is_wrong(site: Site, *_found: str) -> None:
    """The host is put right: the next process finds it so."""
    site.prelude = ""


__all__ = [
    "NOBODY",
    "Action",
    "Result",
    "Site",
    "Step",
    "become",
    "command",
    "follow",
    "give",
    "nothing",
    "pattern_of",
    "rerun",
    "rerun_in_check_mode",
    "without_what_is_wrong",
]
