# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The status against an embedded SPIKE, in every state that a cluster and its host can be in."""

from __future__ import annotations

import fcntl
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._errors import (
    ConfigError,
    DayZeroError,
    IdentityError,
    KeepersFailed,
)
from ansible_collections.dayzero.spike.plugins.module_utils._options.settings import (
    BootstrapSettings,
    StatusSettings,
    bootstrap_settings,
    status_settings,
)
from ansible_collections.dayzero.spike.plugins.module_utils._run import bootstrap, session
from ansible_collections.dayzero.spike.plugins.module_utils._run.report import RunReport
from ansible_collections.dayzero.spike.plugins.module_utils._run.session import Tools
from ansible_collections.dayzero.spike.plugins.module_utils._run.status import inspect
from ansible_collections.dayzero.spike.plugins.module_utils._run.status_report import StatusReport
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.cluster import Sandbox
from ansible_collections.dayzero.spike.tests.support.options import options
from ansible_collections.dayzero.spike.tests.support.snapshot import Entry, snapshot

OTHER_KEY = bytes([2] * 32)
# In memory on every Linux; where the collection itself lies is not.
IN_MEMORY = "/dev/shm"
ON_DISK = Path(__file__).resolve().parents[3] / "build"


class Host:
    """A bootstrap host beside a sandbox: its directories, its runs and its statuses."""

    def __init__(self, sandbox: Sandbox, directory: Path, memory: Path) -> None:
        self.sandbox = sandbox
        self.state_dir = directory / "state"
        self.runtime_dir = memory / "runtime"
        self.masked: set[str] = set()
        self._options = options(
            keeper_peers=[keeper.url for keeper in sandbox.keepers],
            shamir_threshold=sandbox.threshold,
            share_scheme=sandbox.scheme,
            keeper_timeout="20s",
            keeper_max_retries=2,
            keeper_retry_initial_interval="0.1s",
            keeper_retry_max_interval="1s",
            nexus_api_url=sandbox.nexus.url,
            init_verification_timeout="10s",
            svid_source="files",
            spiffe_source_timeout="5s",
            svid_cert=str(sandbox.svid_cert),
            svid_key=str(sandbox.svid_key),
            svid_bundle=str(sandbox.svid_bundle),
            state_dir=str(self.state_dir),
            runtime_dir=str(self.runtime_dir),
        )

    def settings(self, **changes: Any) -> BootstrapSettings:
        return bootstrap_settings({**self._options, **changes})

    def status_settings(self, **changes: Any) -> StatusSettings:
        return status_settings({**self._options, **changes})

    def tools(self, step: Callable[[str], None] = lambda name: None) -> Tools:
        return Tools(
            clock=time.monotonic,
            sleep=time.sleep,
            now=lambda: datetime.now(timezone.utc),
            mask=self.masked.add,
            step=step,
        )

    def bootstrap(self, step: Callable[[str], None] = lambda name: None, **options: Any) -> None:
        settings = self.settings(**options)
        report = RunReport(settings.keepers, settings.nexus_api_url)
        bootstrap.run(settings, self.tools(step), report, check=False)

    def status(self, **options: Any) -> dict[str, Any]:
        settings = self.status_settings(**options)
        report = StatusReport(settings.keepers, settings.nexus_api_url)
        inspect(settings, self.tools(), report)
        return report.result()

    def refused_status(self, error: type[DayZeroError], **options: Any) -> dict[str, Any]:
        settings = self.status_settings(**options)
        report = StatusReport(settings.keepers, settings.nexus_api_url)
        with pytest.raises(error):
            inspect(settings, self.tools(), report)
        return report.result()

    def shard_requests(self) -> list[int]:
        return [keeper.stats.shard_requests for keeper in self.sandbox.keepers]

    def files(self) -> dict[str, Entry]:
        return snapshot(self.state_dir, self.runtime_dir.parent)


