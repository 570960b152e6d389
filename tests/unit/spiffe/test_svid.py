# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import re
import ssl
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.authority import Authority
from ansible_collections.dayzero.spike.plugins.module_utils._spiffe.spiffe_id import SpiffeId
from ansible_collections.dayzero.spike.plugins.module_utils._spiffe.svid import (
    authority_trust_domain,
    build_identity,
    certificates_from_pem,
    check_dates,
    check_key,
    leaf_spiffe_id,
    private_key_from_pem,
    validity,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

BOOTSTRAP = "spiffe://spike.ist/spike/bootstrap"
AUTHORITY = Authority("spike.ist")
SVID = AUTHORITY.issue(BOOTSTRAP)
PEM, PKCS8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8


def certificate_with(*extensions: x509.ExtensionType, uris: Sequence[str] = ()) -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    begins = datetime(2026, 1, 1)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([]))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begins)
        .not_valid_after(begins + timedelta(hours=1))
    )
    names = [x509.UniformResourceIdentifier(uri) for uri in uris]
    for extension in (*extensions, *([x509.SubjectAlternativeName(names)] if names else [])):
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, hashes.SHA256())


def key_usage(*, cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(True, False, False, False, False, cert_sign, crl_sign, False, False)


def of_version_2(pem: bytes) -> bytes:
    der = ssl.PEM_cert_to_DER_cert(pem.decode())
    version_3, version_2 = b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x01"
    return ssl.DER_cert_to_PEM_cert(der.replace(version_3, version_2, 1)).encode()


@pytest.mark.parametrize("key", ["ec", "rsa"])
def test_the_leaf_of_an_svid_names_its_spiffe_id(key: str) -> None:
    (leaf,) = certificates_from_pem(AUTHORITY.issue(BOOTSTRAP, key=key).chain_pem)
    assert leaf_spiffe_id(leaf) == SpiffeId.parse(BOOTSTRAP)


def test_a_leaf_without_constraints_and_key_usage_is_no_authority() -> None:
    assert str(leaf_spiffe_id(certificate_with(uris=[BOOTSTRAP]))) == BOOTSTRAP


def test_other_kinds_of_names_do_not_count() -> None:
    names = [x509.DNSName("spike.ist"), x509.UniformResourceIdentifier(BOOTSTRAP)]
    leaf = certificate_with(x509.SubjectAlternativeName(names))
    assert str(leaf_spiffe_id(leaf)) == BOOTSTRAP


@pytest.mark.parametrize(
    ("certificate", "reason"),
    [
        pytest.param(certificate_with(), "it has no URI names", id="no names"),
        pytest.param(
            certificate_with(x509.SubjectAlternativeName([x509.DNSName("spike.ist")])),
            "it has no URI names",
            id="a DNS name only",
        ),
        pytest.param(
            certificate_with(uris=[BOOTSTRAP, "https://spike.ist/"]),
            "it has 2 URI names",
            id="a SPIFFE ID and another URI",
        ),
        pytest.param(
            certificate_with(uris=[BOOTSTRAP, BOOTSTRAP]), "it has 2 URI names", id="the ID twice"
        ),
        pytest.param(
            certificate_with(uris=["https://spike.ist/x"]), "is not a SPIFFE ID", id="https"
        ),
        pytest.param(certificate_with(uris=[f"{BOOTSTRAP}/"]), "ends with a slash", id="bad path"),
        pytest.param(
            certificate_with(x509.BasicConstraints(ca=True, path_length=None), uris=[BOOTSTRAP]),
            "it is the certificate of an authority",
            id="an authority",
        ),
        pytest.param(
            certificate_with(key_usage(cert_sign=True), uris=[BOOTSTRAP]),
            "its key usage lets it sign for others",
            id="keyCertSign",
        ),
        pytest.param(
            certificate_with(key_usage(crl_sign=True), uris=[BOOTSTRAP]),
            "its key usage lets it sign for others",
            id="cRLSign",
        ),
    ],
)
def test_what_is_no_svid_leaf_is_refused(certificate: x509.Certificate, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        leaf_spiffe_id(certificate)


def test_a_chain_keeps_its_order() -> None:
    chain = certificates_from_pem(AUTHORITY.issue(BOOTSTRAP, via_intermediate=True).chain_pem)
    assert [authority_trust_domain(certificate) for certificate in chain] == ["spike.ist"] * 2
    assert str(leaf_spiffe_id(chain[0])) == BOOTSTRAP
    assert chain[1] == certificates_from_pem(AUTHORITY.intermediate_pem())[0]


def test_a_bundle_may_hold_several_certificates_with_text_between() -> None:
    other = Authority("spike.ist").bundle_pem()
    pem = b"# old root\n" + AUTHORITY.bundle_pem() + b"\r\nsubject=CN = new\n" + other + b"\x00"
    assert certificates_from_pem(pem) == (
        *certificates_from_pem(AUTHORITY.bundle_pem()),
        *certificates_from_pem(other),
    )


@pytest.mark.parametrize(
    ("pem", "reason"),
    [
        pytest.param(b"", "it holds no PEM certificate", id="empty"),
        pytest.param(SVID.key_pem, "it holds no PEM certificate", id="a key"),
        pytest.param(
            certificate_with().public_bytes(serialization.Encoding.DER),
            "it holds no PEM certificate",
            id="DER",
        ),
        pytest.param(SVID.chain_pem[:-30], "it holds no PEM certificate", id="cut short"),
        pytest.param(
            SVID.chain_pem + SVID.chain_pem[:-30], "a PEM certificate in it is cut short", id="tail"
        ),
        pytest.param(
            SVID.chain_pem + b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "PEM certificate 2 in it cannot be read",
            id="garbage",
        ),
        pytest.param(
            of_version_2(AUTHORITY.bundle_pem()),
            "PEM certificate 1 in it cannot be read",
            id="of a version that is not X.509's",
        ),
    ],
)
def test_what_holds_no_readable_certificates_is_refused(pem: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        certificates_from_pem(pem)


EC_KEY = ec.generate_private_key(ec.SECP256R1())
TRADITIONAL = serialization.PrivateFormat.TraditionalOpenSSL
PLAIN = serialization.NoEncryption()
LOCKED = serialization.BestAvailableEncryption(b"pass phrase")


@pytest.mark.parametrize(
    "pem",
    [
        pytest.param(EC_KEY.private_bytes(PEM, PKCS8, PLAIN), id="PKCS8"),
        pytest.param(EC_KEY.private_bytes(PEM, TRADITIONAL, PLAIN), id="traditional"),
        pytest.param(
            b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
            + EC_KEY.private_bytes(PEM, TRADITIONAL, PLAIN),
            id="behind parameters",
        ),
        pytest.param(
            SVID.chain_pem + EC_KEY.private_bytes(PEM, PKCS8, PLAIN), id="behind a certificate"
        ),
    ],
)
def test_a_private_key_is_read_in_every_form_that_tools_write(pem: bytes) -> None:
    found = private_key_from_pem(pem).private_numbers()
    assert found == EC_KEY.private_numbers()


def test_an_rsa_key_is_read() -> None:
    svid = AUTHORITY.issue(BOOTSTRAP, key="rsa")
    check_key(certificates_from_pem(svid.chain_pem)[0], private_key_from_pem(svid.key_pem))


@pytest.mark.parametrize(
    ("pem", "reason"),
    [
        pytest.param(b"", "it holds no PEM private key", id="empty"),
        pytest.param(SVID.chain_pem, "it holds no PEM private key", id="a certificate"),
        pytest.param(
            EC_KEY.private_bytes(serialization.Encoding.DER, PKCS8, PLAIN),
            "it holds no PEM private key",
            id="DER",
        ),
        pytest.param(
            EC_KEY.private_bytes(PEM, PKCS8, LOCKED), "its private key is encrypted", id="PKCS8"
        ),
        pytest.param(
            EC_KEY.private_bytes(PEM, TRADITIONAL, LOCKED),
            "its private key is encrypted",
            id="traditional, encrypted",
        ),
        pytest.param(
            b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n",
            "its private key cannot be read",
            id="garbage",
        ),
        pytest.param(
            ed25519.Ed25519PrivateKey.generate().private_bytes(PEM, PKCS8, PLAIN),
            "its private key is neither EC nor RSA",
            id="Ed25519",
        ),
    ],
)
def test_what_is_no_usable_private_key_is_refused(pem: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        private_key_from_pem(pem)


def test_a_refused_key_appears_neither_in_the_error_nor_behind_it() -> None:
    text = base64.b64encode(b"the secret of the key")
    pem = b"-----BEGIN PRIVATE KEY-----\n" + text + b"\n-----END PRIVATE KEY-----\n"
    with pytest.raises(ValueError, match="cannot be read") as caught:
        private_key_from_pem(pem)
    assert caught.value.__context__ is None
    assert caught.value.args == ("its private key cannot be read",)


@pytest.mark.parametrize("key", ["ec", "rsa"])
def test_the_key_of_another_svid_does_not_match(key: str) -> None:
    (leaf,) = certificates_from_pem(SVID.chain_pem)
    other = AUTHORITY.issue(BOOTSTRAP, key=key)
    with pytest.raises(ValueError, match="its private key does not match the certificate"):
        check_key(leaf, private_key_from_pem(other.key_pem))


ONE_HOUR_FROM_2026 = certificate_with(uris=[BOOTSTRAP])


@pytest.mark.parametrize(
    ("now", "problem"),
    [
        pytest.param(
            datetime(2025, 12, 31, 23, 59, 59, tzinfo=timezone.utc),
            "the certificate is not valid before 2026-01-01T00:00:00Z (it is 2025-12-31T23:59:59Z)",
            id="one second early",
        ),
        pytest.param(datetime(2026, 1, 1, tzinfo=timezone.utc), None, id="the first second"),
        pytest.param(datetime(2026, 1, 1, 1, tzinfo=timezone.utc), None, id="the last second"),
        pytest.param(
            datetime(2026, 1, 1, 1, 0, 1, tzinfo=timezone.utc),
            "the certificate expired at 2026-01-01T01:00:00Z (it is 2026-01-01T01:00:01Z)",
            id="one second late",
        ),
        pytest.param(
            datetime(2026, 1, 1, 2, 30, tzinfo=timezone(timedelta(hours=2))), None, id="other zone"
        ),
    ],
)
def test_a_certificate_is_valid_between_its_dates(now: datetime, problem: str | None) -> None:
    if problem is None:
        check_dates([ONE_HOUR_FROM_2026], now)
    else:
        with pytest.raises(ValueError, match=f"^{re.escape(problem)}$"):
            check_dates([ONE_HOUR_FROM_2026], now)


def test_the_dates_of_a_certificate_have_their_zone() -> None:
    begins = datetime(2026, 1, 1, tzinfo=timezone.utc)
    assert validity(ONE_HOUR_FROM_2026) == (begins, begins + timedelta(hours=1))


def test_the_dates_of_intermediates_count_too() -> None:
    (leaf,) = certificates_from_pem(SVID.chain_pem)
    with pytest.raises(ValueError, match=r"^intermediate certificate 1 expired at"):
        check_dates([leaf, ONE_HOUR_FROM_2026], datetime.now(timezone.utc))


def test_an_identity_joins_chain_key_and_bundles() -> None:
    svid = AUTHORITY.issue(BOOTSTRAP, via_intermediate=True)
    chain = certificates_from_pem(svid.chain_pem)
    anchors = certificates_from_pem(AUTHORITY.bundle_pem())
    identity = build_identity(chain, private_key_from_pem(svid.key_pem), {"spike.ist": anchors})
    assert str(identity.spiffe_id) == BOOTSTRAP
    assert identity.chain == chain
    assert identity.private_key_pem == svid.key_pem
    assert identity.bundles == {"spike.ist": anchors}


@pytest.mark.parametrize(
    "bundles",
    [
        pytest.param({}, id="no bundles"),
        pytest.param({"spike.ist": ()}, id="an empty bundle"),
        pytest.param(
            {"other.org": certificates_from_pem(AUTHORITY.bundle_pem())}, id="other domain"
        ),
    ],
)
def test_an_identity_needs_the_bundle_of_its_own_trust_domain(
    bundles: dict[str, tuple[x509.Certificate, ...]],
) -> None:
    chain = certificates_from_pem(SVID.chain_pem)
    with pytest.raises(ValueError, match=r"no trust bundle for its trust domain spike\.ist"):
        build_identity(chain, private_key_from_pem(SVID.key_pem), bundles)


def test_the_repr_of_an_identity_holds_no_key() -> None:
    identity = build_identity(
        certificates_from_pem(SVID.chain_pem),
        private_key_from_pem(SVID.key_pem),
        {"spike.ist": certificates_from_pem(AUTHORITY.bundle_pem())},
    )
    assert BOOTSTRAP.rpartition("/")[2] in repr(identity)
    assert "PRIVATE KEY" not in repr(identity)
    assert "private_key_pem" not in repr(identity)


def test_an_authority_may_name_no_trust_domain() -> None:
    assert authority_trust_domain(certificates_from_pem(AUTHORITY.bundle_pem())[0]) == "spike.ist"
    assert authority_trust_domain(certificate_with()) is None
    assert authority_trust_domain(certificate_with(uris=["https://spike.ist"])) is None
    two = certificate_with(uris=["spiffe://spike.ist", "spiffe://other.org"])
    assert authority_trust_domain(two) is None
