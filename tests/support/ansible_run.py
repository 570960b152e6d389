# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module and the day-zero playbook as an operator runs them: through Ansible's own programs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.dayzero.spike.tests.support.module_run import (
    MODULE,
    PATIENCE_SECONDS,
    ModuleRun,
    Result,
)

_BIN = Path(sys.executable).parent
_CALLBACKS = Path(__file__).resolve().parents[2] / "extensions" / "molecule" / "shared" / "callback"
_RESULT = re.compile(r"^localhost \| ([A-Z]+)!? => ", re.MULTILINE)


def run_through_ansible(
    options: Mapping[str, Any],
    *,
    environment: Mapping[str, str],
    check: bool = False,
    diff: bool = False,
    flags: Sequence[str] = (),
) -> ModuleRun:
    """Run the module on localhost with the ``ansible`` program."""
    arguments = ["localhost", "-m", MODULE, "-a", json.dumps(options), *flags]
    arguments += ["--check"] * check + ["--diff"] * diff
    began = time.monotonic()
    done = run_program("ansible", *arguments, environment=environment)
    ended = time.monotonic()
    found = _RESULT.search(done.stdout)
    assert found, done.stdout + done.stderr
    result, _unused = json.JSONDecoder().raw_decode(done.stdout, found.end())
    if found.group(1) == "FAILED":
        # Ad hoc, Ansible says it in this word alone.
        result["failed"] = True
    assert (done.returncode != 0) == bool(result.get("failed")), done.stdout + done.stderr
    return ModuleRun(result, done.stdout, done.stderr, began, ended, ended)


@dataclass(frozen=True)
class PlaybookRun:
    """A playbook that has ended, and the results of every ``spike_bootstrap`` in it, in order."""

    returncode: int
    output: str
    results: list[Result]


def run_day_zero(
    inventory: Path, *arguments: str, environment: Mapping[str, str], kept: Path
) -> PlaybookRun:
    """Run ``dayzero.spike.day_zero``; ``kept`` is a fresh directory for the modules' results."""
    return run_playbook(
        "dayzero.spike.day_zero", inventory, *arguments, environment=environment, kept=kept
    )


def run_playbook(
    playbook: str, inventory: Path, *arguments: str, environment: Mapping[str, str], kept: Path
) -> PlaybookRun:
    """Run a playbook, given by its path or full name; ``kept`` as for ``run_day_zero``."""
    kept.mkdir()
    done = run_program(
        "ansible-playbook",
        "--inventory",
        str(inventory),
        playbook,
        *arguments,
        environment={
            **environment,
            "ANSIBLE_CALLBACK_PLUGINS": str(_CALLBACKS),
            "ANSIBLE_CALLBACKS_ENABLED": "bootstrap_results",
            "MOLECULE_EPHEMERAL_DIRECTORY": str(kept),
        },
    )
    lines = kept / "results.jsonl"
    kept_lines = lines.read_text().splitlines() if lines.exists() else []
    results = [_as_the_module_gave_it(json.loads(line)) for line in kept_lines]
    return PlaybookRun(done.returncode, done.stdout + done.stderr, results)


def _as_the_module_gave_it(shown: Result) -> Result:
    # Callbacks are shown a failure's traceback in the place of its flag.
    result = dict(shown)
    if "exception" in result:
        del result["exception"]
        result["failed"] = True
    return result


def run_program(
    name: str,
    *arguments: str,
    environment: Mapping[str, str],
    cwd: Path | None = None,
    patience: float = PATIENCE_SECONDS,
) -> subprocess.CompletedProcess[str]:
    """Run one of the programs that are installed beside this Python; its end is for the caller."""
    return subprocess.run(
        [str(_BIN / name), *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=patience,
        stdin=subprocess.DEVNULL,
        env=dict(environment),
        cwd=cwd,
    )


__all__ = ["PlaybookRun", "run_day_zero", "run_playbook", "run_program", "run_through_ansible"]
