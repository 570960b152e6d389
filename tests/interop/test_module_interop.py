# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module itself against keepers and Nexus made of SPIKE's own libraries."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.authority import Authority
from ansible_collections.dayzero.spike.tests.interop.go_spike import GoSpike
from ansible_collections.dayzero.spike.tests.support.directories import memory_directory
from ansible_collections.dayzero.spike.tests.support.module_run import ModuleRun, run_directly

pytestmark = pytest.mark.slow

Run = Callable[..., ModuleRun]


@pytest.fixture
def run(tmp_path: Path, authority: Authority) -> Iterator[Run]:
    """Runs the module against a cluster, as the bootstrap of ``authority`` or of ``issuer``."""
    with memory_directory() as runtime_dir:

        def run_against(
            spike: GoSpike, *, issuer: Authority = authority, **changes: Any
        ) -> ModuleRun:
            svid = issuer.issue(f"spiffe://{issuer.trust_domain}/spike/bootstrap")
            certificate, key = issuer.write(tmp_path, "bootstrap", svid)
            bundle = tmp_path / "bundle.pem"
            bundle.write_bytes(issuer.bundle_pem())
            options = {
                "keeper_peers": spike.keeper_urls,
                "nexus_api_url": spike.nexus_url,
                "svid_source": "files",
                "svid_cert": str(certificate),
                "svid_key": str(key),
                "svid_bundle": str(bundle),
                "state_dir": str(tmp_path / "state"),
                "runtime_dir": str(runtime_dir),
                **changes,
            }
            return run_directly(options, environment={**os.environ, "HOME": str(tmp_path)})

        yield run_against


@pytest.mark.parametrize(("keepers", "threshold"), [(2, 2), (3, 2), (5, 4), (20, 11)])
def test_spike_ends_with_the_key_and_with_the_shards_that_it_makes_of_it(
    start_go_spike: Callable[..., GoSpike], run: Run, keepers: int, threshold: int
) -> None:
    spike = start_go_spike(keepers=keepers, threshold=threshold)
    result = run(spike, shamir_threshold=threshold).result
    assert (result["changed"], result["phase"], result["nexus"]["state"]) == (True, "done", "ready")
    state = spike.state()
    assert state.consistent
    # One preflight and one shard each: nothing was tried twice.
    assert [(k.requests, k.contributes) for k in state.keepers] == [(2, 1)] * keepers


def test_a_second_run_proves_the_key_and_sends_nothing(go_spike: GoSpike, run: Run) -> None:
    run(go_spike)
    before = go_spike.state()
    again = run(go_spike).result
    after = go_spike.state()
    assert (again["changed"], again["nexus"]["state"]) == (False, "ready")
    assert after.keepers == before.keepers
    assert after.nexus.root_key_sha256 == before.nexus.root_key_sha256


def test_a_keeper_that_does_not_know_our_trust_domain_is_told_from_one_that_is_down(
    go_spike: GoSpike, run: Run, authority: Authority, tmp_path: Path
) -> None:
    keepers_bundle = tmp_path / "spike.ist.pem"
    keepers_bundle.write_bytes(authority.bundle_pem())
    result = run(
        go_spike,
        issuer=Authority("elsewhere.example"),
        trust_root_bootstrap=["elsewhere.example"],
        federated_bundles={"spike.ist": str(keepers_bundle)},
        # Nexus would refuse us first.
        nexus_api_url="https://127.0.0.1:1",
    ).result
    assert result["failed_keepers"] == [1, 2, 3]
    causes = {(k["cause"], k["state"], k["attempts"]) for k in result["keepers"]}
    assert causes == {("identity_refused", "rejected", 1)}
    assert not any(keeper.has_shard for keeper in go_spike.state().keepers)


def test_nexus_is_told_from_a_keeper_by_its_identity(go_spike: GoSpike, run: Run) -> None:
    result = run(go_spike, nexus_api_url=go_spike.keeper_urls[0]).result
    assert (result["failed"], result["phase"]) == (True, "guard")
    assert "found spiffe://spike.ist/spike/keeper" in result["msg"]
    assert not any(keeper.has_shard for keeper in go_spike.state().keepers)


def test_a_thousand_keepers_all_get_their_shard(
    start_go_spike: Callable[..., GoSpike], run: Run
) -> None:
    spike = start_go_spike(keepers=1000, threshold=500)
    result = run(spike, shamir_threshold=500).result
    assert (result["phase"], result["failed_keepers"]) == ("done", [])
    assert {keeper["state"] for keeper in result["keepers"]} == {"delivered"}
    assert spike.state().consistent
