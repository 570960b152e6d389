# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Key and shards are searched for in every place that shows something of a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.dayzero.spike.tests.functional.test_secrets import (
    everything_written,
    where_shown,
)
from ansible_collections.dayzero.spike.tests.support.ansible_run import run_program
from ansible_collections.dayzero.spike.tests.support.fault_cases import CASES, Case, inject
from ansible_collections.dayzero.spike.tests.support.module_host import Host
from ansible_collections.dayzero.spike.tests.support.module_run import (
    MODULE,
    files_below,
    run_directly,
)
from ansible_collections.dayzero.spike.tests.support.spellings import spellings

pytestmark = pytest.mark.slow


def test_every_spelling_that_is_planted_is_found(host: Host) -> None:
    assert host.run().result["phase"] == "done"
    assert where_shown(host, everything_written(host)) == []
    for number, secret in enumerate([host.root_key(1, 2), *host.shards().values()]):
        for spelling in spellings(secret):
            planted = host.home / f"planted{number}"
            planted.write_bytes(b"before " + spelling + b" after")
            assert where_shown(host, everything_written(host)) == [str(planted)]
            planted.unlink()


@pytest.mark.parametrize("flags", [[], ["-B", "120", "-P", "1"]], ids=["at once", "async"])
def test_nothing_that_ansible_shows_or_keeps_anywhere_holds_a_secret(
    flags: list[str], host: Host
) -> None:
    kept = host.home / "kept"
    host.environment.update(
        ANSIBLE_KEEP_REMOTE_FILES="1",
        ANSIBLE_LOAD_CALLBACK_PLUGINS="1",
        ANSIBLE_CALLBACKS_ENABLED="ansible.builtin.junit,ansible.builtin.tree",
        ANSIBLE_CALLBACK_TREE_DIR=str(kept / "tree"),
        JUNIT_OUTPUT_DIR=str(kept / "junit"),
        ANSIBLE_LOG_PATH=str(host.home / "ansible.log"),
        ANSIBLE_ASYNC_DIR=str(host.home / "async"),
        ANSIBLE_DEBUG="1",
    )
    done = run_program(
        "ansible",
        "localhost",
        "-m",
        MODULE,
        "-a",
        json.dumps(host.options()),
        "-vvvvv",
        "--diff",
        *flags,
        environment=host.environment,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    written = everything_written(host)
    # The search looks at what Ansible keeps of this run, and not past it.
    assert any("phase" in text.decode(errors="replace") for text in written.values())
    assert (host.home / "ansible.log").stat().st_size > 0
    if flags:
        # Ansible has read the result in there, and removed it.
        assert (host.home / "async").is_dir()
    texts = {**written, "stdout": done.stdout.encode(), "stderr": done.stderr.encode()}
    assert where_shown(host, texts) == []


def processes() -> dict[str, bytes]:
    """What anybody may read of every process: its arguments, and what its owner may: the rest."""
    found = {}
    for name in ("cmdline", "environ"):
        for path in Path("/proc").glob(f"[0-9]*/{name}"):
            try:
                found[str(path)] = path.read_bytes().replace(b"\0", b" ")
            except OSError:
                # It has ended, or belongs to another user.
                continue
    return found


def test_no_process_shows_a_secret_and_no_crash_would_leave_one(host: Host) -> None:
    host.sandbox.keepers[1].inject({"delay": "60s", "when": "deliver"})
    with host.start(keeper_timeout="30s", keeper_max_retries=1) as started:
        for keeper in host.sandbox.keepers:
            assert keeper.stats.wait_for(lambda stats: stats.shard_requests > 0)
        seen = processes()
        pid = started.pid
        limits = Path(f"/proc/{pid}/limits").read_text()
    host.sandbox.keepers[1].heal()
    assert host.run().result["phase"] == "done"
    assert f"/proc/{pid}/cmdline" in seen
    assert where_shown(host, seen) == []
    (core,) = [line for line in limits.splitlines() if line.startswith("Max core file size")]
    assert core.split()[4:6] == ["0", "0"]


SYSLOG = """
import syslog

def syslog_to_a_file(*arguments):
    with open({!r}, "a") as log:
        print(*arguments, file=log)

syslog.syslog = syslog_to_a_file
"""


def test_the_system_log_holds_no_secret(host: Host) -> None:
    log = host.home / "syslog"
    run = run_directly(
        host.options(), environment=host.environment, prelude=SYSLOG.format(str(log))
    )
    assert run.result["phase"] == "done"
    texts = files_below(host.home)
    assert b"Invoked with" in texts[str(log)]
    assert where_shown(host, texts) == []


@pytest.mark.parametrize("case", [case for case in CASES if case.deliver], ids=lambda c: c.name)
@pytest.mark.long
def test_no_failure_of_a_delivery_shows_a_secret(case: Case, host: Host) -> None:
    inject(case, host.sandbox, 2, "deliver")
    run = host.run(keeper_timeout="1s", keeper_max_retries=2, diff=True)
    assert run.result["phase"] == "deliver"
    texts = files_below(host.state_dir, host.home, host.temporary)
    host.sandbox.keepers[1].heal()
    assert host.run().result["phase"] == "done"
    assert where_shown(host, texts | {"output": run.output.encode()}) == []
