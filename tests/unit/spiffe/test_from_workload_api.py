# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._clock import parse_duration
from ansible_collections.dayzero.spike.plugins.module_utils._errors import IdentityError
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.authority import Authority
from ansible_collections.dayzero.spike.plugins.module_utils._spiffe.from_workload_api import (
    DEFAULT_SOCKET,
    fetch_from_workload_api,
    socket_path,
)
from ansible_collections.dayzero.spike.plugins.module_utils._spiffe.spiffe_id import (
    BOOTSTRAP_PATH,
    IdRule,
)
from ansible_collections.dayzero.spike.plugins.module_utils._spiffe.svid import (
    Offer,
    certificates_from_pem,
)

pytest.importorskip("spiffe", reason="the Python package spiffe is not installed")

from ansible_collections.dayzero.spike.tests.support.workload_api import (
    Fault,
    Grant,
    Part,
    WorkloadApi,
)

BOOTSTRAP = "spiffe://spike.ist/spike/bootstrap"
AUTHORITY = Authority("spike.ist")
RULE = IdRule(BOOTSTRAP_PATH, ("spike.ist",))
LONG = "20s"
# The most that a call may take beyond its timeout, on a machine that does other things as well.
SLACK = 1.0


def fetch(endpoint: Path | str | None, timeout: str = LONG) -> Offer:
    text = None if endpoint is None else str(endpoint)
    return fetch_from_workload_api(text, parse_duration(timeout), RULE)


def refusal(endpoint: Path | str | None, timeout: str = LONG) -> IdentityError:
    with pytest.raises(IdentityError) as caught:
        fetch(endpoint, timeout)
    assert caught.value.message.startswith(f"{caught.value.option}: ")
    assert "\n" not in caught.value.message
    return caught.value


@pytest.fixture
def short_directory() -> Iterator[Path]:
    # A socket's path has 107 bytes at most.
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.mark.parametrize("form", ["{}", "unix:{}", "unix://{}"], ids=["path", "unix", "URL"])
@pytest.mark.parametrize("key", ["ec", "rsa"])
def test_an_svid_comes_with_its_chain_key_and_bundle(form: str, key: str) -> None:
    svid = AUTHORITY.issue(BOOTSTRAP, key=key, via_intermediate=True)
    with WorkloadApi([Grant(svid, AUTHORITY)]) as agent:
        offer = fetch(form.format(agent.path))
    (identity,) = offer.identities
    assert str(identity.spiffe_id) == BOOTSTRAP
    assert identity.chain == certificates_from_pem(svid.chain_pem)
    assert identity.private_key_pem == svid.key_pem
    assert identity.bundles == {"spike.ist": certificates_from_pem(AUTHORITY.bundle_pem())}
    assert str(agent.path) in offer.origin


def test_all_svids_are_offered_in_the_agents_order() -> None:
    ids = [f"spiffe://spike.ist{path}" for path in ("/web", "/spike/bootstrap", "/a")]
    with WorkloadApi([Grant(AUTHORITY.issue(i), AUTHORITY) for i in ids]) as agent:
        assert [str(i.spiffe_id) for i in fetch(agent.path).identities] == ids


def test_federated_bundles_come_along() -> None:
    other = Authority("other.org")
    grants = [Grant(AUTHORITY.issue(BOOTSTRAP), AUTHORITY)]
    with WorkloadApi(grants, federated={"other.org": other}) as agent:
        (identity,) = fetch(agent.path).identities
    assert identity.bundles == {
        "spike.ist": certificates_from_pem(AUTHORITY.bundle_pem()),
        "other.org": certificates_from_pem(other.bundle_pem()),
    }


