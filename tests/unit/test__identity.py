# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._duration import parse_duration
from ansible_collections.dayzero.spike.plugins.module_utils._errors import IdentityError
from ansible_collections.dayzero.spike.plugins.module_utils._identity import obtain_identity
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox._authority import (
    Authority,
    IssuedSvid,
)
from ansible_collections.dayzero.spike.plugins.module_utils._settings import Settings

BOOTSTRAP = "spiffe://spike.ist/spike/bootstrap"
AUTHORITY = Authority("spike.ist")
SVID = AUTHORITY.issue(BOOTSTRAP)
SOME_TIME = parse_duration("20s")


def now() -> datetime:
    return datetime.now(timezone.utc)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(AUTHORITY.bundle_pem())
    AUTHORITY.write(tmp_path, "svid", SVID)
    return Settings(
        peers=(),
        shamir_threshold=2,
        share_scheme="circl-1.6.2",
        keeper_timeout=SOME_TIME,
        keeper_max_retries=5,
        keeper_retry_initial_interval=SOME_TIME,
        keeper_retry_max_interval=SOME_TIME,
        timeout=SOME_TIME,
        nexus_api_url="https://localhost:8553",
        verify=True,
        init_verification_timeout=SOME_TIME,
        force=False,
        svid_source="files",
        spiffe_endpoint_socket=None,
        spiffe_source_timeout=SOME_TIME,
        svid_cert=str(tmp_path / "svid.pem"),
        svid_key=str(tmp_path / "svid.key"),
        svid_bundle=str(bundle),
        spire_agent_path="spire-agent",
        federated_bundles={},
        trust_root_keeper=("spike.ist",),
        trust_root_nexus=("spike.ist",),
        trust_root_bootstrap=("spike.ist",),
        state_dir=str(tmp_path),
        runtime_dir=str(tmp_path),
        nexus_data_dir=None,
    )


def use(settings: Settings, svid: IssuedSvid) -> None:
    assert settings.svid_cert is not None
    AUTHORITY.write(Path(settings.svid_cert).parent, "svid", svid)


def refusal(settings: Settings) -> IdentityError:
    with pytest.raises(IdentityError) as caught:
        obtain_identity(settings, now=now)
    assert caught.value.message.startswith(f"{caught.value.option}: ")
    assert "\n" not in caught.value.message
    return caught.value


@pytest.mark.parametrize("spiffe_id", [BOOTSTRAP, f"{BOOTSTRAP}/host-1"], ids=["exact", "below"])
def test_a_bootstrap_identity_is_accepted(settings: Settings, spiffe_id: str) -> None:
    use(settings, AUTHORITY.issue(spiffe_id))
    assert str(obtain_identity(settings, now=now).spiffe_id) == spiffe_id


@pytest.mark.parametrize(
    "spiffe_id",
    [
        "spiffe://spike.ist/spike/nexus",
        "spiffe://spike.ist/spike/bootstrapper",
        "spiffe://other.org/spike/bootstrap",
    ],
)
def test_another_identity_is_refused_with_the_one_expected(
    settings: Settings, spiffe_id: str
) -> None:
    use(settings, AUTHORITY.issue(spiffe_id))
    error = refusal(settings)
    assert error.message.startswith(
        f"svid_cert: expected the bootstrap identity {BOOTSTRAP} in {settings.svid_cert},"
        f" found {spiffe_id}; "
    )
    assert error.code == "access_unauthorized"


def test_the_trust_domains_of_bootstrap_are_the_options(settings: Settings) -> None:
    settings = dataclasses.replace(settings, trust_root_bootstrap=("a.org", "b.org"))
    assert (
        "expected the bootstrap identity spiffe://a.org/spike/bootstrap or"
        " spiffe://b.org/spike/bootstrap"
    ) in refusal(settings).message


def test_an_expired_svid_is_refused_with_both_times(settings: Settings) -> None:
    use(settings, AUTHORITY.issue(BOOTSTRAP, lifetime_seconds=-60))
    error = refusal(settings)
    assert f"the SVID {BOOTSTRAP} in {settings.svid_cert} cannot be used" in error.message
    assert "the certificate expired at 20" in error.message
    assert "(it is 20" in error.message


