# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One run of ``spike_bootstrap`` as a process of its own, and what is known of it afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

MODULE = "dayzero.spike.spike_bootstrap"
_PYTHON_MODULES = "ansible_collections.dayzero.spike.plugins.modules"
# Only a run that hangs meets it.
PATIENCE_SECONDS = 180
# A prelude: whoever started the tests may ignore these signals, as nohup and background jobs do.
HEARS_SIGNALS = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
"""

Result = dict[str, Any]

ALWAYS = {"changed", "phase", "failed_keepers", "keepers", "nexus", "resumed", "forced", "log"}
_ON_FAILURE = {"failed", "msg", "why", "what_to_do", "code"}
_OF_A_KEEPER = {"id", "url", "state", "attempts", "elapsed", "cause", "detail", "hint"}
_OF_NEXUS = {"url", "state", "attempts", "elapsed", "detail"}


@dataclass(frozen=True)
class ModuleRun:
    """A run that has ended.

    Monotonic times, in seconds: ``began`` before the process was started, ``known`` when its
    result had been read (through Ansible: when Ansible had ended), ``ended`` when it had ended.
    """

    result: Result
    stdout: str
    stderr: str
    began: float
    known: float
    ended: float

    @property
    def output(self) -> str:
        """All that it printed."""
        return self.stdout + self.stderr


class Runner(Protocol):
    """A way to run the module."""

    def __call__(
        self,
        options: Mapping[str, Any],
        *,
        environment: Mapping[str, str],
        check: bool = False,
        diff: bool = False,
    ) -> ModuleRun:
        """Run the module with ``options`` in ``environment`` to its end."""


class StartedRun:
    """A run that is under way: the module alone, without Ansible, started directly.

    ``prelude`` is Python that the process executes before the module is imported; ``wrapper`` is
    what comes before the interpreter on the command line. Ends the process when the ``with`` block
    ends.
    """

    def __init__(
        self,
        options: Mapping[str, Any],
        *,
        environment: Mapping[str, str],
        check: bool = False,
        diff: bool = False,
        prelude: str = "",
        wrapper: Sequence[str] = (),
        module: str = "spike_bootstrap",
    ) -> None:
        arguments = {**options, "_ansible_check_mode": check, "_ansible_diff": diff}
        python_module = f"{_PYTHON_MODULES}.{module}"
        body = f"import runpy\n{prelude}\nrunpy.run_module({python_module!r}, run_name='__main__')"
        self._stderr = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed by __exit__)
        self.began = time.monotonic()
        self._process = subprocess.Popen(
            # Unbuffered, so that the result can be read when it is known.
            [*wrapper, sys.executable, "-u", "-c", body],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env={**environment, "PYTHONPATH": os.environ["ANSIBLE_COLLECTIONS_PATH"]},
            cwd=environment["HOME"],
        )
        assert self._process.stdin is not None
        with self._process.stdin as stdin:
            stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode())

    def __enter__(self) -> StartedRun:
        return self

    def __exit__(self, *_exception: object) -> None:
        assert self._process.stdout is not None
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()
        self._stderr.close()

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def send_signal(self, number: int) -> None:
        """Send it a signal, as a terminal does."""
        self._process.send_signal(number)

    def await_end(self) -> int:
        """Wait for its end, whatever it says, and return its exit status; negative: a signal."""
        return self._process.wait(PATIENCE_SECONDS)

    def leave(self) -> None:
        """Read its output no longer, as a controller that was killed."""
        assert self._process.stdout is not None
        self._process.stdout.close()

    def finish_unheard(self) -> tuple[int, str]:
        """Wait for its end after ``leave``: its exit status, and what it said of errors."""
        status = self._process.wait(PATIENCE_SECONDS)
        self._stderr.seek(0)
        return status, self._stderr.read()

    def finish(self) -> ModuleRun:
        """Wait for its end."""
        assert self._process.stdout is not None
        patience = threading.Timer(PATIENCE_SECONDS, self._process.kill)
        patience.start()
        output = b""
        known = self.began
        while chunk := os.read(self._process.stdout.fileno(), 1 << 16):
            output += chunk
            known = time.monotonic()
        returncode = self._process.wait()
        ended = time.monotonic()
        patience.cancel()
        patience.join()
        self._stderr.seek(0)
        stdout, stderr = output.decode(), self._stderr.read()
        assert stdout, stderr
        result: Result = json.loads(stdout)
        assert returncode == (1 if result.get("failed") else 0), stderr
        return ModuleRun(result, stdout, stderr, self.began, known, ended)


def run_directly(
    options: Mapping[str, Any],
    *,
    environment: Mapping[str, str],
    check: bool = False,
    diff: bool = False,
    prelude: str = "",
    wrapper: Sequence[str] = (),
    module: str = "spike_bootstrap",
) -> ModuleRun:
    """Run the module alone, see ``StartedRun``."""
    with StartedRun(
        options,
        environment=environment,
        check=check,
        diff=diff,
        prelude=prelude,
        wrapper=wrapper,
        module=module,
    ) as started:
        return started.finish()


def assert_whole(result: Result) -> None:
    """The result has every field that it must have at its end, and no other."""
    expected = set(ALWAYS)
    if result.get("failed"):
        expected |= _ON_FAILURE
    if result["failed_keepers"]:
        expected |= {"keeper_id", "keeper_url"}
    # ``option`` comes with a refusal; Ansible adds the rest, and newer ones say what a task's own
    # changed_when came to.
    ours = {name for name in result if not name.startswith(("_ansible", "changed_when"))}
    given = ours - {"option", "invocation", "diff", "warnings", "deprecations"}
    assert given == expected, sorted(given ^ expected)
    assert [keeper["id"] for keeper in result["keepers"]] == [*range(1, len(result["keepers"]) + 1)]
    assert all(set(keeper) == _OF_A_KEEPER for keeper in result["keepers"])
    assert set(result["nexus"]) == _OF_NEXUS
    failed = [keeper["id"] for keeper in result["keepers"] if keeper["cause"] is not None]
    assert result["failed_keepers"] == failed
    assert [result.get("keeper_id")] == (failed[:1] or [None])


def files_below(*directories: Path) -> dict[str, bytes]:
    """The content of every file below ``directories``, by path; directories have none."""
    found = {}
    for directory in directories:
        for path in directory.rglob("*"):
            found[str(path)] = path.read_bytes() if path.is_file() else b""
    return found


__all__ = [
    "ALWAYS",
    "HEARS_SIGNALS",
    "MODULE",
    "PATIENCE_SECONDS",
    "ModuleRun",
    "Result",
    "Runner",
    "StartedRun",
    "assert_whole",
    "files_below",
    "run_directly",
]
