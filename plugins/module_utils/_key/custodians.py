# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Encrypting for custodians, with age or OpenPGP; whose key will not do is told by name.

The libraries are imported only for a custodian who needs them. What they say in their exceptions
is not repeated: it may be a page long, and could hold anything.
"""

from __future__ import annotations

import base64
import enum
import importlib
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any

from .._dataclass import dataclass
from .._errors import RERUN, Advice, LibraryMissing

_ARMOUR = "AGE ENCRYPTED FILE"
_ARMOUR_COLUMNS = 64
# Nobody's secret: it tells whether a key can encrypt before there is anything to encrypt.
_TRIAL = b"spike"


class KeyKind(enum.Enum):
    """What a custodian has a key for; the values are the options of a custodian."""

    AGE = "age"
    PGP = "pgp"

    @property
    def suffix(self) -> str:
        """What the name of an encrypted file ends with."""
        return "age" if self is KeyKind.AGE else "asc"


@dataclass(frozen=True)
class Custodian:
    """Who keeps one shard, and the public key for it, as text."""

    name: str
    kind: KeyKind
    public: str


class KeyUnusable(ValueError):
    """A custodian's key will not do; the message says why, in words that follow ``its key``."""


@dataclass(frozen=True)
class Envelope:
    """A custodian's key that was tried: ``key_id`` names it, ``seal`` encrypts, with armour."""

    custodian: Custodian
    key_id: str
    seal: Callable[[bytearray], str]


def envelope_for(custodian: Custodian, now: datetime) -> Envelope:
    """The way to encrypt for ``custodian``; ``now`` is aware.

    Raises KeyUnusable, and LibraryMissing where the host lacks the library for this kind of key.
    """
    make = _age if custodian.kind is KeyKind.AGE else _pgp
    envelope = make(custodian, now)
    try:
        envelope.seal(bytearray(_TRIAL))
    except Exception:
        problem = "cannot encrypt: it has no part for that, or is of a kind that is not supported"
    else:
        return envelope
    raise KeyUnusable(problem)


def is_secret_key(text: str) -> bool:
    """Whether ``text`` is what its owner must never give away."""
    return "AGE-SECRET-KEY-" in text.upper() or "PRIVATE KEY" in text.upper()


# -- age


def _age(custodian: Custodian, _now: datetime) -> Envelope:
    text = custodian.public.strip()
    pyrage = _library("pyrage", custodian)
    try:
        if text.startswith("age1"):
            recipient = pyrage.x25519.Recipient.from_str(text)
        elif text.startswith("ssh-ed25519 "):
            recipient = pyrage.ssh.Recipient.from_str(text)
        else:
            recipient = None
    except Exception:
        recipient = None
    if recipient is None:
        raise KeyUnusable("is neither an age recipient (age1...) nor an ssh-ed25519 public key")

    def seal(plain: bytearray) -> str:
        return _armoured(pyrage.encrypt(bytes(plain), [recipient]))

    # Without the comment that ends an SSH key.
    return Envelope(custodian, " ".join(text.split()[:2]), seal)


def _armoured(sealed: bytes) -> str:
    # As age writes it: PEM, without headers. Older releases of pyrage have no armour of their own.
    text = base64.b64encode(sealed).decode()
    lines = [text[at : at + _ARMOUR_COLUMNS] for at in range(0, len(text), _ARMOUR_COLUMNS)]
    return "\n".join([f"-----BEGIN {_ARMOUR}-----", *lines, f"-----END {_ARMOUR}-----", ""])


# -- OpenPGP


def _pgp(custodian: Custodian, now: datetime) -> Envelope:
    pysequoia = _library("pysequoia", custodian)
    text = custodian.public.strip().encode()
    try:
        whole = pysequoia.Cert.from_bytes(text)
    except Exception:
        whole = None
    if whole is None:
        raise KeyUnusable("is not an armoured OpenPGP public key")
    if whole.is_revoked:
        raise KeyUnusable("is revoked")
    if whole.expiration is not None and _aware(whole.expiration) <= now:
        raise KeyUnusable(f"has expired, at {_aware(whole.expiration):%Y-%m-%dT%H:%M:%SZ}")
    try:
        cert = _without_outdated_parts(pysequoia, whole, text, now)
    except KeyUnusable:
        raise
    except Exception:
        cert = None
    if cert is None:
        raise KeyUnusable("cannot be read to its end")

    def seal(plain: bytearray) -> str:
        sealed: bytes = pysequoia.encrypt(bytes(plain), [cert])
        return sealed.decode("ascii").rstrip("\n") + "\n"

    return Envelope(custodian, str(whole.fingerprint), seal)


def _without_outdated_parts(pysequoia: Any, whole: Any, text: bytes, now: datetime) -> Any:
    """``whole`` without subkeys that are revoked or have expired: the library would use them."""
    packet = importlib.import_module("pysequoia.packet")
    kept: list[Any] = []
    outdated = usable = 0
    for part in _parts(packet, packet.PacketPile.from_bytes(text)):
        subkey = part[0].tag == packet.Tag.PublicSubkey
        if subkey and _is_outdated(packet, part, now):
            outdated += _encrypts(part)
            continue
        usable += _encrypts(part)
        kept += part
    if not usable:
        if outdated:
            raise KeyUnusable(
                "cannot encrypt: every part of it that could has expired or is revoked"
            )
        raise KeyUnusable("cannot encrypt: no part of it is for encryption")
    return pysequoia.Cert.from_packets(kept) if outdated else whole


def _parts(packet: Any, pile: Any) -> Iterator[list[Any]]:
    """The packets of the primary key, then those of each subkey."""
    part: list[Any] = []
    for one in pile:
        if one.tag == packet.Tag.PublicSubkey:
            yield part
            part = []
        part.append(one)
    yield part


def _is_outdated(packet: Any, part: list[Any], now: datetime) -> bool:
    key, *signatures = part
    if any(one.signature_type == packet.SignatureType.SubkeyRevocation for one in signatures):
        return True
    newest = _newest(signatures)
    if newest is None or newest.key_validity_period is None:
        return False
    return bool(_aware(key.key_created) + newest.key_validity_period <= now)


def _encrypts(part: list[Any]) -> bool:
    newest = _newest([one for one in part if one.key_flags is not None])
    flags = newest.key_flags if newest is not None else None
    return flags is not None and bool(flags.transport_encryption or flags.storage_encryption)


def _newest(signatures: list[Any]) -> Any:
    dated = [one for one in signatures if one.signature_created is not None]
    return max(dated, key=lambda one: one.signature_created, default=None)


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=timezone.utc)


# -- libraries


def _library(name: str, custodian: Custodian) -> Any:
    problem = ""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        problem = "it is not installed" if error.name == name else f"{error.name} of it is missing"
    except Exception as error:
        problem = f"it cannot be loaded ({type(error).__name__})"
    raise LibraryMissing(
        Advice(
            f"The Python package {name} is needed to encrypt for {custodian.name}, who has"
            f" {'an age or SSH' if name == 'pyrage' else 'an OpenPGP'} key, and {problem}. Nothing"
            " was handed out.",
            (f"The Python {sys.executable} on this host lacks it.",),
            (
                f"Install it for {sys.executable}: pip install {name}.",
                "Or set ansible_python_interpreter to a Python that has it.",
                RERUN,
            ),
        )
    )


__all__ = ["Custodian", "Envelope", "KeyKind", "KeyUnusable", "envelope_for", "is_secret_key"]
