# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""X.509-SVIDs: what makes a certificate one, and our own identity.

Bytes and certificates in, records or ValueError out; nothing here reads a file or asks an agent.
The sentence in a ValueError goes to the operator behind the name of the file or the agent, so it
never holds the text of another library's exception: that could quote what it failed to parse.

Source: X509-SVID.md (https://github.com/spiffe/spiffe, standards), sections 2, 4 and 5.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import datetime, timezone
from typing import Union

from .._clock import as_utc
from .._dataclass import dataclass
from .._third_party import UnsupportedAlgorithm, ec, rsa, serialization, x509
from .spiffe_id import SpiffeId

PrivateKey = Union[ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey]

_BEGIN_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
_CERTIFICATE = re.compile(
    re.escape(_BEGIN_CERTIFICATE) + rb".*?-----END CERTIFICATE-----", re.DOTALL
)
# OpenSSL writes a block of curve parameters before an EC key: only the key's block is wanted.
_PRIVATE_KEY = re.compile(
    rb"-----BEGIN ([A-Z0-9 ]*)PRIVATE KEY-----.*?-----END \1PRIVATE KEY-----", re.DOTALL
)


@dataclass(frozen=True)
class Identity:
    """Who we are to keepers and Nexus, and whom we trust.

    ``chain`` begins with the leaf, ``private_key_pem`` is unencrypted PKCS#8, and ``bundles``
    holds the anchors of each trust domain, the identity's own included.
    """

    spiffe_id: SpiffeId
    chain: tuple[x509.Certificate, ...]
    private_key_pem: bytes = field(repr=False)
    bundles: Mapping[str, tuple[x509.Certificate, ...]]


@dataclass(frozen=True)
class Offer:
    """The identities that one source has, and the words to refuse them with.

    A refusal reads ``{option}: ... {origin} ...; {remedy}``. ``if_other`` is the remedy for a
    wrong SPIFFE ID, ``if_outdated`` the one for a certificate that is not valid now,
    ``if_unfederated`` the one for a trust domain whose bundle is missing, and ``if_foreign`` the
    one for a bundle that holds an authority of another trust domain. ``bundle_option`` is where
    the own trust domain's bundle comes from. ``broken`` says of an SVID that was passed over why it
    cannot be used, empty where there was none.
    """

    identities: tuple[Identity, ...]
    option: str
    origin: str
    if_other: str
    if_outdated: str
    if_unfederated: str
    if_foreign: str
    bundle_option: str = "svid_source"
    broken: str = ""


def leaf_spiffe_id(certificate: x509.Certificate) -> SpiffeId:
    """Return the SPIFFE ID of an X.509-SVID's leaf.

    Raises ValueError, with the reason, for a certificate that is no such leaf: it has not exactly
    one URI name, that is not a SPIFFE ID, or it may sign certificates or revocation lists.
    """
    uris, is_ca, usage = _extensions(certificate)
    if len(uris) != 1:
        raise ValueError(
            f"it has {len(uris) or 'no'} URI names; an SVID has exactly one, its SPIFFE ID"
        )
    spiffe_id = SpiffeId.parse(uris[0])
    if is_ca:
        raise ValueError(f"it is the certificate of an authority ({spiffe_id}), not of a workload")
    if usage is not None and (usage.key_cert_sign or usage.crl_sign):
        raise ValueError(f"its key usage lets it sign for others ({spiffe_id}); an SVID must not")
    return spiffe_id


def certificates_from_pem(pem: bytes) -> tuple[x509.Certificate, ...]:
    """Read every certificate of a PEM text, in order: a chain, or a trust bundle.

    Text between the certificates, and other kinds of blocks, are passed over. Raises ValueError
    when there is no certificate, or one that cannot be read.
    """
    blocks = _CERTIFICATE.findall(pem)
    if not blocks:
        raise ValueError("it holds no PEM certificate")
    if len(blocks) != pem.count(_BEGIN_CERTIFICATE):
        raise ValueError("a PEM certificate in it is cut short")
    return tuple(_certificate(block, number) for number, block in enumerate(blocks, 1))


def private_key_from_pem(pem: bytes) -> PrivateKey:
    """Read the private key of a PEM text: EC or RSA, not encrypted.

    Raises ValueError for anything else, with a sentence that holds nothing of the text.
    """
    block = _PRIVATE_KEY.search(pem)
    if block is None:
        raise ValueError("it holds no PEM private key")
    # PKCS#8 says so in its label, OpenSSL's older form in a header.
    if block[1].startswith(b"ENCRYPTED") or b"Proc-Type: 4,ENCRYPTED" in block[0]:
        raise ValueError("its private key is encrypted, and there is nobody to ask for the phrase")
    key = None
    with contextlib.suppress(ValueError, TypeError, NotImplementedError, UnsupportedAlgorithm):
        key = serialization.load_pem_private_key(block[0], password=None)
    if key is None:
        raise ValueError("its private key cannot be read")
    return ec_or_rsa(key)


def ec_or_rsa(key: object) -> PrivateKey:
    """Return the key, of the kinds that SPIRE issues; raise ValueError for any other object."""
    if not isinstance(key, (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey)):
        raise ValueError("its private key is neither EC nor RSA")
    return key


def check_key(leaf: x509.Certificate, private_key: PrivateKey) -> None:
    """Raise ValueError unless the private key is that of the certificate."""
    public = None
    # cryptography 3.4.8 knows no EC parameters but those with a name: NotImplementedError.
    with contextlib.suppress(ValueError, NotImplementedError, UnsupportedAlgorithm):
        public = leaf.public_key()
    if not isinstance(public, (ec.EllipticCurvePublicKey, rsa.RSAPublicKey)) or (
        public.public_numbers() != private_key.public_key().public_numbers()
    ):
        raise ValueError("its private key does not match the certificate")


def check_dates(chain: Sequence[x509.Certificate], now: datetime) -> None:
    """Raise ValueError unless every certificate of the chain is valid at ``now`` (aware)."""
    for position, certificate in enumerate(chain):
        which = f"intermediate certificate {position}" if position else "the certificate"
        begins, ends = validity(certificate)
        if now < begins:
            raise ValueError(f"{which} is not valid before {as_utc(begins)} (it is {as_utc(now)})")
        if now > ends:
            raise ValueError(f"{which} expired at {as_utc(ends)} (it is {as_utc(now)})")


def build_identity(
    chain: Sequence[x509.Certificate],
    private_key: PrivateKey,
    bundles: Mapping[str, Sequence[x509.Certificate]],
) -> Identity:
    """Join the parts of an identity that belong together; dates are left to `check_dates`.

    Raises ValueError when the leaf is not an SVID, the key is not its key, or its own trust
    domain has no anchors.
    """
    spiffe_id = leaf_spiffe_id(chain[0])
    check_key(chain[0], private_key)
    anchors = {domain: tuple(bundle) for domain, bundle in bundles.items() if bundle}
    if spiffe_id.trust_domain not in anchors:
        raise ValueError(f"there is no trust bundle for its trust domain {spiffe_id.trust_domain}")
    pem = private_key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return Identity(spiffe_id, tuple(chain), pem, anchors)


def authority_trust_domain(certificate: x509.Certificate) -> str | None:
    """Return the trust domain that an authority's certificate names, None if it names none.

    Naming it is only a SHOULD for authorities (X509-SVID.md, section 2).
    """
    with contextlib.suppress(ValueError):
        uris, _is_ca, _usage = _extensions(certificate)
        if len(uris) == 1:
            return SpiffeId.parse(uris[0]).trust_domain
    return None


def _extensions(
    certificate: x509.Certificate,
) -> tuple[list[str], bool, x509.KeyUsage | None]:
    """Return the URI names, whether it is an authority, and the key usage (None if not set)."""
    uris: list[str] = []
    is_ca = False
    usage = None
    try:
        for extension in certificate.extensions:
            value = extension.value
            # isinstance() takes its time with these abstract classes.
            kind = type(value)
            if kind is x509.SubjectAlternativeName:
                uris = value.get_values_for_type(x509.UniformResourceIdentifier)
            elif kind is x509.BasicConstraints:
                is_ca = value.ca
            elif kind is x509.KeyUsage:
                usage = value
    except (
        ValueError,
        TypeError,
        x509.DuplicateExtension,
        x509.InvalidVersion,
        x509.UnsupportedGeneralNameType,
    ):
        raise ValueError("its extensions cannot be read") from None
    return uris, is_ca, usage


def _certificate(block: bytes, number: int) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(block)
    except (ValueError, TypeError, x509.InvalidVersion):
        raise ValueError(f"PEM certificate {number} in it cannot be read") from None


def validity(certificate: x509.Certificate) -> tuple[datetime, datetime]:
    """From when to when a certificate is valid; both are aware."""
    # cryptography 42 deprecates the naive dates, and only from 42 on has the aware ones.
    if hasattr(certificate, "not_valid_after_utc"):
        return certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return (
        certificate.not_valid_before.replace(tzinfo=timezone.utc),
        certificate.not_valid_after.replace(tzinfo=timezone.utc),
    )


__all__ = [
    "Identity",
    "Offer",
    "PrivateKey",
    "authority_trust_domain",
    "build_identity",
    "certificates_from_pem",
    "check_dates",
    "check_key",
    "ec_or_rsa",
    "leaf_spiffe_id",
    "private_key_from_pem",
    "validity",
]
