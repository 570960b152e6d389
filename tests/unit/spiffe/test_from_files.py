# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._errors import (
    RERUN,
    IdentityError,
    Phase,
)
from ansible_collections.dayzero.spike.plugins.module_utils._naming import Naming
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox.authority import Authority
from ansible_collections.dayzero.spike.plugins.module_utils._spiffe.from_files import read_files
from ansible_collections.dayzero.spike.plugins.module_utils._spiffe.svid import (
    certificates_from_pem,
)
from cryptography.hazmat.primitives import serialization

BOOTSTRAP = "spiffe://spike.ist/spike/bootstrap"
AUTHORITY = Authority("spike.ist")
SVID = AUTHORITY.issue(BOOTSTRAP)
OTHER_SVID = AUTHORITY.issue(BOOTSTRAP)
LOCKED_KEY = serialization.load_pem_private_key(SVID.key_pem, password=None).private_bytes(
    serialization.Encoding.PEM,
    serialization.PrivateFormat.PKCS8,
    serialization.BestAvailableEncryption(b"pass phrase"),
)


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    cert, key = AUTHORITY.write(tmp_path, "svid", SVID)
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(AUTHORITY.bundle_pem())
    return {
        "svid_cert": str(cert),
        "svid_key": str(key),
        "svid_bundle": str(bundle),
        "federated_bundles": {},
        "needed": {"spike.ist"},
    }


def refusal(options: dict[str, Any]) -> IdentityError:
    with pytest.raises(IdentityError) as caught:
        read_files(**options)
    error = caught.value
    assert error.phase is Phase.IDENTITY
    assert error.message.startswith(f"{error.option}: ")
    assert "\n" not in error.message
    assert "PRIVATE KEY" not in str(error.advice)
    assert error.advice.what_to_do[-1] == RERUN
    return error


@pytest.mark.parametrize("key", ["ec", "rsa"])
@pytest.mark.parametrize("via_intermediate", [False, True], ids=["direct", "intermediate"])
def test_an_svid_is_read_from_its_three_files(
    options: dict[str, Any], tmp_path: Path, key: str, via_intermediate: bool
) -> None:
    svid = AUTHORITY.issue(BOOTSTRAP, key=key, via_intermediate=via_intermediate)
    AUTHORITY.write(tmp_path, "svid", svid)
    offer = read_files(**options)
    (identity,) = offer.identities
    assert str(identity.spiffe_id) == BOOTSTRAP
    assert identity.chain == certificates_from_pem(svid.chain_pem)
    assert identity.private_key_pem == svid.key_pem
    assert identity.bundles == {"spike.ist": certificates_from_pem(AUTHORITY.bundle_pem())}
    assert offer.option == "svid_cert"


def test_other_trust_domains_bring_their_own_bundles(
    options: dict[str, Any], tmp_path: Path
) -> None:
    other = Authority("other.org")
    path = tmp_path / "other.pem"
    path.write_bytes(other.bundle_pem() + AUTHORITY.bundle_pem())
    options["federated_bundles"] = {"other.org": str(path)}
    options["needed"] = {"other.org"}
    (identity,) = read_files(**options).identities
    assert sorted(identity.bundles) == ["other.org", "spike.ist"]
    assert len(identity.bundles["other.org"]) == 2


@pytest.mark.parametrize("option", ["svid_cert", "svid_key", "svid_bundle"])
@pytest.mark.parametrize("value", [None, ""], ids=["absent", "empty"])
def test_each_of_the_three_files_is_needed(
    options: dict[str, Any], option: str, value: str | None
) -> None:
    options[option] = value
    error = refusal(options)
    assert error.option == option
    assert error.message == (
        f"{option}: it is needed where svid_source is files;"
        " give svid_cert, svid_key and svid_bundle"
    )


def missing(path: Path) -> None:
    path.unlink()


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def listening_socket(path: Path) -> None:
    path.unlink()
    # Bound by a relative name: the whole path may be too long for a socket.
    with socket.socket(socket.AF_UNIX) as server:
        before = os.getcwd()
        os.chdir(path.parent)
        try:
            server.bind(path.name)
        finally:
            os.chdir(before)


def loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def huge(path: Path) -> None:
    with path.open("wb") as stream:
        stream.truncate(5 * 1024 * 1024)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("option", ["svid_cert", "svid_key", "svid_bundle"])
