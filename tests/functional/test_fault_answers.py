# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Peers that do whatever a peer can do to a connection, all of them in one run of the module.

What the sandbox's own faults do is in test_faults.py; these need a peer on the raw socket.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._process import allow_open_files
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.authority import Authority
from ansible_collections.dayzero.spike.tests.support.loopback_peer import (
    Conversation,
    Peer,
    Talk,
    http_response,
    over_tls,
    replying,
    server_context,
)
from ansible_collections.dayzero.spike.tests.support.module_host import Host
from ansible_collections.dayzero.spike.tests.support.module_run import (
    ModuleRun,
    assert_whole,
    run_directly,
)
from ansible_collections.dayzero.spike.tests.support.peak_memory import Peak

pytestmark = pytest.mark.slow

KEEPER = "spiffe://spike.ist/spike/keeper"
# Two attempts, the second after half the time: both have it to themselves, on a busy machine too.
PACE = {
    "keeper_timeout": "4s",
    "keeper_max_retries": 2,
    "keeper_retry_initial_interval": "2s",
}
SECONDS = 4.0
# What is promised on top of keeper_timeout, in seconds.
MARGIN = 0.5
ATTEMPTS = 2
CLOSED = "the connection was closed before a complete answer"
TOO_LONG = "the answer is longer than 65536 bytes"
OUR_SVID_REFUSED = {42, 43, 44, 45, 46, 48, 49, 116}
# RFC 8446 and RFC 5246: every alert that there is, without close_notify, which is none.
ALERTS = (
    *(10, 20, 21, 22, 30, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 60, 70, 71, 80, 86, 90),
    *(100, 109, 110, 111, 112, 113, 114, 115, 116, 120),
)
# What a run with all of these may take at its peak, in KiB; one with three keepers takes 45000.
MOST_KIB = 100_000
# Measured: 109000 with one in a black hole, 152000 with 500.
MOST_KIB_OF_A_THOUSAND = 200_000


@dataclass(frozen=True)
class Expected:
    """How the keeper ends: its cause, what its detail holds, and whether it is tried again."""

    cause: str
    detail: str = ""
    final: bool = False


def says(*responses: bytes) -> Talk:
    """Sends these, after one request, and leaves."""

    def talk(conversation: Conversation) -> None:
        assert conversation.request() is not None
        for response in responses:
            conversation.send(response)

    return talk


def pours(head: bytes, chunk: bytes, chunks: int) -> Talk:
    return says(head, *([chunk] * chunks))


def drips(head: bytes, dripped: bytes) -> Talk:
    """Sends one byte a second of ``dripped``."""

    def talk(conversation: Conversation) -> None:
        assert conversation.request() is not None
        conversation.send(head)
        for byte in dripped:
            conversation.send(bytes([byte]))
            if not conversation.pause(1):
                return

    return talk


def half_closes(conversation: Conversation) -> None:
    """Says that nothing more will come, and goes on to listen."""
    conversation.finish()
    conversation.hang()


def half_closes_after_the_request(conversation: Conversation) -> None:
    assert conversation.request() is not None
    half_closes(conversation)


def leaves(conversation: Conversation) -> None:
    """Accepts the connection and closes it."""


def alerts(number: int) -> Talk:
    """Answers the beginning of the handshake with a fatal alert."""

    def talk(conversation: Conversation) -> None:
        assert conversation.receive()
        conversation.send(b"\x15\x03\x03\x00\x02\x02" + bytes([number]))
        conversation.hang()

    return talk


@contextlib.contextmanager
def with_peers(host: Host, talks: dict[str, Talk]) -> Iterator[list[str]]:
    """The URLs of the sandbox's three keepers, and of a peer with each talk."""
    with contextlib.ExitStack() as peers:
        urls = [peers.enter_context(Peer(talk)).url for talk in talks.values()]
        yield [keeper.url for keeper in host.sandbox.keepers] + urls


