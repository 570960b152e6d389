# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Mutual TLS by SPIFFE's rules: whom we talk to is decided before the first byte of a request.

Source: SPIFFE X509-SVID, 5 (validation); go-spiffe, spiffetls/tlsconfig and x509svid.Verify.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterable, Sequence
from typing import cast

from .._errors import (
    AttemptFailed,
    Cause,
    Failure,
    Finding,
    IdentityError,
)
from .._spiffe.spiffe_id import IdRule, SpiffeId
from .._spiffe.svid import Identity, leaf_spiffe_id, validity
from .._third_party import ec, hashes, rsa, serialization, x509
from .attempt import Attempt
from .sockets import DeadlineTlsSocket

# Any certificate of a SPIFFE bundle is an anchor, also one that is not self-signed. Python names
# the flag (ssl.VERIFY_X509_PARTIAL_CHAIN) from 3.10 only; X509_V_FLAG_PARTIAL_CHAIN in x509_vfy.h.
_PARTIAL_CHAIN = 0x80000


class PeerTls:
    """TLS to one kind of peer: the context is made once and serves every connection."""

    def __init__(self, identity: Identity, rule: IdRule) -> None:
        self.rule = rule
        self._contexts = {
            domain: [_context(identity, way) for way in _ways(identity.bundles[domain])]
            for domain in rule.trust_domains
        }
        # Tells which of several trust domains a peer claims, and carries no request.
        self._asking = _context(identity, None) if len(self._contexts) > 1 else None

    @property
    def needs_introduction(self) -> bool:
        """Whether a peer may belong to one of several trust domains."""
        return self._asking is not None

    def claimed_trust_domain(self, connection: socket.socket, attempt: Attempt) -> str:
        """Shake hands once, without trusting anything, to learn the peer's trust domain.

        The connection is closed afterwards. Raises AttemptFailed when the peer's SPIFFE ID is not
        one that the rule admits, and what ``handshake`` raises.
        """
        if self._asking is None:
            raise ValueError("there is only one trust domain to claim")
        with _handshake(self._asking, connection, attempt) as sock:
            return self._admitted(sock).trust_domain

    def ways(self, trust_domain: str | None = None) -> int:
        """How many ways there are to trust a peer, see ``handshake``; nearly always one."""
        return len(self._contexts[self._or_the_only(trust_domain)])

    def _or_the_only(self, trust_domain: str | None) -> str:
        if trust_domain is None:
            (trust_domain,) = self._contexts
        return trust_domain

    def handshake(
        self,
        connection: socket.socket,
        attempt: Attempt,
        trust_domain: str | None = None,
        *,
        way: int = 0,
    ) -> DeadlineTlsSocket:
        """Shake hands and decide on the peer; what is returned may carry a request.

        Only the bundle of ``trust_domain`` is trusted, which is the rule's only one where it is
        not given. Where several of its authorities have the same name, OpenSSL tries one of them:
        another ``way`` leads to another one.

        Raises AttemptFailed for a peer with another SPIFFE ID and ssl.SSLError or OSError for a
        handshake that failed, ssl.SSLCertVerificationError for an untrusted chain.
        """
        trust_domain = self._or_the_only(trust_domain)
        sock = _handshake(self._contexts[trust_domain][way], connection, attempt)
        try:
            if self._admitted(sock).trust_domain != trust_domain:
                # It claimed another trust domain a moment ago.
                raise _wrong_identity("it changes its SPIFFE ID between connections")
        except BaseException:
            sock.close()
            raise
        return sock

    def _admitted(self, sock: DeadlineTlsSocket) -> SpiffeId:
        certificate = sock.getpeercert(binary_form=True)
        if certificate is None:
            raise _wrong_identity("it showed no certificate")
        spiffe_id = _shown_id(certificate)
        if not self.rule.admits(spiffe_id):
            # The right part of a trust domain that is not allowed: it is the option, or the host.
            elsewhere = IdRule(self.rule.path, (spiffe_id.trust_domain,)).admits(spiffe_id)
            raise _wrong_identity(
                f"found {spiffe_id}, expected {self.rule}",
                Finding.OTHER_TRUST_DOMAIN if elsewhere else None,
            )
        return spiffe_id


def _shown_id(certificate: bytes) -> SpiffeId:
    problem = ""
    leaf = None
    try:
        leaf = x509.load_der_x509_certificate(certificate)
    except (ValueError, TypeError, x509.InvalidVersion):
        problem = "its certificate cannot be read"
    if leaf is not None:
        try:
            return leaf_spiffe_id(leaf)
        except ValueError as error:
            problem = str(error)
    raise _wrong_identity(problem)


def _wrong_identity(problem: str, finding: Finding | None = None) -> AttemptFailed:
    return AttemptFailed(Failure(Cause.PEER_IDENTITY, problem, final=True, finding=finding))