def test_proxy_variables_are_of_no_account(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "grpc_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with WorkloadApi([Grant(AUTHORITY.issue(BOOTSTRAP), AUTHORITY)]) as agent:
        assert len(fetch(agent.path).identities) == 1


def test_the_option_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIFFE_ENDPOINT_SOCKET", "unix:///nonexistent/api.sock")
    with WorkloadApi([Grant(AUTHORITY.issue(BOOTSTRAP), AUTHORITY)]) as agent:
        assert len(fetch(agent.path).identities) == 1


def test_an_agent_that_knows_no_entry_says_how_to_make_one() -> None:
    with WorkloadApi(fault=Fault.UNREGISTERED) as agent:
        error = refusal(agent.path)
    assert "has no identity for this process (PermissionDenied)" in error.message
    assert f"-spiffeID {BOOTSTRAP} -selector unix:uid:{os.geteuid()}" in error.message
    assert error.code == "spiffe_unable_to_fetch_x509_source"


@pytest.mark.parametrize("fault", [Fault.EMPTY, Fault.GARBAGE], ids=lambda fault: fault.value)
def test_an_answer_without_a_readable_svid_is_refused(fault: Fault) -> None:
    with WorkloadApi([Grant(AUTHORITY.issue(BOOTSTRAP), AUTHORITY)], fault=fault) as agent:
        error = refusal(agent.path)
    assert "gave no SVID that the Python package spiffe can read" in error.message
    assert error.code == "spiffe_failed_to_extract_x509_svid"


@pytest.mark.parametrize("part", Part, ids=lambda part: part.value)
@pytest.mark.parametrize("place", [0, 1, 2], ids=["first", "between", "last"])
def test_an_svid_that_cannot_be_read_is_passed_over_with_the_reason(part: Part, place: int) -> None:
    ids = [f"spiffe://spike.ist/{name}" for name in ("a", "b", "c")]
    grants = [
        Grant(AUTHORITY.issue(spiffe_id), AUTHORITY, part if number == place else None)
        for number, spiffe_id in enumerate(ids)
    ]
    with WorkloadApi(grants) as agent:
        offer = fetch(agent.path)
    good = [spiffe_id for number, spiffe_id in enumerate(ids) if number != place]
    assert [str(identity.spiffe_id) for identity in offer.identities] == good
    assert offer.broken.startswith("the package spiffe cannot read it (")
    for identity in offer.identities:
        assert identity.bundles["spike.ist"] == certificates_from_pem(AUTHORITY.bundle_pem())


def test_an_svid_with_the_key_of_another_is_passed_over_with_the_reason() -> None:
    svid, other = AUTHORITY.issue(BOOTSTRAP), AUTHORITY.issue("spiffe://spike.ist/web")
    mixed = dataclasses.replace(other, key_pem=svid.key_pem)
    with WorkloadApi([Grant(mixed, AUTHORITY), Grant(svid, AUTHORITY)]) as agent:
        offer = fetch(agent.path)
    assert [str(identity.spiffe_id) for identity in offer.identities] == [BOOTSTRAP]
    assert offer.broken != ""


@pytest.mark.parametrize("part", Part, ids=lambda part: part.value)
def test_an_svid_that_cannot_be_read_and_has_no_other_beside_it_is_refused(part: Part) -> None:
    with WorkloadApi([Grant(AUTHORITY.issue(BOOTSTRAP), AUTHORITY, part)]) as agent:
        error = refusal(agent.path)
    assert error.option == "svid_source"
    assert error.code == "spiffe_failed_to_extract_x509_svid"


@pytest.mark.parametrize("content", [b"", b"no bundle"], ids=["empty", "garbage"])
def test_a_federated_bundle_that_cannot_be_read_is_passed_over(content: bytes) -> None:
    good = Authority("good.org")
    grants = [Grant(AUTHORITY.issue(BOOTSTRAP), AUTHORITY)]
    with WorkloadApi(grants, federated={"broken.org": content, "good.org": good}) as agent:
        offer = fetch(agent.path)
    (identity,) = offer.identities
    assert identity.bundles == {
        "spike.ist": certificates_from_pem(AUTHORITY.bundle_pem()),
        "good.org": certificates_from_pem(good.bundle_pem()),
    }
    assert offer.broken == ""


def test_a_broken_svid_beside_an_empty_federated_bundle_keeps_no_good_one_back() -> None:
    web = AUTHORITY.issue("spiffe://spike.ist/web")
    grants = [Grant(web, AUTHORITY, Part.KEY), Grant(AUTHORITY.issue(BOOTSTRAP), AUTHORITY)]
    with WorkloadApi(grants, federated={"other.org": b""}) as agent:
        offer = fetch(agent.path)
    assert [str(identity.spiffe_id) for identity in offer.identities] == [BOOTSTRAP]
    assert list(offer.identities[0].bundles) == ["spike.ist"]


def test_where_the_package_hides_its_stub_a_broken_answer_is_refused_as_a_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "spiffe._proto", None)
    broken = Grant(AUTHORITY.issue("spiffe://spike.ist/web"), AUTHORITY, Part.KEY)
    with WorkloadApi([broken, Grant(AUTHORITY.issue(BOOTSTRAP), AUTHORITY)]) as agent:
        error = refusal(agent.path)
    assert "gave no SVID that the Python package spiffe can read" in error.message