def test_an_svid_of_the_future_is_refused_with_both_times(settings: Settings) -> None:
    use(settings, AUTHORITY.issue(BOOTSTRAP, not_before_offset=600))
    assert "the certificate is not valid before 20" in refusal(settings).message


def test_the_clock_is_the_callers(settings: Settings) -> None:
    with pytest.raises(IdentityError, match="expired at"):
        obtain_identity(settings, now=lambda: now() + timedelta(days=1))


@pytest.mark.parametrize("option", ["trust_root_keeper", "trust_root_nexus"])
def test_a_trust_domain_without_a_bundle_is_named(settings: Settings, option: str) -> None:
    settings = dataclasses.replace(settings, **{option: ("spike.ist", "other.org")})
    error = refusal(settings)
    assert error.message.startswith(
        f"federated_bundles: there is no trust bundle for other.org (in {option}), and our own"
        " SVID is of spike.ist; correct the trust domain there, or if it is right, "
    )


def test_a_federated_bundle_serves_a_trust_domain(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "other.pem"
    path.write_bytes(Authority("other.org").bundle_pem())
    settings = dataclasses.replace(
        settings, trust_root_keeper=("other.org",), federated_bundles={"other.org": str(path)}
    )
    assert sorted(obtain_identity(settings, now=now).bundles) == ["other.org", "spike.ist"]


@contextlib.contextmanager
def agent_with(
    settings: Settings, ids: list[str], *, outdated: str | None = None
) -> Iterator[Settings]:
    pytest.importorskip("spiffe", reason="the Python package spiffe is not installed")
    from ansible_collections.dayzero.spike.tests.support.workload_api import Grant, WorkloadApi

    svids = [AUTHORITY.issue(i, lifetime_seconds=-60 if i == outdated else 3600) for i in ids]
    with WorkloadApi([Grant(svid, AUTHORITY) for svid in svids]) as agent:
        yield dataclasses.replace(
            settings, svid_source="workload_api", spiffe_endpoint_socket=f"unix://{agent.path}"
        )


def test_of_several_svids_the_first_for_bootstrap_is_taken(settings: Settings) -> None:
    with agent_with(settings, ["spiffe://spike.ist/web", f"{BOOTSTRAP}/1", BOOTSTRAP]) as asking:
        assert str(obtain_identity(asking, now=now).spiffe_id) == f"{BOOTSTRAP}/1"


def test_an_outdated_svid_does_not_stand_before_a_valid_one(settings: Settings) -> None:
    ids = [f"{BOOTSTRAP}/1", f"{BOOTSTRAP}/2"]
    with agent_with(settings, ids, outdated=f"{BOOTSTRAP}/1") as asking:
        assert str(obtain_identity(asking, now=now).spiffe_id) == f"{BOOTSTRAP}/2"


def test_svids_none_of_which_is_for_bootstrap_are_all_named(settings: Settings) -> None:
    ids = ["spiffe://spike.ist/web", "spiffe://spike.ist/db"]
    with agent_with(settings, ids) as asking:
        error = refusal(asking)
    assert error.message.startswith(f"svid_source: expected the bootstrap identity {BOOTSTRAP} ")
    assert f"found {', '.join(ids)}; create the registration entry" in error.message
    assert error.code == "access_unauthorized"


def test_spire_agent_is_asked_where_the_options_say_so(settings: Settings) -> None:
    settings = dataclasses.replace(
        settings,
        svid_source="spire_agent",
        spiffe_endpoint_socket="unix:///nonexistent/api.sock",
    )
    error = refusal(settings)
    assert error.option == "spiffe_endpoint_socket"
    assert "/nonexistent/api.sock: No such file or directory" in error.message


def test_spire_agent_needs_a_runtime_directory(settings: Settings) -> None:
    settings = dataclasses.replace(settings, svid_source="spire_agent", runtime_dir=None)
    assert refusal(settings).option == "runtime_dir"


def test_a_source_that_does_not_exist_is_refused(settings: Settings) -> None:
    settings = dataclasses.replace(settings, svid_source="vault")
    assert refusal(settings).message.startswith("svid_source: 'vault' is not one of")
