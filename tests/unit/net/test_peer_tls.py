# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import gc
import hashlib
import itertools
import json
import os
import resource
import ssl
import subprocess
import sys
import threading
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import requests
from ansible_collections.dayzero.spike.plugins.module_utils._errors import (
    Cause,
    Failure,
    Finding,
    IdentityError,
)
from ansible_collections.dayzero.spike.plugins.module_utils._net.attempt import Attempt
from ansible_collections.dayzero.spike.plugins.module_utils._net.peer_tls import PeerTls
from ansible_collections.dayzero.spike.plugins.module_utils._net.sockets import (
    Lookups,
    open_connection,
)
from ansible_collections.dayzero.spike.plugins.module_utils._net.transport import Transport
from ansible_collections.dayzero.spike.plugins.module_utils._options.cluster import Keeper
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.authority import (
    Authority,
    IssuedSvid,
)
from ansible_collections.dayzero.spike.plugins.module_utils._spiffe.spiffe_id import (
    KEEPER_PATH,
    IdRule,
)
from ansible_collections.dayzero.spike.plugins.module_utils._spike.keeper import reach
from ansible_collections.dayzero.spike.tests.support.loopback_peer import (
    Conversation,
    Peer,
    Talk,
    http_response,
    over_tls,
    replying,
    server_context,
)
from ansible_collections.dayzero.spike.tests.support.spiffe_side import (
    BOOTSTRAP,
    DOMAIN,
    KEEPER,
    KEEPER_RULE,
    LateAttempt,
    attempt,
    bootstrap_of,
    failure_of,
    identity_with,
    transport_for,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

OURS = Authority(DOMAIN)
STRANGER = Authority(DOMAIN)
US = bootstrap_of(OURS)
TLS_VERSIONS = pytest.mark.parametrize(
    "version",
    [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3],
    ids=["TLS 1.2", "TLS 1.3"],
)
GOOD = http_response(400, b'{"err":"api_bad_request"}')


def tls_peer(svid: IssuedSvid, talk: Talk | None = None, **versions: ssl.TLSVersion) -> Peer:
    """A keeper with this SVID, which admits clients of our authority."""
    return Peer(over_tls(server_context(svid, OURS, **versions), talk or replying(GOOD)))


def reach_at(peer: Peer, identity=US, rule: IdRule = KEEPER_RULE) -> None:
    with transport_for(identity, rule) as transport:
        reach(transport, Keeper(1, peer.url), attempt())


def self_signed_authority_as_leaf() -> IssuedSvid:
    """A keeper that shows the certificate of an authority, which OpenSSL would take for a leaf."""
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "root")])
    now = datetime.now(timezone.utc)
    usage = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    certificate = (
        x509.CertificateBuilder()
        .issuer_name(name)
        .subject_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=True, key_cert_sign=True, **usage), critical=True
        )
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(KEEPER)]), critical=False
        )
        .sign(private, hashes.SHA256())
    )
    return IssuedSvid(
        certificate.public_bytes(serialization.Encoding.PEM),
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
        KEEPER,
    )


@pytest.mark.parametrize("spiffe_id", [KEEPER, f"{KEEPER}/one"], ids=["exactly", "below"])
def test_a_keeper_of_the_trust_bundle_is_spoken_to(spiffe_id: str) -> None:
    with tls_peer(OURS.issue(spiffe_id)) as peer:
        reach_at(peer)
    assert [request.body for request in peer.seen] == [b"{}"]
    assert peer.received > 0


