# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import dataclasses
import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._clock import parse_duration
from ansible_collections.dayzero.spike.plugins.module_utils._dataclass import dataclass
from ansible_collections.dayzero.spike.plugins.module_utils._errors import (
    RERUN,
    IdentityError,
)
from ansible_collections.dayzero.spike.plugins.module_utils._naming import Naming
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.authority import (
    Authority,
    IssuedSvid,
)
from ansible_collections.dayzero.spike.plugins.module_utils._spiffe import identity
from ansible_collections.dayzero.spike.plugins.module_utils._spiffe.source import (
    SVID_SOURCES,
    SvidSettings,
)
from ansible_collections.dayzero.spike.plugins.module_utils._spiffe.spiffe_id import (
    BOOTSTRAP_PATH,
    IdRule,
)
from ansible_collections.dayzero.spike.plugins.module_utils._spiffe.svid import (
    Identity,
    certificates_from_pem,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

BOOTSTRAP = "spiffe://spike.ist/spike/bootstrap"
AUTHORITY = Authority("spike.ist")
SVID = AUTHORITY.issue(BOOTSTRAP)
OTHER = Authority("other.org")
SOME_TIME = parse_duration("20s")


def now() -> datetime:
    return datetime.now(timezone.utc)


@dataclass(frozen=True)
class Given(SvidSettings):
    """A source, and what an identity is taken for."""

    scratch_dir: str
    trust_root_keeper: tuple[str, ...] = ("spike.ist",)
    trust_root_nexus: tuple[str, ...] = ("spike.ist",)
    trust_root_bootstrap: tuple[str, ...] = ("spike.ist",)


def obtain_identity(given: Given, *, now: Callable[[], datetime]) -> Identity:
    """The identity of a bootstrap, as a run takes it."""
    trusted = {
        "trust_root_keeper": given.trust_root_keeper,
        "trust_root_nexus": given.trust_root_nexus,
    }
    rule = IdRule(BOOTSTRAP_PATH, given.trust_root_bootstrap)
    return identity.obtain_identity(given, rule, trusted, scratch_dir=given.scratch_dir, now=now)


@pytest.fixture
def settings(tmp_path: Path) -> Given:
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(AUTHORITY.bundle_pem())
    AUTHORITY.write(tmp_path, "svid", SVID)
    return Given(
        svid_source="files",
        spiffe_endpoint_socket=None,
        spiffe_source_timeout=SOME_TIME,
        svid_cert=str(tmp_path / "svid.pem"),
        svid_key=str(tmp_path / "svid.key"),
        svid_bundle=str(bundle),
        spire_agent_path="spire-agent",
        federated_bundles={},
        scratch_dir=str(tmp_path),
    )


def use(settings: Given, svid: IssuedSvid) -> None:
    assert settings.svid_cert is not None
    AUTHORITY.write(Path(settings.svid_cert).parent, "svid", svid)


def refusal(settings: Given) -> IdentityError:
    with pytest.raises(IdentityError) as caught:
        obtain_identity(settings, now=now)
    assert caught.value.message.startswith(f"{caught.value.option}: ")
    assert "\n" not in caught.value.message
    assert caught.value.advice.what_to_do[-1] == RERUN
    return caught.value


@pytest.mark.parametrize("spiffe_id", [BOOTSTRAP, f"{BOOTSTRAP}/host-1"], ids=["exact", "below"])
def test_a_bootstrap_identity_is_accepted(settings: Given, spiffe_id: str) -> None:
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
def test_another_identity_is_refused_with_the_one_expected(settings: Given, spiffe_id: str) -> None:
    use(settings, AUTHORITY.issue(spiffe_id))
    error = refusal(settings)
    assert error.message.startswith(
        f"svid_cert: expected the bootstrap identity {BOOTSTRAP} in {settings.svid_cert},"
        f" found {spiffe_id}; "
    )
    assert error.code == "access_unauthorized"


def test_the_trust_domains_of_bootstrap_are_the_options(settings: Given) -> None:
    settings = dataclasses.replace(settings, trust_root_bootstrap=("a.org", "b.org"))
    assert (
        "expected the bootstrap identity spiffe://a.org/spike/bootstrap or"
        " spiffe://b.org/spike/bootstrap"
    ) in refusal(settings).message


def test_an_expired_svid_is_refused_with_both_times(settings: Given) -> None:
    use(settings, AUTHORITY.issue(BOOTSTRAP, lifetime_seconds=-60))
    error = refusal(settings)
    assert f"the SVID {BOOTSTRAP} in {settings.svid_cert} cannot be used" in error.message
    assert "the certificate expired at 20" in error.message
    assert "(it is 20" in error.message


def test_an_svid_of_the_future_is_refused_with_both_times(settings: Given) -> None:
    use(settings, AUTHORITY.issue(BOOTSTRAP, not_before_offset=600))
    assert "the certificate is not valid before 20" in refusal(settings).message


def test_the_clock_is_the_callers(settings: Given) -> None:
    with pytest.raises(IdentityError, match="expired at"):
        obtain_identity(settings, now=lambda: now() + timedelta(days=1))


@pytest.mark.parametrize("option", ["trust_root_keeper", "trust_root_nexus"])
def test_a_trust_domain_without_a_bundle_is_named(settings: Given, option: str) -> None:
    settings = dataclasses.replace(settings, **{option: ("spike.ist", "other.org")})
    error = refusal(settings)
    assert error.message.startswith(
        f"federated_bundles: there is no trust bundle for other.org (in {option}), and our own"
        " SVID is of spike.ist; correct the trust domain there, or if it is right, "
    )
    assert f"for other.org (in spike_bootstrap_{option})" in (
        error.advice.spelt(Naming.VARIABLES).msg
    )


def federated(settings: Given, pem: bytes, *, needed: bool = True) -> Given:
    """The same with ``pem`` for the bundle of other.org, of which the keepers are if ``needed``."""
    path = Path(settings.scratch_dir, "other.pem")
    path.write_bytes(pem)
    return dataclasses.replace(
        settings,
        trust_root_keeper=("other.org",) if needed else ("spike.ist",),
        federated_bundles={"other.org": str(path)},
    )


def test_a_federated_bundle_serves_a_trust_domain(settings: Given) -> None:
    settings = federated(settings, OTHER.bundle_pem())
    assert sorted(obtain_identity(settings, now=now).bundles) == ["other.org", "spike.ist"]


def test_a_federated_bundle_that_nobody_needs_may_be_broken(settings: Given) -> None:
    settings = federated(settings, b"", needed=False)
    assert list(obtain_identity(settings, now=now).bundles) == ["spike.ist"]


# -- authorities of another trust domain


def without_a_trust_domain() -> bytes:
    """The root of an upstream authority: it names no trust domain."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Upstream Root")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2026, 1, 1))
        .not_valid_after(datetime(2036, 1, 1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    certificate = builder.sign(key, hashes.SHA256())
    return certificate.public_bytes(serialization.Encoding.PEM)


@pytest.mark.parametrize(
    "pem",
    [
        pytest.param(AUTHORITY.bundle_pem(), id="alone"),
        pytest.param(OTHER.bundle_pem() + AUTHORITY.bundle_pem(), id="behind one of its own"),
        pytest.param(without_a_trust_domain() + AUTHORITY.bundle_pem(), id="behind an upstream"),
    ],
)
def test_a_needed_bundle_with_an_authority_of_another_trust_domain_is_refused(
    settings: Given, pem: bytes
) -> None:
    error = refusal(federated(settings, pem))
    assert error.message == (
        "federated_bundles: the trust bundle of other.org holds an authority of spike.ist, and"
        " would let its SVIDs pass for those of the other; give the bundle of the trust domain"
        " itself"
    )


def test_the_own_bundle_with_an_authority_of_another_trust_domain_is_refused_where_it_is_given(
    settings: Given,
) -> None:
    assert settings.svid_bundle is not None
    Path(settings.svid_bundle).write_bytes(AUTHORITY.bundle_pem() + OTHER.bundle_pem())
    error = refusal(settings)
    assert error.option == "svid_bundle"
    assert "the trust bundle of spike.ist holds an authority of other.org" in error.message


def test_the_own_bundle_may_hold_any_authority_where_nobody_is_known_by_it(
    settings: Given,
) -> None:
    assert settings.svid_bundle is not None
    Path(settings.svid_bundle).write_bytes(AUTHORITY.bundle_pem() + OTHER.bundle_pem())
    settings = dataclasses.replace(
        federated(settings, OTHER.bundle_pem()), trust_root_nexus=("other.org",)
    )
    assert str(obtain_identity(settings, now=now).spiffe_id) == BOOTSTRAP


@pytest.mark.parametrize(
    "pem",
    [
        pytest.param(without_a_trust_domain(), id="alone"),
        pytest.param(OTHER.bundle_pem() + without_a_trust_domain(), id="beside one that does"),
        pytest.param(OTHER.bundle_pem() + Authority("other.org").bundle_pem(), id="rotated"),
    ],
)
def test_an_authority_that_names_no_other_trust_domain_is_taken(
    settings: Given, pem: bytes
) -> None:
    settings = federated(settings, pem)
    found = obtain_identity(settings, now=now).bundles["other.org"]
    assert found == certificates_from_pem(pem)


# -- agents


@dataclass(frozen=True)
class Offered:
    """An SVID that an agent offers; the key of one that is ``broken`` is none."""

    spiffe_id: str
    outdated: bool = False
    broken: bool = False

    def issue(self) -> IssuedSvid:
        return AUTHORITY.issue(self.spiffe_id, lifetime_seconds=-60 if self.outdated else 3600)


@contextlib.contextmanager
def workload_api(
    settings: Given, offered: Sequence[Offered], bundle: bytes | Authority | None
) -> Iterator[Given]:
    """Settings that ask a Workload API; ``bundle`` is its federated one for other.org."""
    pytest.importorskip("spiffe", reason="the Python package spiffe is not installed")
    from ansible_collections.dayzero.spike.tests.support.workload_api import (
        Grant,
        Part,
        WorkloadApi,
    )

    grants = [Grant(one.issue(), AUTHORITY, Part.KEY if one.broken else None) for one in offered]
    federated = {} if bundle is None else {"other.org": bundle}
    with WorkloadApi(grants, federated=federated) as agent:
        yield dataclasses.replace(
            settings, svid_source="workload_api", spiffe_endpoint_socket=f"unix://{agent.path}"
        )


@contextlib.contextmanager
def spire_agent(
    settings: Given, offered: Sequence[Offered], bundle: bytes | Authority | None
) -> Iterator[Given]:
    """Settings that run a spire-agent; ``bundle`` is its federated one for other.org."""
    files = Path(settings.scratch_dir, "offered")
    files.mkdir()
    program = Path(settings.scratch_dir, "spire-agent")
    script = [f'cp {files}/* "$9"']
    for number, one in enumerate(offered):
        AUTHORITY.write(files, f"svid.{number}", one.issue())
        (files / f"bundle.{number}.pem").write_bytes(AUTHORITY.bundle_pem())
        if one.broken:
            (files / f"svid.{number}.key").write_bytes(b"no key")
        if bundle is not None:
            name = f"federated_bundle.{number}.0.pem"
            pem = bundle if isinstance(bundle, bytes) else bundle.bundle_pem()
            (files / name).write_bytes(pem)
            script.append(
                "echo Writing federated bundle '#0' for trust domain spiffe://other.org"
                f' to file "$9/{name}."'
            )
    program.write_text("\n".join(["#!/bin/sh", *script, ""]))
    program.chmod(0o755)
    runtime = Path(settings.scratch_dir, "runtime")
    runtime.mkdir(0o700)
    # A socket's path has 107 bytes at most.
    with tempfile.TemporaryDirectory() as name, socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{name}/api.sock")
        server.listen(8)
        yield dataclasses.replace(
            settings,
            svid_source="spire_agent",
            spiffe_endpoint_socket=f"unix://{name}/api.sock",
            spire_agent_path=str(program),
            scratch_dir=str(runtime),
        )


AGENTS = {"workload_api": workload_api, "spire_agent": spire_agent}
each_agent = pytest.mark.parametrize("source", AGENTS)


@contextlib.contextmanager
def agent_with(
    settings: Given,
    source: str,
    *offered: Offered,
    bundle: bytes | Authority | None = None,
) -> Iterator[Given]:
    with AGENTS[source](settings, offered, bundle) as asking:
        yield asking


@each_agent
def test_of_several_svids_the_first_for_bootstrap_is_taken(settings: Given, source: str) -> None:
    ids = ["spiffe://spike.ist/web", f"{BOOTSTRAP}/1", BOOTSTRAP]
    with agent_with(settings, source, *map(Offered, ids)) as asking:
        assert str(obtain_identity(asking, now=now).spiffe_id) == f"{BOOTSTRAP}/1"


@each_agent
def test_an_outdated_svid_does_not_stand_before_a_valid_one(settings: Given, source: str) -> None:
    offered = [Offered(f"{BOOTSTRAP}/1", outdated=True), Offered(f"{BOOTSTRAP}/2")]
    with agent_with(settings, source, *offered) as asking:
        assert str(obtain_identity(asking, now=now).spiffe_id) == f"{BOOTSTRAP}/2"


@each_agent
def test_a_broken_svid_does_not_stand_before_a_good_one(settings: Given, source: str) -> None:
    offered = [Offered(f"{BOOTSTRAP}/1", broken=True), Offered(f"{BOOTSTRAP}/2")]
    with agent_with(settings, source, *offered) as asking:
        assert str(obtain_identity(asking, now=now).spiffe_id) == f"{BOOTSTRAP}/2"


@each_agent
def test_svids_none_of_which_is_for_bootstrap_are_all_named(settings: Given, source: str) -> None:
    ids = ["spiffe://spike.ist/web", "spiffe://spike.ist/db"]
    with agent_with(settings, source, *map(Offered, ids)) as asking:
        error = refusal(asking)
    assert error.message.startswith(f"svid_source: expected the bootstrap identity {BOOTSTRAP} ")
    assert f"found {', '.join(ids)}; create the registration entry" in error.message
    assert error.code == "access_unauthorized"


@each_agent
def test_a_broken_svid_is_told_of_where_no_other_is_for_bootstrap(
    settings: Given, source: str
) -> None:
    offered = [Offered(BOOTSTRAP, broken=True), Offered("spiffe://spike.ist/web")]
    with agent_with(settings, source, *offered) as asking:
        message = refusal(asking).message
    assert ", found spiffe://spike.ist/web (and one that cannot be used: " in message


@each_agent
def test_a_needed_bundle_of_an_agent_is_used(settings: Given, source: str) -> None:
    settings = dataclasses.replace(settings, trust_root_keeper=("other.org",))
    with agent_with(settings, source, Offered(BOOTSTRAP), bundle=OTHER) as asking:
        assert sorted(obtain_identity(asking, now=now).bundles) == ["other.org", "spike.ist"]


@each_agent
def test_an_empty_bundle_that_nobody_needs_is_passed_over(settings: Given, source: str) -> None:
    with agent_with(settings, source, Offered(BOOTSTRAP), bundle=b"") as asking:
        assert list(obtain_identity(asking, now=now).bundles) == ["spike.ist"]


@each_agent
@pytest.mark.parametrize("option", ["trust_root_keeper", "trust_root_nexus"])
@pytest.mark.parametrize("content", [b"", b"no bundle"], ids=["empty", "garbage"])
def test_a_needed_bundle_of_an_agent_that_is_broken_is_refused(
    settings: Given, source: str, option: str, content: bytes
) -> None:
    settings = dataclasses.replace(settings, **{option: ("spike.ist", "other.org")})
    with agent_with(settings, source, Offered(BOOTSTRAP), bundle=content) as asking:
        message = refusal(asking).message
    assert {
        "workload_api": f"there is no trust bundle for other.org (in {option})",
        "spire_agent": "federated_bundle.0.0.pem: it holds no PEM certificate",
    }[source] in message


@each_agent
def test_a_needed_bundle_of_an_agent_with_an_authority_of_another_trust_domain_is_refused(
    settings: Given, source: str
) -> None:
    settings = dataclasses.replace(settings, trust_root_keeper=("other.org",))
    with agent_with(settings, source, Offered(BOOTSTRAP), bundle=AUTHORITY) as asking:
        error = refusal(asking)
    assert error.option == "federated_bundles"
    assert "the trust bundle of other.org holds an authority of spike.ist" in error.message
    assert error.message.endswith(
        "; correct the bundle of that trust domain on the SPIRE server (spire-server bundle list)"
    )


def test_spire_agent_is_asked_where_the_options_say_so(settings: Given) -> None:
    settings = dataclasses.replace(
        settings,
        svid_source="spire_agent",
        spiffe_endpoint_socket="unix:///nonexistent/api.sock",
    )
    error = refusal(settings)
    assert error.option == "spiffe_endpoint_socket"
    assert "/nonexistent/api.sock: No such file or directory" in error.message


def test_a_source_that_does_not_exist_is_refused(settings: Given) -> None:
    settings = dataclasses.replace(settings, svid_source="vault")
    assert refusal(settings).message == (
        "svid_source: 'vault' is not one of them; give one of workload_api, files, spire_agent"
    )


@pytest.mark.parametrize("source", SVID_SOURCES)
def test_every_source_that_may_be_given_is_asked(source: str, settings: Given) -> None:
    nowhere = "unix:///nonexistent/api.sock"
    settings = dataclasses.replace(
        settings, svid_source=source, spiffe_endpoint_socket=nowhere, svid_cert="/nonexistent"
    )
    assert refusal(settings).option in ("spiffe_endpoint_socket", "svid_cert")
