# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of a run, validated: every refusal of bad input that needs no file is here."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

from ansible_collections.dayzero.spike.plugins.module_utils._duration import (
    Duration,
    parse_duration,
)
from ansible_collections.dayzero.spike.plugins.module_utils._errors import ConfigError
from ansible_collections.dayzero.spike.plugins.module_utils._shamir import SCHEMES
from ansible_collections.dayzero.spike.plugins.module_utils._spiffe_id import parse_trust_domain

# SPIKE's own limit, SPIKE_NEXUS_SHAMIR_MAX_SHARE_COUNT.
MOST_KEEPERS = 1000
# Ours: more attempts than this within one timeout would be a flood, not a retry.
MOST_ATTEMPTS = 1000
# A host name, an IPv4 address, or an IPv6 address in brackets and without a zone, which Go, Python
# and the libraries each write in another way; then a port.
_PLACE = re.compile(r"(?:[A-Za-z0-9._-]+|\[([0-9A-Fa-f:.]+)\])(?::[0-9]{1,5})?")
SVID_SOURCES = ("workload_api", "files", "spire_agent")


@dataclass(frozen=True)
class Peer:
    """A keeper: its id, counted from 1 in the order of the peers, and its URL."""

    id: int
    url: str


@dataclass(frozen=True)
class Settings:
    """The options of a run; each field is documented with the option of the same name.

    ``peers`` is ``keeper_peers``. ``runtime_dir`` may still be None: where the default lies is
    decided by what is in memory on the host.
    """

    peers: tuple[Peer, ...]
    shamir_threshold: int
    share_scheme: str
    keeper_timeout: Duration
    keeper_max_retries: int
    keeper_retry_initial_interval: Duration
    keeper_retry_max_interval: Duration
    timeout: Duration
    nexus_api_url: str
    verify: bool
    init_verification_timeout: Duration
    force: bool
    svid_source: str
    spiffe_endpoint_socket: str | None
    spiffe_source_timeout: Duration
    svid_cert: str | None
    svid_key: str | None
    svid_bundle: str | None
    spire_agent_path: str
    federated_bundles: Mapping[str, str]
    trust_root_keeper: tuple[str, ...]
    trust_root_nexus: tuple[str, ...]
    trust_root_bootstrap: tuple[str, ...]
    state_dir: str
    runtime_dir: str | None
    nexus_data_dir: str | None


def read_settings(params: Mapping[str, Any]) -> Settings:
    """Validate a module's parameters.

    ``params`` holds every option, as Ansible's argument parsing leaves it: types are right,
    nothing else is known. Raises ConfigError, which names the option, for the first that is
    refused.
    """
    peers = _peers(params["keeper_peers"])
    return Settings(
        peers=peers,
        shamir_threshold=_threshold(params["shamir_threshold"], len(peers)),
        share_scheme=_scheme(params, len(peers)),
        keeper_timeout=_positive(params, "keeper_timeout"),
        keeper_max_retries=_attempts(params["keeper_max_retries"]),
        keeper_retry_initial_interval=_positive(params, "keeper_retry_initial_interval"),
        keeper_retry_max_interval=_positive(params, "keeper_retry_max_interval"),
        timeout=_duration(params, "timeout"),
        nexus_api_url=_url("nexus_api_url", params["nexus_api_url"]),
        verify=params["verify"],
        init_verification_timeout=_positive(params, "init_verification_timeout"),
        force=params["force"],
        svid_source=params["svid_source"],
        spiffe_endpoint_socket=_socket(params["spiffe_endpoint_socket"]),
        spiffe_source_timeout=_positive(params, "spiffe_source_timeout"),
        svid_cert=params["svid_cert"],
        svid_key=params["svid_key"],
        svid_bundle=params["svid_bundle"],
        spire_agent_path=params["spire_agent_path"],
        federated_bundles=_federated(params["federated_bundles"]),
        trust_root_keeper=_trust_domains(params, "trust_root_keeper"),
        trust_root_nexus=_trust_domains(params, "trust_root_nexus"),
        trust_root_bootstrap=_trust_domains(params, "trust_root_bootstrap"),
        state_dir=_directory(params, "state_dir"),
        runtime_dir=_directory(params, "runtime_dir") if params["runtime_dir"] else None,
        nexus_data_dir=_directory(params, "nexus_data_dir") if params["nexus_data_dir"] else None,
    )


def readable_peers(keeper_peers: object) -> tuple[Peer, ...]:
    """The keepers as given, for a result in which the options themselves are refused."""
    if not isinstance(keeper_peers, Sequence) or isinstance(keeper_peers, str):
        return ()
    return tuple(Peer(i, str(url).strip()) for i, url in enumerate(keeper_peers, 1))


def url_credentials(params: Mapping[str, Any]) -> Iterator[str]:
    """What stands before the ``@`` of URLs: refused, and yet not to be shown where URLs are."""
    for url in (*(params["keeper_peers"] or ()), params["nexus_api_url"]):
        before, at, _ = str(url).rpartition("@")
        scheme, slashes, rest = before.partition("://")
        credentials = rest if slashes else scheme
        if at and credentials:
            # With the @, so that one of a single letter does not mask every such letter.
            yield credentials + at