@pytest.mark.parametrize(
    ("svid", "cause", "detail", "finding"),
    [
        pytest.param(
            STRANGER.issue(KEEPER),
            Cause.PEER_UNTRUSTED,
            "it is signed by an authority that is not in the trust bundle",
            Finding.UNKNOWN_AUTHORITY,
            id="unknown authority",
        ),
        pytest.param(
            STRANGER.issue(KEEPER, via_intermediate=True),
            Cause.PEER_UNTRUSTED,
            "it is signed by an authority that is not in the trust bundle",
            Finding.UNKNOWN_AUTHORITY,
            id="unknown authority, with an intermediate",
        ),
        pytest.param(
            OURS.issue(KEEPER, lifetime_seconds=-60),
            Cause.PEER_UNTRUSTED,
            "the certificate has expired",
            Finding.EXPIRED,
            id="expired",
        ),
        pytest.param(
            OURS.issue(KEEPER, not_before_offset=600),
            Cause.PEER_UNTRUSTED,
            "the certificate is not valid yet",
            Finding.NOT_YET_VALID,
            id="not valid yet",
        ),
        pytest.param(
            OURS.issue(f"spiffe://{DOMAIN}/spike/nexus"),
            Cause.PEER_IDENTITY,
            f"found spiffe://{DOMAIN}/spike/nexus, expected {KEEPER}",
            None,
            id="another path",
        ),
        pytest.param(
            OURS.issue(f"{KEEPER}s"),
            Cause.PEER_IDENTITY,
            f"found {KEEPER}s, expected {KEEPER}",
            None,
            id="a path that only begins the same",
        ),
        pytest.param(
            OURS.issue("spiffe://other.example/spike/keeper"),
            Cause.PEER_IDENTITY,
            f"found spiffe://other.example/spike/keeper, expected {KEEPER}",
            Finding.OTHER_TRUST_DOMAIN,
            id="another trust domain",
        ),
        pytest.param(
            OURS.issue("spiffe://other.example/spike/nexus"),
            Cause.PEER_IDENTITY,
            f"found spiffe://other.example/spike/nexus, expected {KEEPER}",
            None,
            id="another path of another trust domain",
        ),
        pytest.param(
            OURS.issue(KEEPER, extra_uris=[f"{KEEPER}/two"]),
            Cause.PEER_IDENTITY,
            "it has 2 URI names; an SVID has exactly one, its SPIFFE ID",
            None,
            id="two URI names",
        ),
        pytest.param(
            OURS.issue(""),
            Cause.PEER_IDENTITY,
            "it has no URI names; an SVID has exactly one, its SPIFFE ID",
            None,
            id="no URI name",
        ),
        pytest.param(
            OURS.issue("", extra_uris=["https://keeper"]),
            Cause.PEER_IDENTITY,
            "'https://keeper' is not a SPIFFE ID: it does not begin with spiffe://",
            None,
            id="another kind of URI",
        ),
        pytest.param(
            OURS.issue("", extra_uris=["spiffe://spike.ist/spike\nkeeper"]),
            Cause.PEER_IDENTITY,
            "'spiffe://spike.ist/spike\\nkeeper' is not a SPIFFE ID: a path is made of a-z, A-Z,"
            " 0-9, dots, dashes and underscores",
            None,
            id="a line break in the name",
        ),
    ],
)
def test_a_wrong_peer_gets_no_byte_of_a_request(
    svid: IssuedSvid, cause: Cause, detail: str, finding: Finding | None
) -> None:
    with tls_peer(svid, Conversation.hang) as peer:
        failure = failure_of(lambda: reach_at(peer))
    assert (failure.cause, failure.detail, failure.finding) == (cause, detail, finding)
    assert failure.final
    assert not failure.sent
    assert peer.connections == 1
    assert peer.received == 0


def test_an_authority_as_a_leaf_is_refused() -> None:
    with tls_peer(OURS.issue(KEEPER, ca=True), Conversation.hang) as peer:
        failure = failure_of(lambda: reach_at(peer))
    assert failure.cause is Cause.PEER_UNTRUSTED
    assert failure.final
    assert peer.received == 0


def test_an_authority_as_a_leaf_is_refused_where_openssl_would_not() -> None:
    root = self_signed_authority_as_leaf()
    identity = identity_with(OURS.issue(BOOTSTRAP), **{DOMAIN.replace(".", "_"): root.chain_pem})
    with tls_peer(root, Conversation.hang) as peer:
        failure = failure_of(lambda: reach_at(peer, identity))
    assert failure.cause is Cause.PEER_IDENTITY
    assert failure.detail == (
        f"it is the certificate of an authority ({KEEPER}), not of a workload"
    )
    assert failure.final
    assert peer.handshakes == 1
    assert peer.received == 0


