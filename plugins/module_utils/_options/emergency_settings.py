# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of the modules for an emergency, validated: apart, for no bootstrap has them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from typing import Any

from .._dataclass import dataclass
from .._errors import ConfigError
from .._key.custodians import Custodian, KeyKind, is_secret_key
from .._key.shard_line import NotAShard, parse_line
from .._naming import literal
from .settings import CommonSettings, directory, of_every_module, trust_domains

# What is part of a file's name, and is nobody's option on a command line.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@-]{0,63}")


@dataclass(frozen=True)
class PilotSettings:
    """Whose identity an operator has in an emergency."""

    trust_root_pilot: tuple[str, ...]


@dataclass(frozen=True)
class RecoverSettings(CommonSettings, PilotSettings):
    """The options of ``spike_recover``; ``directory`` is None where no files are wanted."""

    custodians: tuple[Custodian, ...]
    directory: str | None


@dataclass(frozen=True)
class RestoreSettings(CommonSettings, PilotSettings):
    """The options of ``spike_restore``; ``lines`` is ``shards``, each line well formed."""

    lines: tuple[str, ...] = field(repr=False)
    complete: bool
    unchecked: bool
    trust_root_bootstrap: tuple[str, ...]
    proof_svid_cert: str | None
    proof_svid_key: str | None


def recover_settings(params: Mapping[str, Any]) -> RecoverSettings:
    """Validate the parameters of ``spike_recover``."""
    common = of_every_module(params)
    return RecoverSettings(
        **common,
        trust_root_pilot=trust_domains(params, "trust_root_pilot"),
        custodians=_custodians(params["custodians"], len(common["keepers"])),
        directory=params["directory"] and directory(params, "directory"),
    )


def restore_settings(params: Mapping[str, Any]) -> RestoreSettings:
    """Validate the parameters of ``spike_restore``; what shards make together is not looked at."""
    common = of_every_module(params)
    complete: bool = params["complete"]
    threshold, shares = common["shamir_threshold"], len(common["keepers"])
    if (params["proof_svid_cert"] is None) != (params["proof_svid_key"] is None):
        raise ConfigError(
            "proof_svid_cert",
            "only one of {proof_svid_cert} and {proof_svid_key} is given",
            "give both, or neither",
        )
    return RestoreSettings(
        **common,
        trust_root_pilot=trust_domains(params, "trust_root_pilot"),
        lines=_lines(params["shards"], threshold, shares, complete=complete),
        complete=complete,
        unchecked=params["unchecked"],
        trust_root_bootstrap=trust_domains(params, "trust_root_bootstrap"),
        proof_svid_cert=params["proof_svid_cert"],
        proof_svid_key=params["proof_svid_key"],
    )


def _custodians(given: Sequence[Mapping[str, Any]], shares: int) -> tuple[Custodian, ...]:
    custodians = tuple(_custodian(i, one) for i, one in enumerate(given, 1))
    seen: set[str] = set()
    for custodian in custodians:
        # Some file systems take two spellings for one name.
        if custodian.name.lower() in seen:
            raise ConfigError(
                "custodians",
                f"{custodian.name} is named twice, and whoever has two shards is half a threshold",
                "name each custodian once",
            )
        seen.add(custodian.name.lower())
    if len(custodians) != shares:
        raise ConfigError(
            "custodians",
            f"{len(custodians)} are named, and there are {shares} shards, one for each keeper",
            "name exactly one custodian for each shard, in order",
        )
    return custodians


def _custodian(position: int, given: Mapping[str, Any]) -> Custodian:
    name = str(given["name"])
    if not _NAME.fullmatch(name):
        raise ConfigError(
            "custodians",
            f"the name of number {position} is {literal(repr(name))}, and cannot be part of a"
            " file's name",
            "give one of letters, digits, dots, dashes, underscores and @, for example alice",
        )
    keys = [(kind, given.get(kind.value)) for kind in KeyKind if given.get(kind.value)]
    if len(keys) != 1:
        raise ConfigError(
            "custodians",
            f"{name} has {'no key' if not keys else 'two keys'}",
            "give either age, with age1... or ssh-ed25519 ..., or pgp, with an armoured public key",
        )
    ((kind, public),) = keys
    if is_secret_key(str(public)):
        raise ConfigError(
            "custodians",
            f"what is given for {name} is a secret key, and must be taken for known to others now",
            f"have {name} make a new key, and give its public half",
        )
    return Custodian(name, kind, str(public))


def _lines(given: Sequence[str], threshold: int, shares: int, *, complete: bool) -> tuple[str, ...]:
    """The lines as given; nothing of them is ever in a message, only their position."""
    seen: dict[int, int] = {}
    for position, line in enumerate(given, 1):
        problem = ""
        try:
            shard = parse_line(str(line))
        except NotAShard as error:
            problem = str(error)
        if problem:
            raise ConfigError(
                "shards",
                f"line {position} of {len(given)} is no recovery shard: {literal(problem)}. Nothing"
                " was sent",
                "give each line as it was decrypted, spike:<index>:<64 hex digits>",
            )
        index = shard.index
        # Only its form matters here.
        shard.value[:] = bytes(len(shard.value))
        if index > shares:
            raise ConfigError(
                "shards",
                f"line {position} of {len(given)} has index {index}, and there are {shares} shards,"
                " one for each keeper in {keeper_peers}. Nothing was sent",
                "correct that line's index, or the list of keepers",
            )
        if index in seen:
            raise ConfigError(
                "shards",
                f"lines {seen[index]} and {position} of {len(given)} both have index {index}."
                " Nothing was sent",
                "give each shard once, each with its own index",
            )
        seen[index] = position
    if not given:
        raise ConfigError("shards", "none is given", "give the lines of the custodians")
    if complete and len(given) < threshold:
        raise ConfigError(
            "shards",
            f"{len(given)} of the {threshold} shards that it takes are given. Nothing was sent",
            "give the missing ones too, or set {complete} to false and give them in further runs",
        )
    if not complete and len(given) >= threshold:
        raise ConfigError(
            "shards",
            f"{len(given)} are given, a whole set, and {{complete}} is false: as parts they would"
            " not be checked against each other. Nothing was sent",
            "set {complete} to true",
        )
    return tuple(map(str, given))


def misplaced_secrets(params: Mapping[str, Any]) -> Iterator[str]:
    """Secret keys in the place of public ones: refused, and not to be shown either."""
    for custodian in params.get("custodians") or ():
        for kind in KeyKind:
            text = str((custodian or {}).get(kind.value) or "")
            if is_secret_key(text):
                yield text


__all__ = [
    "PilotSettings",
    "RecoverSettings",
    "RestoreSettings",
    "misplaced_secrets",
    "recover_settings",
    "restore_settings",
]
