# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The sandbox as a whole: what it offers, how its parts work together, and that it ends."""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._errors import ConfigError
from ansible_collections.dayzero.spike.plugins.module_utils._key.shamir import CIRCL_1_6_2, split
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.cluster import Sandbox
from ansible_collections.dayzero.spike.tests.unit.sandbox.sandbox_client import (
    RECOVER,
    RESTORE,
    VERIFY,
    SandboxClient,
    connect,
)
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY = bytes([1] * 32)
OTHER_KEY = bytes([2] * 32)
FAST = 0.01


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Sandbox]]:
    made = []

    def make(**options: Any) -> Sandbox:
        options = {"nexus_poll_seconds": FAST, "lifetime_seconds": 60, **options}
        made.append(Sandbox(tmp_path / str(len(made)), **options))
        return made[-1]

    yield make
    for sandbox in made:
        sandbox.close()


def deliver(sandbox: Sandbox, key: bytes) -> None:
    client = SandboxClient(sandbox)
    shards = split(key, sandbox.threshold, len(sandbox.keepers), sandbox.scheme)
    for keeper, shard in zip(sandbox.keepers, shards):
        assert client.post(keeper.url, {"shard": list(shard)}) == (200, {})


def verify(sandbox: Sandbox, key: bytes, text: bytes = b"text") -> tuple[int, Any]:
    nonce = secrets.token_bytes(12)
    ciphertext = AESGCM(key).encrypt(nonce, text, None)
    document = {
        "nonce": base64.b64encode(nonce).decode(),
        "ciphertext": base64.b64encode(ciphertext).decode(),
    }
    return SandboxClient(sandbox).post(sandbox.nexus.url, document, VERIFY)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def assert_refused(url: str) -> None:
    with pytest.raises(ConnectionRefusedError):
        connect(url).close()


def test_delivered_shards_make_a_nexus_that_proves_the_key(make: Callable[..., Sandbox]) -> None:
    sandbox = make()
    assert verify(sandbox, KEY) == (503, {"err": "state_not_ready"})
    deliver(sandbox, KEY)
    assert sandbox.nexus.wait_initialised()
    assert sandbox.nexus.root_key_sha256 == sha256(KEY)
    assert verify(sandbox, KEY, b"abc") == (200, {"hash": sha256(b"abc")})
    assert verify(sandbox, OTHER_KEY)[0] == 500


def test_nexus_of_v0_8_0_does_not_listen_before_it_has_a_key(
    make: Callable[..., Sandbox],
) -> None:
    sandbox = make(nexus_behaviour="v0.8.0")
    assert_refused(sandbox.nexus.url)
    deliver(sandbox, KEY)
    assert sandbox.nexus.wait_initialised()
    assert verify(sandbox, KEY)[0] == 200
    for keeper in sandbox.keepers:
        keeper.restart()
    sandbox.nexus.restart()
    assert_refused(sandbox.nexus.url)


def test_nexus_cannot_see_the_shard_of_a_keeper_that_refuses(
    make: Callable[..., Sandbox],
) -> None:
    sandbox = make(keepers=2)
    sandbox.keepers[0].inject({"refuse": True, "when": "deliver"})
    client = SandboxClient(sandbox)
    client.post(sandbox.keepers[0].url, {})
    client.post(sandbox.keepers[1].url, {"shard": [1] * 32})
    assert not sandbox.nexus.wait_initialised(timeout=20 * FAST)


def test_nexus_gives_a_keeper_its_shard_back(make: Callable[..., Sandbox]) -> None:
    sandbox = make()
    deliver(sandbox, KEY)
    assert sandbox.nexus.wait_initialised()
    sandbox.keepers[1].restart()
    assert sandbox.keepers[1].shard is None
    sandbox.nexus.push()
    assert sandbox.keepers[1].shard == split(KEY, 2, 3, CIRCL_1_6_2)[1]


def test_nexus_pushes_by_itself_when_asked_to(make: Callable[..., Sandbox]) -> None:
    sandbox = make(nexus_push_seconds=FAST)
    sandbox.nexus.hold(KEY)
    expected = split(KEY, 2, 3, CIRCL_1_6_2)
    until = time.monotonic() + 5
    while [keeper.shard for keeper in sandbox.keepers] != expected:
        assert time.monotonic() < until
        assert not sandbox.closed.wait(FAST)


