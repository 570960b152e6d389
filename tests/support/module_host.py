# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The host on which the module runs, as its own process, beside a sandbox in this one."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path
from typing import Any

from ansible_collections.dayzero.spike.plugins.module_utils._key.shamir import recover
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.cluster import Sandbox
from ansible_collections.dayzero.spike.tests.support.module_run import (
    ModuleRun,
    Runner,
    StartedRun,
    run_directly,
)


class Host:
    """Where the module runs: its directories, its environment, and the sandbox that it is given.

    Nothing on it is shared with another test, apart from the sandbox where a test says so.
    """

    def __init__(
        self, directory: Path, runtime_dir: Path, temporary: Path, sandbox: Sandbox
    ) -> None:
        """``temporary`` is short: newer Ansible makes a unix socket below it."""
        self.directory = directory
        self.runtime_dir = runtime_dir
        self.sandbox = sandbox
        self.state_dir = directory / "state"
        self.home = directory / "home"
        self.temporary = temporary
        self.home.mkdir()
        self.environment = {
            **os.environ,
            "HOME": str(self.home),
            "TMPDIR": str(self.temporary),
            "ANSIBLE_HOME": str(self.home / "ansible"),
            # Ansible asks the password database, not HOME, where a user's files are.
            "ANSIBLE_REMOTE_TEMP": str(self.home / "remote"),
        }

    def options(self, **changes: Any) -> dict[str, Any]:
        """The module's options for the sandbox; ``changes`` that are None leave one out."""
        sandbox = self.sandbox
        options = {
            "keeper_peers": [keeper.url for keeper in sandbox.keepers],
            "shamir_threshold": sandbox.threshold,
            "share_scheme": sandbox.scheme,
            "keeper_timeout": "5s",
            "init_verification_timeout": "20s",
            "nexus_api_url": sandbox.nexus.url,
            "svid_source": "files",
            "svid_cert": str(sandbox.svid_cert),
            "svid_key": str(sandbox.svid_key),
            "svid_bundle": str(sandbox.svid_bundle),
            "state_dir": str(self.state_dir),
            "runtime_dir": str(self.runtime_dir),
        }
        return {name: value for name, value in {**options, **changes}.items() if value is not None}

    def run(
        self,
        runner: Runner = run_directly,
        /,
        *,
        check: bool = False,
        diff: bool = False,
        **changes: Any,
    ) -> ModuleRun:
        """Run the module to its end."""
        return runner(self.options(**changes), environment=self.environment, check=check, diff=diff)

    def start(self, **changes: Any) -> StartedRun:
        """Start the module, for a ``with`` block, so that things can happen meanwhile."""
        return StartedRun(self.options(**changes), environment=self.environment)

    def shards(self) -> dict[int, bytes]:
        """The shards that the keepers hold, by keeper id."""
        held = {keeper.id: keeper.shard for keeper in self.sandbox.keepers}
        return {number: shard for number, shard in held.items() if shard is not None}

    def root_key(self, *ids: int) -> bytes:
        """The key that the shards of the keepers ``ids`` make."""
        shards = self.shards()
        return bytes(recover({number: shards[number] for number in ids}))

    def nexus_holds(self, root_key: bytes) -> bool:
        """Whether Nexus holds this very key."""
        return self.sandbox.nexus.root_key_sha256 == hashlib.sha256(root_key).hexdigest()

    def shard_requests(self) -> int:
        """How often anybody was sent a shard."""
        return sum(keeper.stats.shard_requests for keeper in self.sandbox.keepers)


def file_system_of(path: Path) -> str:
    done = subprocess.run(
        ["stat", "--file-system", "--format=%T", str(path)],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


__all__ = ["Host", "file_system_of"]
