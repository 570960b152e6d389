# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""URIs are read out of a certificate without a library."""

from __future__ import annotations

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._hosts.certificate import uris
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.authority import Authority
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st

AUTHORITY = Authority("spike.ist")


def der(**options: object) -> bytes:
    issued = AUTHORITY.issue("spiffe://spike.ist/spike/keeper", **options)
    certificate = x509.load_pem_x509_certificates(issued.chain_pem)[0]
    return certificate.public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize("key", ["ec", "rsa"])
def test_the_spiffe_id_of_an_svid_is_found(key: str) -> None:
    assert uris(der(key=key)) == ["spiffe://spike.ist/spike/keeper"]


def test_every_uri_is_found() -> None:
    found = uris(der(extra_uris=["spiffe://spike.ist/other"]))
    assert found == ["spiffe://spike.ist/spike/keeper", "spiffe://spike.ist/other"]


def test_a_certificate_without_names_has_none() -> None:
    issued = AUTHORITY.issue("")
    certificate = x509.load_pem_x509_certificates(issued.chain_pem)[0]
    assert uris(certificate.public_bytes(serialization.Encoding.DER)) == []


def refused(content: bytes) -> str:
    try:
        uris(content)
    except ValueError as error:
        return str(error)
    return ""


@given(st.binary(max_size=200))
def test_what_is_no_certificate_is_refused_as_that(content: bytes) -> None:
    assert refused(content) in ("it is no certificate", "")


@given(st.integers(min_value=0, max_value=600))
def test_a_certificate_that_is_cut_is_refused_as_that(length: int) -> None:
    whole = der()
    assert refused(whole[: min(length, len(whole) - 1)]) in ("it is no certificate", "")
