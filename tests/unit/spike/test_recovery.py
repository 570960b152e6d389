# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The two requests of an emergency, and what Nexus's answers to them mean."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._errors import AttemptFailed, Cause
from ansible_collections.dayzero.spike.plugins.module_utils._net.attempt import Attempt
from ansible_collections.dayzero.spike.plugins.module_utils._net.transport import Answer
from ansible_collections.dayzero.spike.plugins.module_utils._spike.recovery import (
    NoKey,
    Progress,
    fetch,
    give,
)

SHARD = list(range(1, 33))


class Answering:
    """A transport that gives one answer, and keeps what it was sent."""

    def __init__(self, status: int, document: Any) -> None:
        self.answer = Answer(status, json.dumps(document).encode())
        self.sent: list[tuple[str, Any]] = []

    def post(self, url: str, body: bytes, attempt: Attempt, **limits: int) -> Answer:
        self.sent.append((url, json.loads(body)))
        return self.answer


def attempt() -> Attempt:
    ends = time.monotonic() + 5
    return Attempt(1, cut_at=ends, ends_at=ends, clock=time.monotonic)


def fetched(status: int, document: Any) -> dict[int, bytearray]:
    return fetch(Answering(status, document), "https://nexus", attempt())  # type: ignore[arg-type]


def given(status: int, document: Any) -> Progress:
    return give(
        Answering(status, document),  # type: ignore[arg-type]
        "https://nexus",
        2,
        bytearray(SHARD),
        attempt(),
    )


def test_the_shards_come_by_their_index():
    assert fetched(200, {"shards": {"2": SHARD, "1": SHARD}}) == {
        1: bytearray(SHARD),
        2: bytearray(SHARD),
    }


def test_a_nexus_without_a_key_says_so():
    with pytest.raises(NoKey):
        fetched(500, {"shards": None, "err": "api_internal_error"})


@pytest.mark.parametrize(
    "shards",
    [
        None,
        {},
        [],
        {"1": SHARD[:31]},
        {"1": [*SHARD, 1]},
        {"1": [256, *SHARD[1:]]},
        {"1": [True, *SHARD[1:]]},
        {"1": [1.0, *SHARD[1:]]},
        {"one": SHARD},
        {"-1": SHARD},
        {"1": "AAAA"},
    ],
    ids=str,
)
def test_what_are_no_shards_is_not_taken_and_not_repeated(shards):
    with pytest.raises(AttemptFailed) as caught:
        fetched(200, {"shards": shards})
    failure = caught.value.failure
    assert failure.cause is Cause.BAD_RESPONSE
    assert failure.detail == "status 200 without shards of 32 bytes"


def test_any_other_answer_is_told_by_its_status_and_code():
    with pytest.raises(AttemptFailed) as caught:
        fetched(401, {"shards": None, "err": "access_unauthorized"})
    assert caught.value.failure.detail == "status 401 access_unauthorized"
    assert caught.value.failure.final


def test_a_shard_is_sent_whole_with_its_index():
    nexus = Answering(200, {"collected": 1, "remaining": 1, "restored": False})
    progress = give(nexus, "https://nexus", 2, bytearray(SHARD), attempt())  # type: ignore[arg-type]
    assert progress == Progress(1, 1, False)
    assert nexus.sent == [("https://nexus/v1/operator/restore", {"id": 2, "shard": SHARD})]


def test_a_shorter_one_is_never_sent():
    nexus = Answering(200, {})
    with pytest.raises(ValueError, match="32 bytes"):
        give(nexus, "https://nexus", 2, bytearray(31), attempt())  # type: ignore[arg-type]
    assert nexus.sent == []


@pytest.mark.parametrize(
    "document",
    [
        {},
        [],
        {"collected": True, "remaining": 1, "restored": False},
        {"collected": 1, "remaining": 1, "restored": 0},
        {"collected": 1, "remaining": 1, "restored": False, "err": "api_internal_error"},
    ],
    ids=str,
)
def test_an_answer_that_is_not_spikes_is_no_progress(document):
    with pytest.raises(AttemptFailed) as caught:
        given(200, document)
    assert caught.value.failure.cause is Cause.BAD_RESPONSE
    assert caught.value.failure.sent