def _handshake(
    context: ssl.SSLContext, connection: socket.socket, attempt: Attempt
) -> DeadlineTlsSocket:
    attempt.doing = Cause.TLS_TIMEOUT
    sock = cast(DeadlineTlsSocket, context.wrap_socket(connection, do_handshake_on_connect=False))
    try:
        sock.work_for(attempt)
        sock.do_handshake()
    except BaseException:
        sock.close()
        raise
    return sock


def _context(identity: Identity, anchors: Iterable[x509.Certificate] | None) -> ssl.SSLContext:
    """A client context with our SVID that trusts ``anchors`` only; with None, it asks only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.sslsocket_class = DeadlineTlsSocket
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # SPIFFE knows IDs, not host names.
    context.check_hostname = False
    if anchors is None:
        context.verify_mode = ssl.CERT_NONE
    else:
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= _PARTIAL_CHAIN
        _load_anchors(context, anchors)
    _load_svid(context, identity)
    return context


def _ways(anchors: Sequence[x509.Certificate]) -> list[Sequence[x509.Certificate]]:
    """All ``anchors`` together; then, where some share a name, one of each name at a time."""
    named: dict[bytes, list[x509.Certificate]] = {}
    for anchor in anchors:
        try:
            name = anchor.subject.public_bytes()
        except ValueError:
            # One that cannot be read is OpenSSL's to refuse.
            return [anchors]
        named.setdefault(name, []).append(anchor)
    most = max((len(alike) for alike in named.values()), default=1)
    if most == 1:
        return [anchors]
    one_of_each = [[alike[i % len(alike)] for alike in named.values()] for i in range(most)]
    return [anchors, *one_of_each]


def _as_anchor(authority: x509.Certificate) -> x509.Certificate:
    """``authority`` without an extended key usage, which decides for OpenSSL and not for SPIFFE.

    OpenSSL takes an anchor's name and key and does not check its own signature, so this one is
    signed by a key that nobody has.
    """
    try:
        extensions = list(authority.extensions)
    except ValueError:
        # One that cannot be read is OpenSSL's to refuse.
        return authority
    kept = [x for x in extensions if not isinstance(x.value, x509.ExtendedKeyUsage)]
    if len(kept) == len(extensions):
        return authority
    public = authority.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey = rsa.generate_private_key(65537, 2048)
    elif isinstance(public, ec.EllipticCurvePublicKey):
        key = ec.generate_private_key(public.curve)
    else:
        return authority
    begins, ends = validity(authority)
    builder = (
        x509.CertificateBuilder()
        .subject_name(authority.subject)
        .issuer_name(authority.issuer)
        .public_key(public)
        .serial_number(authority.serial_number)
        .not_valid_before(begins)
        .not_valid_after(ends)
    )
    for extension in kept:
        builder = builder.add_extension(extension.value, extension.critical)
    return builder.sign(key, hashes.SHA256())


def _load_anchors(context: ssl.SSLContext, anchors: Iterable[x509.Certificate]) -> None:
    problem = ""
    for anchor in anchors:
        try:
            der = _as_anchor(anchor).public_bytes(serialization.Encoding.DER)
            context.load_verify_locations(cadata=der)
        except ssl.SSLError as error:
            problem = error.reason or "unusable"
        if problem:
            raise IdentityError(
                f"OpenSSL refuses a certificate of our trust bundle ({problem}), with the serial"
                f" number {anchor.serial_number:x}",
                "remove it from the bundle, or have its authority replaced",
            )


def _load_svid(context: ssl.SSLContext, identity: Identity) -> None:
    if not hasattr(os, "memfd_create"):
        raise _no_memory_file("its Python has no os.memfd_create")
    problem = None
    try:
        # Python's ssl takes a certificate and key from a file only; this one never has a name.
        with os.fdopen(os.memfd_create("svid", os.MFD_CLOEXEC), "wb") as memory:
            memory.write(identity.private_key_pem)
            for certificate in identity.chain:
                memory.write(certificate.public_bytes(serialization.Encoding.PEM))
            memory.flush()
            context.load_cert_chain(f"/proc/self/fd/{memory.fileno()}")
    except ssl.SSLError as error:
        problem = IdentityError(
            f"OpenSSL refuses our SVID ({error.reason or 'unusable'})",
            "have it issued with a key that this host's policy allows, for example EC P-256",
            code="spiffe_failed_to_extract_x509_svid",
        )
    except OSError as error:
        # For example where the kernel forbids memory files (vm.memfd_noexec) or /proc is missing.
        problem = _no_memory_file(error.strerror or "unknown error")
    if problem is not None:
        raise problem


def _no_memory_file(why: str) -> IdentityError:
    return IdentityError(
        f"This host cannot keep the SVID's key off the disk: it gives us no memory file ({why})",
        "run the module on a Linux host with memfd_create and /proc",
    )


__all__ = ["PeerTls"]