def test_a_push_does_not_reach_a_keeper_that_is_down(make: Callable[..., Sandbox]) -> None:
    sandbox = make()
    sandbox.keepers[2].stop()
    sandbox.nexus.hold(KEY)
    sandbox.nexus.push()
    assert [keeper.shard is None for keeper in sandbox.keepers] == [False, False, True]


def test_a_restarted_nexus_rebuilds_its_key_from_the_keepers(
    make: Callable[..., Sandbox],
) -> None:
    sandbox = make()
    deliver(sandbox, KEY)
    assert sandbox.nexus.wait_initialised()
    sandbox.nexus.restart()
    assert sandbox.nexus.wait_initialised()
    assert not sandbox.nexus.data_unreadable
    assert verify(sandbox, KEY)[0] == 200


@pytest.mark.parametrize("keep_data", [True, False], ids=["with its data", "without its data"])
def test_a_restarted_nexus_that_gets_another_key_cannot_read_its_data(
    make: Callable[..., Sandbox], keep_data: bool
) -> None:
    sandbox = make()
    deliver(sandbox, KEY)
    assert sandbox.nexus.wait_initialised()
    assert (sandbox.nexus.data_dir / "spike.db").exists()
    sandbox.nexus.stop(keep_data=keep_data)
    assert_refused(sandbox.nexus.url)
    deliver(sandbox, OTHER_KEY)
    sandbox.nexus.start()
    assert sandbox.nexus.wait_initialised()
    assert sandbox.nexus.data_unreadable is keep_data


def test_a_fault_of_nexus_is_met_on_its_route(make: Callable[..., Sandbox]) -> None:
    sandbox = make(faults={"nexus": {"status": 502, "failures": 1}})
    sandbox.nexus.hold(KEY)
    assert [verify(sandbox, KEY)[0] for _unused in range(2)] == [502, 200]
    assert sandbox.nexus.stats.verify_requests == 2


def test_another_identity_is_unauthorized_at_nexus(make: Callable[..., Sandbox]) -> None:
    sandbox = make()
    sandbox.nexus.hold(KEY)
    pilot = sandbox.authority.issue("spiffe://spike.ist/spike/pilot/role/recover")
    answer = SandboxClient(sandbox, pilot).post(sandbox.nexus.url, {}, VERIFY)
    assert answer == (401, {"hash": "", "err": "access_unauthorized"})


def operator(sandbox: Sandbox, what: str) -> SandboxClient:
    """A client of its own that recovers or restores, with nothing of the product in between."""
    svid = sandbox.authority.issue(f"spiffe://spike.ist/spike/pilot/role/{what}")
    return SandboxClient(sandbox, svid)


def test_what_is_recovered_restores_a_cluster_that_has_lost_everything(
    make: Callable[..., Sandbox],
) -> None:
    sandbox = make()
    sandbox.nexus.hold(KEY)
    status, answer = operator(sandbox, "recover").post(sandbox.nexus.url, {}, RECOVER)
    assert status == 200
    sandbox.nexus.restart()
    restoring = operator(sandbox, "restore")
    for number in (3, 1):
        body = {"id": number, "shard": answer["shards"][str(number)]}
        status, progress = restoring.post(sandbox.nexus.url, body, RESTORE)
    assert (status, progress["restored"]) == (200, True)
    assert verify(sandbox, KEY)[0] == 200
    assert all(keeper.wait_for_shard() for keeper in sandbox.keepers)


def test_a_wrong_index_leaves_nexus_live_on_a_key_that_nobody_had(
    make: Callable[..., Sandbox],
) -> None:
    sandbox = make()
    sandbox.nexus.hold(KEY)
    _unused, answer = operator(sandbox, "recover").post(sandbox.nexus.url, {}, RECOVER)
    sandbox.nexus.restart()
    restoring = operator(sandbox, "restore")
    for number, sent in ((1, 1), (2, 9)):
        body = {"id": sent, "shard": answer["shards"][str(number)]}
        status, progress = restoring.post(sandbox.nexus.url, body, RESTORE)
    assert (status, progress) == (200, {"collected": 2, "remaining": 0, "restored": True})
    assert verify(sandbox, KEY)[0] == 500
    assert sandbox.nexus.data_unreadable