def test_an_intermediate_authority_can_be_the_anchor() -> None:
    bundle = {DOMAIN.replace(".", "_"): OURS.intermediate_pem()}
    identity = identity_with(OURS.issue(BOOTSTRAP), **bundle)
    with tls_peer(OURS.issue(KEEPER, via_intermediate=True)) as peer:
        reach_at(peer, identity)
    with tls_peer(OURS.issue(KEEPER)) as peer:
        assert failure_of(lambda: reach_at(peer, identity)).cause is Cause.PEER_UNTRUSTED


def test_any_authority_of_the_bundle_is_an_anchor() -> None:
    both = {DOMAIN.replace(".", "_"): STRANGER.bundle_pem() + OURS.bundle_pem()}
    identity = identity_with(OURS.issue(BOOTSTRAP), **both)
    for authority in (OURS, STRANGER):
        with tls_peer(authority.issue(KEEPER)) as peer:
            reach_at(peer, identity)


class PlainAuthority:
    """An authority whose certificates have no key identifiers, as many private PKIs issue them."""

    def __init__(self, *extensions: x509.ExtensionType) -> None:
        self.private = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "one name for all")])
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        self.certificate = self._signed(self.name, self.private, constraints, *extensions)

    def _signed(
        self,
        subject: x509.Name,
        private: ec.EllipticCurvePrivateKey,
        *extensions: x509.ExtensionType,
    ) -> x509.Certificate:
        now = datetime.now(timezone.utc)
        builder = (
            x509.CertificateBuilder()
            .issuer_name(self.name)
            .subject_name(subject)
            .public_key(private.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(self.private, hashes.SHA256())

    def issue(self, spiffe_id: str) -> IssuedSvid:
        private = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(spiffe_id)])
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "workload")])
        leaf = self._signed(subject, private, names)
        return IssuedSvid(
            leaf.public_bytes(serialization.Encoding.PEM),
            private.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
            spiffe_id,
        )


def trusting(*anchors: PlainAuthority) -> object:
    certificates = tuple(anchor.certificate for anchor in anchors)
    return dataclasses.replace(US, bundles={DOMAIN: certificates})


def test_of_several_authorities_with_one_name_each_is_tried() -> None:
    renewed = [PlainAuthority() for _unused in range(3)]
    for authority in renewed:
        with tls_peer(authority.issue(KEEPER)) as peer:
            reach_at(peer, trusting(*renewed))


def test_a_stranger_with_the_name_of_our_authorities_is_not_trusted() -> None:
    stranger, ours = PlainAuthority(), [PlainAuthority(), PlainAuthority()]
    with tls_peer(stranger.issue(KEEPER), Conversation.hang) as peer:
        failure = failure_of(lambda: reach_at(peer, trusting(*ours)))
    assert failure.cause is Cause.PEER_UNTRUSTED
    assert peer.received == 0


def test_an_extended_key_usage_of_an_authority_does_not_decide() -> None:
    clients_only = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    authority = PlainAuthority(clients_only)
    with tls_peer(authority.issue(KEEPER)) as peer:
        reach_at(peer, trusting(authority))


def test_an_authority_with_an_extended_key_usage_is_still_known_by_its_key() -> None:
    clients_only = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    ours, stranger = PlainAuthority(clients_only), PlainAuthority(clients_only)
    with tls_peer(stranger.issue(KEEPER), Conversation.hang) as peer:
        failure = failure_of(lambda: reach_at(peer, trusting(ours)))
    assert failure.cause is Cause.PEER_UNTRUSTED
    assert peer.received == 0


