# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``make fuzz``: everything that reads from outside, fed by atheris for FUZZ_SECONDS each.

``FUZZ_TARGETS`` names some of tests/support/fuzz_targets.py. What was found stays in build/fuzz.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
_BUILD = _ROOT / "build" / "fuzz"
_TREE = _ROOT / "build" / "tree"
_SECONDS = 300
# Beyond its time, for the imports with their instrumentation.
_SLACK_SECONDS = 120
_TRIED = re.compile(r"Done (\d+) runs")


def main() -> None:
    python = _interpreter()
    if python is None:
        print("fuzz: skipped, atheris cannot be installed for this Python (see above)")
        return
    seconds = int(os.environ.get("FUZZ_SECONDS", _SECONDS))
    wanted = os.environ.get("FUZZ_TARGETS", "").split()
    # The libraries are those of the tests.
    paths = os.pathsep.join([str(_TREE), sysconfig.get_path("purelib")])
    environment = {**os.environ, "PYTHONPATH": paths}
    listed = subprocess.run(
        [python, __file__, "list"], env=environment, capture_output=True, text=True, check=True
    )
    found = [
        name
        for name in wanted or listed.stdout.split()
        if not _fuzz(python, name, seconds, environment)
    ]
    if found:
        sys.exit(f"fuzz: findings in {', '.join(found)}; the inputs are in {_BUILD}")


def _interpreter() -> str | None:
    python = _BUILD / "venv" / "bin" / "python"
    if not python.exists():
        venv.create(_BUILD / "venv", with_pip=True)
    pip = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
    done = subprocess.run([*pip, "-r", str(_ROOT / "requirements-fuzz.txt")], check=False)
    return str(python) if done.returncode == 0 else None


def _fuzz(python: str, name: str, seconds: int, environment: dict[str, str]) -> bool:
    """Whether ``seconds`` of inputs for one target found nothing."""
    place = _BUILD / name
    (place / "corpus").mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="fuzz-", dir="/dev/shm") as memory,
        (place / "log").open("w") as log,
    ):
        done = subprocess.run(
            [python, __file__, "one", name, str(seconds)],
            cwd=place,
            env={**environment, "FUZZ_MEMORY": memory},
            stdout=log,
            stderr=subprocess.STDOUT,
            timeout=seconds + _SLACK_SECONDS,
            check=False,
        )
    tried = _TRIED.search((place / "log").read_text(errors="replace"))
    well = done.returncode == 0 and tried is not None
    words = f"{tried[1]} inputs" if tried else f"status {done.returncode}, see {place / 'log'}"
    print(f"{name:16} {words}, {'nothing found' if well else 'A FINDING'}", flush=True)
    return well


def _one(name: str, seconds: str) -> None:
    # Not in the environment of the tests, and only what is imported below is instrumented.
    import atheris

    with atheris.instrument_imports(include=["ansible_collections.dayzero"]):
        from ansible_collections.dayzero.spike.tests.support.fuzz_targets import SEEDS, TARGETS

    (Path("corpus") / "seed").write_bytes(SEEDS[name]())
    arguments = [sys.argv[0], "corpus", f"-max_total_time={seconds}", "-max_len=20000"]
    atheris.Setup([*arguments, "-timeout=10", "-rss_limit_mb=1024"], TARGETS[name])
    atheris.Fuzz()


def _list() -> None:
    from ansible_collections.dayzero.spike.tests.support.fuzz_targets import TARGETS

    print(*TARGETS)


if __name__ == "__main__":
    if sys.argv[1:2] == ["one"]:
        _one(*sys.argv[2:])
    elif sys.argv[1:2] == ["list"]:
        _list()
    else:
        main()