@pytest.fixture(autouse=True)
def guarded(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    # It would hold for the rest of the test process, which then could not read its own /proc/self.
    calls: list[bool] = []
    monkeypatch.setattr(session, "forbid_core_dumps", lambda: calls.append(True))
    return calls


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with tempfile.TemporaryDirectory(dir=IN_MEMORY) as memory:
        with Sandbox(tmp_path / "sandbox", nexus_poll_seconds=0.01, lifetime_seconds=60) as sandbox:
            yield Host(sandbox, tmp_path, Path(memory))


def leave_unfinished(host: Host) -> None:
    """One keeper has its shard, which is too few for Nexus; two failed while delivering."""
    for keeper in host.sandbox.keepers[1:]:
        keeper.inject({"status": 503, "when": "deliver"})
    with pytest.raises(KeepersFailed):
        host.bootstrap()
    for keeper in host.sandbox.keepers:
        keeper.heal()


def lose_the_key_of_nexus(host: Host) -> None:
    for keeper in host.sandbox.keepers:
        keeper.restart()
    host.sandbox.nexus.restart()


def states(status: dict[str, Any]) -> list[str]:
    return [keeper["state"] for keeper in status["keepers"]]


def test_of_a_fresh_cluster_it_says_that_a_run_would_draw_a_key(host: Host) -> None:
    status = host.status()
    assert status["journal"] == {
        "path": str(host.state_dir / "journal.json"),
        "state": "none",
        "cluster": None,
        "delivered": [],
        "pending_key": False,
        "running": False,
    }
    assert states(status) == ["reached"] * 3
    assert (status["next"], status["nexus"]["state"]) == ("draw", "not_ready")
    assert status["summary"].startswith("Fresh: ")
    assert (status["changed"], status["phase"]) == (False, "done")


def test_of_an_unfinished_run_it_says_who_lacks_a_shard(host: Host) -> None:
    leave_unfinished(host)
    status = host.status()
    assert status["journal"]["state"] == "delivering"
    assert status["journal"]["delivered"] == [1]
    assert status["journal"]["cluster"] == {
        "keepers": [keeper.url for keeper in host.sandbox.keepers],
        "threshold": 2,
        "scheme": "circl-1.6.2",
    }
    assert status["journal"]["pending_key"]
    assert status["next"] == "resume"
    assert status["summary"] == (
        "Unfinished: keepers 2, 3 are not known to have their shard; rerun bootstrap, it goes on"
        " with the same key."
    )


def test_the_key_that_it_looks_at_is_guarded_and_masked(host: Host, guarded: list[bool]) -> None:
    leave_unfinished(host)
    guarded.clear()
    host.masked.clear()
    status = host.status()
    (kept,) = host.runtime_dir.iterdir()
    key = kept.read_bytes()[-32:]
    assert guarded
    assert key.hex() in host.masked
    assert key.hex() not in repr(status)


def test_of_a_run_whose_key_is_lost_it_says_that_a_rerun_would_be_refused(host: Host) -> None:
    leave_unfinished(host)
    shutil.rmtree(host.runtime_dir)
    status = host.status()
    assert not status["journal"]["pending_key"]
    assert status["next"] == "refuse"
    assert "its root key is no longer in runtime_dir" in status["summary"]


def test_a_key_of_another_run_is_not_the_unfinished_ones(host: Host) -> None:
    leave_unfinished(host)
    (key,) = host.runtime_dir.iterdir()
    key.write_bytes(key.read_bytes()[:-32] + OTHER_KEY)
    assert not host.status()["journal"]["pending_key"]


def test_of_a_finished_cluster_it_says_that_nexus_proves_the_key(host: Host) -> None:
    host.bootstrap()
    status = host.status()
    assert status["journal"]["state"] == "finished"
    assert status["journal"]["delivered"] == [1, 2, 3]
    assert (status["next"], status["nexus"]["state"]) == ("nothing", "ready")
    assert status["summary"] == "Finished: Nexus proves the root key."


def test_a_finished_cluster_whose_nexus_lost_its_key_would_be_refused(host: Host) -> None:
    host.bootstrap()
    lose_the_key_of_nexus(host)
    status = host.status()
    assert (status["next"], status["nexus"]["state"]) == ("refuse", "not_ready")
    assert "has no root key in memory" in status["summary"]


def test_a_finished_cluster_whose_nexus_holds_another_key_would_be_refused(host: Host) -> None:
    host.bootstrap()
    host.sandbox.nexus.stop(keep_data=False)
    host.sandbox.nexus.hold(OTHER_KEY)
    status = host.status()
    assert (status["next"], status["nexus"]["state"]) == ("refuse", "other_key")
    assert "another root key than the one that it proved before" in status["summary"]


def test_a_nexus_with_a_key_and_no_journal_would_be_refused(host: Host) -> None:
    host.sandbox.nexus.hold(OTHER_KEY)
    status = host.status()
    assert (status["journal"]["state"], status["next"]) == ("none", "refuse")
    assert "already holds a root key" in status["summary"]


@pytest.mark.slow
def test_a_nexus_that_does_not_run_is_a_finding(host: Host) -> None:
    host.sandbox.nexus.stop()
    status = host.status()
    assert (status["phase"], status["next"]) == ("done", "draw")
    assert status["nexus"]["state"] == "unreachable"


def test_a_database_of_nexus_is_part_of_what_it_predicts_from(host: Host) -> None:
    (host.sandbox.nexus.data_dir / "spike.db").write_bytes(b"data")
    assert host.status()["next"] == "draw"
    assert host.status(nexus_data_dir=str(host.sandbox.nexus.data_dir))["next"] == "refuse"


def test_other_settings_than_the_journals_would_be_refused(host: Host) -> None:
    leave_unfinished(host)
    status = host.status(shamir_threshold=3)
    assert status["next"] == "refuse"
    assert "the threshold is 3, and was 2" in status["summary"]
    assert status["journal"]["cluster"]["threshold"] == 2


def test_a_keeper_that_is_down_is_a_finding(host: Host) -> None:
    host.bootstrap()
    host.sandbox.keepers[1].stop()
    status = host.status()
    assert states(status) == ["reached", "unreachable", "reached"]
    assert (status["phase"], status["next"]) == ("done", "nothing")
    assert (status["failed_keepers"], status["keeper_id"]) == ([2], 2)
    assert status["keeper_url"] == host.sandbox.keepers[1].url
    assert status["keepers"][1]["cause"] == "connection_refused"
    assert status["keepers"][1]["attempts"] == 2
    assert status["summary"].endswith("Not reached: keeper 2, see the hints.")


def test_without_probing_keepers_none_is_contacted(host: Host) -> None:
    host.bootstrap()
    before = [keeper.stats.connections for keeper in host.sandbox.keepers]
    status = host.status(probe_keepers=False)
    assert [keeper.stats.connections for keeper in host.sandbox.keepers] == before
    assert states(status) == ["pending"] * 3
    assert (status["next"], status["summary"]) == (
        "nothing",
        "Finished: Nexus proves the root key.",
    )


def test_a_cluster_that_its_owners_have_changed_would_be_taken_over(host: Host) -> None:
    host.bootstrap()
    status = host.status(shamir_threshold=3)
    assert status["next"] == "adopt"
    assert status["summary"].startswith("Changed: Nexus proves the root key")


def test_a_key_that_will_do_would_be_accepted(host: Host) -> None:
    host.sandbox.nexus.hold(OTHER_KEY)
    status = host.status(accept_existing=True)
    assert status["next"] == "accept"
    assert status["summary"].startswith("Bootstrapped elsewhere: ")


def test_a_keeper_that_is_none_is_a_finding(host: Host) -> None:
    host.sandbox.keepers[2].inject({"wrong_identity": "spiffe://spike.ist/other"})
    status = host.status()
    assert states(status) == ["reached", "reached", "rejected"]
    assert status["keepers"][2]["cause"] == "peer_identity"


def test_it_looks_on_while_a_run_is_at_work(host: Host) -> None:
    at_work, go_on = threading.Event(), threading.Event()

    def hold(name: str) -> None:
        if name == "phase deliver":
            at_work.set()
            assert go_on.wait(30)

    run = threading.Thread(target=host.bootstrap, args=(hold,))
    run.start()
    try:
        assert at_work.wait(30)
        status = host.status()
    finally:
        go_on.set()
        run.join()
    assert (status["journal"]["state"], status["journal"]["running"]) == ("delivering", True)
    assert status["summary"].startswith("Running: ")
    after = host.status()
    assert (after["journal"]["state"], after["journal"]["running"]) == ("finished", False)


def test_somebody_else_who_looks_is_not_taken_for_a_run(host: Host) -> None:
    host.bootstrap()
    with (host.state_dir / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        assert not host.status()["journal"]["running"]


def test_it_leaves_no_lock_behind(host: Host) -> None:
    host.bootstrap()
    host.status()
    with (host.state_dir / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize(
    "prepare",
    [lambda host: None, leave_unfinished, Host.bootstrap],
    ids=["fresh", "unfinished", "finished"],
)
def test_it_writes_nothing_and_sends_no_shard(host: Host, prepare: Callable[[Host], None]) -> None:
    prepare(host)
    files, sent = host.files(), host.shard_requests()
    host.status()
    assert host.files() == files
    assert host.shard_requests() == sent


def test_a_damaged_journal_is_a_finding_beside_all_others_and_left_alone(host: Host) -> None:
    host.state_dir.mkdir()
    (host.state_dir / "journal.json").write_text("{")
    files = host.files()
    result = host.status()
    assert (result["phase"], result["journal"]["state"]) == ("done", "unusable")
    assert result["next"] == "refuse"
    assert "journal.json is damaged" in result["summary"]
    assert result["summary"].endswith("Of Nexus is known: Nexus has no root key yet.")
    assert states(result) == ["reached"] * 3
    assert host.files() == files


def test_with_a_damaged_journal_it_tells_whether_nexus_has_a_key(host: Host) -> None:
    host.state_dir.mkdir()
    (host.state_dir / "journal.json").write_text("{")
    host.sandbox.nexus.hold(bytes(31) + b"\x07")
    result = host.status()
    assert result["nexus"]["state"] == "other_key"
    assert "a run without the journal would be refused as well" in result["summary"]


def test_without_an_identity_it_cannot_tell(host: Host) -> None:
    result = host.refused_status(IdentityError, svid_cert=str(host.state_dir / "none.pem"))
    assert (result["phase"], result["journal"]) == ("identity", None)
    assert states(result) == ["pending"] * 3


@pytest.fixture
def agent(host: Host, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """The options for a spire-agent that hands over the sandbox's identity."""
    sandbox, program = host.sandbox, tmp_path / "sandbox" / "spire-agent"
    program.write_text(
        '#!/bin/sh\nwhile [ "$1" != -write ]; do shift; done\n'
        f'echo "$2" > {tmp_path}/sandbox/written\n'
        f'cp {sandbox.svid_cert} "$2/svid.0.pem" && cp {sandbox.svid_key} "$2/svid.0.key"\n'
        f'cp {sandbox.svid_bundle} "$2/bundle.0.pem"\n'
    )
    program.chmod(0o755)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "sandbox" / "agent.sock"))
        listening.listen()
        yield {
            "svid_source": "spire_agent",
            "spire_agent_path": str(program),
            "spiffe_endpoint_socket": listening.getsockname(),
        }


def test_without_a_runtime_dir_spire_agents_files_are_beside_it_for_a_moment(
    host: Host, agent: dict[str, Any]
) -> None:
    assert host.status(**agent)["next"] == "draw"
    written = Path((host.sandbox.directory / "written").read_text().strip())
    beside = host.runtime_dir.parent
    assert written.relative_to(beside).parts[0].startswith("spike-bootstrap-svid-")
    assert list(beside.iterdir()) == []


def test_with_a_runtime_dir_spire_agents_files_are_in_it_for_a_moment(
    host: Host, agent: dict[str, Any]
) -> None:
    host.runtime_dir.mkdir(mode=0o700)
    assert host.status(**agent)["next"] == "draw"
    written = Path((host.sandbox.directory / "written").read_text().strip())
    assert host.runtime_dir in written.parents
    assert list(host.runtime_dir.iterdir()) == []


def test_spire_agents_files_never_lie_on_a_disk(host: Host, agent: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory(dir=ON_DISK) as directory:
        result = host.refused_status(ConfigError, **agent, runtime_dir=f"{directory}/runtime")
        assert list(Path(directory).iterdir()) == []
    assert result["journal"] is None
    assert not (host.sandbox.directory / "written").exists()
