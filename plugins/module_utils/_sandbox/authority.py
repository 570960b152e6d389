# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A throwaway SPIFFE authority: X.509-SVIDs as SPIRE issues them, and wrong ones on request.

Nothing is checked on the way in: wrong identities are half of what a rehearsal needs.
Source: SPIFFE X509-SVID, sections 2 to 4 and appendix A; SPIRE, pkg/server/credtemplate.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Sequence
from dataclasses import field
from pathlib import Path
from typing import Union

from .._dataclass import dataclass
from .._third_party import ExtendedKeyUsageOID, NameOID, ec, hashes, rsa, serialization, x509

_Key = Union[ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey]

# Backdated as SPIRE does it, so that a peer whose clock is a little behind accepts it.
_BACKDATE = datetime.timedelta(seconds=10)
_CA_LIFETIME = datetime.timedelta(days=3650)


@dataclass(frozen=True)
class IssuedSvid:
    """An X.509-SVID: the chain (PEM, leaf first, without the root) and its key (PEM, PKCS#8)."""

    chain_pem: bytes
    key_pem: bytes = field(repr=False)
    spiffe_id: str


class Authority:
    """The certificate authority of one trust domain, for example ``spike.ist``."""

    def __init__(self, trust_domain: str) -> None:
        self.trust_domain = trust_domain
        self._root = _Issuer.root(trust_domain)
        self._intermediate = self._root.intermediate(trust_domain)

    def bundle_pem(self) -> bytes:
        """Return the trust bundle: the root certificate."""
        return _pem(self._root.certificate)

    def intermediate_pem(self) -> bytes:
        """Return the intermediate's certificate: an anchor that is not self-signed."""
        return _pem(self._intermediate.certificate)

    def issue(
        self,
        spiffe_id: str,
        *,
        lifetime_seconds: float = 3600,
        key: str = "ec",
        not_before_offset: float = 0,
        extra_uris: Sequence[str] = (),
        ca: bool = False,
        via_intermediate: bool = False,
    ) -> IssuedSvid:
        """Issue an SVID for ``spiffe_id``, which may lie outside the trust domain.

        ``key`` is ``ec`` (P-256) or ``rsa`` (2048 bits). The certificate is valid from
        ``not_before_offset`` seconds after now, for ``lifetime_seconds``; a negative lifetime
        makes one that expired that long ago. An empty ``spiffe_id`` without ``extra_uris`` makes
        a certificate without names. ``via_intermediate`` puts an intermediate authority into the
        chain; ``ca`` makes the leaf an authority, which no SVID may be.
        """
        private = _new_key(key)
        issuer = self._intermediate if via_intermediate else self._root
        start = _now() + datetime.timedelta(seconds=not_before_offset)
        end = start + datetime.timedelta(seconds=lifetime_seconds)
        if lifetime_seconds <= 0:
            start = end - datetime.timedelta(hours=1)
        elif not not_before_offset:
            start -= _BACKDATE
        leaf = issuer.sign(
            _name("SPIRE", "workload"),
            private,
            (start, end),
            [uri for uri in (spiffe_id, *extra_uris) if uri],
            x509.BasicConstraints(ca=ca, path_length=None),
        )
        chain = [leaf, self._intermediate.certificate] if via_intermediate else [leaf]
        return IssuedSvid(
            chain_pem=b"".join(_pem(certificate) for certificate in chain),
            key_pem=private.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
            spiffe_id=spiffe_id,
        )

    def write(self, directory: str | Path, name: str, svid: IssuedSvid) -> tuple[Path, Path]:
        """Write ``name.pem`` (the chain) and ``name.key`` (mode 0600); return both paths."""
        cert_path = Path(directory) / f"{name}.pem"
        key_path = Path(directory) / f"{name}.key"
        cert_path.write_bytes(svid.chain_pem)
        # A new file: the mode of one that exists would stay as it is.
        key_path.unlink(missing_ok=True)
        descriptor = os.open(key_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(svid.key_pem)
        return cert_path, key_path


@dataclass(frozen=True)
class _Issuer:
    certificate: x509.Certificate
    private: _Key = field(repr=False)

    @classmethod
    def root(cls, trust_domain: str) -> _Issuer:
        private = _new_key("ec")
        name = _name("SPIFFE", "root")
        uris = [f"spiffe://{trust_domain}"]
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        public = private.public_key()
        return cls(_sign(name, private, name, public, _ca_validity(), uris, constraints), private)

    def intermediate(self, trust_domain: str) -> _Issuer:
        private = _new_key("ec")
        certificate = self.sign(
            _name("SPIFFE", "intermediate"),
            private,
            _ca_validity(),
            [f"spiffe://{trust_domain}"],
            x509.BasicConstraints(ca=True, path_length=0),
        )
        return _Issuer(certificate, private)

    def sign(
        self,
        subject: x509.Name,
        private: _Key,
        validity: tuple[datetime.datetime, datetime.datetime],
        uris: Sequence[str],
        constraints: x509.BasicConstraints,
    ) -> x509.Certificate:
        issuer = self.certificate.subject
        return _sign(
            issuer, self.private, subject, private.public_key(), validity, uris, constraints
        )


def _sign(
    issuer: x509.Name,
    issuer_key: _Key,
    subject: x509.Name,
    public: ec.EllipticCurvePublicKey | rsa.RSAPublicKey,
    validity: tuple[datetime.datetime, datetime.datetime],
    uris: Sequence[str],
    constraints: x509.BasicConstraints,
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .subject_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(validity[0])
        .not_valid_after(validity[1])
        .add_extension(constraints, critical=True)
        .add_extension(_key_usage(constraints.ca), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
    )
    if not constraints.ca:
        both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(both), critical=False)
    if uris:
        names = [x509.UniformResourceIdentifier(uri) for uri in uris]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def _key_usage(ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _new_key(kind: str) -> _Key:
    if kind == "ec":
        return ec.generate_private_key(ec.SECP256R1())
    if kind == "rsa":
        return rsa.generate_private_key(65537, 2048)
    raise ValueError(f"{kind!r} is not a kind of key; give ec or rsa")


def _name(organization: str, role: str) -> x509.Name:
    # SPIRE's subjects say nothing about the workload either; the role tells two names of one
    # chain apart, without which OpenSSL takes the intermediate for its own issuer.
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "US"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, role),
        ]
    )


def _ca_validity() -> tuple[datetime.datetime, datetime.datetime]:
    now = _now()
    return now - datetime.timedelta(days=1), now + _CA_LIFETIME


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


__all__ = ["Authority", "IssuedSvid"]
