# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Day zero on the oldest Python and libraries that are supported, through Ansible."""

from __future__ import annotations

import fcntl
import glob
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.dayzero.spike.tests.support.ansible_run import run_through_ansible
from ansible_collections.dayzero.spike.tests.support.fault_cases import CASES, inject
from ansible_collections.dayzero.spike.tests.support.module_host import Host
from ansible_collections.dayzero.spike.tests.support.module_run import (
    PATIENCE_SECONDS,
    ModuleRun,
    assert_whole,
)

pytestmark = pytest.mark.slow

OLDEST = {"cryptography": "3.4.8", "requests": "2.25.1", "urllib3": "1.26.5"}
VENV = Path(__file__).resolve().parents[2] / "build" / "py39"
_VERSIONS = """
import json, sys, cryptography, requests, urllib3
assert sys.version_info[:2] == (3, 9)
print(json.dumps({m.__name__: m.__version__ for m in (cryptography, requests, urllib3)}))
"""


def python39_candidates() -> Iterator[str]:
    """Where a Python 3.9 may be; a pyenv shim of one that is not there does not run."""
    found = shutil.which("python3.9")
    if found:
        yield found
    yield from sorted(glob.glob(os.path.expanduser("~/.pyenv/versions/3.9*/bin/python")))


def runs(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def has_oldest(python: Path) -> bool:
    try:
        done = subprocess.run(
            [python, "-c", _VERSIONS], capture_output=True, text=True, check=False
        )
    except OSError:
        return False
    return done.returncode == 0 and json.loads(done.stdout) == OLDEST


def build(python: Path) -> str:
    """Make the virtual environment of ``python``; what is missing, empty where nothing is."""
    is_39 = "import sys, venv; sys.exit(sys.version_info[:2] != (3, 9))"
    base = next((path for path in python39_candidates() if runs(path, "-c", is_39)), None)
    if base is None:
        return "Python 3.9 with venv"
    shutil.rmtree(VENV, ignore_errors=True)
    if not runs(base, "-m", "venv", str(VENV)):
        return f"a virtual environment of {base}"
    wanted = [f"{name}=={version}" for name, version in OLDEST.items()]
    if not runs(str(python), "-m", "pip", "install", "--quiet", *wanted):
        return f"{' '.join(wanted)} from the package index"
    return "" if has_oldest(python) else "a Python 3.9 in which these libraries can be imported"


@pytest.fixture(scope="module")
def oldest_python() -> Path:
    """Python 3.9 with the oldest libraries, made once and kept."""
    python = VENV / "bin" / "python"
    VENV.parent.mkdir(exist_ok=True)
    # Another worker may be making it.
    with (VENV.parent / "py39.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        missing = "" if has_oldest(python) else build(python)
    if missing:
        pytest.skip(f"missing: {missing}")
    return python


@pytest.fixture
def run_on_oldest(oldest_python: Path, host: Host) -> Callable[..., ModuleRun]:
    # Only this changes the interpreter of a localhost that is in no inventory.
    interpreter = f"ansible_python_interpreter={oldest_python}"

    def run(**changes: str) -> ModuleRun:
        return run_through_ansible(
            host.options(**changes), environment=host.environment, flags=["-vvv", "-e", interpreter]
        )

    return run


def test_the_oldest_python_gives_a_cluster_its_key(
    run_on_oldest: Callable[..., ModuleRun], oldest_python: Path, host: Host
) -> None:
    run = run_on_oldest()
    assert_whole(run.result)
    assert f"{oldest_python} " in run.stdout
    assert (run.result["phase"], run.result["changed"]) == ("done", True)
    assert host.nexus_holds(host.root_key(1, 2))
    assert run_on_oldest().result["changed"] is False


# Where the end of a wait of no time was missed, queue.SimpleQueue waited for ever after 4000 to
# 100 000 such waits (CPython 3.9 and 3.10).
_WAITS = """
from ansible_collections.dayzero.spike.plugins.module_utils._net.workers import Workers
for _ in range(300_000):
    Workers().next_result(0.0)
"""


@pytest.mark.long
def test_the_oldest_python_never_waits_for_ever_where_it_should_not_wait(
    oldest_python: Path,
) -> None:
    subprocess.run(
        [str(oldest_python), "-c", _WAITS],
        check=True,
        timeout=PATIENCE_SECONDS,
        env={**os.environ, "PYTHONPATH": os.environ["ANSIBLE_COLLECTIONS_PATH"]},
    )


@pytest.mark.long
@pytest.mark.parametrize("step", ["reach", "deliver"])
@pytest.mark.parametrize("name", ["refuse_identity", "drip", "close"])
def test_the_oldest_python_tells_faults_as_the_newest_does(
    name: str, step: str, run_on_oldest: Callable[..., ModuleRun], host: Host
) -> None:
    case = next(case for case in CASES if case.name == name)
    expected = case.expected(step)
    assert expected is not None
    inject(case, host.sandbox, 2, step)
    run = run_on_oldest(keeper_timeout="2s", keeper_retry_max_interval="250ms")
    assert_whole(run.result)
    keeper = run.result["keepers"][1]
    assert (keeper["cause"], keeper["state"]) == (expected.cause, expected.state(step))
    assert keeper["attempts"] == (1 if expected.final else 5)
    assert expected.reason in run.result["msg"]
