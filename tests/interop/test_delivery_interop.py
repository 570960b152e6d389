# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Go servers behave as SPIKE does: shown with a client that shares no code with the product."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import secrets
import ssl
from collections.abc import Callable

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._key.shamir import (
    CIRCL_1_6_1,
    CIRCL_1_6_2,
    ORDER,
    SIZE,
    split,
)
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.authority import (
    Authority,
    IssuedSvid,
)
from ansible_collections.dayzero.spike.tests.interop.go_spike import (
    ClusterState,
    GoSpike,
    GoSpikeError,
)
from ansible_collections.dayzero.spike.tests.interop.plain_client import (
    CONTRIBUTE,
    VERIFY,
    Answer,
    PlainClient,
)
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

pytestmark = pytest.mark.slow

TAKEN = Answer(200, {})
BAD_REQUEST = Answer(400, {"err": "api_bad_request"})
PLAINTEXT = b"a text that only the root key opens"

BOOTSTRAP_ID = "spiffe://spike.ist/spike/bootstrap"


def draw_root_key() -> bytes:
    return (1 + secrets.randbelow(ORDER - 1)).to_bytes(SIZE, "big")


def deliver(client: PlainClient, spike: GoSpike, shards: list[bytes]) -> None:
    for url, shard in zip(spike.keeper_urls, shards):
        assert client.contribute(url, shard) == TAKEN


def ask_for_proof(client: PlainClient, spike: GoSpike, root_key: bytes) -> Answer:
    nonce = secrets.token_bytes(12)
    body = {
        "nonce": base64.b64encode(nonce).decode(),
        "ciphertext": base64.b64encode(AESGCM(root_key).encrypt(nonce, PLAINTEXT, None)).decode(),
    }
    return client.request(spike.nexus_url, VERIFY, json.dumps(body).encode())


def assert_untouched(state: ClusterState) -> None:
    assert [keeper.contributes for keeper in state.keepers] == [0] * len(state.keepers)
    assert not any(keeper.has_shard for keeper in state.keepers)
    assert not state.nexus.ready


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        pytest.param("POST", CONTRIBUTE, b"{}", id="no shard"),
        pytest.param("POST", CONTRIBUTE, b'{"shard":null}', id="a null shard"),
        pytest.param("POST", CONTRIBUTE, b'{"shard":[]}', id="an empty shard"),
        pytest.param(
            "POST", CONTRIBUTE, json.dumps({"shard": [0] * 32}).encode(), id="a zero shard"
        ),
        pytest.param(
            "POST", CONTRIBUTE, json.dumps({"shard": [256] * 32}).encode(), id="numbers too great"
        ),
        pytest.param(
            "POST",
            CONTRIBUTE,
            json.dumps({"shard": base64.b64encode(b"1" * 32).decode()}).encode(),
            id="a base64 shard",
        ),
        pytest.param("POST", CONTRIBUTE, b'{"shard":[1,', id="no JSON"),
        pytest.param("PUT", CONTRIBUTE, b"{}", id="another method"),
        pytest.param("POST", "/v1/store/contributes", b"{}", id="another path"),
    ],
)
def test_a_keeper_refuses_with_api_bad_request_and_stays_as_it_was(
    go_spike: GoSpike, bootstrap: PlainClient, method: str, path: str, body: bytes
) -> None:
    assert bootstrap.request(go_spike.keeper_urls[0], path, body, method) == BAD_REQUEST
    state = go_spike.state()
    assert_untouched(state)
    assert [keeper.requests for keeper in state.keepers] == [1, 0, 0]


def test_a_keeper_takes_a_shard_of_32_integers(go_spike: GoSpike, bootstrap: PlainClient) -> None:
    assert bootstrap.contribute(go_spike.keeper_urls[1], b"\x01" * 32) == TAKEN
    states = go_spike.state().keepers
    assert [keeper.id for keeper in states] == [1, 2, 3]
    assert [keeper.has_shard for keeper in states] == [False, True, False]
    assert [keeper.contributes for keeper in states] == [0, 1, 0]


@pytest.mark.parametrize(
    ("role", "path"),
    [
        pytest.param("keeper", "/spike/keeper", id="keeper"),
        pytest.param("nexus", "/spike/nexus", id="nexus"),
    ],
)
def test_a_server_shows_the_spiffe_id_of_its_role(
    go_spike: GoSpike, bootstrap: PlainClient, role: str, path: str
) -> None:
    url = go_spike.nexus_url if role == "nexus" else go_spike.keeper_urls[0]
    assert bootstrap.server_uris(url) == [f"spiffe://spike.ist{path}"]