def test_an_anchor_that_openssl_cannot_read_is_told_by_its_number() -> None:
    der = ssl.PEM_cert_to_DER_cert(OURS.bundle_pem().decode())
    # Latin-1 in what says that it is UTF-8.
    anchor = x509.load_der_x509_certificate(der.replace(b"\x0c\x04root", b"\x0c\x04ro\xe9t"))
    identity = dataclasses.replace(US, bundles={DOMAIN: (anchor,)})
    with pytest.raises(IdentityError, match="OpenSSL refuses a certificate of our trust") as caught:
        PeerTls(identity, KEEPER_RULE)
    assert f"{anchor.serial_number:x}" in caught.value.message


def test_an_intermediate_that_the_keeper_sends_leads_to_the_anchor() -> None:
    with tls_peer(OURS.issue(KEEPER, via_intermediate=True)) as peer:
        reach_at(peer)


@pytest.mark.parametrize("kind", ["ec", "rsa"])
@pytest.mark.parametrize("via_intermediate", [False, True], ids=["root", "intermediate"])
def test_a_keeper_sees_our_svid_and_its_chain(kind: str, via_intermediate: bool) -> None:
    with tls_peer(OURS.issue(KEEPER)) as peer:
        reach_at(peer, bootstrap_of(OURS, key=kind, via_intermediate=via_intermediate))


@TLS_VERSIONS
def test_tls_is_spoken_from_1_2_on(version: ssl.TLSVersion) -> None:
    with tls_peer(OURS.issue(KEEPER), minimum=version, maximum=version) as peer:
        reach_at(peer)


@pytest.mark.filterwarnings("ignore:.*TLSv1_1 is deprecated:DeprecationWarning")
def test_tls_1_1_is_not_spoken() -> None:
    svid = OURS.issue(KEEPER)
    old = server_context(svid, OURS)
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.verify_mode = ssl.CERT_NONE
    willing = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    willing.set_ciphers("ALL:@SECLEVEL=0")
    willing.minimum_version = ssl.TLSVersion.TLSv1_1
    willing.check_hostname = False
    willing.verify_mode = ssl.CERT_NONE
    with Peer(over_tls(old, Conversation.hang)) as peer:
        plain = open_connection("127.0.0.1", peer.port, attempt(), Lookups())
        with willing.wrap_socket(plain) as control:
            assert control.version() == "TLSv1.1"
        failure = failure_of(lambda: reach_at(peer))
    assert failure.cause is Cause.TLS
    assert not failure.final
    assert peer.received == 0


def test_a_peer_that_speaks_no_tls_is_no_keeper() -> None:
    with Peer(lambda talk: (talk.receive(), talk.send(GOOD), talk.hang())) as peer:
        failure = failure_of(lambda: reach_at(peer))
    assert failure.cause is Cause.TLS
    assert not failure.final
    assert not failure.sent


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_a_peer_that_hangs_up_in_the_handshake_has_failed_in_tls(reset: bool) -> None:
    def talk(conversation: Conversation) -> None:
        conversation.receive()
        if reset:
            conversation.reset()

    with Peer(talk) as peer:
        failure = failure_of(lambda: reach_at(peer))
    assert failure.cause is Cause.TLS
    assert failure.detail == "the connection was closed during the TLS handshake"
    assert not failure.final


# Python's wrap_socket forgets the socket of a connection that was reset just before.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_peer_that_resets_every_connection_at_once_is_never_final() -> None:
    with Peer(Conversation.reset) as peer:
        failures = [failure_of(lambda: reach_at(peer)) for _unused in range(30)]
    gc.collect()
    assert {failure.cause for failure in failures} <= {Cause.TLS, Cause.CONNECTION_REFUSED}
    assert not any(failure.final or failure.sent for failure in failures)


# Several trust domains.

A = Authority("a.example")
B = Authority("b.example")
A_OR_B = IdRule(KEEPER_PATH, ("a.example", "b.example"))
OF_BOTH = identity_with(
    A.issue("spiffe://a.example/spike/bootstrap"),
    a_example=A.bundle_pem(),
    b_example=B.bundle_pem(),
)
KEEPER_OF_A = "spiffe://a.example/spike/keeper"
KEEPER_OF_B = "spiffe://b.example/spike/keeper"


