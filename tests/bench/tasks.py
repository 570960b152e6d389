# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module as a task, against the least that a task can be: ``command: /bin/true``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from ansible_collections.dayzero.spike.tests.bench.spike import Place

_CALLBACKS = Path(__file__).with_name("callback")


def task_times(place: Place) -> dict[str, float]:
    """Seconds of each task of one playbook: the command, a first run, and reruns after it."""
    module = {"dayzero.spike.spike_bootstrap": place.options}
    tasks = [
        # The first task of a play pays for what all of them need.
        {"name": "warm", "ansible.builtin.command": "/bin/true"},
        {"name": "command", "ansible.builtin.command": "/bin/true"},
        {"name": "first run", **module},
        {"name": "rerun", **module},
        {"name": "command again", "ansible.builtin.command": "/bin/true"},
        {"name": "rerun again", **module},
    ]
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "vars": {"ansible_python_interpreter": sys.executable},
        "tasks": tasks,
    }
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        playbook, times = Path(name) / "play.json", Path(name) / "times"
        playbook.write_text(json.dumps([play]))
        subprocess.run(
            [str(Path(sys.executable).with_name("ansible-playbook")), str(playbook)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={
                **os.environ,
                **place.environment,
                "TMPDIR": name,
                "ANSIBLE_HOME": f"{name}/ansible",
                "ANSIBLE_LOCALHOST_WARNING": "0",
                "ANSIBLE_INVENTORY_UNPARSED_WARNING": "0",
                "ANSIBLE_CALLBACK_PLUGINS": str(_CALLBACKS),
                "ANSIBLE_CALLBACKS_ENABLED": "task_times",
                "BENCH_TIMES": str(times),
            },
            check=True,
        )
        lines = [json.loads(line) for line in times.read_text().splitlines()]
    return {str(line["task"]): float(line["seconds"]) for line in lines}


__all__ = ["task_times"]
