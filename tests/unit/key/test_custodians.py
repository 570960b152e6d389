# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is encrypted for a custodian opens with that key, and a key that will not do is refused."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._errors import LibraryMissing
from ansible_collections.dayzero.spike.plugins.module_utils._key.custodians import (
    Custodian,
    KeyKind,
    KeyUnusable,
    envelope_for,
    is_secret_key,
)
from ansible_collections.dayzero.spike.tests.support.custodian_keys import (
    Owner,
    with_age,
    with_pgp,
    with_ssh,
)

LINE = bytearray(b"spike:1:" + b"ab" * 32)


def now() -> datetime:
    return datetime.now(timezone.utc)


def of(owner: Owner) -> Custodian:
    return Custodian(owner.name, KeyKind(owner.kind), owner.public)


@pytest.mark.parametrize("make", [with_age, with_ssh, with_pgp])
def test_what_was_encrypted_for_a_custodian_opens_with_that_key(make: Any) -> None:
    alice, bob = make("alice"), make("bob")
    ciphertext = envelope_for(of(alice), now()).seal(bytearray(LINE))
    assert ciphertext.startswith("-----BEGIN ")
    assert ciphertext.endswith("-----\n")
    assert ciphertext.isascii()
    assert alice.open(ciphertext) == LINE.decode()
    with pytest.raises(Exception, match=r"(?s).+"):
        bob.open(ciphertext)


def test_the_key_is_named_by_what_its_owner_knows_it_by() -> None:
    age, ssh, pgp = with_age("a"), with_ssh("s"), with_pgp("p")
    assert envelope_for(of(age), now()).key_id == age.public
    assert envelope_for(of(ssh), now()).key_id == ssh.public.rpartition(" ")[0]
    assert len(envelope_for(of(pgp), now()).key_id) in (40, 64)


@pytest.mark.parametrize("public", ["", "age1", "age1xyz", "ssh-rsa AAAA", "ssh-ed25519 AAAA", "x"])
def test_what_is_no_age_key_is_refused(public: str) -> None:
    with pytest.raises(KeyUnusable, match="neither an age recipient"):
        envelope_for(Custodian("alice", KeyKind.AGE, public), now())


def test_what_is_no_pgp_key_is_refused_in_one_line() -> None:
    with pytest.raises(KeyUnusable, match=r"^is not an armoured OpenPGP public key$"):
        envelope_for(Custodian("alice", KeyKind.PGP, "nonsense"), now())


# -- keys as people really have them, made by GnuPG


@pytest.fixture
def gnupg() -> Iterator[Any]:
    if shutil.which("gpg") is None:
        pytest.skip("Missing: gpg")
    with tempfile.TemporaryDirectory(prefix="gpg-") as home:
        Path(home).chmod(0o700)

        def gpg(*arguments: str, give: str = "") -> str:
            done = subprocess.run(
                [
                    "gpg",
                    "--homedir",
                    home,
                    "--batch",
                    "--pinentry-mode=loopback",
                    "--passphrase=",
                    "--no-tty",
                    "--command-fd=0",
                    *arguments,
                ],
                input=give,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            return done.stdout

        yield gpg
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False)


def exported(gpg: Any) -> Custodian:
    return Custodian("carol", KeyKind.PGP, gpg("--armor", "--export", "carol"))


def fingerprint(gpg: Any) -> str:
    lines = gpg("--with-colons", "--list-keys", "carol").splitlines()
    return next(line.split(":")[9] for line in lines if line.startswith("fpr:"))


def test_a_key_of_gnupg_can_encrypt_and_gnupg_opens_it(gnupg: Any, tmp_path: Path) -> None:
    gnupg("--quick-generate-key", "carol", "rsa2048", "default", "1y")
    gnupg("--quick-add-key", fingerprint(gnupg), "rsa2048", "encr", "1y")
    sealed = tmp_path / "sealed.asc"
    sealed.write_text(envelope_for(exported(gnupg), now()).seal(bytearray(LINE)))
    assert gnupg("--decrypt", str(sealed)) == LINE.decode()


