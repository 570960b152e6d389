# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Day zero through Ansible, by one Python and its libraries: see ``noxfile.py``."""

from __future__ import annotations

import os
import subprocess
from typing import Any

import pytest
from ansible_collections.dayzero.spike.tests.support.ansible_run import run_through_ansible
from ansible_collections.dayzero.spike.tests.support.fault_cases import CASES, inject
from ansible_collections.dayzero.spike.tests.support.module_host import Host
from ansible_collections.dayzero.spike.tests.support.module_run import ModuleRun, assert_whole

PYTHON = os.environ["MATRIX_TARGET_PYTHON"]


def run(host: Host, **changes: Any) -> ModuleRun:
    # Only this changes the interpreter of a localhost that is in no inventory.
    flags = ["-e", f"ansible_python_interpreter={PYTHON}"]
    return run_through_ansible(host.options(**changes), environment=host.environment, flags=flags)


def test_a_cluster_gets_its_key_once(host: Host) -> None:
    first = run(host)
    assert_whole(first.result)
    assert (first.result["phase"], first.result["changed"]) == ("done", True), first.output
    assert host.nexus_holds(host.root_key(1, 2))
    assert run(host).result["changed"] is False


@pytest.mark.parametrize("name", ["refuse", "refuse_identity", "drip"])
def test_a_fault_is_told_as_on_every_other_python(name: str, host: Host) -> None:
    case = next(case for case in CASES if case.name == name)
    expected = case.expected("reach")
    assert expected is not None
    inject(case, host.sandbox, 2, "reach")
    result = run(host, keeper_timeout="2s", keeper_retry_max_interval="250ms").result
    assert_whole(result)
    keeper = result["keepers"][1]
    assert (keeper["cause"], keeper["state"]) == (expected.cause, expected.state("reach"))
    assert keeper["attempts"] == (1 if expected.final else 5)


def test_the_identity_comes_from_the_workload_api(host: Host) -> None:
    if subprocess.run([PYTHON, "-c", "import spiffe"], check=False).returncode != 0:
        pytest.skip("these libraries are without spiffe")
    from ansible_collections.dayzero.spike.tests.support.workload_api import Grant, WorkloadApi

    authority = host.sandbox.authority
    svid = authority.issue("spiffe://spike.ist/spike/bootstrap")
    with WorkloadApi([Grant(svid, authority)]) as agent:
        done = run(
            host,
            svid_source="workload_api",
            spiffe_endpoint_socket=f"unix://{agent.path}",
            svid_cert=None,
            svid_key=None,
            svid_bundle=None,
        )
    assert (done.result["phase"], done.result["changed"]) == ("done", True), done.output