def workload_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "workload-api"]


@pytest.mark.timing
def test_an_agent_that_never_answers_costs_its_timeout_and_no_more() -> None:
    with WorkloadApi(fault=Fault.SILENT) as agent:
        started = time.monotonic()
        error = refusal(agent.path, "0.5s")
        elapsed = time.monotonic() - started
        assert agent.asked.is_set()
        for thread in workload_threads():
            thread.join(5)
        assert workload_threads() == [], "the call outlives its timeout"
    assert 0.4 < elapsed < 0.5 + SLACK
    assert "did not answer within 0.5s" in error.message


@pytest.mark.timing
def test_a_socket_that_accepts_and_says_nothing_costs_the_timeout_and_no_more(
    short_directory: Path,
) -> None:
    path = short_directory / "s"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(8)
        started = time.monotonic()
        error = refusal(path, "0.5s")
        assert time.monotonic() - started < 0.5 + SLACK
    assert "did not answer within 0.5s" in error.message


def test_a_socket_of_another_service_is_refused(short_directory: Path) -> None:
    path = short_directory / "s"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(8)

        def hang_up() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _address = server.accept()
                    with connection, contextlib.suppress(BrokenPipeError):
                        connection.sendall(b"SSH-2.0-other\r\n")

        thread = threading.Thread(target=hang_up)
        thread.start()
        error = refusal(path)
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)
    assert "no Workload API answers there (gRPC status UNAVAILABLE)" in error.message
    assert error.option == "spiffe_endpoint_socket"


def missing(path: Path) -> Path:
    return path


def dead(path: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
    return path


def plain_file(path: Path) -> Path:
    path.write_bytes(b"")
    return path


def too_long(path: Path) -> Path:
    return path.with_name("s" * 120)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        pytest.param(missing, "No such file or directory", id="missing"),
        pytest.param(dead, "Connection refused", id="nobody listens"),
        pytest.param(plain_file, "Connection refused", id="a plain file"),
        pytest.param(too_long, "AF_UNIX path too long", id="too long"),
    ],
)
def test_a_socket_that_cannot_be_opened_is_named_with_the_cause(
    short_directory: Path, make: Callable[[Path], Path], problem: str
) -> None:
    path = make(short_directory / "s")
    error = refusal(path)
    assert error.message.startswith(f"spiffe_endpoint_socket: {path}: {problem}; ")


@pytest.mark.parametrize(
    "endpoint",
    ["", "unix:", "api.sock", "unix:api.sock", "tcp://127.0.0.1:80", "unix://host/s?x", "/a%41"],
)
def test_what_is_no_socket_address_is_refused_with_an_example(endpoint: str) -> None:
    error = refusal(endpoint)
    assert repr(endpoint) in error.message
    assert DEFAULT_SOCKET in error.message


def test_the_default_is_spires_own_socket() -> None:
    assert socket_path(None) == "/tmp/spire-agent/public/api.sock"


def test_a_host_without_the_package_is_told_what_to_install_and_what_else_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "spiffe", None)
    with WorkloadApi([Grant(AUTHORITY.issue(BOOTSTRAP), AUTHORITY)]) as agent:
        error = refusal(agent.path)
    assert f"{sys.executable} -m pip install spiffe" in error.message
    assert "spire_agent or files" in error.message
