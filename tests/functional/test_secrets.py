# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Key and shards: nowhere that they must not be, however much Ansible is told to show."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest
from ansible_collections.dayzero.spike.tests.support.ansible_run import (
    run_program,
    run_through_ansible,
)
from ansible_collections.dayzero.spike.tests.support.custodian_keys import with_age, with_pgp
from ansible_collections.dayzero.spike.tests.support.emergency import (
    common,
    lines_of,
    options_of_recover,
    options_of_restore,
)
from ansible_collections.dayzero.spike.tests.support.module_host import Host
from ansible_collections.dayzero.spike.tests.support.module_run import (
    assert_whole,
    files_below,
    run_directly,
)
from ansible_collections.dayzero.spike.tests.support.spellings import (
    of_processes,
    shown_in,
    spellings,
)

pytestmark = pytest.mark.slow


def where_shown(host: Host, texts: dict[str, bytes]) -> list[str]:
    """Which of ``texts``, by name, show the key or one of the shards."""
    secrets = [host.root_key(1, 2), *host.shards().values()]
    assert len(secrets) == 4
    forms = [form for secret in secrets for form in spellings(secret)]
    return shown_in(texts, forms)


def everything_written(host: Host) -> dict[str, bytes]:
    return files_below(host.state_dir, host.runtime_dir, host.home, host.temporary)


def test_nothing_that_ansible_prints_or_leaves_shows_a_secret(host: Host) -> None:
    # With this, Ansible leaves what it sends to the host and what it runs there.
    host.environment["ANSIBLE_KEEP_REMOTE_FILES"] = "1"
    run = run_through_ansible(
        host.options(), environment=host.environment, diff=True, flags=["-vvv"]
    )
    assert run.result["phase"] == "done"
    written = everything_written(host)
    assert any("AnsiballZ_spike_bootstrap" in name for name in written)
    texts = {**written, "stdout": run.stdout.encode(), "stderr": run.stderr.encode()}
    assert where_shown(host, texts) == []


def test_nothing_of_a_run_that_fails_shows_a_secret(host: Host) -> None:
    # Worse than any crash: the shard was taken, and the answer to it is nonsense.
    host.sandbox.keepers[1].inject({"garbage": True, "when": "deliver"})
    run = run_through_ansible(
        host.options(keeper_timeout="1s"),
        environment=host.environment,
        diff=True,
        flags=["-vvv"],
    )
    assert run.result["phase"] == "deliver"
    texts = files_below(host.state_dir, host.home, host.temporary)
    texts |= {"stdout": run.stdout.encode(), "stderr": run.stderr.encode()}
    assert where_shown(host, texts) == []


def test_nothing_of_a_run_that_is_told_to_end_shows_a_secret(host: Host) -> None:
    # Each keeper has its shard, and one answers only after the run has ended.
    host.sandbox.keepers[1].inject({"delay": "60s", "when": "deliver"})
    with host.start(keeper_timeout="30s", keeper_max_retries=1) as started:
        for keeper in host.sandbox.keepers:
            assert keeper.stats.wait_for(lambda stats: stats.shard_requests > 0)
        started.send_signal(signal.SIGTERM)
        run = started.finish()
    assert (run.result["phase"], run.result["code"]) == ("deliver", "retry_context_canceled")
    texts = files_below(host.state_dir, host.home, host.temporary)
    texts |= {"stdout": run.stdout.encode(), "stderr": run.stderr.encode()}
    assert where_shown(host, texts) == []


# The result is made to hold the key and every shard, in the spellings that masking knows.
_LEAK = """
import base64
from ansible_collections.dayzero.spike.plugins.module_utils._run import report
from ansible_collections.dayzero.spike.plugins.module_utils._key import root_key
leaked = []
split, result = root_key.split, report.RunReport.result
def leaking_split(key, *arguments):
    shards = split(key, *arguments)
    for secret in (key, *shards):
        leaked.extend([secret.hex(), base64.b64encode(secret).decode(), str(list(secret))])
    return shards
root_key.split = leaking_split
report.RunReport.result = lambda self: {**result(self), "leaked": leaked}
"""


def test_a_secret_that_came_into_the_result_would_be_masked(host: Host) -> None:
    run = run_directly(host.options(), environment=host.environment, prelude=_LEAK)
    assert run.result["phase"] == "done"
    assert len(run.result["leaked"]) == 12
    assert where_shown(host, {"stdout": run.stdout.encode()}) == []


