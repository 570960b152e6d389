# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options, validated: every refusal of bad input that needs no file is here."""

from __future__ import annotations

import enum
import ipaddress
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import SplitResult, urlsplit

from .._clock import (
    DURATION_EXAMPLE,
    Duration,
    parse_duration,
)
from .._dataclass import dataclass
from .._errors import ConfigError
from .._key.shamir import SCHEMES
from .._naming import literal
from .._spiffe.source import SvidSettings
from .._spiffe.spiffe_id import parse_trust_domain
from .cluster import Cluster, Keeper, place_of_url

# SPIKE's own limit, SPIKE_NEXUS_SHAMIR_MAX_SHARE_COUNT.
MOST_KEEPERS = 1000
# Ours: more attempts than this within one timeout would be a flood, not a retry.
MOST_ATTEMPTS = 1000
# A host name, an IPv4 address, or an IPv6 address in brackets and without a zone, which Go, Python
# and the libraries each write in another way; then a port.
_PLACE = re.compile(r"(?:[A-Za-z0-9._-]+|\[([0-9A-Fa-f:.]+)\])(?::[0-9]{1,5})?")
# The host and the port in what was meant to be a URL.
_GIVEN_PLACE = re.compile(r"(?:[A-Za-z]*:?/+)?([\w.-]+)(?::([0-9]{1,6}))?(?:[/?#]|$)")
_PORTS = {"keeper_peers": 8443, "nexus_api_url": 8553}
_DIRECTORIES = {
    "directory": "/root/spike-recovery",
    "state_dir": "/var/lib/spike-bootstrap",
    "runtime_dir": "/run/spike-bootstrap",
    "nexus_data_dir": "/var/lib/spike",
}
# Files are read at once.
_UNUSED = Duration(0.0, "0s")
Choice = TypeVar("Choice", bound=enum.Enum)


class Silence(enum.Enum):
    """What stands for "Nexus has no key" besides its own word; the values are the option's."""

    REFUSED = "refused"
    NEVER = "never"
    ACCEPT = "accept"


class SeenDatabase(enum.Enum):
    """Who looks for Nexus's database, and what was found; the values are the option's."""

    LOOK = "look"
    PRESENT = "present"
    ABSENT = "absent"


# The options of a module come in parts, as its documentation does: each part here has the options
# of one doc fragment, and each field is documented with the option of the same name.


@dataclass(frozen=True)
class SplitSettings:
    """What the root key is split for. ``keepers`` is ``keeper_peers``."""

    keepers: tuple[Keeper, ...]
    shamir_threshold: int
    share_scheme: str

    @property
    def cluster(self) -> Cluster:
        """The cluster that the options describe."""
        urls = tuple(keeper.url for keeper in self.keepers)
        return Cluster(urls, self.shamir_threshold, self.share_scheme)


@dataclass(frozen=True)
class KeeperSettings:
    """How keepers are contacted, and as whom."""

    keeper_timeout: Duration
    keeper_max_retries: int
    keeper_retry_initial_interval: Duration
    keeper_retry_max_interval: Duration
    trust_root_keeper: tuple[str, ...]
    trust_root_bootstrap: tuple[str, ...]


@dataclass(frozen=True)
class NexusSettings:
    """Where Nexus is, and how long the whole run may take."""

    nexus_api_url: str
    trust_root_nexus: tuple[str, ...]
    timeout: Duration


@dataclass(frozen=True)
class DirectorySettings:
    """What is kept where. ``runtime_dir`` is None where the host decides, by what is in memory."""

    state_dir: str
    runtime_dir: str | None


@dataclass(frozen=True)
class NexusDataSettings:
    """Where Nexus's data is, and who looks into it."""

    nexus_data_dir: str | None
    nexus_database: SeenDatabase


@dataclass(frozen=True)
class GuardSettings:
    """What stands between a run and a live cluster."""

    nexus_silence: Silence
    accept_existing: bool


@dataclass(frozen=True)
class CommonSettings(SplitSettings, NexusSettings, SvidSettings, DirectorySettings):
    """What every module has that speaks to Nexus."""


@dataclass(frozen=True)
class Settings(CommonSettings, KeeperSettings, NexusDataSettings, GuardSettings):
    """What a run and a status have in common."""


