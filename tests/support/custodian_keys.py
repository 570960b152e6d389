# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Throwaway keys of custodians, and what their owners do with what was encrypted for them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import pyrage
import pysequoia
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519


@dataclass(frozen=True)
class Owner:
    """A custodian with both halves of a key."""

    name: str
    kind: str
    public: str
    secret: Any

    @property
    def option(self) -> dict[str, str]:
        """The custodian as the option has it."""
        return {"name": self.name, self.kind: self.public}

    def open(self, ciphertext: str) -> str:
        """What was encrypted for this one."""
        if self.kind == "age":
            return bytes(pyrage.decrypt(ciphertext.encode(), [self.secret])).decode()
        opened = pysequoia.decrypt(ciphertext.encode(), decryptor=self.secret.decryptor())
        assert opened.bytes is not None
        return bytes(opened.bytes).decode()


def with_age(name: str) -> Owner:
    secret = pyrage.x25519.Identity.generate()
    return Owner(name, "age", str(secret.to_public()), secret)


def with_ssh(name: str) -> Owner:
    private = ed25519.Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    text = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    return Owner(
        name, "age", f"{public.decode()} {name}@example", pyrage.ssh.Identity.from_buffer(text)
    )


def with_pgp(name: str) -> Owner:
    secret = pysequoia.Tsk.generate(f"{name} <{name}@example.org>")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Owner(name, "pgp", str(secret.extract_certificate()), secret)


__all__ = ["Owner", "with_age", "with_pgp", "with_ssh"]