@pytest.mark.parametrize(
    "issue",
    [
        pytest.param(lambda ca: ca.issue(BOOTSTRAP_ID, key="rsa"), id="an RSA key"),
        pytest.param(
            lambda ca: ca.issue(BOOTSTRAP_ID, via_intermediate=True), id="an intermediate"
        ),
        pytest.param(lambda ca: ca.issue(f"{BOOTSTRAP_ID}/host-1"), id="an extended ID"),
    ],
)
def test_a_keeper_hears_every_kind_of_bootstrap(
    go_spike: GoSpike, authority: Authority, issue: Callable[[Authority], IssuedSvid]
) -> None:
    client = PlainClient(authority, issue(authority))
    assert client.request(go_spike.keeper_urls[0], CONTRIBUTE, b"{}") == BAD_REQUEST


@pytest.mark.parametrize(
    "version",
    [
        pytest.param(ssl.TLSVersion.TLSv1_2, id="TLS 1.2"),
        pytest.param(ssl.TLSVersion.TLSv1_3, id="TLS 1.3"),
    ],
)
@pytest.mark.parametrize(
    "issue",
    [
        pytest.param(lambda ca: ca.issue("spiffe://spike.ist/other"), id="another ID"),
        pytest.param(
            lambda ca: ca.issue("spiffe://spike.ist/spike/pilot/role/recover"),
            id="a pilot",
        ),
        pytest.param(lambda ca: ca.issue(f"{BOOTSTRAP_ID}per"), id="a longer name"),
        pytest.param(
            lambda _unused: Authority("spike.ist").issue(BOOTSTRAP_ID),
            id="a foreign authority",
        ),
        pytest.param(
            lambda _unused: Authority("example.org").issue("spiffe://example.org/spike/bootstrap"),
            id="a foreign trust domain",
        ),
        pytest.param(
            lambda ca: ca.issue(BOOTSTRAP_ID, lifetime_seconds=-60),
            id="an expired SVID",
        ),
        pytest.param(
            lambda ca: ca.issue(BOOTSTRAP_ID, extra_uris=["spiffe://spike.ist/other"]),
            id="two IDs",
        ),
        pytest.param(lambda ca: ca.issue(BOOTSTRAP_ID, ca=True), id="an authority"),
    ],
)
def test_a_keeper_answers_a_stranger_with_a_tls_alert_and_no_http(
    go_spike: GoSpike,
    authority: Authority,
    issue: Callable[[Authority], IssuedSvid],
    version: ssl.TLSVersion,
) -> None:
    client = PlainClient(authority, issue(authority))
    client.context.maximum_version = version
    with pytest.raises(ssl.SSLError) as caught:
        client.listen(go_spike.keeper_urls[0])
    assert caught.value.reason is not None
    assert caught.value.reason.endswith("ALERT_BAD_CERTIFICATE")
    assert go_spike.state().keepers[0].requests == 0


def test_a_keeper_answers_a_stranger_s_request_with_no_http_either(
    go_spike: GoSpike, authority: Authority
) -> None:
    client = PlainClient(authority, authority.issue("spiffe://spike.ist/other"))
    # The alert, or the reset that the unread request brings about: whichever comes first.
    with pytest.raises((ssl.SSLError, ConnectionError)):
        client.contribute(go_spike.keeper_urls[0], b"\x01" * 32)
    state = go_spike.state()
    assert_untouched(state)
    assert state.keepers[0].requests == 0


def test_a_keeper_answers_a_client_without_a_certificate_with_a_tls_alert(
    go_spike: GoSpike, authority: Authority
) -> None:
    with pytest.raises(ssl.SSLError, match="certificate required"):
        PlainClient(authority, None).listen(go_spike.keeper_urls[0])
    assert go_spike.state().keepers[0].requests == 0


@pytest.mark.parametrize(
    ("threshold", "keepers"),
    [pytest.param(t, n, id=f"{t} of {n}") for t, n in [(2, 2), (2, 3), (3, 5), (7, 7), (3, 20)]],
)
def test_our_shards_give_nexus_our_root_key_and_are_the_shards_it_makes_of_it(
    start_go_spike: Callable[..., GoSpike], bootstrap: PlainClient, threshold: int, keepers: int
) -> None:
    spike = start_go_spike(keepers=keepers, threshold=threshold)
    root_key = draw_root_key()
    deliver(bootstrap, spike, split(root_key, threshold, keepers, CIRCL_1_6_2))
    state = spike.await_ready()
    assert state.nexus.ready
    assert state.nexus.root_key_sha256 == hashlib.sha256(root_key).hexdigest()
    assert state.consistent
    assert [keeper.contributes for keeper in state.keepers] == [1] * keepers


def test_the_same_shard_delivered_twice_does_no_harm(
    go_spike: GoSpike, bootstrap: PlainClient
) -> None:
    shards = split(draw_root_key(), 2, 3, CIRCL_1_6_2)
    deliver(bootstrap, go_spike, shards)
    deliver(bootstrap, go_spike, shards)
    state = go_spike.await_ready()
    assert state.consistent
    assert [keeper.contributes for keeper in state.keepers] == [2, 2, 2]