@dataclass(frozen=True)
class BootstrapSettings(Settings):
    """The options of ``spike_bootstrap``; ``abandoned`` is its ``state``."""

    verify: bool
    init_verification_timeout: Duration
    force: bool
    abandoned: bool


@dataclass(frozen=True)
class StatusSettings(Settings):
    """The options of ``spike_bootstrap_info``."""

    probe_keepers: bool


# All of these take ``params`` with every option of their module, as Ansible's argument parsing
# leaves it: types are right, nothing else is known. They raise ConfigError, which names the option,
# for the first that is refused.


def bootstrap_settings(params: Mapping[str, Any]) -> BootstrapSettings:
    """Validate the parameters of ``spike_bootstrap``."""
    return BootstrapSettings(
        **_common(params),
        verify=params["verify"],
        init_verification_timeout=_positive(params, "init_verification_timeout"),
        force=params["force"],
        abandoned=params["state"] == "abandoned",
    )


def status_settings(params: Mapping[str, Any]) -> StatusSettings:
    """Validate the parameters of ``spike_bootstrap_info``."""
    return StatusSettings(**_common(params), probe_keepers=params["probe_keepers"])


def of_every_module(params: Mapping[str, Any]) -> dict[str, Any]:
    """Validate the parameters that ``CommonSettings`` has."""
    return {**_split(params), **_nexus(params), **_svid(params), **_directories(params)}


def _common(params: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **of_every_module(params),
        **_keepers(params),
        **_nexus_data(params),
        **_guard(params),
    }


def _split(params: Mapping[str, Any]) -> dict[str, Any]:
    keepers = _peers(params["keeper_peers"])
    return {
        "keepers": keepers,
        "shamir_threshold": _threshold(params["shamir_threshold"], len(keepers)),
        "share_scheme": _scheme(params, len(keepers)),
    }


def _keepers(params: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "keeper_timeout": _positive(params, "keeper_timeout"),
        "keeper_max_retries": _attempts(params["keeper_max_retries"]),
        "keeper_retry_initial_interval": _positive(params, "keeper_retry_initial_interval"),
        "keeper_retry_max_interval": _positive(params, "keeper_retry_max_interval"),
        "trust_root_keeper": trust_domains(params, "trust_root_keeper"),
        "trust_root_bootstrap": trust_domains(params, "trust_root_bootstrap"),
    }


def _nexus(params: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "nexus_api_url": _url("nexus_api_url", params["nexus_api_url"]),
        "trust_root_nexus": trust_domains(params, "trust_root_nexus"),
        "timeout": _duration(params, "timeout"),
    }


def _svid(params: Mapping[str, Any]) -> dict[str, Any]:
    # What belongs to another source is not used, and so not refused.
    files = params["svid_source"] == "files"
    endpoint, timeout = params["spiffe_endpoint_socket"], "spiffe_source_timeout"
    return {
        "svid_source": params["svid_source"],
        "spiffe_endpoint_socket": None if files else _socket(endpoint),
        "spiffe_source_timeout": _UNUSED if files else _positive(params, timeout),
        "svid_cert": params["svid_cert"],
        "svid_key": params["svid_key"],
        "svid_bundle": params["svid_bundle"],
        "spire_agent_path": params["spire_agent_path"],
        "federated_bundles": _federated(params["federated_bundles"]) if files else {},
    }


def _directories(params: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "state_dir": directory(params, "state_dir"),
        "runtime_dir": directory(params, "runtime_dir") if params["runtime_dir"] else None,
    }


def _nexus_data(params: Mapping[str, Any]) -> dict[str, Any]:
    given = params["nexus_data_dir"]
    return {
        "nexus_data_dir": directory(params, "nexus_data_dir") if given else None,
        "nexus_database": _choice(params, "nexus_database", SeenDatabase),
    }


def _guard(params: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "nexus_silence": _choice(params, "nexus_silence", Silence),
        "accept_existing": params["accept_existing"],
    }


def readable_keepers(keeper_peers: object) -> tuple[Keeper, ...]:
    """The keepers as given, for a result in which the options themselves are refused."""
    if not isinstance(keeper_peers, Sequence) or isinstance(keeper_peers, str):
        return ()
    return tuple(Keeper(i, str(url).strip()) for i, url in enumerate(keeper_peers, 1))


