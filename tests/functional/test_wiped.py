# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run leaves in its own memory: no key and no shard, however it ends."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._errors import (
    GuardRefusal,
    KeepersFailed,
    NexusFailed,
)
from ansible_collections.dayzero.spike.plugins.module_utils._key.root_key import RootKey
from ansible_collections.dayzero.spike.plugins.module_utils._options.settings import (
    bootstrap_settings,
)
from ansible_collections.dayzero.spike.plugins.module_utils._run import bootstrap, session
from ansible_collections.dayzero.spike.plugins.module_utils._run.report import RunReport
from ansible_collections.dayzero.spike.plugins.module_utils._run.session import Tools
from ansible_collections.dayzero.spike.tests.support.module_host import Host
from ansible_collections.dayzero.spike.tests.support.options import options

pytestmark = pytest.mark.slow


class Secrets:
    """The very bytes that runs of this process held, with what they were when they were made."""

    def __init__(self) -> None:
        self.keys: list[bytearray] = []
        self.shards: list[bytearray] = []
        self.were: list[bytes] = []

    def assert_wiped(self, *, keys: int, shards: int) -> None:
        """So many were there, and nothing of them is left."""
        assert (len(self.keys), len(self.shards)) == (keys, shards)
        assert all(any(was) for was in self.were)
        assert [bytes(key) for key in self.keys] == [bytes(32)] * keys
        assert [bytes(shard) for shard in self.shards] == [bytes(32)] * shards


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> Secrets:
    seen = Secrets()
    made, split = RootKey.__init__, RootKey.shards

    def make(key: RootKey, content: bytes | bytearray) -> None:
        made(key, content)
        seen.keys.append(key.exposed())
        seen.were.append(bytes(content))

    def shards(key: RootKey, *arguments: Any) -> list[bytearray]:
        found = split(key, *arguments)
        seen.shards += found
        seen.were += map(bytes, found)
        return found

    monkeypatch.setattr(RootKey, "__init__", make)
    monkeypatch.setattr(RootKey, "shards", shards)
    return seen


@pytest.fixture(autouse=True)
def _no_lasting_traces(monkeypatch: pytest.MonkeyPatch) -> None:
    # It would hold for the rest of the test process, which then could not read its own /proc/self.
    monkeypatch.setattr(session, "forbid_core_dumps", lambda: None)


def run_here(
    host: Host,
    step: Callable[[str], None] = lambda name: None,
    *,
    check: bool = False,
    **changes: Any,
) -> None:
    """The run that the module makes, in this process."""
    settings = bootstrap_settings(options(**host.options(**changes)))
    tools = Tools(
        clock=time.monotonic,
        sleep=time.sleep,
        now=lambda: datetime.now(timezone.utc),
        mask=lambda spelling: None,
        step=step,
    )
    report = RunReport(settings.keepers, settings.nexus_api_url)
    bootstrap.run(settings, tools, report, check=check)


def test_a_run_that_succeeds_wipes_its_key_and_its_shards(host: Host, secrets: Secrets) -> None:
    run_here(host)
    assert host.nexus_holds(host.root_key(1, 2))
    # The keys that the guard's two questions to Nexus are sealed under are keys as well.
    secrets.assert_wiped(keys=3, shards=3)


def test_a_run_that_leaves_its_key_for_the_next_wipes_its_own_copy(
    host: Host, secrets: Secrets
) -> None:
    run_here(host, verify=False)
    secrets.assert_wiped(keys=3, shards=3)


def test_a_run_that_goes_on_with_a_key_wipes_what_it_read(host: Host, secrets: Secrets) -> None:
    host.sandbox.nexus.stop()
    run_here(host, verify=False)
    key, *shards = secrets.were[2:]
    # Else Nexus might have the key already, from the keepers, before they are sent it again.
    for keeper in host.sandbox.keepers:
        keeper.restart()
    host.sandbox.nexus.start()
    run_here(host)
    # The same key, read again for each of the guard's two looks, and the same shards, made again.
    assert secrets.were[2 + 1 + len(shards) :] == [key, key, *shards]
    secrets.assert_wiped(keys=5, shards=6)


def test_a_delivery_that_fails_wipes_the_key_and_the_shards(host: Host, secrets: Secrets) -> None:
    host.sandbox.keepers[1].inject({"status": 503, "when": "deliver"})
    with pytest.raises(KeepersFailed):
        run_here(host, keeper_max_retries=1)
    secrets.assert_wiped(keys=3, shards=3)


def test_a_shard_that_nobody_answers_is_wiped_as_well(host: Host, secrets: Secrets) -> None:
    host.sandbox.keepers[1].inject({"delay": "60s", "when": "deliver"})
    with pytest.raises(KeepersFailed):
        run_here(host, keeper_timeout="2s", keeper_max_retries=1)
    secrets.assert_wiped(keys=3, shards=3)


def test_a_proof_that_fails_wipes_the_key_and_the_shards(host: Host, secrets: Secrets) -> None:
    host.sandbox.nexus.stop()
    with pytest.raises(NexusFailed):
        run_here(host, init_verification_timeout="200ms")
    secrets.assert_wiped(keys=3, shards=3)


def test_a_key_that_was_read_for_a_run_that_is_refused_is_wiped(
    host: Host, secrets: Secrets
) -> None:
    host.sandbox.nexus.stop()
    run_here(host, verify=False)
    with pytest.raises(GuardRefusal):
        run_here(host, verify=False, shamir_threshold=3)
    # It was read for a brief look and for the whole one that it was refused after.
    secrets.assert_wiped(keys=5, shards=3)


def test_a_key_that_was_read_for_a_run_that_is_given_up_is_wiped(
    host: Host, secrets: Secrets
) -> None:
    host.sandbox.nexus.stop()
    run_here(host, verify=False)
    (kept,) = host.runtime_dir.iterdir()
    assert secrets.were[2] in kept.read_bytes()
    run_here(host, state="abandoned", force=True)
    assert list(host.runtime_dir.iterdir()) == []
    secrets.assert_wiped(keys=4, shards=3)


def test_a_key_that_was_read_for_a_check_is_wiped(host: Host, secrets: Secrets) -> None:
    host.sandbox.nexus.stop()
    run_here(host, verify=False)
    run_here(host, check=True)
    secrets.assert_wiped(keys=5, shards=3)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize(
    ("point", "shards"),
    [("phase deliver", 0), ("phase verify", 3), ("phase done", 3)],
    ids=["with the key alone", "after the delivery", "at the end"],
)
def test_a_run_that_an_exception_ends_wipes_the_key_and_the_shards(
    point: str, shards: int, error: type[BaseException], host: Host, secrets: Secrets
) -> None:
    def fail(name: str) -> None:
        if name == point:
            raise error

    with pytest.raises(error):
        run_here(host, fail)
    secrets.assert_wiped(keys=3, shards=shards)