def test_shards_of_the_older_scheme_recover_the_key_but_are_not_consistent(
    go_spike: GoSpike, bootstrap: PlainClient
) -> None:
    root_key = draw_root_key()
    deliver(bootstrap, go_spike, split(root_key, 2, 3, CIRCL_1_6_1))
    state = go_spike.await_ready()
    assert state.nexus.root_key_sha256 == hashlib.sha256(root_key).hexdigest()
    assert not state.consistent


def test_shards_of_two_root_keys_are_not_consistent(
    go_spike: GoSpike, bootstrap: PlainClient
) -> None:
    deliver(bootstrap, go_spike, split(draw_root_key(), 2, 3, CIRCL_1_6_2))
    other = split(draw_root_key(), 2, 3, CIRCL_1_6_2)
    assert bootstrap.contribute(go_spike.keeper_urls[2], other[2]) == TAKEN
    assert not go_spike.await_ready().consistent


def test_shards_of_a_key_that_nexus_does_not_have_are_not_consistent(
    go_spike: GoSpike, bootstrap: PlainClient
) -> None:
    deliver(bootstrap, go_spike, split(draw_root_key(), 2, 3, CIRCL_1_6_2))
    assert go_spike.await_ready().consistent
    deliver(bootstrap, go_spike, split(draw_root_key(), 2, 3, CIRCL_1_6_2))
    assert not go_spike.state().consistent


def test_a_shard_that_is_too_short_is_taken_and_filled_with_zeros(
    go_spike: GoSpike, bootstrap: PlainClient
) -> None:
    # Only what is filled with a zero, and at its end, is the right shard again.
    candidates = (split(draw_root_key(), 2, 3, CIRCL_1_6_2) for _unused in itertools.count())
    shards = next(shards for shards in candidates if shards[2][-1] == 0)
    deliver(bootstrap, go_spike, [shards[0], shards[1], shards[2][:-1]])
    state = go_spike.await_ready()
    assert state.keepers[2].has_shard
    assert state.consistent


def test_fewer_shards_than_the_threshold_leave_nexus_without_a_key(
    go_spike: GoSpike, bootstrap: PlainClient
) -> None:
    root_key = draw_root_key()
    shards = split(root_key, 2, 3, CIRCL_1_6_2)
    assert bootstrap.contribute(go_spike.keeper_urls[0], shards[0]) == TAKEN
    state = go_spike.await_ready(0.5)
    assert not state.nexus.ready
    assert not state.consistent
    assert ask_for_proof(bootstrap, go_spike, root_key) == Answer(503, {"err": "state_not_ready"})


def test_nexus_proves_the_root_key_that_it_has_and_no_other(
    go_spike: GoSpike, bootstrap: PlainClient
) -> None:
    root_key = draw_root_key()
    deliver(bootstrap, go_spike, split(root_key, 2, 3, CIRCL_1_6_2))
    assert go_spike.await_ready().nexus.ready
    proof = Answer(200, {"hash": hashlib.sha256(PLAINTEXT).hexdigest()})
    other = Answer(500, {"hash": "", "err": "api_internal_error"})
    assert ask_for_proof(bootstrap, go_spike, root_key) == proof
    assert ask_for_proof(bootstrap, go_spike, draw_root_key()) == other


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"{}", id="nothing"),
        pytest.param(b'{"nonce":"AAAA","ciphertext":"AAAA"}', id="a short nonce"),
        pytest.param(b'{"nonce":"!","ciphertext":"AAAA"}', id="no base64"),
        pytest.param(b'{"nonce":', id="no JSON"),
    ],
)
def test_nexus_refuses_a_proof_that_is_malformed(
    go_spike: GoSpike, bootstrap: PlainClient, body: bytes
) -> None:
    deliver(bootstrap, go_spike, split(draw_root_key(), 2, 3, CIRCL_1_6_2))
    assert go_spike.await_ready().nexus.ready
    answer = bootstrap.request(go_spike.nexus_url, VERIFY, body)
    assert answer == Answer(400, {"hash": "", "err": "api_bad_request"})


def test_nexus_proves_nothing_to_anyone_but_bootstrap(
    go_spike: GoSpike, bootstrap: PlainClient, authority: Authority
) -> None:
    root_key = draw_root_key()
    deliver(bootstrap, go_spike, split(root_key, 2, 3, CIRCL_1_6_2))
    assert go_spike.await_ready().nexus.ready
    stranger = PlainClient(authority, authority.issue("spiffe://spike.ist/other"))
    answer = ask_for_proof(stranger, go_spike, root_key)
    assert answer == Answer(401, {"hash": "", "err": "access_unauthorized"})


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        pytest.param({"threshold": 4}, "does not fit", id="a high threshold"),
        pytest.param({"lifetime": 0}, "the lifetime is over", id="no lifetime"),
    ],
)
def test_a_spike_that_cannot_start_says_why(
    start_go_spike: Callable[..., GoSpike], options: dict[str, float], problem: str
) -> None:
    with pytest.raises(GoSpikeError, match=problem):
        # One that had the time to start has it no longer when it is asked for its state.
        start_go_spike(**options).await_ready()
