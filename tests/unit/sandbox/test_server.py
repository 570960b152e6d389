# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every fault of a keeper, over real TLS, as a plain client meets it."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.cluster import (
    Sandbox,
    SandboxKeeper,
)
from ansible_collections.dayzero.spike.tests.unit.sandbox.sandbox_client import (
    SECONDS,
    SandboxClient,
    connect,
    post,
    shard_body,
)

# Nexus is not part of these.
NEVER = 3600
SHARD = bytes([7] * 32)
BAD_REQUEST = (400, {"err": "api_bad_request"})
DELIVERED: tuple[int, Any] = (200, {})


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with Sandbox(
        tmp_path, keepers=1, threshold=1, nexus_poll_seconds=NEVER, lifetime_seconds=60
    ) as sandbox:
        yield sandbox


@pytest.fixture
def keeper(sandbox: Sandbox) -> SandboxKeeper:
    return sandbox.keepers[0]


@pytest.fixture
def client(sandbox: Sandbox) -> SandboxClient:
    return SandboxClient(sandbox)


def assert_healthy(client: SandboxClient, keeper: SandboxKeeper) -> None:
    assert client.post(keeper.url, {}) == BAD_REQUEST
    assert client.post(keeper.url, shard_body(7)) == DELIVERED
    assert keeper.shard == SHARD


def assert_refused(keeper: SandboxKeeper) -> None:
    with pytest.raises(ConnectionRefusedError):
        connect(keeper.url).close()


def test_a_healthy_keeper_serves_both_requests_on_one_connection(
    client: SandboxClient, keeper: SandboxKeeper
) -> None:
    with client.connection(keeper.url) as connection:
        assert post(connection, {}) == BAD_REQUEST
        assert post(connection, shard_body(7)) == DELIVERED
    assert keeper.shard == SHARD
    assert keeper.stats.connections == keeper.stats.handshakes == 1
    assert (keeper.stats.reach_requests, keeper.stats.shard_requests) == (1, 1)
    assert keeper.stats.shards == [SHARD]
    assert keeper.stats.http_bytes > len(json.dumps(shard_body(7)))


def test_a_client_without_a_certificate_gets_an_alert(
    sandbox: Sandbox, keeper: SandboxKeeper
) -> None:
    context = ssl.create_default_context(cafile=str(sandbox.svid_bundle))
    context.check_hostname = False
    with connect(keeper.url) as plain, context.wrap_socket(plain) as secured:
        with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
            secured.recv(1)
    assert keeper.stats.handshakes == 0


@pytest.mark.parametrize(
    "spiffe_id",
    ["spiffe://spike.ist/other", "spiffe://spike.ist/spike/pilot/role/recover"],
)
def test_a_client_with_another_identity_gets_no_http(
    sandbox: Sandbox, keeper: SandboxKeeper, spiffe_id: str
) -> None:
    stranger = SandboxClient(sandbox, sandbox.authority.issue(spiffe_id))
    with pytest.raises(OSError, match=r"reset|Broken pipe|EOF|closed"):
        stranger.post(keeper.url, {})
    assert keeper.stats.http_bytes == 0


def test_refuse_refuses_until_it_is_healed(client: SandboxClient, keeper: SandboxKeeper) -> None:
    keeper.inject({"refuse": True})
    assert_refused(keeper)
    keeper.heal()
    assert_healthy(client, keeper)


def test_refuse_until_a_time_ends_by_itself(client: SandboxClient, keeper: SandboxKeeper) -> None:
    keeper.inject({"refuse": True, "until": "300ms"})
    assert_refused(keeper)
    healed_by = time.monotonic() + SECONDS
    answer = None
    while answer is None and time.monotonic() < healed_by:
        try:
            answer = client.post(keeper.url, {})
        except ConnectionRefusedError:
            # The kernel tells nobody that a port listens again: asking is the only way to know.
            continue
    assert answer == BAD_REQUEST


def test_blackhole_lets_connections_hang_until_it_is_healed(
    client: SandboxClient, keeper: SandboxKeeper
) -> None:
    keeper.inject({"blackhole": True})
    with pytest.raises(socket.timeout):
        connect(keeper.url, timeout=0.3).close()
    keeper.heal()
    assert_healthy(client, keeper)


def test_stall_tls_accepts_and_never_answers(client: SandboxClient, keeper: SandboxKeeper) -> None:
    keeper.inject({"stall_tls": True})
    with pytest.raises(socket.timeout):
        client.post(keeper.url, {}, timeout=0.3)
    assert (keeper.stats.connections, keeper.stats.handshakes) == (1, 0)


