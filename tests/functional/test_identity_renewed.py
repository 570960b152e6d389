# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Our identity is taken again while a run waits: a proof may take longer than an SVID lives."""

from __future__ import annotations

import threading
from datetime import datetime, timezone

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.authority import Authority
from ansible_collections.dayzero.spike.tests.support.module_host import Host
from cryptography import x509

pytestmark = pytest.mark.slow

BOOTSTRAP = "spiffe://spike.ist/spike/bootstrap"


def write_svid(host: Host, seconds: float) -> None:
    """Put an SVID that lives for ``seconds`` where the module reads it, as spiffe-helper does."""
    svid = host.sandbox.authority.issue(BOOTSTRAP, lifetime_seconds=seconds)
    host.sandbox.authority.write(host.sandbox.svid_cert.parent, "svid", svid)


def expires_at(host: Host) -> datetime:
    leaf = x509.load_pem_x509_certificate(host.sandbox.svid_cert.read_bytes())
    return leaf.not_valid_after_utc


def wait_until_expired(host: Host) -> None:
    left = (expires_at(host) - datetime.now(timezone.utc)).total_seconds()
    # Nobody tells when a certificate expires.
    threading.Event().wait(max(0.0, left) + 1.1)


def test_a_proof_that_takes_longer_than_an_svid_lives_is_given_to_the_next_one(
    host: Host,
) -> None:
    host.sandbox.nexus.stop()
    write_svid(host, 9)
    with host.start(init_verification_timeout="40s") as started:
        for keeper in host.sandbox.keepers:
            assert keeper.stats.wait_for(lambda stats: stats.shard_requests > 0, 15)
        wait_until_expired(host)
        write_svid(host, 60)
        host.sandbox.nexus.start()
        result = started.finish().result
    assert (result["phase"], result["nexus"]["state"]) == ("done", "ready")


def test_an_svid_that_nobody_renews_is_named_as_the_cause(host: Host) -> None:
    host.sandbox.nexus.stop()
    write_svid(host, 9)
    with host.start(init_verification_timeout="40s") as started:
        for keeper in host.sandbox.keepers:
            assert keeper.stats.wait_for(lambda stats: stats.shard_requests > 0, 15)
        wait_until_expired(host)
        host.sandbox.nexus.start()
        result = started.finish().result
    assert (result["phase"], result["code"]) == ("verify", "access_unauthorized")
    assert "our SVID expired at" in result["msg"]
    assert result["why"][0] == "This host's SVID has expired, and no newer one could be had."
    assert result["what_to_do"][0] == "Renew this host's SVID: check its SPIRE agent and its clock."
    write_svid(host, 60)
    assert host.run().result["phase"] == "done"


def test_a_bundle_with_an_authority_of_another_trust_domain_is_refused(host: Host) -> None:
    foreign = Authority("other.org").bundle_pem()
    host.sandbox.svid_bundle.write_bytes(host.sandbox.authority.bundle_pem() + foreign)
    result = host.run().result
    assert (result["phase"], result["option"]) == ("identity", "svid_bundle")
    assert "the trust bundle of spike.ist holds an authority of other.org" in result["msg"]
    assert [keeper.stats.connections for keeper in host.sandbox.keepers] == [0, 0, 0]


def test_a_federated_bundle_that_is_empty_and_not_needed_does_not_stop_a_run(host: Host) -> None:
    empty = host.directory / "empty.pem"
    empty.touch()
    result = host.run(federated_bundles={"other.org": str(empty)}).result
    assert result["phase"] == "done"
