# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``spike_bootstrap_info`` as an operator runs it: through Ansible, beside an embedded SPIKE."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.dayzero.spike.tests.support.ansible_run import run_program
from ansible_collections.dayzero.spike.tests.support.module_host import Host
from ansible_collections.dayzero.spike.tests.support.snapshot import snapshot

pytestmark = pytest.mark.slow

MODULE = "dayzero.spike.spike_bootstrap_info"
FIELDS = {
    "changed",
    "failed_keepers",
    "journal",
    "keepers",
    "log",
    "next",
    "nexus",
    "phase",
    "summary",
}


def status(host: Host, *flags: str, **changes: Any) -> dict[str, Any]:
    """The result of the module, the failure too."""
    arguments = json.dumps(host.options(init_verification_timeout=None, **changes))
    done = run_program(
        "ansible", "localhost", "-m", MODULE, "-a", arguments, *flags, environment=host.environment
    )
    _unused, found, text = done.stdout.partition(" => ")
    assert found, done.stdout + done.stderr
    result, _unused = json.JSONDecoder().raw_decode(text)
    assert (done.returncode != 0) == ("msg" in result), done.stdout + done.stderr
    return dict(result)


@pytest.mark.parametrize("flags", [(), ("--check",), ("--check", "--diff")], ids=" ".join)
def test_it_tells_the_same_in_check_mode_and_touches_nothing(
    host: Host, flags: tuple[str, ...]
) -> None:
    before = snapshot(host.state_dir, host.runtime_dir)
    fresh = status(host, *flags)
    assert snapshot(host.state_dir, host.runtime_dir) == before
    assert (fresh["changed"], fresh["next"]) == (False, "draw")
    assert set(fresh) == FIELDS

    assert host.run().result["changed"]
    before, sent = snapshot(host.state_dir, host.runtime_dir), host.shard_requests()
    finished = status(host, *flags)
    assert snapshot(host.state_dir, host.runtime_dir) == before
    assert host.shard_requests() == sent
    assert (finished["changed"], finished["next"]) == (False, "nothing")
    assert finished["summary"] == "Finished: Nexus proves the root key."
    assert finished["journal"]["delivered"] == [1, 2, 3]


def test_what_it_cannot_tell_is_a_failure_of_the_same_shape(host: Host) -> None:
    refused = status(host, keeper_timeout="0")
    assert refused["msg"].startswith("keeper_timeout: ")
    assert (refused["phase"], refused["option"]) == ("config", "keeper_timeout")
    assert (refused["journal"], refused["next"], refused["summary"]) == (None, None, None)
    assert set(refused) == FIELDS | {"msg", "why", "what_to_do", "code", "option"}


def test_a_play_writes_the_options_of_both_modules_once(host: Host, tmp_path: Path) -> None:
    options = host.options(init_verification_timeout=None)
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "module_defaults": {"group/dayzero.spike.cluster": options},
        "tasks": [
            {MODULE: {}, "register": "before", "failed_when": "before.next == 'refuse'"},
            {"dayzero.spike.spike_bootstrap": {}, "when": "before.next != 'nothing'"},
            {MODULE: {}, "register": "after", "failed_when": "after.next != 'nothing'"},
            {"dayzero.spike.spike_bootstrap": {}, "when": "after.next != 'nothing'"},
        ],
    }
    playbook = tmp_path / "play.yml"
    playbook.write_text(yaml.safe_dump([play]))
    done = run_program("ansible-playbook", str(playbook), environment=host.environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "changed=1 " in done.stdout
    assert "skipped=1 " in done.stdout