def test_a_finished_run_leaves_the_journal_and_the_lock_and_no_key(host: Host) -> None:
    before = files_below(host.home, host.temporary)
    assert host.run().result["phase"] == "done"
    assert files_below(host.home, host.temporary) == before
    assert list(host.runtime_dir.iterdir()) == []
    assert sorted(path.name for path in host.state_dir.iterdir()) == ["journal.json", "lock"]
    assert where_shown(host, files_below(host.state_dir)) == []


def test_the_key_of_an_unfinished_run_lies_in_its_private_file_alone(host: Host) -> None:
    before = files_below(host.home, host.temporary)
    result = host.run(verify=False).result
    assert (result["phase"], result["changed"]) == ("done", True)
    assert host.sandbox.nexus.wait_initialised()
    (kept,) = host.runtime_dir.iterdir()
    assert kept.stat().st_mode & 0o7777 == 0o600
    assert files_below(host.home, host.temporary) == before
    # This also shows that the search finds what is there.
    assert where_shown(host, everything_written(host)) == [str(kept)]


def test_the_run_that_finishes_it_removes_that_file(host: Host) -> None:
    host.run(verify=False)
    assert list(host.runtime_dir.iterdir()) != []
    assert host.sandbox.nexus.wait_initialised()
    result = host.run().result
    assert (result["changed"], result["nexus"]["state"]) == (False, "ready")
    assert list(host.runtime_dir.iterdir()) == []


@pytest.mark.parametrize(
    ("room", "function"),
    [("_net.schedule", "start_times"), ("_key.root_key", "split"), ("_decide.guard", "decide")],
    ids=["while reaching", "with the key in hand", "in the guard"],
)
def test_a_defect_of_ours_is_one_clean_message_without_its_text(
    room: str, function: str, host: Host
) -> None:
    prelude = f"""
import importlib
room = importlib.import_module("ansible_collections.dayzero.spike.plugins.module_utils.{room}")
def defective(*arguments, **named):
    raise RuntimeError("secret-text")
room.{function} = defective
"""
    run = run_directly(host.options(), environment=host.environment, prelude=prelude)
    assert_whole(run.result)
    assert run.result["code"] == "gen_general_failure"
    assert run.result["msg"].startswith("A defect in dayzero.spike: unexpected RuntimeError at ")
    assert "secret-text" not in run.output
    assert "Traceback" not in run.output
    assert run.stderr == ""
    assert host.shard_requests() == 0


# -- in an emergency: the custodians' lines, too


# The same of both modules for an emergency, in every spelling that masking knows.
_LEAKS = {
    "spike_recover": """
import base64
from ansible_collections.dayzero.spike.plugins.module_utils._run import recover, recover_report
leaked, fetch, result = [], recover.fetch, recover_report.RecoverReport.result
def leaking(*arguments):
    shards = fetch(*arguments)
    for index, shard in shards.items():
        leaked.extend([shard.hex(), base64.b64encode(shard).decode(), str(list(shard))])
        leaked.append(f"spike:{index}:{shard.hex()}")
    return shards
recover.fetch = leaking
recover_report.RecoverReport.result = lambda self: {**result(self), "leaked": leaked}
""",
    "spike_restore": """
import base64
from ansible_collections.dayzero.spike.plugins.module_utils._run import restore, restore_report
leaked, rebuild, result = [], restore.rebuild, restore_report.RestoreReport.result
def leaking(shards, *arguments):
    checked = rebuild(shards, *arguments)
    for secret in (checked.key.exposed(), *shards.values()):
        leaked.extend([secret.hex(), base64.b64encode(secret).decode(), str(list(secret))])
    return checked
restore.rebuild = leaking
restore_report.RestoreReport.result = lambda self: {**result(self), "leaked": leaked}
""",
}


@pytest.mark.parametrize("module", _LEAKS)
def test_a_secret_that_came_into_the_result_of_an_emergency_would_be_masked(
    host: Host, module: str
) -> None:
    assert host.run().result["changed"]
    secrets = [host.root_key(1, 2), *host.shards().values()]
    forms = [form for secret in secrets for form in spellings(secret)]
    owners = [with_age("a"), with_pgp("b"), with_age("c")]
    if module == "spike_recover":
        options, expected = options_of_recover(host, owners), 12
    else:
        lines = lines_of(secrets[0], host.sandbox)
        options, expected = options_of_restore(host, [lines[1], lines[2]]), 9
        host.sandbox.restart()
    run = run_directly(options, environment=host.environment, prelude=_LEAKS[module], module=module)
    assert run.result["phase"] == "done"
    assert len(run.result["leaked"]) == expected
    assert shown_in({"stdout": run.stdout.encode()}, forms) == []


