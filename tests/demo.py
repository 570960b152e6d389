# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Day zero on an embedded SPIKE: a good run, a rerun, a keeper that is down, and the drill.

Everything is done as an operator would do it: with the built and installed collection, by its
playbooks, on sockets of 127.0.0.1.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
_PLACE = _ROOT / "build" / "demo"
_BIN = Path(sys.executable).parent
_KEEPER_DOWN = {"spike_sandbox_faults": {"2": {"refuse": True}}}
# 30s is the default; nobody wants to watch a demonstration wait for that.
_IMPATIENT = {"spike_bootstrap_keeper_timeout": "5s"}


class DemoError(Exception):
    """The demonstration did not show what it should."""


def main() -> None:
    """Run the demonstration; exit with a sentence when it does not show what it should."""
    shutil.rmtree(_PLACE, ignore_errors=True)
    _PLACE.mkdir(parents=True)
    try:
        _install()
        try:
            _good_run()
            _rerun()
        finally:
            _stop("up")
        try:
            _keeper_down()
        finally:
            _stop("down")
        _drill()
    except DemoError as error:
        sys.exit(f"make demo: {error}")
    print("\nAll as promised. The runs are explained in README.md.")


def _install() -> None:
    _title("Build the collection and install the archive")
    _call("ansible-galaxy", "collection", "build", "--output-path", str(_PLACE), str(_ROOT))
    (archive,) = _PLACE.glob("dayzero-spike-*.tar.gz")
    _call("ansible-galaxy", "collection", "install", "--offline", "-p", str(_PLACE), str(archive))


def _good_run() -> None:
    _title("Day zero: three keepers and Nexus are up")
    _start("up", {})
    output = _day_zero("up", {})
    _expect(output, r"1\. https://\S+ .*3\. https://.* in this order\.", "the keepers by their ids")
    _expect(output, r"Sending shard to keeper 3 at \S+ \(attempt 1/5\)", "the attempts")
    _expect(output, r"Sent 3 shards to 3 keepers\.", "that all keepers have their shard")
    _expect(output, r"SPIKE Nexus at \S+ holds the root key\.", "that Nexus has the key")
    _expect(output, r"bootstrap +: \S+ changed=1 .*?failed=0", "a change and no failure")


def _rerun() -> None:
    _title("The same again: Nexus proves the key, nothing is sent")
    output = _day_zero("up", {})
    _expect(output, r"Nothing was sent: the cluster is bootstrapped\.", "that nothing was sent")
    _expect(output, r"bootstrap +: \S+ changed=0 .*?failed=0", "that nothing changed")


def _keeper_down() -> None:
    _title("Day zero with keeper 2 down: it fails fast and says what to do (keeper_timeout 5s)")
    _start("down", _KEEPER_DOWN)
    output = _day_zero("down", _IMPATIENT, fails=True)
    _expect(
        output,
        r"Failed to reach keeper 2 at https://127\.0\.0\.1:\d+ after 5 attempts \(5s timeout\):"
        r" connection refused\. Ensure all keepers are running and rerun bootstrap\.",
        "which keeper failed, and why",
    )
    _expect(
        output,
        r"Why: - Keeper 2: .*What to do: 1\. Keeper 2: Start .* 2\. Rerun bootstrap\.",
        "what to do, step by step",
    )
    if "Sending shard" in output:
        raise DemoError("a shard left although a keeper was down")


def _drill() -> None:
    _title(
        "The recovery drill: everything is lost at once, a wrong shard is refused, the right ones"
    )
    directory = {"spike_drill_directory": str(_PLACE / "drill")}
    output = _playbook("recovery_drill", "drill", directory)
    _expect(output, r"Nothing was sent", "that a wrong digit is refused")
    _expect(output, r"Finished: Nexus proves the root key\.", "the proof")
    _expect(output, r"From the loss to the proof: \d+\.\d s", "how long it took")


def _start(name: str, variables: dict[str, object]) -> None:
    _playbook("sandbox", name, variables)


def _stop(name: str) -> None:
    _playbook("sandbox", name, {"spike_sandbox_state": "stopped"}, show=False)


def _day_zero(name: str, variables: dict[str, object], *, fails: bool = False) -> str:
    inventory = _PLACE / name / "inventory.yml"
    return _playbook("day_zero", name, variables, "-i", str(inventory), fails=fails)


def _playbook(
    playbook: str,
    name: str,
    variables: dict[str, object],
    *arguments: str,
    fails: bool = False,
    show: bool = True,
) -> str:
    extra = {"spike_sandbox_directory": str(_PLACE / name), **variables}
    command = ["ansible-playbook", *arguments, f"dayzero.spike.{playbook}", "-e", json.dumps(extra)]
    if show:
        print(f"$ {shlex.join(command)}", flush=True)
    return _call(*command, fails=fails, show=show)


def _call(*command: str, fails: bool = False, show: bool = False) -> str:
    lines = []
    process = subprocess.Popen(
        [str(_BIN / command[0]), *command[1:]],
        cwd=_PLACE,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    with process.stdout:
        for line in process.stdout:
            lines.append(line)
            if show:
                print(f"  {line}", end="", flush=True)
    output = "".join(lines)
    if (process.wait() != 0) != fails:
        if not show:
            print(output)
        outcome = "succeeded, and should not have" if fails else "failed, see above"
        raise DemoError(f"{command[0]} {outcome}")
    return output


def _environment() -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        # Settings that the operator has for real clusters have no place in a rehearsal.
        if not name.startswith(("ANSIBLE_", "SPIKE_", "SPIFFE_"))
    }
    return {
        **kept,
        "PATH": os.pathsep.join([str(_BIN), os.environ["PATH"]]),
        "ANSIBLE_COLLECTIONS_PATH": str(_PLACE),
        "ANSIBLE_HOME": str(_PLACE / "ansible"),
        "ANSIBLE_LOCALHOST_WARNING": "False",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "False",
    }


def _title(text: str) -> None:
    print(f"\n== {text}", flush=True)


def _expect(output: str, pattern: str, what: str) -> None:
    # Ansible breaks long lines of an error at the terminal's width.
    if not re.search(pattern, " ".join(output.split())):
        raise DemoError(f"the output does not show {what}")


if __name__ == "__main__":
    main()