def assert_each_as_expected(
    host: Host, talks: dict[str, Talk], expected: dict[str, Expected]
) -> ModuleRun:
    """Every peer ends as expected, the three healthy keepers are reached, and no shard leaves."""
    peak = Peak(host.directory / "peak")
    with with_peers(host, talks) as urls:
        run = run_directly(
            host.options(keeper_peers=urls, **PACE),
            environment=host.environment,
            prelude=peak.prelude,
        )
    result = run.result
    assert_whole(result)
    assert (result["phase"], result["changed"], host.shard_requests()) == ("reach", False, 0)
    assert [keeper["state"] for keeper in result["keepers"][:3]] == ["reached"] * 3
    assert result["failed_keepers"] == list(range(4, 4 + len(talks)))
    wrong = []
    for name, keeper in zip(talks, result["keepers"][3:], strict=True):
        wanted = expected[name]
        found = (keeper["cause"], keeper["attempts"], wanted.detail in keeper["detail"])
        if found != (wanted.cause, 1 if wanted.final else ATTEMPTS, True):
            wrong.append((name, keeper["cause"], keeper["attempts"], keeper["detail"]))
        assert keeper["hint"].endswith(".")
        assert keeper["elapsed"] <= SECONDS + MARGIN
        assert "\n" not in keeper["detail"]
    assert wrong == []
    assert "Traceback" not in run.output
    assert peak.kibibytes < MOST_KIB
    return run