@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        pytest.param(missing, "No such file or directory", id="missing"),
        pytest.param(directory, "Is a directory|not a regular file", id="directory"),
        pytest.param(pipe, "it is not a regular file", id="pipe without a writer"),
        pytest.param(listening_socket, "No such device or address", id="socket"),
        pytest.param(loop, "Too many levels of symbolic links", id="link to itself"),
        pytest.param(huge, "it is larger than 4 MiB", id="huge"),
        pytest.param(empty, "it holds no PEM", id="empty"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_option_path_and_cause(
    options: dict[str, Any], option: str, spoil: Callable[[Path], None], problem: str
) -> None:
    spoil(Path(options[option]))
    error = refusal(options)
    assert error.option == option
    assert options[option] in error.message
    assert re.search(problem, error.message), error.message


def test_a_file_of_somebody_else_is_refused_with_the_user_who_runs(
    options: dict[str, Any],
) -> None:
    Path(options["svid_key"]).chmod(0)
    if os.access(options["svid_key"], os.R_OK):
        pytest.skip("this user may read everything")
    error = refusal(options)
    assert "Permission denied" in error.message
    assert f"(uid {os.geteuid()})" in error.message


EXTRACT = "spiffe_failed_to_extract_x509_svid"


@pytest.mark.parametrize(
    ("option", "content", "problem", "code"),
    [
        pytest.param(
            "svid_cert", SVID.key_pem, "it holds no PEM certificate", EXTRACT, id="key as cert"
        ),
        pytest.param(
            "svid_cert",
            AUTHORITY.bundle_pem(),
            "the first certificate is not an SVID: it is the certificate of an authority",
            "spiffe_invalid_spiffe_id",
            id="bundle as cert",
        ),
        pytest.param(
            "svid_cert",
            AUTHORITY.issue("https://spike.ist/").chain_pem,
            "the first certificate is not an SVID: 'https://spike.ist/' is not a SPIFFE ID",
            "spiffe_invalid_spiffe_id",
            id="web certificate",
        ),
        pytest.param(
            "svid_key", SVID.chain_pem, "it holds no PEM private key", EXTRACT, id="cert as key"
        ),
        pytest.param(
            "svid_key", LOCKED_KEY, "its private key is encrypted", EXTRACT, id="encrypted key"
        ),
        pytest.param(
            "svid_key",
            OTHER_SVID.key_pem,
            "its private key does not match the certificate in",
            EXTRACT,
            id="another key",
        ),
        pytest.param(
            "svid_bundle", SVID.key_pem, "it holds no PEM certificate", EXTRACT, id="key as bundle"
        ),
        pytest.param(
            "svid_bundle",
            b'{"keys": []}',
            "it holds no PEM certificate",
            EXTRACT,
            id="JSON as bundle",
        ),
    ],
)
def test_a_file_with_the_wrong_content_is_refused(
    options: dict[str, Any], option: str, content: bytes, problem: str, code: str
) -> None:
    Path(options[option]).write_bytes(content)
    error = refusal(options)
    assert error.message.startswith(f"{option}: {options[option]}: {problem}")
    assert error.code == code


def test_a_key_that_does_not_match_names_both_files(options: dict[str, Any]) -> None:
    Path(options["svid_key"]).write_bytes(OTHER_SVID.key_pem)
    assert options["svid_cert"] in refusal(options).message


def test_a_federated_bundle_that_is_missing_names_its_file(options: dict[str, Any]) -> None:
    options["federated_bundles"] = {"other.org": "/nonexistent/other.pem"}
    options["needed"] = {"spike.ist", "other.org"}
    error = refusal(options)
    assert error.option == "federated_bundles"
    assert "/nonexistent/other.pem: No such file or directory" in error.message


def test_the_own_trust_domain_is_not_a_federated_one(options: dict[str, Any]) -> None:
    options["federated_bundles"] = {"spike.ist": options["svid_bundle"]}
    error = refusal(options)
    assert error.option == "federated_bundles"
    assert error.message.endswith("; give its bundle in svid_bundle instead")


@pytest.mark.parametrize("content", [None, b"", SVID.key_pem], ids=["missing", "empty", "a key"])
def test_a_federated_bundle_that_is_not_needed_is_not_read(
    options: dict[str, Any], tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "other.pem"
    if content is not None:
        path.write_bytes(content)
    options["federated_bundles"] = {"other.org": str(path)}
    (identity,) = read_files(**options).identities
    assert list(identity.bundles) == ["spike.ist"]


@pytest.mark.parametrize("content", [b"", SVID.key_pem], ids=["empty", "a key"])
def test_a_federated_bundle_that_is_needed_and_broken_is_refused(
    options: dict[str, Any], tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "other.pem"
    path.write_bytes(content)
    options["federated_bundles"] = {"other.org": str(path)}
    options["needed"] = {"other.org"}
    error = refusal(options)
    assert error.message == (
        f"federated_bundles: {path}: it holds no PEM certificate;"
        " give the trust bundle of other.org, in PEM"
    )


def test_the_bundle_of_the_own_trust_domain_is_read_whether_it_is_needed_or_not(
    options: dict[str, Any],
) -> None:
    options["needed"] = {"other.org"}
    Path(options["svid_bundle"]).write_bytes(b"")
    assert refusal(options).option == "svid_bundle"


def test_a_refusal_speaks_to_the_reader_of_an_inventory_in_the_names_of_the_role(
    options: dict[str, Any],
) -> None:
    options["svid_key"] = None
    advice = refusal(options).advice.spelt(Naming.VARIABLES)
    assert advice.msg == (
        "spike_bootstrap_svid_key: it is needed where spike_bootstrap_svid_source is files; give"
        " spike_bootstrap_svid_cert, spike_bootstrap_svid_key and spike_bootstrap_svid_bundle"
    )