def test_plain_http_is_no_tls(client: SandboxClient, keeper: SandboxKeeper) -> None:
    keeper.inject({"plain_http": True})
    with pytest.raises(ssl.SSLError, match=r"(?i)wrong.version.number|record"):
        client.post(keeper.url, {})


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        ("untrusted", "self.signed certificate|unable to get local issuer|certificate signature"),
        ("expired", "certificate has expired"),
    ],
)
def test_a_bad_certificate_is_refused_by_the_client(
    client: SandboxClient, keeper: SandboxKeeper, fault: str, problem: str
) -> None:
    keeper.inject({fault: True})
    with pytest.raises(ssl.SSLCertVerificationError, match=problem):
        client.post(keeper.url, {})
    assert keeper.stats.http_bytes == 0


def test_wrong_identity_is_one_that_the_right_authority_vouches_for(
    client: SandboxClient, keeper: SandboxKeeper
) -> None:
    keeper.inject({"wrong_identity": "spiffe://spike.ist/spike/nexus"})
    with client.connection(keeper.url) as connection:
        certificate: Any = connection.sock.getpeercert()
        assert certificate["subjectAltName"] == (("URI", "spiffe://spike.ist/spike/nexus"),)
        # Whoever sends all the same is served, and seen.
        assert post(connection, shard_body(7)) == DELIVERED
    assert keeper.stats.shards == [SHARD]


def test_refuse_identity_sends_the_alert_of_an_unknown_authority(
    client: SandboxClient, keeper: SandboxKeeper
) -> None:
    keeper.inject({"refuse_identity": True})
    with pytest.raises(ssl.SSLError, match=r"(?i)alert.unknown.ca"):
        with client.connection(keeper.url) as connection:
            connection.sock.recv(1)
    assert keeper.stats.handshakes == 0


@pytest.mark.parametrize("status", [200, 302, 401, 404, 429, 500, 503, 599])
def test_status_answers_that_and_does_nothing(
    client: SandboxClient, keeper: SandboxKeeper, status: int
) -> None:
    keeper.inject({"status": status})
    assert client.post(keeper.url, shard_body(7)) == (status, {"err": "sandbox_fault"})
    assert keeper.shard is None
    assert keeper.stats.shards == [SHARD]


def test_redirect_points_elsewhere_and_keeps_the_method(
    client: SandboxClient, keeper: SandboxKeeper
) -> None:
    keeper.inject({"redirect": "https://127.0.0.1:1/x"})
    with client.connection(keeper.url) as connection:
        connection.request("POST", "/v1/store/contribute", "{}")
        response = connection.getresponse()
        response.read()
    assert (response.status, response.getheader("Location")) == (307, "https://127.0.0.1:1/x")


def test_close_has_taken_the_shard_and_says_nothing(
    client: SandboxClient, keeper: SandboxKeeper
) -> None:
    keeper.inject({"close": True})
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError, ssl.SSLEOFError)):
        client.post(keeper.url, shard_body(7))
    assert keeper.shard == SHARD


def test_garbage_is_not_http(client: SandboxClient, keeper: SandboxKeeper) -> None:
    keeper.inject({"garbage": True})
    with pytest.raises(http.client.BadStatusLine, match="this is not HTTP"):
        client.post(keeper.url, {})


def test_bad_json_is_a_200_without_json(client: SandboxClient, keeper: SandboxKeeper) -> None:
    keeper.inject({"bad_json": True})
    with client.connection(keeper.url) as connection:
        connection.request("POST", "/v1/store/contribute", "{}")
        response = connection.getresponse()
        assert response.status == 200
        with pytest.raises(ValueError, match="Expecting value"):
            json.loads(response.read())


def test_accept_empty_answers_200_to_the_empty_request_alone(
    client: SandboxClient, keeper: SandboxKeeper
) -> None:
    keeper.inject({"accept_empty": True})
    assert client.post(keeper.url, {}) == (200, {})
    assert keeper.shard is None
    assert client.post(keeper.url, shard_body(7)) == DELIVERED
    assert keeper.shard == SHARD


def test_drip_keeps_on_sending_and_never_ends(client: SandboxClient, keeper: SandboxKeeper) -> None:
    keeper.inject({"drip": "1ms"})
    with client.connection(keeper.url) as connection:
        connection.request("POST", "/v1/store/contribute", json.dumps(shard_body(7)))
        response = connection.getresponse()
        assert response.status == 200
        assert response.read(20) == b" " * 20
    assert keeper.shard == SHARD


def test_huge_body_never_ends(client: SandboxClient, keeper: SandboxKeeper) -> None:
    keeper.inject({"huge_body": True})
    with client.connection(keeper.url) as connection:
        connection.request("POST", "/v1/store/contribute", "{}")
        response = connection.getresponse()
        assert response.status == 400
        assert len(response.read(5_000_000)) == 5_000_000


def test_delay_comes_before_the_answer_and_after_the_deed(
    client: SandboxClient, keeper: SandboxKeeper
) -> None:
    keeper.inject({"delay": "300ms"})
    started = time.monotonic()
    assert client.post(keeper.url, shard_body(7)) == DELIVERED
    assert time.monotonic() - started >= 0.3


