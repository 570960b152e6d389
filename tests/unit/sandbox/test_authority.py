# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The throwaway authority, judged by OpenSSL through Python's ssl."""

from __future__ import annotations

import contextlib
import datetime
import ssl
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.authority import (
    Authority,
    IssuedSvid,
)
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

# X509_V_FLAG_PARTIAL_CHAIN; Python has a name for it from 3.10 only.
PARTIAL_CHAIN = 0x80000

ID = "spiffe://spike.ist/spike/keeper"


@pytest.fixture
def authority() -> Authority:
    return Authority("spike.ist")


def leaf(svid: IssuedSvid) -> x509.Certificate:
    return x509.load_pem_x509_certificate(svid.chain_pem)


def uris(svid: IssuedSvid) -> list[str]:
    names = leaf(svid).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.UniformResourceIdentifier)


def peer_of(svid: IssuedSvid, anchors: bytes, directory: Path) -> Any:
    """Do a handshake in memory with a server that shows ``svid``; return what the client saw."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*Authority("scratch").write(directory, "server", svid))
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_STRICT | PARTIAL_CHAIN
    client.load_verify_locations(cadata=anchors.decode())
    upward, downward = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(downward, upward),
        server.wrap_bio(upward, downward, server_side=True),
    ]
    for _unused in range(4):
        for end in ends:
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
    return ends[0].getpeercert()


@pytest.mark.parametrize(
    "options",
    [{}, {"key": "rsa"}, {"via_intermediate": True}],
    ids=["ec", "rsa", "via an intermediate"],
)
def test_an_svid_is_accepted_with_the_bundle_of_its_authority(
    authority: Authority, tmp_path: Path, options: dict[str, Any]
) -> None:
    peer = peer_of(authority.issue(ID, **options), authority.bundle_pem(), tmp_path)
    assert peer["subjectAltName"] == (("URI", ID),)


def test_an_intermediate_is_an_anchor_of_its_own(authority: Authority, tmp_path: Path) -> None:
    svid = authority.issue(ID, via_intermediate=True)
    assert peer_of(svid, authority.intermediate_pem(), tmp_path)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"lifetime_seconds": -60}, "certificate has expired"),
        ({"not_before_offset": 600}, "certificate is not yet valid"),
    ],
    ids=["expired", "not yet valid"],
)
def test_an_svid_out_of_its_time_is_refused(
    authority: Authority, tmp_path: Path, options: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match=problem):
        peer_of(authority.issue(ID, **options), authority.bundle_pem(), tmp_path)


def test_an_svid_of_another_authority_of_that_name_is_refused(
    authority: Authority, tmp_path: Path
) -> None:
    impostor = Authority("spike.ist").issue(ID)
    with pytest.raises(ssl.SSLCertVerificationError):
        peer_of(impostor, authority.bundle_pem(), tmp_path)


def test_a_leaf_is_shaped_as_the_svid_specification_has_it(authority: Authority) -> None:
    extensions = leaf(authority.issue(ID)).extensions
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    constraints = extensions.get_extension_for_class(x509.BasicConstraints)
    assert usage.critical
    assert usage.value.digital_signature
    assert not usage.value.key_cert_sign
    assert not constraints.value.ca


def test_wrong_leaves_are_issued_on_request(authority: Authority) -> None:
    other = authority.issue("spiffe://elsewhere/x", extra_uris=["spiffe://elsewhere/y"], ca=True)
    constraints = leaf(other).extensions.get_extension_for_class(x509.BasicConstraints)
    assert uris(other) == ["spiffe://elsewhere/x", "spiffe://elsewhere/y"]
    assert constraints.value.ca


def test_an_svid_without_names_is_issued_on_request(authority: Authority) -> None:
    with pytest.raises(x509.ExtensionNotFound):
        uris(authority.issue(""))


def test_the_lifetime_is_counted_in_seconds(authority: Authority) -> None:
    certificate = leaf(authority.issue(ID, lifetime_seconds=3600))
    issuing = x509.load_pem_x509_certificate(authority.bundle_pem())
    assert certificate.issuer == issuing.subject
    text = getattr(certificate, "not_valid_after_utc", None)
    ends_at = text or certificate.not_valid_after.replace(tzinfo=datetime.timezone.utc)
    left = ends_at - datetime.datetime.now(datetime.timezone.utc)
    assert 3590 < left.total_seconds() <= 3600


def test_a_written_key_is_the_owners_alone_also_over_an_older_file(
    authority: Authority, tmp_path: Path
) -> None:
    (tmp_path / "svid.key").write_text("older")
    (tmp_path / "svid.key").chmod(0o644)
    svid = authority.issue(ID)
    _unused, key_path = authority.write(tmp_path, "svid", svid)
    assert key_path.stat().st_mode & 0o777 == 0o600
    assert load_pem_private_key(key_path.read_bytes(), None)


def test_the_key_is_not_shown_with_the_svid(authority: Authority) -> None:
    assert "PRIVATE KEY" not in repr(authority.issue(ID))


def test_an_unknown_kind_of_key_is_refused(authority: Authority) -> None:
    with pytest.raises(ValueError, match="'dsa' is not a kind of key"):
        authority.issue(ID, key="dsa")