def federated_peer(*svids: IssuedSvid) -> tuple[Peer, dict[int, int]]:
    """A keeper that shows the next SVID to each client, and the bytes that the n-th one sent.

    The bytes are known when the conversation has ended, and conversations overlap.
    """
    contexts = [server_context(svid, A) for svid in svids]
    numbers = itertools.count()
    sent: dict[int, int] = {}

    def talk(conversation: Conversation) -> None:
        number = next(numbers)
        try:
            conversation.secure(contexts[number])
            for _request in conversation.requests():
                conversation.send(GOOD)
        finally:
            sent[number] = conversation.received

    return Peer(talk), sent


@pytest.mark.parametrize("svid", [A.issue(KEEPER_OF_A), B.issue(KEEPER_OF_B)], ids=["of A", "of B"])
def test_a_keeper_of_each_allowed_trust_domain_is_spoken_to(svid: IssuedSvid) -> None:
    peer, sent = federated_peer(svid, svid)
    with peer:
        reach_at(peer, OF_BOTH, A_OR_B)
    assert len(peer.seen) == 1
    # The connection that asks who is there carries no request.
    assert sent[0] == 0
    assert sent[1] > 0


@pytest.mark.parametrize(
    ("svids", "cause", "detail", "finding"),
    [
        pytest.param(
            [A.issue(KEEPER_OF_B)] * 2,
            Cause.PEER_UNTRUSTED,
            "it is signed by an authority that is not in the trust bundle",
            Finding.UNKNOWN_AUTHORITY,
            id="of B, says A's authority",
        ),
        pytest.param(
            [B.issue(KEEPER_OF_A)] * 2,
            Cause.PEER_UNTRUSTED,
            "it is signed by an authority that is not in the trust bundle",
            Finding.UNKNOWN_AUTHORITY,
            id="of A, says B's authority",
        ),
        pytest.param(
            [B.issue(KEEPER_OF_B), A.issue(KEEPER_OF_A)],
            Cause.PEER_UNTRUSTED,
            "it is signed by an authority that is not in the trust bundle",
            Finding.UNKNOWN_AUTHORITY,
            id="B's when asked, then A's",
        ),
        pytest.param(
            [A.issue(KEEPER_OF_A), A.issue(KEEPER_OF_B)],
            Cause.PEER_IDENTITY,
            "it changes its SPIFFE ID between connections",
            None,
            id="A's when asked, then one of B by A",
        ),
        pytest.param(
            [A.issue("spiffe://c.example/spike/keeper")],
            Cause.PEER_IDENTITY,
            f"found spiffe://c.example/spike/keeper, expected {KEEPER_OF_A} or {KEEPER_OF_B}",
            Finding.OTHER_TRUST_DOMAIN,
            id="of a third trust domain",
        ),
        pytest.param(
            [A.issue("spiffe://a.example/spike/nexus")],
            Cause.PEER_IDENTITY,
            f"found spiffe://a.example/spike/nexus, expected {KEEPER_OF_A} or {KEEPER_OF_B}",
            None,
            id="another path",
        ),
    ],
)
def test_a_trust_domain_vouches_for_itself_only(
    svids: list[IssuedSvid], cause: Cause, detail: str, finding: Finding | None
) -> None:
    peer, _sent = federated_peer(*svids)
    with peer:
        failure = failure_of(lambda: reach_at(peer, OF_BOTH, A_OR_B))
    assert failure == Failure(cause, detail, final=True, finding=finding)
    assert peer.connections == len(svids)
    assert peer.received == 0


# A keeper that refuses our certificate.


def refusing(context: ssl.SSLContext, refused: threading.Event) -> Talk:
    """Sends the alert, and leaves with a reset: Go's server does, with our request unread."""

    def talk(conversation: Conversation) -> None:
        try:
            conversation.secure(context)
        except ssl.SSLError:
            conversation.reset()
        refused.set()

    return talk


