# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is registered with Ansible for masking, and with it the end of a run."""

from __future__ import annotations

from typing import Any, NoReturn

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._entry import module_entry


class Ended(Exception):
    """The module has ended, with this result."""


class Module:
    """As much of an AnsibleModule as the end of a run uses."""

    check_mode = False
    _diff = False

    def __init__(self) -> None:
        self.params = {"keeper_peers": ["https://k1", "https://k2"], "nexus_api_url": "https://n"}
        self.no_log_values: set[str] = set()

    def exit_json(self, **result: Any) -> NoReturn:
        raise Ended(result)

    def fail_json(self, msg: str, **result: Any) -> NoReturn:
        raise Ended({"msg": msg, **result})


def registered(secrets: set[str], **result: Any) -> set[str]:
    module = Module()
    with pytest.raises(Ended):
        module_entry._end(module, result, secrets, set(), failed=False)
    return module.no_log_values


def test_every_spelling_of_a_usual_cluster_is_registered() -> None:
    secrets = {f"secret {i}" for i in range(500)}
    assert registered(secrets, log=["nothing secret"]) == secrets


def test_of_very_many_spellings_those_in_the_result_are_registered_wherever_they_are() -> None:
    secrets = [f"{i:064x}" for i in range(4000)]
    found = registered(
        set(secrets),
        log=[f"a {secrets[7]} in a line"],
        keepers=[{"detail": secrets[815], "hint": None}],
        nexus={secrets[1234]: 1},
    )
    assert found == {secrets[7], secrets[815], secrets[1234]}