def test_delay_can_come_before_another_fault(client: SandboxClient, keeper: SandboxKeeper) -> None:
    keeper.inject({"status": 503, "delay": "200ms"})
    started = time.monotonic()
    assert client.post(keeper.url, {})[0] == 503
    assert time.monotonic() - started >= 0.2


def test_failures_counts_requests_for_a_fault_on_requests(
    client: SandboxClient, keeper: SandboxKeeper
) -> None:
    keeper.inject({"status": 503, "failures": 2})
    with client.connection(keeper.url) as connection:
        assert [post(connection, {})[0] for _unused in range(4)] == [503, 503, 400, 400]


def test_failures_counts_connections_for_a_fault_on_connections(
    client: SandboxClient, keeper: SandboxKeeper
) -> None:
    keeper.inject({"expired": True, "failures": 2})
    for _unused in range(2):
        with pytest.raises(ssl.SSLCertVerificationError):
            client.post(keeper.url, {})
    assert_healthy(client, keeper)


@pytest.mark.parametrize(("when", "reach", "deliver"), [("reach", 503, 200), ("deliver", 400, 503)])
def test_when_limits_a_fault_on_requests_to_a_step(
    client: SandboxClient, keeper: SandboxKeeper, when: str, reach: int, deliver: int
) -> None:
    keeper.inject({"status": 503, "when": when})
    with client.connection(keeper.url) as connection:
        assert post(connection, {})[0] == reach
        assert post(connection, shard_body(7))[0] == deliver


def test_a_keeper_that_refuses_from_the_delivery_on_is_gone_once_it_was_reached(
    client: SandboxClient, keeper: SandboxKeeper
) -> None:
    keeper.inject({"refuse": True, "when": "deliver"})
    with client.connection(keeper.url) as used, client.connection(keeper.url) as idle:
        assert post(used, {}) == BAD_REQUEST
        assert_refused(keeper)
        for connection in (used, idle):
            connection.auto_open = 0
            with pytest.raises((OSError, http.client.HTTPException)):
                post(connection, shard_body(7))
    assert keeper.stats.shard_requests == 0
    keeper.heal()
    assert_healthy(client, keeper)


def test_a_keeper_that_stalls_from_the_delivery_on_was_reached(
    client: SandboxClient, keeper: SandboxKeeper
) -> None:
    keeper.inject({"stall_tls": True, "when": "deliver"})
    assert client.post(keeper.url, {}) == BAD_REQUEST
    with pytest.raises(socket.timeout):
        client.post(keeper.url, shard_body(7), timeout=0.3)


def test_an_injected_fault_on_connections_ends_those_that_are_open(
    client: SandboxClient, keeper: SandboxKeeper
) -> None:
    with client.connection(keeper.url) as connection:
        connection.auto_open = 0
        assert post(connection, {}) == BAD_REQUEST
        keeper.inject({"expired": True})
        with pytest.raises((OSError, http.client.HTTPException)):
            post(connection, {})


def test_a_restart_loses_the_shard_and_keeps_the_url(
    client: SandboxClient, keeper: SandboxKeeper
) -> None:
    assert_healthy(client, keeper)
    keeper.stop()
    assert_refused(keeper)
    keeper.start()
    assert keeper.shard is None
    assert_healthy(client, keeper)


def test_a_restart_does_not_heal(keeper: SandboxKeeper) -> None:
    keeper.inject({"refuse": True})
    keeper.restart()
    assert_refused(keeper)


@pytest.mark.parametrize(
    "request_head",
    [b"nonsense\r\n\r\n", b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"],
    ids=["nonsense", "chunked"],
)
def test_what_is_not_a_request_is_a_bad_request(
    client: SandboxClient, keeper: SandboxKeeper, request_head: bytes
) -> None:
    with client.connection(keeper.url) as connection:
        connection.sock.sendall(request_head)
        assert connection.sock.recv(65536).startswith(b"HTTP/1.1 400 Bad Request\r\n")


def test_closing_ends_connections_that_hang(tmp_path: Path) -> None:
    faults = {1: {"stall_tls": True}, 2: {"delay": 3600}}
    with Sandbox(tmp_path, keepers=2, faults=faults) as sandbox:
        client = SandboxClient(sandbox)
        stalled, delayed = sandbox.keepers
        with connect(stalled.url) as first, client.connection(delayed.url) as second:
            second.request("POST", "/v1/store/contribute", "{}")
            assert stalled.stats.wait_for(lambda stats: stats.connections == 1)
            assert delayed.stats.wait_for(lambda stats: stats.reach_requests == 1)
            sandbox.close()
            assert first.recv(1) == b""
            with pytest.raises((OSError, http.client.HTTPException)):
                second.getresponse()