def url_credentials(params: Mapping[str, Any]) -> Iterator[str]:
    """What stands before the ``@`` of URLs: refused, and yet not to be shown where URLs are."""
    for url in (*(params["keeper_peers"] or ()), params["nexus_api_url"]):
        before, at, _host = str(url).rpartition("@")
        scheme, slashes, rest = before.partition("://")
        credentials = rest if slashes else scheme
        if at and credentials:
            # With the @, so that one of a single letter does not mask every such letter.
            yield credentials + at


def _peers(urls: Sequence[str]) -> tuple[Keeper, ...]:
    if not 2 <= len(urls) <= MOST_KEEPERS:
        raise ConfigError(
            "keeper_peers",
            f"{len(urls)} given, but a split needs 2 to {MOST_KEEPERS} keepers",
            "list one https URL for each keeper, in the order that Nexus has",
        )
    peers = tuple(
        Keeper(i, _url("keeper_peers", url, name=f"keeper {i}")) for i, url in enumerate(urls, 1)
    )
    seen: dict[tuple[str, int, str], int] = {}
    for peer in peers:
        place = place_of_url(peer.url)
        if place in seen:
            raise ConfigError(
                "keeper_peers",
                f"keepers {seen[place]} and {peer.id} are the same: {peer.url}",
                "list each keeper once, because one keeper cannot hold two shards",
            )
        seen[place] = peer.id
    return peers


def _url(option: str, value: str, *, name: str = "it") -> str:
    text = value.strip().rstrip("/")
    if "@" in text:
        # Whatever else is wrong with the value, it may hold a password, and is not shown.
        raise ConfigError(
            option,
            f"{name} has a user name in its URL",
            "remove it: this host is known to its peers by its SVID",
        )
    parts = _split_url(text)
    if parts is None or not parts.hostname or not text.isascii() or not text.isprintable():
        problem = "is not a URL with a host and, if any, a port from 1 to 65535"
    elif parts.scheme != "https":
        problem = "does not begin with https://"
    elif any(mark in text for mark in "?# "):
        problem = "has a query, a fragment or a space"
    elif parts.path and option == "keeper_peers":
        # A keeper answers a wrong path as it answers the empty request: it would pass for reached.
        problem = "has a path"
    else:
        return text
    where = " in {keeper_url}" if option == "keeper_peers" else ""
    raise ConfigError(
        option,
        f"{name} is {_shown(value)}, which {problem}",
        f"give it as {_example(option, text, name)}{where}",
    )


def _example(option: str, text: str, name: str) -> str:
    """A valid URL, with the host that was given where one can be made out.

    Else a keeper's has its number: the example of another keeper would be refused as listed twice.
    """
    given = _GIVEN_PLACE.match(text)
    port = _PORTS[option]
    host = _in_ascii(given[1].strip(".")) if given else ""
    if given is None or not host:
        unknown = name.replace(" ", "") if option == "keeper_peers" else "localhost"
        return f"https://{unknown}:{port}"
    number = int(given[2] or port)
    shown = given[1] if given[1].isascii() else host
    return f"https://{shown}:{number if 0 < number < 65536 else port}"


def _in_ascii(host: str) -> str:
    """An international name as the name service knows it (RFC 3490)."""
    try:
        return host.encode("idna").decode()
    except UnicodeError:
        return ""


def _split_url(text: str) -> SplitResult | None:
    try:
        parts = urlsplit(text)
        port = parts.port  # parsed, and refused, only when read
        place = _PLACE.fullmatch(parts.netloc)
        if place is not None and place[1]:
            ipaddress.IPv6Address(place[1])
    except ValueError:
        return None
    return None if port == 0 or place is None else parts


def _threshold(threshold: int, keepers: int) -> int:
    if threshold < 2:
        raise ConfigError(
            "shamir_threshold",
            f"{threshold} is below 2, and with 1 every shard would be the root key itself",
            "give 2 or more",
        )
    if threshold > keepers:
        raise ConfigError(
            "shamir_threshold",
            f"{threshold} is more than the {keepers} keepers: the root key could not be rebuilt",
            f"give a number from 2 to {keepers}, the one that Nexus has",
        )
    return threshold