def _peers(urls: Sequence[str]) -> tuple[Peer, ...]:
    if not 2 <= len(urls) <= MOST_KEEPERS:
        raise ConfigError(
            "keeper_peers",
            f"{len(urls)} given, but a split needs 2 to {MOST_KEEPERS} keepers;"
            " list one https URL for each, in the order that Nexus has",
        )
    peers = tuple(
        Peer(i, _url("keeper_peers", url, name=f"keeper {i}")) for i, url in enumerate(urls, 1)
    )
    seen: dict[tuple[str, int, str], int] = {}
    for peer in peers:
        parts = urlsplit(peer.url)
        place = (_one_spelling(parts.hostname or ""), parts.port or 443, parts.path)
        if place in seen:
            raise ConfigError(
                "keeper_peers",
                f"keepers {seen[place]} and {peer.id} are the same: {peer.url};"
                " one keeper would hold two shards, list each once",
            )
        seen[place] = peer.id
    return peers


def _url(option: str, value: str, *, name: str = "it") -> str:
    text = value.strip().rstrip("/")
    if "@" in text:
        # Whatever else is wrong with the value, it may hold a password, and is not shown.
        raise ConfigError(
            option, f"{name} has a user name in its URL; SVIDs identify us, remove it"
        )
    parts = _split_url(text)
    if parts is None or not parts.hostname or not text.isascii() or not text.isprintable():
        problem = "is not a URL with a host and, if any, a port from 1 to 65535"
    elif parts.scheme != "https":
        problem = "does not begin with https://"
    elif any(mark in text for mark in "?# "):
        problem = "has a query, a fragment or a space"
    else:
        return text
    example = "https://keeper1:8443" if option == "keeper_peers" else "https://localhost:8553"
    if parts is not None and parts.scheme == "http":
        example = f"https{text[len('http') :]}"
    raise ConfigError(option, f"{name} is {value!r}, which {problem}; give it as {example}")


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


def _one_spelling(host: str) -> str:
    """The same text for every way to write the same address, or the same name with its dot."""
    try:
        # Also the short forms of IPv4 that the C library takes, such as 127.1.
        return socket.inet_ntoa(socket.inet_aton(host))
    except OSError:
        pass
    try:
        address = ipaddress.IPv6Address(host)
    except ValueError:
        return host.rstrip(".")
    return str(address.ipv4_mapped or address)


def _threshold(threshold: int, keepers: int) -> int:
    if threshold < 2:
        raise ConfigError(
            "shamir_threshold",
            f"{threshold} is below 2; with 1, every shard would be the root key itself",
        )
    if threshold > keepers:
        raise ConfigError(
            "shamir_threshold",
            f"{threshold} is more than the {keepers} keepers in keeper_peers;"
            " the root key could never be rebuilt",
        )
    return threshold


def _scheme(params: Mapping[str, Any], keepers: int) -> str:
    shares = params["shamir_shares"]
    if shares is not None and shares != keepers:
        raise ConfigError(
            "shamir_shares",
            f"{shares} does not match the {keepers} keepers in keeper_peers;"
            " there is one share a keeper, leave it out or correct the list",
        )
    scheme: str = params["share_scheme"]
    if scheme not in SCHEMES:
        raise ConfigError("share_scheme", f"{scheme!r} is not one of {', '.join(SCHEMES)}")
    return scheme


def _attempts(attempts: int) -> int:
    if not 1 <= attempts <= MOST_ATTEMPTS:
        raise ConfigError(
            "keeper_max_retries",
            f"{attempts} is not in 1 to {MOST_ATTEMPTS}; it counts attempts, the first included",
        )
    return attempts


def _duration(params: Mapping[str, Any], option: str) -> Duration:
    try:
        return parse_duration(str(params[option]))
    except ValueError as error:
        raise ConfigError(option, str(error)) from None


def _positive(params: Mapping[str, Any], option: str) -> Duration:
    duration = _duration(params, option)
    if duration.seconds <= 0:
        raise ConfigError(
            option,
            f"{params[option]!r} is not greater than 0; nothing here waits without an end,"
            " give for example 30s",
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
            f"{value!r} is neither an absolute path nor a unix: URL; give for example"
            " unix:///tmp/spire-agent/public/api.sock",
        )
    return f"unix://{path}"


def _trust_domain(option: str, value: str) -> str:
    try:
        return parse_trust_domain(value.strip())
    except ValueError as error:
        raise ConfigError(option, str(error)) from None


def _trust_domains(params: Mapping[str, Any], option: str) -> tuple[str, ...]:
    domains = tuple(dict.fromkeys(_trust_domain(option, value) for value in params[option]))
    if not domains:
        raise ConfigError(option, "is empty; give at least one trust domain, such as spike.ist")
    return domains


def _federated(bundles: Mapping[str, Any]) -> Mapping[str, str]:
    paths = {}
    for domain, path in bundles.items():
        if not isinstance(path, str) or not path:
            raise ConfigError("federated_bundles", f"{domain} has no path to a PEM bundle")
        paths[_trust_domain("federated_bundles", str(domain))] = path
    return paths


def _directory(params: Mapping[str, Any], option: str) -> str:
    path: str = params[option]
    if not os.path.isabs(path) or "\0" in path:
        raise ConfigError(option, f"{path!r} is not an absolute path")
    return path


__all__ = [
    "MOST_ATTEMPTS",
    "MOST_KEEPERS",
    "SVID_SOURCES",
    "Peer",
    "Settings",
    "read_settings",
    "readable_peers",
    "url_credentials",
]