def test_a_set_that_makes_no_key_ends_nexus(make: Callable[..., Sandbox]) -> None:
    sandbox = make()
    restoring = operator(sandbox, "restore")
    restoring.post(sandbox.nexus.url, {"id": 0, "shard": [1] * 32}, RESTORE)
    with pytest.raises((OSError, http.client.HTTPException)):
        restoring.post(sandbox.nexus.url, {"id": 1, "shard": [1] * 32}, RESTORE)

    def refused() -> bool:
        try:
            connect(sandbox.nexus.url).close()
        except ConnectionError:
            # One that ends resets first.
            return True
        return False

    assert wait_until(refused)


def wait_until(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 5
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.02)
    return holds()


def test_keepers_and_nexus_may_be_in_trust_domains_of_their_own(
    make: Callable[..., Sandbox],
) -> None:
    sandbox = make(keeper_trust_domain="keepers.example", nexus_trust_domain="nexus.example")
    assert set(sandbox.federated_bundles) == {"keepers.example", "nexus.example"}
    client = SandboxClient(sandbox)
    with client.connection(sandbox.keepers[0].url) as connection:
        certificate: Any = connection.sock.getpeercert()
    assert certificate["subjectAltName"] == (("URI", "spiffe://keepers.example/spike/keeper"),)
    deliver(sandbox, KEY)
    assert sandbox.nexus.wait_initialised()
    assert verify(sandbox, KEY)[0] == 200
    for name, path in sandbox.federated_bundles.items():
        assert path.read_bytes() == sandbox.authorities[name].bundle_pem()


def test_the_bootstrap_identity_is_private_to_its_user(make: Callable[..., Sandbox]) -> None:
    sandbox = make()
    assert sandbox.svid_key.stat().st_mode & 0o777 == 0o600
    assert sandbox.svid_key.parent.stat().st_mode & 0o777 == 0o700
    assert sandbox.directory.stat().st_mode & 0o777 == 0o700


def test_the_servers_keys_are_in_no_file(make: Callable[..., Sandbox]) -> None:
    sandbox = make(faults={1: {"expired": True}})
    keys = [path for path in sandbox.directory.rglob("*") if b"PRIVATE" in read(path)]
    clients = (sandbox.svid_key, sandbox.recover_svid[1], sandbox.restore_svid[1])
    assert sorted(keys) == sorted(clients)


def read(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def test_closing_ends_everything(make: Callable[..., Sandbox]) -> None:
    threads = set(threading.enumerate())
    descriptors = len(os.listdir("/proc/self/fd"))
    sandbox = make(faults={2: {"blackhole": True}, 3: {"refuse": True}})
    deliver_to = SandboxClient(sandbox)
    deliver_to.post(sandbox.keepers[0].url, {})
    sandbox.close()
    sandbox.close()
    for node in (*sandbox.keepers, sandbox.nexus):
        assert_refused(node.url)
    assert set(threading.enumerate()) <= threads
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_it_ends_with_its_lifetime(make: Callable[..., Sandbox]) -> None:
    sandbox = make(lifetime_seconds=0.05)
    assert sandbox.closed.wait(5)
    for node in (*sandbox.keepers, sandbox.nexus):
        assert_refused(node.url)


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"keepers": 0}, "keepers"),
        ({"keepers": 1001}, "keepers"),
        ({"threshold": 0}, "threshold"),
        ({"threshold": 4}, "threshold"),
        ({"scheme": "circl"}, "scheme"),
        ({"nexus_behaviour": "v1"}, "nexus_behaviour"),
        ({"nexus_poll_seconds": 0}, "nexus_poll"),
        ({"lifetime_seconds": 0}, "lifetime"),
        ({"lifetime_seconds": float("inf")}, "lifetime"),
        ({"faults": {9: {"refuse": True}}}, "faults[9]"),
        ({"address": "0.0.0.0"}, "address"),
    ],
    ids=str,
)
def test_a_cluster_that_cannot_be_is_refused_and_leaves_no_thread(
    make: Callable[..., Sandbox], options: dict[str, Any], option: str
) -> None:
    threads = set(threading.enumerate())
    with pytest.raises(ConfigError) as refusal:
        make(**options)
    assert refusal.value.option == option
    assert set(threading.enumerate()) <= threads


@pytest.mark.timing
def test_a_hundred_keepers_start_in_well_under_a_second(make: Callable[..., Sandbox]) -> None:
    started = time.monotonic()
    sandbox = make(keepers=100, threshold=51)
    assert time.monotonic() - started < 1
    assert len({keeper.url for keeper in sandbox.keepers}) == 100