@TLS_VERSIONS
@pytest.mark.parametrize("late", [False, True], ids=["race", "the write comes too late"])
@pytest.mark.parametrize("size", [2, 200_000], ids=["short", "more than the socket buffers"])
def test_our_svid_refused_is_never_mistaken(version, late: bool, size: int) -> None:
    context = server_context(OURS.issue(KEEPER), STRANGER, minimum=version, maximum=version)
    outcomes = set()
    with transport_for(US) as transport:
        for _unused in range(25):
            refused = threading.Event()
            with Peer(refusing(context, refused)) as peer:
                the_attempt = LateAttempt(refused if late else None)
                failure = failure_of(
                    lambda url=peer.url, one=the_attempt: transport.post(url, b" " * size, one)
                )
            outcomes.add((failure.cause, failure.detail, failure.final))
            assert peer.received == 0
    assert outcomes == {(Cause.IDENTITY_REFUSED, "TLS alert unknown_ca", True)}


# Nothing but the bundle is trusted, and nothing of ours is left anywhere.


def subject_hash(certificate: x509.Certificate) -> str:
    """The name under which OpenSSL looks for an authority in a directory (X509_NAME_hash)."""

    def der(tag: int, content: bytes) -> bytes:
        return bytes([tag, len(content)]) + content

    tags = {NameOID.COUNTRY_NAME: 6, NameOID.ORGANIZATION_NAME: 10}
    tags[NameOID.ORGANIZATIONAL_UNIT_NAME] = 11
    canonical = b"".join(
        der(
            0x31,
            der(
                0x30,
                der(0x06, bytes([0x55, 0x04, tags[attribute.oid]]))
                + der(0x0C, attribute.value.lower().encode()),
            ),
        )
        for attribute in certificate.subject
    )
    digest = hashlib.sha1(canonical, usedforsecurity=False).digest()
    return f"{int.from_bytes(digest[:4], 'little'):08x}"


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_what_openssl_takes_from_the_environment_is_not_trusted(monkeypatch, tmp_path, variable):
    root = x509.load_pem_x509_certificate(STRANGER.bundle_pem())
    rogue = tmp_path / f"{subject_hash(root)}.0"
    rogue.write_bytes(STRANGER.bundle_pem())
    monkeypatch.setenv(variable, str(rogue if variable == "SSL_CERT_FILE" else tmp_path))
    believer = ssl.create_default_context()
    believer.check_hostname = False
    with tls_peer(STRANGER.issue(KEEPER), Conversation.hang) as peer:
        plain = open_connection("127.0.0.1", peer.port, attempt(), Lookups())
        # The control: with a default context, OpenSSL does believe the environment.
        with believer.wrap_socket(plain) as control:
            assert control.getpeercert()
        failure = failure_of(lambda: reach_at(peer))
    assert failure.cause is Cause.PEER_UNTRUSTED
    assert peer.received == 0


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_what_requests_takes_from_the_environment_is_not_trusted(monkeypatch, tmp_path, variable):
    rogue = tmp_path / "rogue.pem"
    rogue.write_bytes(STRANGER.bundle_pem())
    monkeypatch.setenv(variable, str(rogue))
    with tls_peer(STRANGER.issue(KEEPER), Conversation.hang) as peer:
        with requests.Session() as believer:
            # The control: a Session does take its trust from there.
            taken = believer.merge_environment_settings(peer.url, {}, None, None, None)
            assert taken["verify"] == str(rogue)
        failure = failure_of(lambda: reach_at(peer))
    assert failure.cause is Cause.PEER_UNTRUSTED
    assert peer.received == 0


class Always:
    """The same TLS for every connection: a test may look into it afterwards."""

    def __init__(self, tls: PeerTls) -> None:
        self._tls = tls

    def current(self, attempt: Attempt) -> PeerTls:
        return self._tls

    def may_try_again(self, failure: Failure, attempt: Attempt) -> bool:
        return False

    def explained(self, failure: Failure) -> Failure:
        return failure


