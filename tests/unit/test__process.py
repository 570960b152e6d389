# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json

from ansible_collections.dayzero.spike.tests.support.interpreter import run_python

PROBE = """
    import ctypes, json, resource
    from ansible_collections.dayzero.spike.plugins.module_utils._process import forbid_core_dumps

    PR_GET_DUMPABLE = 3

    def look():
        dumpable = ctypes.CDLL(None).prctl(PR_GET_DUMPABLE, 0, 0, 0, 0)
        return [dumpable, *resource.getrlimit(resource.RLIMIT_CORE)]

    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    before = look()
    forbid_core_dumps()
    forbid_core_dumps()
    print(json.dumps([before, look()]))
"""


def test_a_process_is_not_dumpable_any_more() -> None:
    before, after = json.loads(run_python(PROBE))
    assert before[0] == 1
    assert after[0] == 0


def test_a_process_cannot_raise_its_core_limit_again() -> None:
    _before, after = json.loads(run_python(PROBE))
    assert after[1:] == [0, 0]