@pytest.mark.parametrize("place", ["a file", "an output", "an argument", "an environment"])
def test_the_search_finds_a_secret_that_was_planted(host: Host, place: str) -> None:
    secret = bytes(range(100, 132))
    for form in spellings(secret):
        if place == "a file":
            (host.home / "planted").write_bytes(b"before " + form + b" after")
            texts = files_below(host.home)
        elif place == "an output":
            texts = {"output": b"before " + form + b" after"}
        elif b"\0" in form:
            continue
        else:
            planted = {"PLANTED": form} if place == "an environment" else {}
            arguments = [form] if place == "an argument" else []
            with subprocess.Popen(
                ["cat", "-", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                env={**os.environb, **planted},
            ) as process:
                assert process.stdin is not None
                assert process.stdout is not None
                # It runs, and so has its arguments: the kernel gives them late.
                process.stdin.write(b"x")
                assert process.stdout.read(1) == b"x"
                texts = of_processes()
                process.terminate()
        assert shown_in(texts, list(spellings(secret))), form


def emergency_texts(host: Host, *outputs: str) -> dict[str, bytes]:
    texts = files_below(host.state_dir, host.runtime_dir, host.home, host.temporary)
    return texts | {f"output {number}": text.encode() for number, text in enumerate(outputs)}


def test_nothing_of_a_recovery_or_a_restore_shows_a_secret(host: Host) -> None:
    assert host.run().result["changed"]
    key, sandbox = host.root_key(1, 2), host.sandbox
    lines = lines_of(key, sandbox)
    secrets = [key, *host.shards().values()]
    forms = [form for secret in secrets for form in spellings(secret)]
    directory = host.home / "recovery"
    options = {**common(host, sandbox.recover_svid), "directory": str(directory)}
    options["custodians"] = [with_age("a").option, with_pgp("b").option, with_age("c").option]
    # Ansible keeps what it sends to the host: the arguments of a restore are in there by nature.
    recovered = ansible(host, "spike_recover", options, keep=True)
    assert recovered.returncode == 0, recovered.stdout

    texts = emergency_texts(host, recovered.stdout, recovered.stderr)
    assert shown_in(texts, forms) == []

    for keeper in sandbox.keepers:
        keeper.restart()
    sandbox.nexus.restart()
    outputs = []
    for given in (
        [lines[1], lines[3][:-1]],
        [lines[1], lines[3][:-2] + "00"],
        [lines[1], lines[3]],
    ):
        restoring = {**common(host, sandbox.restore_svid), "shards": given}
        done = ansible(host, "spike_restore", restoring, keep=False)
        outputs += [done.stdout, done.stderr]
    assert '"restored": true' in outputs[-2], outputs[-2][-3000:]
    texts = emergency_texts(host, *outputs)
    # The command line that the test itself gives is not in there; the lines must not be either.
    assert shown_in(texts, [*forms, *(line.encode() for line in lines.values())]) == []


def ansible(
    host: Host, module: str, options: dict[str, object], *, keep: bool
) -> subprocess.CompletedProcess[str]:
    """Run the module from a playbook, whose variables are in a file that nobody looks into."""
    with tempfile.TemporaryDirectory(prefix="play-") as place:
        play = {
            "hosts": "localhost",
            "gather_facts": False,
        }
        book, variables = Path(place) / "play.yml", Path(place) / "vars.json"
        task = {f"dayzero.spike.{module}": {name: f"{{{{ options.{name} }}}}" for name in options}}
        book.write_text(json.dumps([{**play, "tasks": [task]}]))
        variables.write_text(json.dumps({"options": options}))
        environment = dict(host.environment)
        if keep:
            environment["ANSIBLE_KEEP_REMOTE_FILES"] = "1"
        return run_program(
            "ansible-playbook",
            "-vvv",
            "--diff",
            str(book),
            "-e",
            f"@{variables}",
            environment=environment,
        )
