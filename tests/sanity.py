# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All of ``ansible-test sanity``, by each supported ansible-core.

``sanity.py [--write] [VERSION ...]`` tests a copy of what git knows, in ``build/sanity``, where the
output stays. Nothing is written to the home directory: ansible-test gets one of its own.
``--write`` keeps the outcome in ``docs/quality.md``.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))
import quality
from pythons import Missing, environment, link_all, unreached

_ROOT = Path(__file__).resolve().parents[1]
_PLACE = _ROOT / "build" / "sanity"
_PYTHONS = _PLACE / "pythons"
# Each with the Pythons that its controller runs on.
_CORES = {
    "2.19": ("3.13", "3.12", "3.11"),
    "2.20": ("3.14", "3.13", "3.12"),
    "2.21": ("3.14", "3.13", "3.12"),
}
# A newer one than these is looked at, and cannot make a commit bad that was good.
_NEWEST = "newest"
_NEWEST_PYTHONS = ("3.14", "3.13")
_TIMES = 2

_TEST = re.compile(r'^Running sanity test "([\w-]+)"', re.MULTILINE)
_SKIPPED = re.compile(r'^WARNING: Skipping sanity test "([\w-]+)" (?:on (Python \S+) )?(.+)$', re.M)
_FAILED = re.compile(r"sanity test\(s\) listed below.*?\n((?:[\w-]+(?: .*)?\n)+)")
_PIP = re.compile(r"pip='([\d.]+)'")


@dataclass
class Outcome:
    """What one ansible-core said."""

    core: str
    version: str = ""
    passed: int = 0
    failed: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    log: Path | None = None

    def line(self) -> str:
        """The outcome in one line, with every skipped test and its reason."""
        said = f"ansible-core {self.version or self.core}: "
        if self.log:
            said += f"{self.passed} sanity tests passed, {len(self.failed)} failed"
        said += f" ({', '.join(self.failed)})" * bool(self.failed)
        return said + f"; skipped: {'; '.join(self.skipped)}" * bool(self.skipped)


def main() -> None:
    """Test by the versions that are named, or by all."""
    cores = [name for name in sys.argv[1:] if name != quality.WRITE] or [*_CORES, _NEWEST]
    unknown = set(cores) - {*_CORES, _NEWEST}
    if unknown:
        sys.exit(f"usage: sanity.py [{quality.WRITE}] [{'|'.join([*_CORES, _NEWEST])} ...]")
    _PLACE.mkdir(parents=True, exist_ok=True)
    link_all(_PYTHONS)
    with ThreadPoolExecutor(_TIMES) as pool:
        outcomes = list(pool.map(_outcome, cores))
    bad = [outcome for outcome in outcomes if outcome.failed and outcome.core != _NEWEST]
    for outcome in outcomes:
        if outcome.failed and outcome.log:
            print("\n".join(_errors(outcome.log)))
            print(f"The whole output is in {outcome.log}")
    passed = sum(outcome.passed for outcome in outcomes)
    lines = [outcome.line() for outcome in outcomes]
    lines.append(f"{passed} passed, {sum(len(outcome.failed) for outcome in bad)} failed")
    print("\n".join(lines))
    if quality.WRITE in sys.argv:
        quality.keep("make sanity", lines)
    sys.exit(bool(bad))


def _outcome(core: str) -> Outcome:
    outcome = Outcome(core)
    try:
        binaries = _ansible_test(core)
    except Missing as missing:
        outcome.skipped.append(f"all, {missing}")
        return outcome
    outcome.version = _version(binaries)
    if core == _NEWEST and outcome.version.rpartition(".")[0] in _CORES:
        outcome.skipped.append("nothing newer is released")
        return outcome
    outcome.log = _PLACE / f"{core}.log"
    without: list[str] = []
    while True:
        output = _run(core, binaries, without)
        tests = list(dict.fromkeys(_TEST.findall(output)))
        found = _FAILED.search(output)
        cut_off = "FATAL:" in output and not found
        if not (cut_off and unreached(output) and tests) or tests[-1] in without:
            break
        # It needs what no index of Python packages has. The others may need nothing.
        without.append(tests[-1])
    outcome.log.write_text(output)
    broken = cut_off or not tests
    outcome.failed = found[1].splitlines() if found else ["ansible-test itself"] * broken
    outcome.passed = len(set(tests) - {name.split()[0] for name in outcome.failed})
    outcome.skipped += [
        f"{name}, it downloads what the package index has not, and cannot here" for name in without
    ]
    outcome.skipped += list(_skipped(output))
    return outcome


def _ansible_test(core: str) -> Path:
    if core == _NEWEST:
        return environment(
            _PLACE / f"venv-{core}", _NEWEST_PYTHONS, ["--pre", "ansible-core", "--upgrade"]
        )
    return environment(_PLACE / f"venv-{core}", _CORES[core], [f"ansible-core=={core}.*"])


def _version(binaries: Path) -> str:
    question = "import ansible.release; print(ansible.release.__version__)"
    done = subprocess.run(
        [str(binaries / "python"), "-c", question], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def _run(core: str, binaries: Path, without: list[str]) -> str:
    home = _PLACE / f"home-{core}"
    _seed_pip(binaries, home)
    skip = [argument for name in without for argument in ("--skip-test", name)]
    cache = os.environ.get("PIP_CACHE_DIR", str(Path.home() / ".cache" / "pip"))
    done = subprocess.run(
        [str(binaries / "ansible-test"), "sanity", "--venv", "--color", "no", *skip],
        cwd=_copy(core),
        env={
            **os.environ,
            "HOME": str(home),
            "PATH": os.pathsep.join([str(_PYTHONS), os.environ["PATH"]]),
            "PIP_CACHE_DIR": cache,
            "PIP_RETRIES": "1",
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.stdout


def _seed_pip(binaries: Path, home: Path) -> None:
    # It would download a script that installs this version of pip.
    (source,) = binaries.parent.glob("lib/*/site-packages/ansible_test/_internal")
    version = _PIP.search((source / "python_requirements.py").read_text())
    if version is None:
        sys.exit("ansible-test does not say any more which pip it wants")
    cache = home / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    name = f"get_pip_{version[1].replace('.', '_')}.py"
    shutil.copyfile(_ROOT / "tools" / "seed_pip.py", cache / name)


def _copy(core: str) -> Path:
    copy = _PLACE / f"tree-{core}" / "ansible_collections" / "dayzero" / "spike"
    shutil.rmtree(copy, ignore_errors=True)
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=_ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (_ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(_ROOT / name, copy / name)
    # To the repository around it, the copy is a file that is ignored, and is not tested.
    subprocess.run(["git", "init", "--quiet"], cwd=copy, check=True)
    return copy


def _skipped(output: str) -> Iterator[str]:
    # It warns of each again in the end.
    for name, python, reason in dict.fromkeys(_SKIPPED.findall(output)):
        where = f" on {python}" if python else ""
        yield f"{name}{where}, {reason.removeprefix('because ').rstrip('.')}"


def _errors(log: Path) -> list[str]:
    return [line for line in log.read_text().splitlines() if line.startswith(("ERROR:", "FATAL:"))]


if __name__ == "__main__":
    main()