def test_a_key_that_can_only_sign_is_refused(gnupg: Any) -> None:
    gnupg("--quick-generate-key", "carol", "ed25519", "sign", "1y")
    with pytest.raises(KeyUnusable, match="no part of it is for encryption"):
        envelope_for(exported(gnupg), now())


def test_a_key_that_has_expired_is_refused(gnupg: Any) -> None:
    gnupg("--quick-generate-key", "carol", "future-default", "default", "1d")
    custodian = exported(gnupg)
    envelope_for(custodian, now())
    with pytest.raises(KeyUnusable, match=r"^has expired, at 20\d\d-"):
        envelope_for(custodian, now() + timedelta(days=2))


def test_a_key_whose_only_part_for_encryption_has_expired_is_refused(gnupg: Any) -> None:
    gnupg("--quick-generate-key", "carol", "ed25519", "sign", "1y")
    gnupg("--quick-add-key", fingerprint(gnupg), "cv25519", "encr", "1d")
    custodian = exported(gnupg)
    envelope_for(custodian, now())
    with pytest.raises(KeyUnusable, match="has expired or is revoked"):
        envelope_for(custodian, now() + timedelta(days=2))


def test_a_part_that_has_expired_is_not_used_beside_one_that_has_not(
    gnupg: Any, tmp_path: Path
) -> None:
    gnupg("--quick-generate-key", "carol", "ed25519", "sign", "1y")
    gnupg("--quick-add-key", fingerprint(gnupg), "cv25519", "encr", "1d")
    gnupg("--quick-add-key", fingerprint(gnupg), "cv25519", "encr", "1y")
    both = envelope_for(exported(gnupg), now()).seal(bytearray(LINE))
    one = envelope_for(exported(gnupg), now() + timedelta(days=2)).seal(bytearray(LINE))
    for text, recipients in ((both, 2), (one, 1)):
        sealed = tmp_path / "sealed.asc"
        sealed.write_text(text)
        assert gnupg("--list-packets", str(sealed)).count(":pubkey enc packet:") == recipients


def test_a_revoked_key_is_refused(gnupg: Any) -> None:
    gnupg("--quick-generate-key", "carol", "future-default", "default", "1y")
    import pysequoia

    secret = pysequoia.Tsk.from_bytes(gnupg("--armor", "--export-secret-keys", "carol").encode())
    public = pysequoia.Cert.from_bytes(gnupg("--export", "--armor", "carol").encode())
    revoked = pysequoia.Cert.from_bytes(bytes(public) + bytes(public.revoke(secret.certifier())))
    with pytest.raises(KeyUnusable, match=r"^is revoked$"):
        envelope_for(Custodian("carol", KeyKind.PGP, str(revoked)), now())


# -- what must not be given, and what may be missing


def test_a_secret_key_is_known_for_one() -> None:
    assert is_secret_key(str(with_age("a").secret))
    assert is_secret_key(str(with_pgp("p").secret))
    assert not any(is_secret_key(one("x").public) for one in (with_age, with_ssh, with_pgp))


@pytest.mark.parametrize(("make", "package"), [(with_age, "pyrage"), (with_pgp, "pysequoia")])
def test_a_missing_library_is_named_and_the_other_is_not_asked_for(
    make: Any, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, other = make("alice"), (with_pgp if package == "pyrage" else with_age)("bob")
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)

    class Missing:
        def find_spec(self, name: str, *_more: object) -> None:
            if name.partition(".")[0] == package:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(sys, "meta_path", [Missing(), *sys.meta_path])
    with pytest.raises(LibraryMissing) as caught:
        envelope_for(of(owner), now())
    assert caught.value.message.startswith(
        f"The Python package {package} is needed to encrypt for alice"
    )
    assert f"pip install {package}" in caught.value.advice.what_to_do[0]
    assert envelope_for(of(other), now()).seal(bytearray(LINE))
