# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a keeper answers, apart from any network."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.faults import Step
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.http import Request
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.keeper import Keeper
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.stats import Stats

PATH = "/v1/store/contribute"
SHARD = list(range(1, 33))


@pytest.fixture
def keeper() -> Keeper:
    return Keeper("spike.ist", Stats())


def contribute(body: bytes, method: str = "POST", path: str = PATH) -> Request:
    return Request(method, path, body, keep_alive=True)


@pytest.mark.parametrize(
    ("shard", "stored"),
    [
        (SHARD, bytes(SHARD)),
        ([7] * 31, bytes([7] * 31 + [0])),
        ([7], bytes([7] + [0] * 31)),
        ([7] * 40, bytes([7] * 32)),
        ([None] + [7] * 31, bytes([0] + [7] * 31)),
    ],
    ids=["whole", "one short", "one octet", "too long", "with null"],
)
def test_a_shard_is_stored_as_go_reads_it(keeper: Keeper, shard: Any, stored: bytes) -> None:
    response = keeper.answer(contribute(json.dumps({"shard": shard}).encode()), None)
    assert (response.status, response.body) == (200, b"{}")
    assert keeper.shard == stored


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"null",
        b"[]",
        b"not JSON",
        b"\xff",
        b"[" * 60000,
        b'{"shard":null}',
        b'{"shard":[]}',
        b'{"shard":"AQID"}',
        json.dumps({"shard": [0] * 32}).encode(),
        json.dumps({"shard": [256] * 32}).encode(),
        json.dumps({"shard": [-1] * 32}).encode(),
        json.dumps({"shard": [1.0] * 32}).encode(),
        json.dumps({"shard": [True] * 32}).encode(),
    ],
    ids=lambda body: repr(body[:24]),
)
def test_what_is_not_a_shard_is_a_bad_request_and_changes_nothing(
    keeper: Keeper, body: bytes
) -> None:
    keeper.store(b"before")
    response = keeper.answer(contribute(body), None)
    assert (response.status, response.body) == (400, b'{"err":"api_bad_request"}')
    assert keeper.shard == b"before"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", PATH),
        ("PUT", PATH),
        ("POST", "/"),
        ("POST", f"{PATH}/"),
        ("POST", "/v1/store/shard"),
    ],
    ids=str,
)
def test_another_method_or_path_is_a_bad_request(keeper: Keeper, method: str, path: str) -> None:
    request = contribute(json.dumps({"shard": SHARD}).encode(), method, path)
    assert keeper.answer(request, None).status == 400
    assert keeper.note(request) is Step.OTHER
    assert keeper.shard is None


def test_a_second_shard_overwrites_the_first(keeper: Keeper) -> None:
    for octet in (1, 2):
        keeper.answer(contribute(json.dumps({"shard": [octet] * 32}).encode()), None)
    assert keeper.shard == bytes([2] * 32)


@pytest.mark.parametrize(
    ("peer", "admitted"),
    [
        ("spiffe://spike.ist/spike/bootstrap", True),
        ("spiffe://spike.ist/spike/bootstrap/a", True),
        ("spiffe://spike.ist/spike/bootstraps", False),
        ("spiffe://spike.ist/spike/pilot/role/recover", False),
        ("spiffe://other/spike/bootstrap", False),
        ("spiffe://spike.ist/x/spike/bootstrap", False),
        (None, False),
    ],
    ids=str,
)
def test_only_the_bootstrap_of_the_trust_domain_is_admitted(
    keeper: Keeper, peer: str | None, admitted: bool
) -> None:
    assert keeper.admits(peer) is admitted


def test_requests_are_counted_by_what_they_are_for() -> None:
    stats = Stats()
    keeper = Keeper("spike.ist", stats)
    bodies = [b"{}", b'{"shard":[7]}', b'{"shard":[999]}', b"{}"]
    steps = [keeper.note(contribute(body)) for body in bodies]
    assert steps == [Step.REACH, Step.DELIVER, Step.DELIVER, Step.REACH]
    assert (stats.reach_requests, stats.shard_requests) == (2, 2)
    assert stats.shards == [bytes([7] + [0] * 31)]
