# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A cluster, a bootstrap host and its operator, for tests that interrupt and rerun."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible_collections.dayzero.spike.plugins.module_utils._key.shamir import recover, split
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.cluster import Sandbox
from ansible_collections.dayzero.spike.plugins.module_utils._state.pending_key import file_name
from ansible_collections.dayzero.spike.tests.support.module_forks import (
    Ended,
    Forks,
    Point,
    Run,
    write_arguments,
)
from ansible_collections.dayzero.spike.tests.support.module_run import ALWAYS


class World:
    """A sandbox and the directories of the host that bootstraps it.

    ``runs`` counts the runs. ``recovery_key`` is the key that the operator's recovery shards give,
    None where none were made. What happened to the keepers before ``new_history`` is not looked at
    any more.
    """

    def __init__(self, directory: Path, forks: Forks, runtime_dir: Path, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.nexus = sandbox.nexus
        self.keepers = sandbox.keepers
        self.state_dir = directory / "state"
        self.runtime_dir = runtime_dir
        self.key_file = runtime_dir / file_name(str(self.state_dir))
        self.runs = 0
        self.recovery_key: bytes | None = None
        self._directory = directory
        self._written = itertools.count()
        self._forks = forks
        self._before: dict[int, int] = {}
        self.new_history()

    def options(self, **options: Any) -> dict[str, Any]:
        """The module's options for this cluster, with ``options`` instead of some."""
        return {
            "keeper_peers": [keeper.url for keeper in self.keepers],
            "shamir_threshold": self.sandbox.threshold,
            "nexus_api_url": self.nexus.url,
            "svid_source": "files",
            "svid_cert": str(self.sandbox.svid_cert),
            "svid_key": str(self.sandbox.svid_key),
            "svid_bundle": str(self.sandbox.svid_bundle),
            "state_dir": str(self.state_dir),
            "runtime_dir": str(self.runtime_dir),
            "keeper_timeout": "20s",
            "keeper_max_retries": 1,
            "init_verification_timeout": "20s",
            **options,
        }

    def arguments(self, **options: Any) -> Path:
        """A file of its own with these options: an earlier run may not have read its own yet."""
        path = self._directory / f"arguments-{next(self._written)}.json"
        return write_arguments(path, self.options(**options))

    def run(self, *, kill: Point | int | None = None, prelude: str = "", **options: Any) -> Ended:
        """Run the module, up to where it is killed; whatever it refuses, it sends nothing then."""
        return self.checked(self.start(kill=kill, prelude=prelude, **options).end())

    def start(self, *, kill: Point | int | None = None, prelude: str = "", **options: Any) -> Run:
        """Begin a run, during which something else may happen; its end is to be ``checked``."""
        self.runs += 1
        return self._forks.start(self.arguments(**options), kill, prelude=prelude)

    def checked(self, ended: Ended) -> Ended:
        """What holds of every run that ends."""
        if not ended.killed:
            assert set(ended.result) >= ALWAYS, ended.result
            if ended.result["phase"] in ("config", "identity", "guard", "reach"):
                assert not ended.result["changed"]
                assert not sends_a_shard(ended)
        return ended

    # -- what happens to it

    def reboot(self) -> None:
        """Lose what lies in the host's memory."""
        for path in self.runtime_dir.iterdir():
            path.unlink()

    def restart_everything(self) -> None:
        """What an operator does who is told that Nexus and the keepers must forget."""
        self.nexus.stop()
        for keeper in self.keepers:
            keeper.restart()
        self.nexus.start()
        self.new_history()

    def settle(self) -> None:
        """Let the keepers read what a run that has ended had written."""
        for keeper in self.keepers:
            server = keeper._server
            # With it a connection's thread is put into the table and started.
            with server._acceptor.lock:
                threads = list(server._connections.values())
            # The run's connections have all ended, so these threads do.
            for thread in threads:
                thread.join()

    # -- what it looks like

    def collected_by_nexus(self) -> list[bytes]:
        """The shards that Nexus, without a key, may yet combine with others."""
        nexus = self.nexus._nexus
        with nexus._changed:
            return [] if nexus._root_key is not None else list(nexus._collected.values())

    def new_history(self) -> None:
        """From here on another key is another matter."""
        self._before = {keeper.id: len(keeper.stats.shards) for keeper in self.keepers}

    def shards_sent(self) -> dict[int, set[bytes]]:
        """Every shard that ever arrived, by keeper."""
        return {
            keeper.id: set(keeper.stats.shards[self._before[keeper.id] :])
            for keeper in self.keepers
            if len(keeper.stats.shards) > self._before[keeper.id]
        }

    def assert_one_key(self) -> None:
        """All shards that were ever sent are of one split of one key."""
        sent = self.shards_sent()
        assert all(len(shards) == 1 for shards in sent.values()), "a keeper was sent two shards"
        only = {number: next(iter(shards)) for number, shards in sent.items()}
        keys = {
            recover({number: only[number] for number in some})
            for some in itertools.combinations(only, self.sandbox.threshold)
        }
        assert len(keys) <= 1, "shards of two keys were sent"
        for key in keys:
            expected = self.split(key)
            assert all(shard == expected[number - 1] for number, shard in only.items())

    def split(self, key: bytes) -> list[bytes]:
        """The shards of ``key`` for this cluster."""
        return split(key, self.sandbox.threshold, len(self.keepers), self.sandbox.scheme)

    def assert_bootstrapped(self, lost: frozenset[int] = frozenset()) -> None:
        """Nexus holds the key that all keepers' shards make.

        Only the keepers in ``lost`` may have none, until Nexus gives them their shards.
        """
        shards = {keeper.id: keeper.shard for keeper in self.keepers}
        missing = {number for number, shard in shards.items() if shard is None}
        assert missing <= lost, f"keepers {missing} have no shard"
        if missing:
            self.nexus.push()
        held = {keeper.id: keeper.shard for keeper in self.keepers if keeper.shard is not None}
        assert set(held) == set(shards)
        key = recover(dict(itertools.islice(held.items(), self.sandbox.threshold)))
        expected = self.split(key)
        assert all(shard == expected[number - 1] for number, shard in held.items())
        assert self.nexus.root_key_sha256 == hashlib.sha256(key).hexdigest()
        assert self.journal()["state"] == "finished"
        assert list(self.runtime_dir.iterdir()) == [], "the key was not removed"
        self._assert_key_in_no_file(key)

    def journal(self) -> dict[str, Any]:
        """The journal as it is."""
        return dict(json.loads((self.state_dir / "journal.json").read_text()))

    def _assert_key_in_no_file(self, key: bytes) -> None:
        for path in self.state_dir.iterdir():
            content = path.read_bytes()
            assert key not in content
            assert key.hex().encode() not in content


@contextlib.contextmanager
def world(forks: Forks, **sandbox: Any) -> Iterator[World]:
    """A world of its own, with nothing of it left afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="rerun-"))
    # The key's directory must be in memory.
    runtime_dir = Path(tempfile.mkdtemp(prefix="rerun-", dir="/dev/shm"))
    try:
        with Sandbox(directory / "sandbox", nexus_poll_seconds=0.02, **sandbox) as embedded:
            yield World(directory, forks, runtime_dir, embedded)
    finally:
        shutil.rmtree(directory)
        shutil.rmtree(runtime_dir)


def sends_a_shard(ended: Ended) -> bool:
    """Whether the run came to sending one."""
    return any(point.name.endswith(": before shard") for point in ended.points)


__all__ = ["World", "sends_a_shard", "world"]