def _scheme(params: Mapping[str, Any], keepers: int) -> str:
    shares = params["shamir_shares"]
    if shares is not None and shares != keepers:
        raise ConfigError(
            "shamir_shares",
            f"{shares} does not match the {keepers} keepers in {{keeper_peers}}",
            "leave it out, or correct the list of keepers: each keeper has one share",
        )
    scheme: str = params["share_scheme"]
    if scheme not in SCHEMES:
        raise ConfigError(
            "share_scheme",
            f"{_shown(scheme)} is not one of them",
            f"give one of {', '.join(SCHEMES)}",
        )
    return scheme


def _attempts(attempts: int) -> int:
    if not 1 <= attempts <= MOST_ATTEMPTS:
        raise ConfigError(
            "keeper_max_retries",
            f"{attempts} is not in 1 to {MOST_ATTEMPTS}",
            "give a number of attempts, the first included, for example 5",
        )
    return attempts


def _duration(params: Mapping[str, Any], option: str) -> Duration:
    try:
        return parse_duration(str(params[option]))
    except ValueError as error:
        raise ConfigError(option, literal(str(error)), DURATION_EXAMPLE) from None


def _positive(params: Mapping[str, Any], option: str) -> Duration:
    duration = _duration(params, option)
    if duration.seconds <= 0:
        raise ConfigError(
            option,
            f"{params[option]!r} is not greater than 0, and nothing here waits without an end",
            DURATION_EXAMPLE,
        )
    return duration


def _socket(value: str | None) -> str | None:
    if value is None:
        return None
    path = value[len("unix:") :] if value.startswith("unix:") else value
    path = "/" + path.lstrip("/") if path.startswith("/") else path
    if not path.startswith("/"):
        raise ConfigError(
            "spiffe_endpoint_socket",
            f"{_shown(value)} is neither an absolute path nor a unix: URL",
            "give for example unix:///tmp/spire-agent/public/api.sock",
        )
    return f"unix://{path}"


def _trust_domain(option: str, value: str) -> str:
    try:
        return parse_trust_domain(value.strip())
    except ValueError as error:
        raise ConfigError(option, literal(str(error)), "give for example spike.ist") from None


def trust_domains(params: Mapping[str, Any], option: str) -> tuple[str, ...]:
    """Validate ``option``, a list of trust domains; each is in the result once."""
    domains = tuple(dict.fromkeys(_trust_domain(option, value) for value in params[option]))
    if not domains:
        raise ConfigError(option, "is empty", "give at least one trust domain, such as spike.ist")
    return domains


def _federated(bundles: Mapping[str, Any]) -> Mapping[str, str]:
    paths = {}
    for given, path in bundles.items():
        domain = _trust_domain("federated_bundles", str(given))
        if not isinstance(path, str) or not path:
            raise ConfigError(
                "federated_bundles",
                f"{domain} has no path to a PEM bundle",
                literal(f"give one, for example {{{domain}: /etc/spiffe/{domain}.pem}}"),
            )
        paths[domain] = path
    return paths


def directory(params: Mapping[str, Any], option: str) -> str:
    """Validate ``option``, the path of a directory."""
    path: str = params[option]
    if not os.path.isabs(path) or "\0" in path:
        raise ConfigError(
            option,
            f"{_shown(path)} is not an absolute path",
            f"give for example {_DIRECTORIES[option]}",
        )
    return path


def _choice(params: Mapping[str, Any], option: str, choices: type[Choice]) -> Choice:
    try:
        return choices(params[option])
    except ValueError:
        known = ", ".join(str(choice.value) for choice in choices)
        problem = f"{_shown(params[option])} is not one of them"
        raise ConfigError(option, problem, f"give one of {known}") from None


def _shown(value: object) -> str:
    return literal(repr(value))


__all__ = [
    "MOST_ATTEMPTS",
    "MOST_KEEPERS",
    "BootstrapSettings",
    "CommonSettings",
    "DirectorySettings",
    "GuardSettings",
    "KeeperSettings",
    "NexusDataSettings",
    "NexusSettings",
    "SeenDatabase",
    "Settings",
    "Silence",
    "SplitSettings",
    "StatusSettings",
    "bootstrap_settings",
    "directory",
    "of_every_module",
    "readable_keepers",
    "status_settings",
    "trust_domains",
    "url_credentials",
]