def test_the_bundle_is_all_that_is_ever_trusted() -> None:
    tls = PeerTls(US, KEEPER_RULE)
    anchor = ssl.PEM_cert_to_DER_cert(OURS.bundle_pem().decode())

    def trusted(peer: Peer) -> list[bytes]:
        limits = attempt()
        plain = open_connection("127.0.0.1", peer.port, limits, Lookups())
        with tls.handshake(plain, limits) as sock:
            assert sock.context.cert_store_stats() == {"x509": 1, "x509_ca": 1, "crl": 0}
            return sock.context.get_ca_certs(binary_form=True)

    with tls_peer(OURS.issue(KEEPER)) as peer:
        assert trusted(peer) == [anchor]
        transport = Transport(Always(tls))
        for _unused in range(2):
            reach(transport, Keeper(1, peer.url), attempt())
        transport.close()
        assert trusted(peer) == [anchor]


_CLIENT = """
import json, os, sys
from ansible_collections.dayzero.spike.plugins.module_utils._errors import Cause
from ansible_collections.dayzero.spike.plugins.module_utils._spike.keeper import reach
from ansible_collections.dayzero.spike.plugins.module_utils._options.cluster import Keeper
from ansible_collections.dayzero.spike.tests.support.spiffe_side import (
    attempt, identity_with, transport_for,
)

given = json.load(sys.stdin)
opened = []

def watch(event, arguments):
    if event == "open":
        path, mode, flags = arguments
        writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) or set(mode or "") & set("wax+")
        if writes:
            opened.append("a descriptor" if isinstance(path, int) else os.fspath(path))
    elif event in ("os.mkdir", "os.rename", "os.link", "os.symlink", "tempfile.mkstemp"):
        opened.append(event)

sys.addaudithook(watch)
identity = identity_with(
    type("Svid", (), {"chain_pem": given["chain"].encode(), "key_pem": given["key"].encode()}),
    spike_ist=given["bundle"].encode(),
)
with transport_for(identity) as transport:
    reach(transport, Keeper(1, given["url"]), attempt())
seen = list(opened)
open(os.devnull, "w").close()
print(json.dumps({"seen": seen, "control": opened[len(seen):]}))
"""


def test_our_key_is_written_to_no_file(tmp_path: Path) -> None:
    svid = OURS.issue(BOOTSTRAP)
    key_log = tmp_path / "tls-secrets"
    with tls_peer(OURS.issue(KEEPER)) as peer:
        given = {
            "chain": svid.chain_pem.decode(),
            "key": svid.key_pem.decode(),
            "bundle": OURS.bundle_pem().decode(),
            "url": peer.url,
        }
        client = subprocess.run(
            [sys.executable, "-c", _CLIENT],
            input=json.dumps(given),
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(sys.path),
                "PYTHONDONTWRITEBYTECODE": "1",
                "TMPDIR": str(tmp_path),
                # With the secrets of a TLS session, a recording of it shows the shard.
                "SSLKEYLOGFILE": str(key_log),
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert client.returncode == 0, client.stderr
    told = json.loads(client.stdout)
    assert told["control"] == [os.devnull]
    # The memory file is opened by its descriptor: it has no path.
    assert told["seen"] == ["a descriptor"]
    assert list(tmp_path.iterdir()) == []


def test_a_host_without_memory_files_is_told_so() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        # Nothing can be opened any more: a kernel that forbids memory files looks the same.
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        with pytest.raises(IdentityError) as caught:
            PeerTls(US, KEEPER_RULE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert "cannot keep the SVID's key off the disk" in caught.value.message
    assert caught.value.__context__ is None


def test_a_key_that_openssl_refuses_is_our_identitys_fault() -> None:
    other = OURS.issue(BOOTSTRAP)
    mismatched = type(US)(US.spiffe_id, US.chain, other.key_pem, US.bundles)
    with pytest.raises(IdentityError, match="OpenSSL refuses our SVID") as caught:
        PeerTls(mismatched, KEEPER_RULE)
    assert caught.value.code == "spiffe_failed_to_extract_x509_svid"
    assert caught.value.__context__ is None
