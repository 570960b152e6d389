# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is a fault, and what is refused as one."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._errors import ConfigError
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.faults import (
    Fault,
    Kind,
    When,
    parse_faults,
)

FLAGS = [
    "refuse",
    "blackhole",
    "reset",
    "stall_tls",
    "plain_http",
    "untrusted",
    "expired",
    "refuse_identity",
    "close",
    "garbage",
    "bad_json",
    "accept_empty",
    "other_key",
    "huge_body",
]

ACCEPTED: list[tuple[dict[str, Any], Fault]] = [
    *(({name: True}, Fault(Kind(name))) for name in FLAGS),
    ({"status": 503}, Fault(Kind.STATUS, number=503)),
    ({"redirect": "https://x/"}, Fault(Kind.REDIRECT, text="https://x/")),
    ({"wrong_identity": "spiffe://x/y"}, Fault(Kind.WRONG_IDENTITY, text="spiffe://x/y")),
    ({"drip": True}, Fault(Kind.DRIP, number=0.1)),
    ({"drip": "20ms"}, Fault(Kind.DRIP, number=0.02)),
    ({"delay": 2}, Fault(Kind.DELAY, delay=2)),
    ({"delay": "1m30s"}, Fault(Kind.DELAY, delay=90)),
    ({"status": 500, "delay": "1s"}, Fault(Kind.STATUS, number=500, delay=1)),
    ({"close": True, "refuse": False}, Fault(Kind.CLOSE)),
    (
        {"close": True, "failures": 2, "when": "deliver"},
        Fault(Kind.CLOSE, failures=2, when=When.DELIVER),
    ),
    ({"refuse": True, "until": "3s"}, Fault(Kind.REFUSE, until=3)),
]

REFUSED: list[tuple[Any, str]] = [
    ("refuse", "a fault is a mapping such as {refuse: true}"),
    ({}, "one of refuse, blackhole,"),
    ({"when": "reach"}, "one of refuse, blackhole,"),
    ({"refuse": False}, "one of refuse, blackhole,"),
    ({"refused": True}, "refused is unknown; known are refuse,"),
    ({"refuse": True, "close": True}, "only one of refuse, close can be"),
    ({"refuse": "yes"}, "refuse is true or false, not 'yes'"),
    ({"status": "503"}, "status is a number from 200 to 599, not '503'"),
    ({"status": 100}, "status is a number from 200 to 599, not 100"),
    ({"status": True}, "status is a number from 200 to 599, not True"),
    ({"redirect": True}, "redirect is a URI, not True"),
    ({"redirect": "https://x\r\nEvil: 1"}, "redirect is a URI, not"),
    ({"wrong_identity": "keeper"}, "wrong_identity is a SPIFFE ID, not 'keeper'"),
    ({"delay": "soon"}, "delay: 'soon' is not a duration;"),
    ({"drip": "-1"}, "drip: '-1' is not a duration;"),
    ({"refuse": True, "delay": 1}, "delay is a delay of the answer: refuse gives none"),
    ({"refuse": True, "failures": 1}, "what refuse turns away cannot be counted; give until"),
    ({"close": True, "failures": 0}, "failures is a number from 1, not 0"),
    ({"close": True, "failures": True}, "failures is a number from 1, not True"),
    ({"close": True, "until": []}, "until: '[]' is not a duration;"),
    ({"close": True, "when": "later"}, "when is one of reach, deliver, always, not 'later'"),
]


@pytest.mark.parametrize(("fields", "expected"), ACCEPTED, ids=[str(row[0]) for row in ACCEPTED])
def test_a_fault_is_read(fields: dict[str, Any], expected: Fault) -> None:
    assert Fault.parse(fields) == expected


@pytest.mark.parametrize(("fields", "problem"), REFUSED, ids=[str(row[0]) for row in REFUSED])
def test_what_is_not_a_fault_is_refused_with_its_place(fields: Any, problem: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape('faults[2]: ' + problem)}"):
        parse_faults({2: fields}, keepers=3)


def test_every_kind_can_be_asked_for() -> None:
    assert {fault.kind for _unused, fault in ACCEPTED} == set(Kind)


def test_keepers_are_named_by_number_or_text() -> None:
    fault = Fault(Kind.REFUSE)
    faults = parse_faults({1: {"refuse": True}, "3": {"refuse": True}}, keepers=3)
    assert faults == {1: fault, 3: fault}


@pytest.mark.parametrize(
    ("faults", "problem"),
    [
        ({4: {"refuse": True}}, "faults[4]: there are keepers 1 to 3, and nexus"),
        ({0: {"refuse": True}}, "faults[0]: there are keepers 1 to 3, and nexus"),
        ({"pilot": {"refuse": True}}, "faults[pilot]: there are keepers 1 to 3, and nexus"),
        ({1: {"refuse": True}, "1": {"refuse": True}}, "faults[1]: it is given twice"),
        (
            {"nexus": {"refuse": True, "when": "reach"}},
            "faults[nexus]: when and accept_empty are about keepers",
        ),
        (
            {"nexus": {"accept_empty": True}},
            "faults[nexus]: when and accept_empty are about keepers",
        ),
        ({2: {"other_key": True}}, "faults[2]: other_key is about nexus"),
        (["refuse"], "faults: they are a mapping such as {2: {refuse: true}}"),
    ],
    ids=str,
)
def test_faults_of_servers_that_are_not_there_are_refused(faults: Any, problem: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(problem)}$"):
        parse_faults(faults, keepers=3)