ANSWERS: dict[str, tuple[Talk, Expected]] = {
    "half-closed instead of an answer": (
        half_closes_after_the_request,
        Expected("bad_response", CLOSED),
    ),
    "endless headers": (
        pours(b"HTTP/1.1 200 OK\r\n", b"X: x\r\n" * 10_000, 200),
        Expected("bad_response", "not valid HTTP"),
    ),
    "an endless header": (
        pours(b"HTTP/1.1 200 OK\r\nX: ", b"x" * 60_000, 200),
        Expected("bad_response", "not valid HTTP"),
    ),
    "an endless body": (
        pours(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 9999, 200),
        Expected("bad_response", TOO_LONG),
    ),
    "100 MB": (
        pours(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n", b"x" * 100_000, 1000),
        Expected("bad_response", TOO_LONG),
    ),
    "a byte a second in the headers": (
        drips(b"HTTP/1.1 200 OK\r\nX: ", b"x" * 100),
        Expected("response_timeout", "no complete answer"),
    ),
    "a byte a second in the body": (
        drips(b"HTTP/1.1 400 Bad\r\nContent-Length: 100\r\n\r\n", b"x" * 100),
        Expected("response_timeout", "no complete answer"),
    ),
    "not HTTP": (says(b"SSH-2.0-OpenSSH_9.2\r\n"), Expected("bad_response", "not valid HTTP")),
    "not JSON": (
        replying(http_response(400, b"<html>Bad request</html>")),
        Expected("http_status", "400", final=True),
    ),
    "JSON of another type": (
        replying(http_response(400, b'["api_bad_request"]')),
        Expected("http_status", "400", final=True),
    ),
    "a code of another type": (
        replying(http_response(400, b'{"err":{"api_bad_request":1}}')),
        Expected("http_status", "400", final=True),
    ),
    "nested as deep as fits": (
        replying(http_response(400, b"[" * 65_000)),
        Expected("http_status", "400", final=True),
    ),
    "nested 100000 deep": (
        replying(http_response(400, b"[" * 100_000)),
        Expected("bad_response", TOO_LONG),
    ),
    # To a request without a shard no success is the good answer.
    "204": (
        replying(http_response(204, b"")),
        Expected("http_status", "status 204 to a request without a shard", final=True),
    ),
    "307 to another host": (
        replying(http_response(307, b"", "Location: https://192.0.2.1:8443/")),
        Expected("http_status", "never followed", final=True),
    ),
    "308 to another host": (
        replying(http_response(308, b"", "Location: https://192.0.2.1:8443/")),
        Expected("http_status", "never followed", final=True),
    ),
}


@pytest.mark.timing
def test_whatever_a_keeper_answers_costs_no_other_anything(host: Host) -> None:
    authority = host.sandbox.authority
    context = server_context(authority.issue(KEEPER), authority)
    talks = {name: over_tls(context, talk) for name, (talk, _expected) in ANSWERS.items()}
    expected = {name: wanted for name, (_talk, wanted) in ANSWERS.items()}
    assert_each_as_expected(host, talks, expected)


def test_1xx_before_an_answer_is_passed_over(host: Host) -> None:
    authority = host.sandbox.authority
    context = server_context(authority.issue(KEEPER), authority)
    # HTTP/1.1: any number of them may come (RFC 9110, 15.2).
    answer = http_response(400, b'{"err":"api_bad_request"}')
    talk = replying(b"HTTP/1.1 100 Continue\r\n\r\n" + answer)
    with with_peers(host, {"1xx": over_tls(context, talk)}) as urls:
        result = host.run(keeper_peers=urls, check=True, **PACE).result
    assert [keeper["state"] for keeper in result["keepers"]] == ["reached"] * 4


@pytest.mark.timing
def test_every_tls_alert_is_one_keeper_that_failed(host: Host) -> None:
    talks = {str(number): alerts(number) for number in ALERTS}
    refused = {str(number) for number in OUR_SVID_REFUSED}
    expected = {
        name: Expected("identity_refused", "TLS alert", final=True)
        if name in refused
        else Expected("tls")
        for name in talks
    }
    assert_each_as_expected(host, talks, expected)


def old_tls(context: ssl.SSLContext) -> ssl.SSLContext:
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


@pytest.mark.timing
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_whoever_is_at_a_keepers_address_is_named(host: Host, tmp_path: Path) -> None:
    ours = host.sandbox.authority
    public = Authority("spike.ist")
    # A browser's authorities are nobody's here, wherever an operator has put them.
    store = tmp_path / "store.pem"
    store.write_bytes(public.bundle_pem())
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        host.environment[name] = str(store)

    def shows(**svid: object) -> Talk:
        arguments = {"spiffe_id": KEEPER, **svid}
        return over_tls(server_context(ours.issue(**arguments), ours), replying(b""))  # type: ignore[arg-type]

    talks: dict[str, tuple[Talk, Expected]] = {
        "accepts and closes": (leaves, Expected("tls", "closed during the TLS handshake")),
        "half-closed": (half_closes, Expected("tls", "closed during the TLS handshake")),
        "TLS 1.1": (
            over_tls(
                old_tls(
                    server_context(
                        ours.issue(KEEPER),
                        ours,
                        minimum=ssl.TLSVersion.TLSv1,
                        maximum=ssl.TLSVersion.TLSv1_1,
                    )
                ),
                replying(b""),
            ),
            Expected("tls"),
        ),
        "two URI SANs": (
            shows(extra_uris=["spiffe://spike.ist/spike/other"]),
            Expected("peer_identity", final=True),
        ),
        "no URI SAN": (shows(spiffe_id=""), Expected("peer_identity", final=True)),
        "an authority's certificate": (
            shows(ca=True),
            Expected("peer_untrusted", "purpose", final=True),
        ),
        "another trust domain": (
            shows(spiffe_id="spiffe://other.org/spike/keeper"),
            Expected("peer_identity", "other.org", final=True),
        ),
        "expired": (
            shows(lifetime_seconds=-60),
            Expected("peer_untrusted", "expired", final=True),
        ),
        "not yet valid": (
            shows(not_before_offset=3600),
            Expected("peer_untrusted", "not valid yet", final=True),
        ),
        "an authority of the system store": (
            over_tls(server_context(public.issue(KEEPER), ours), replying(b"")),
            Expected("peer_untrusted", "authority", final=True),
        ),
    }
    assert_each_as_expected(
        host,
        {name: talk for name, (talk, _wanted) in talks.items()},
        {name: wanted for name, (_talk, wanted) in talks.items()},
    )


# -- what heals, or changes, while a run goes on

HEALING_NAME = """
import socket
system, asked = socket.getaddrinfo, []
def getaddrinfo(host, *args, **kwargs):
    if host == "keeper4.invalid":
        asked.append(host)
        if len(asked) <= {failures}:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        host = "127.0.0.1"
    return system(host, *args, **kwargs)
socket.getaddrinfo = getaddrinfo
"""


@pytest.mark.parametrize("failures", [3])
def test_a_name_that_comes_to_exist_in_time_is_reached(host: Host, failures: int) -> None:
    port = host.sandbox.keepers[1].url.rpartition(":")[2]
    peers = [keeper.url for keeper in host.sandbox.keepers]
    peers[1] = f"https://keeper4.invalid:{port}"
    run = run_directly(
        host.options(
            keeper_peers=peers,
            keeper_timeout="5s",
            keeper_retry_initial_interval="200ms",
            keeper_retry_max_interval="200ms",
        ),
        environment=host.environment,
        prelude=HEALING_NAME.format(failures=failures),
    )
    assert run.result["phase"] == "done", run.result["msg"]
    lines = [line for line in run.result["log"] if line.startswith("Reaching keeper 2 ")]
    assert len(lines) == failures + 1


MOVED_CLOCK = """
import datetime, time
from ansible_collections.dayzero.spike.plugins.module_utils._entry import module_entry

class Moved(datetime.datetime):
    calls = 0

    @classmethod
    def now(cls, tz=None):
        # Set by somebody when the run has looked at it a few times.
        cls.calls += 1
        offset = datetime.timedelta(hours={hours}) if cls.calls > 3 else datetime.timedelta()
        return datetime.datetime.now(tz) + offset

module_entry.datetime = Moved
system = time.time
time.time = lambda: system() + 3600 * {hours}
"""


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_wall_clock_that_is_moved_an_hour_changes_no_limit(host: Host, hours: int) -> None:
    host.sandbox.keepers[1].inject({"blackhole": True, "until": "500ms"})
    # The SVID is valid for long enough on either side; expired ones are another test's.
    svid = host.sandbox.authority.issue(
        "spiffe://spike.ist/spike/bootstrap", not_before_offset=-7200, lifetime_seconds=36_000
    )
    host.sandbox.authority.write(host.sandbox.svid_cert.parent, "svid", svid)
    run = run_directly(
        host.options(keeper_timeout="10s", keeper_retry_initial_interval="1s"),
        environment=host.environment,
        prelude=MOVED_CLOCK.format(hours=hours),
    )
    assert run.result["phase"] == "done", run.result["msg"]
    assert all(0 <= keeper["elapsed"] < 10 for keeper in run.result["keepers"])
    assert host.run().result["changed"] is False


# Beyond the first, second and third attempt of five within 6 s: 0, 0.8, 2.4, 4, 5.6 s.
@pytest.mark.long
@pytest.mark.parametrize("seconds", ["100ms", "1s", "3s", "5s"])
def test_a_keeper_that_comes_up_late_is_served_at_any_point_of_the_schedule(
    host: Host, seconds: str
) -> None:
    host.sandbox.keepers[1].inject({"refuse": True, "until": seconds})
    result = host.run(
        keeper_timeout="6s",
        keeper_retry_initial_interval="800ms",
        keeper_retry_max_interval="1600ms",
    ).result
    assert (result["phase"], result["changed"]) == ("done", True), result["msg"]
    assert len(host.shards()) == 3


def test_a_keeper_that_dies_between_preflight_and_delivery_has_its_shard_by_a_rerun(
    host: Host,
) -> None:
    host.sandbox.keepers[1].inject({"refuse": True, "when": "deliver"})
    result = host.run(**PACE).result
    assert (result["phase"], result["changed"]) == ("deliver", True)
    assert [keeper["state"] for keeper in result["keepers"]] == [
        "delivered",
        "unreachable",
        "delivered",
    ]
    host.sandbox.keepers[1].heal()
    rerun = host.run().result
    assert (rerun["phase"], rerun["resumed"], len(host.shards())) == ("done", True, 3)


@pytest.mark.long
@pytest.mark.parametrize("dead", [1, 500])
def test_of_a_thousand_keepers_those_in_a_black_hole_cost_no_other_anything(
    make_host: Callable[..., Host], dead: int
) -> None:
    allow_open_files()
    holes = range(2, 2 + 2 * dead, 2)
    host = make_host({number: {"blackhole": True} for number in holes}, keepers=1000)
    peak = Peak(host.directory / "peak")
    run = run_directly(
        host.options(keeper_timeout="12s", keeper_max_retries=3),
        environment=host.environment,
        prelude=peak.prelude,
    )
    result = run.result
    assert (result["phase"], result["changed"], host.shard_requests()) == ("reach", False, 0)
    assert result["failed_keepers"] == list(holes)
    for keeper in result["keepers"]:
        failed = keeper["id"] in holes
        assert keeper["state"] == ("unreachable" if failed else "reached")
        assert keeper["cause"] == ("connect_timeout" if failed else None)
        # A busy machine may need a second one for a keeper that is well.
        assert keeper["attempts"] == 3 or not failed
    assert peak.kibibytes < MOST_KIB_OF_A_THOUSAND
