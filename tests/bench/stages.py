# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the time of one run goes: a process that notes when it has got how far.

Marks are in monotonic seconds, which all processes of a machine share.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from ansible_collections.dayzero.spike.tests.bench.spike import RUN_THE_MODULE, Place

_MARKS = """
import os, sys, time
_marks = [("interpreter", time.monotonic())]
def _mark(name):
    _marks.append((name, time.monotonic()))
def _print():
    _mark("result")
    for name, moment in _marks:
        print("MARK", name, moment)
    sys.stdout.flush()
import ansible.module_utils.basic
_mark("import of Ansible's part")
import ansible_collections.dayzero.spike.plugins.modules.spike_bootstrap
_mark("import of the collection's first part")
from ansible_collections.dayzero.spike.plugins.module_utils._entry import libraries
libraries.check_libraries()
_mark("import of requests and cryptography")
from ansible_collections.dayzero.spike.plugins.module_utils._run import session, bootstrap
_mark("import of the collection's second part")
_enter = session.NexusSession.enter
def _entered(self, phase):
    _mark("until phase " + phase.value)
    _enter(self, phase)
session.NexusSession.enter = _entered
import atexit
atexit.register(_print)
"""
_NAMES = {
    "until phase identity": "options, lock of the key's directory",
    "until phase guard": "identity",
    "until phase reach": "guard, first look",
    "until phase deliver": "key, split, journal",
    "until phase verify": "deliver",
    "until phase done": "proof, journal",
}


def profile(place: Place) -> Mapping[str, float]:
    """Seconds by stage of one first run, in the order in which they come."""
    began = time.monotonic()
    measured = place.bootstrap(_MARKS + RUN_THE_MODULE)
    stages: dict[str, float] = {}
    reached = False
    for line in measured.output.splitlines():
        if not line.startswith("MARK "):
            continue
        name, _space, moment = line.removeprefix("MARK ").rpartition(" ")
        if name == "until phase guard" and reached:
            name = "reach"
        elif name == "until phase deliver":
            name = "guard, second look; key, split, journal"
        else:
            reached = reached or name == "until phase reach"
            name = _NAMES.get(name, name)
        stages[name] = stages.get(name, 0) + float(moment) - began
        began = float(moment)
    stages["end of the process"] = measured.ended - began
    return stages


__all__ = ["profile"]
