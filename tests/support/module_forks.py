# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real runs of the module, each a process of its own that dies by SIGKILL where a test says.

A ``Forks`` is a process that has everything imported and forks a child for each run: a run then
takes milliseconds, and everything else about it is real: AnsibleModule, arguments in a file,
output on stdout, TLS over loopback, and the kernel's own SIGKILL.
"""

from __future__ import annotations

import collections
import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

# How often a run asks Nexus again, and for how long. A test has no seconds to give to each of
# hundreds of runs; what is asked, and what is made of the answer, stays the same.
_NEXUS_INTERVAL_SECONDS = 0.03
_NEXUS_LOOKS_SECONDS = (0.15, 0.3)


@dataclass(frozen=True)
class Point:
    """The ``number``-th time that a run reaches the step ``name``; both as a trace shows them."""

    name: str
    number: int

    def __str__(self) -> str:
        return self.name if self.number == 1 else f"{self.name} ({self.number})"


@dataclass(frozen=True)
class Ended:
    """How one run ended: killed, or with its result; and the steps that it went through."""

    killed: bool
    points: tuple[Point, ...]
    output: str

    @property
    def result(self) -> dict[str, Any]:
        """The module's result, of a run that was not killed."""
        assert not self.killed
        try:
            return dict(json.loads(self.output))
        except ValueError:
            raise AssertionError(f"not a result: {self.output}") from None


class Forks:
    """Makes runs, one at a time."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            env={**os.environ, "PYTHONPATH": os.environ["ANSIBLE_COLLECTIONS_PATH"]},
        )

    def __enter__(self) -> Forks:
        return self

    def __exit__(self, *_exception: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()

    def start(self, arguments: Path, kill: Point | int | None = None, *, prelude: str = "") -> Run:
        """Begin a run of the module with ``arguments``, a file; ``kill`` says where it dies.

        An ``int`` is the number of steps that it lives through. ``prelude`` is Python that the
        run's own process executes first.
        """
        assert self._process.stdin is not None
        order: dict[str, Any] = {"arguments": str(arguments), "prelude": prelude}
        if isinstance(kill, Point):
            order.update(name=kill.name, number=kill.number)
        elif kill is not None:
            order.update(steps=kill)
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return Run(self._process)

    def run(self, arguments: Path, kill: Point | int | None = None) -> Ended:
        """The same, to its end."""
        return self.start(arguments, kill).end()


class Run:
    """One run under way."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self._lines = process.stdout
        self._points: list[Point] = []
        self._counts: collections.Counter[str] = collections.Counter()

    def until(self, name: str) -> None:
        """Wait until the run reaches the step ``name``."""
        while not self._points or self._points[-1].name != name:
            ended = self._read()
            assert ended is None, f"it ended before {name}: {ended}"

    def end(self) -> Ended:
        """Wait for its end."""
        while True:
            ended = self._read()
            if ended is not None:
                return ended

    def _read(self) -> Ended | None:
        line = self._lines.readline()
        assert line, "the process that forks has ended"
        told = json.loads(line)
        if "step" in told:
            name = told["step"]
            self._counts[name] += 1
            self._points.append(Point(name, self._counts[name]))
            return None
        return Ended(told["status"] == -signal.SIGKILL, tuple(self._points), told["output"])


def write_arguments(path: Path, options: Mapping[str, Any]) -> Path:
    """Write the options of a module where a run reads them."""
    path.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": dict(options)}))
    return path


# -- the process that forks


def _serve() -> None:
    # All that a run needs is imported before the first fork.
    from ansible_collections.dayzero.spike.plugins.module_utils._run import survey
    from ansible_collections.dayzero.spike.plugins.module_utils._spike import nexus
    from ansible_collections.dayzero.spike.plugins.modules import spike_bootstrap

    assert spike_bootstrap.run_module
    assert (nexus._INTERVAL_SECONDS, nexus._CONFIRM_SECONDS) == (1.0, 0.5)
    assert list(survey._SECONDS.values()) == [1.0, 5.0]
    nexus._INTERVAL_SECONDS = nexus._CONFIRM_SECONDS = _NEXUS_INTERVAL_SECONDS
    nexus._FIRST_INTERVAL_SECONDS = _NEXUS_INTERVAL_SECONDS / 3
    survey._SECONDS.update(zip(survey.Look, _NEXUS_LOOKS_SECONDS, strict=True))
    for line in sys.stdin:
        _fork(json.loads(line))


def _fork(order: Mapping[str, Any]) -> None:
    steps, steps_in = os.pipe()
    output, output_in = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(steps)
        os.close(output)
        _run(order, steps_in, output_in)
    os.close(steps_in)
    os.close(output_in)
    text = b""
    pending = b""
    open_ = [steps, output]
    while open_:
        for ready in select.select(open_, [], [])[0]:
            data = os.read(ready, 65536)
            if not data:
                open_.remove(ready)
                os.close(ready)
            elif ready == output:
                text += data
            else:
                *names, pending = (pending + data).split(b"\n")
                for name in names:
                    _tell({"step": name.decode()})
    _unused, status = os.waitpid(child, 0)
    _tell({"status": os.waitstatus_to_exitcode(status), "output": text.decode()})


def _tell(message: Mapping[str, Any]) -> None:
    print(json.dumps(message), flush=True)


def _run(order: Mapping[str, Any], steps: int, output: int) -> NoReturn:
    status = 1
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        _run_module(order, steps)
    except SystemExit as end:
        status = int(end.code or 0)
    except BaseException as error:
        print(f"not the module's end: {type(error).__name__}", flush=True)
    finally:
        sys.stdout.flush()
        # Not the interpreter's own end, which would run what belongs to the process that forks.
        os._exit(status)


def _run_module(order: Mapping[str, Any], steps: int) -> None:
    from ansible.module_utils.basic import AnsibleModule
    from ansible_collections.dayzero.spike.plugins.module_utils._entry.module_entry import (
        run_module,
    )
    from ansible_collections.dayzero.spike.plugins.module_utils._entry.modules import BOOTSTRAP
    from ansible_collections.dayzero.spike.plugins.module_utils._options.argument_spec import (
        bootstrap_arguments,
    )

    exec(order["prelude"], {})
    path = order["arguments"]
    sys.argv = ["spike_bootstrap", path]
    options = json.loads(Path(path).read_text())["ANSIBLE_MODULE_ARGS"]
    # Ports differ from one sandbox to the next; a point must mean the same in all of them.
    names = {
        urlsplit(url).netloc: f"keeper {number}"
        for number, url in enumerate(options["keeper_peers"], 1)
    }
    names[urlsplit(options["nexus_api_url"]).netloc] = "nexus"
    counts: collections.Counter[str] = collections.Counter()
    lock = threading.Lock()

    def step(name: str) -> None:
        place, separator, rest = name.rpartition(": ")
        name = names.get(place, place) + separator + rest
        with lock:
            os.write(steps, f"{name}\n".encode())
            counts[name] += 1
            at_point = (name, counts[name]) == (order.get("name"), order.get("number"))
            if at_point or sum(counts.values()) == order.get("steps"):
                os.kill(os.getpid(), signal.SIGKILL)

    module = AnsibleModule(argument_spec=bootstrap_arguments(), supports_check_mode=True)
    run_module(module, BOOTSTRAP, step)


if __name__ == "__main__":
    _serve()


__all__ = ["Ended", "Forks", "Point", "Run", "write_arguments"]
