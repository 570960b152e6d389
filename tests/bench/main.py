# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How fast it is: ``main.py [--write]``, measured on this machine; a page of tables.

``--write`` keeps the page in ``docs/benchmarks.md``.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import ssl
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.authority import Authority
from ansible_collections.dayzero.spike.tests.bench.faults import excesses
from ansible_collections.dayzero.spike.tests.bench.processes import Measured, measure, shown
from ansible_collections.dayzero.spike.tests.bench.spike import place
from ansible_collections.dayzero.spike.tests.bench.stages import profile
from ansible_collections.dayzero.spike.tests.bench.tasks import task_times
from ansible_collections.dayzero.spike.tests.interop.go_build import build_gospike

_REPORT = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"
# Keepers, and how many pairs are measured after one that does not count.
_SIZES = {3: 11, 100: 9, 1000: 7}
_PLAYBOOKS = 7
_PROFILES = 5
# Given with the task: SPIKE's own bootstrap, measured side by side with an earlier state of this
# collection, on two processors, with SVIDs of a real SPIRE. Median seconds and megabytes.
_SPIKES_OWN = {3: "0.5 s", 100: "0.25 s, 31 to 37 MB", 1000: "2.45 s, 88 MB"}
_HEAD = """\
<!--
Copyright (c) 2026, the dayzero.spike authors
GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
SPDX-License-Identifier: GPL-3.0-or-later
-->
# Benchmarks

Written by `make bench WRITE=1`. Medians, and the least and the most in brackets, of whole processes
on one machine, where keepers and Nexus are the Go program of `tests/interop`, built on SPIKE's own
libraries. Pairs are measured in turn, each with a cluster of its own. Identities come from files.
"""


def main() -> None:
    """Measure everything, and print it."""
    binary = build_gospike()
    authority = Authority("spike.ist")
    sections: Sequence[Callable[[], Iterator[str]]] = (
        _machine,
        lambda: _runs(binary, authority),
        lambda: _stages(binary, authority),
        lambda: _tasks(binary, authority),
        _faults,
    )
    lines = []
    for section in sections:
        for line in section():
            print(line, flush=True)
            lines.append(line)
        lines.append("")
        print()
    if "--write" in sys.argv[1:]:
        _REPORT.write_text(_HEAD + "\n" + "\n".join(lines).rstrip() + "\n")


def _machine() -> Iterator[str]:
    described = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2] for line in described if line.startswith("model name")]
    cpu = models[0].strip() if models else "of an unknown model"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}"
        for name in ("ansible-core", "cryptography", "requests", "urllib3")
    )
    yield (
        f"{time.strftime('%Y-%m-%d', time.gmtime())}: {os.cpu_count()} processors ({cpu}),"
        f" {memory:.0f} GiB, Linux {platform.release()}, Python {platform.python_version()},"
        f" {ssl.OPENSSL_VERSION}, {versions}."
    )


def _runs(binary: Path, authority: Authority) -> Iterator[str]:
    yield "## A first run, against the least that it could cost"
    yield ""
    yield (
        "The floor is a bare Python program: a mutual TLS handshake and one request with each"
        " keeper, from eight threads. A run makes two requests with each on one connection, checks"
        " SPIFFE IDs, has deadlines and a journal, and asks Nexus. SPIKE's own figures were"
        " measured elsewhere, on another such machine."
    )
    yield ""
    yield (
        "| keepers | run, s | floor, s | ratio of pairs | run, MB | floor, MB"
        " | from Nexus's key to the end, s | SPIKE's own |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    for keepers, pairs in _SIZES.items():
        runs: list[Measured] = []
        floors: list[Measured] = []
        after: list[float] = []
        for _pair in range(pairs + 1):
            with place(binary, authority, keepers) as at:
                with at.watched_nexus() as ready:
                    runs.append(at.bootstrap())
                after.append(runs[-1].ended - ready[0])
                floors.append(at.floor())
        # The first pair fills the caches of files.
        ratios = [run.seconds / floor.seconds for run, floor in zip(runs, floors, strict=True)]
        yield (
            f"| {keepers} | {shown([run.seconds for run in runs[1:]])}"
            f" | {shown([floor.seconds for floor in floors[1:]])} | {shown(ratios[1:])}"
            f" | {shown([run.megabytes for run in runs[1:]], 0)}"
            f" | {shown([floor.megabytes for floor in floors[1:]], 0)}"
            f" | {shown(after[1:])} | {_SPIKES_OWN[keepers]} |"
        )


def _stages(binary: Path, authority: Authority) -> Iterator[str]:
    yield "## Where the time goes"
    yield ""
    yield f"Milliseconds of a first run, medians of {_PROFILES}."
    yield ""
    tables = []
    for keepers in _SIZES:
        profiles = []
        for _profile in range(_PROFILES + 1):
            with place(binary, authority, keepers) as at:
                profiles.append(profile(at))
        tables.append(profiles[1:])
    yield "| stage | " + " | ".join(f"{keepers} keepers" for keepers in _SIZES) + " |"
    yield "|---" * (1 + len(_SIZES)) + "|"
    for stage in tables[0][0]:
        cells = [
            f"{1000 * sorted(p.get(stage, 0.0) for p in table)[len(table) // 2]:.0f}"
            for table in tables
        ]
        yield f"| {stage} | " + " | ".join(cells) + " |"
    bare = [measure("import ansible.module_utils.basic").seconds for _run in range(_PROFILES)]
    yield ""
    yield f"For comparison, a process that only imports Ansible's part: {shown(bare)} s."


def _tasks(binary: Path, authority: Authority) -> Iterator[str]:
    yield "## As a task of a playbook"
    yield ""
    yield (
        f"Seconds of tasks on localhost, of {_PLAYBOOKS} playbooks with three keepers each; the"
        " difference is to the command of the same playbook."
    )
    yield ""
    played = []
    for _playbook in range(_PLAYBOOKS + 1):
        with place(binary, authority, 3) as at:
            played.append(task_times(at))
    yield "| task | seconds | over the command |"
    yield "|---|---|---|"
    rows = {
        "`command: /bin/true`": "command again",
        "first run": "first run",
        "rerun of a finished cluster": "rerun again",
    }
    for title, name in rows.items():
        seconds = [times[name] for times in played[1:]]
        over = [times[name] - times["command again"] for times in played[1:]]
        yield f"| {title} | {shown(seconds)} | {shown(over)} |"


def _faults() -> Iterator[str]:
    yield "## How late a failure is known"
    yield ""
    yield (
        "One of three keepers of the sandbox is under a fault; `keeper_timeout: 1s`, five attempts."
        " Seconds after the timeout, from the first connection to the readable result; below 0: it"
        " was known before. Promised are 0.5."
    )
    yield ""
    yield "| fault | while | attempts | seconds after the timeout |"
    yield "|---|---|---|---|"
    for name, step, attempts, excess in excesses():
        yield f"| {name} | {step} | {attempts} | {excess:+.2f} |"


if __name__ == "__main__":
    main()
