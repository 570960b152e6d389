# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an inventory says of a cluster, read once for every part of it.

Keepers, Nexus and bootstrap must agree on the order of the keepers, on the threshold, on the number
of shares and on the trust roots. So each of these has one variable, that of the bootstrap, and
every role has it from here. Null is "not set".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.dayzero.spike.plugins.module_utils._clock import parse_duration
from ansible_collections.dayzero.spike.plugins.module_utils._spiffe.spiffe_id import (
    parse_trust_domain,
)
from ansible_collections.dayzero.spike.plugins.plugin_utils._keepers import Keeper, keepers_of

KEEPERS = "spike_keepers"
NEXUS = "spike_nexus"
BOOTSTRAP = "spike_bootstrap"
TRUST_DOMAIN = "spike_trust_domain"

# As the module documents them; tests/unit/test_cluster.py compares.
DEFAULTS: Mapping[str, Any] = {
    "shamir_threshold": 2,
    "share_scheme": "circl-1.6.2",
    "nexus_api_url": "https://localhost:8553",
    "spiffe_endpoint_socket": "unix:///tmp/spire-agent/public/api.sock",
    "state_dir": "/var/lib/spike-bootstrap",
}
_DEFAULT_TRUST_DOMAIN = "spike.ist"
_DEFAULT_DATA_DIR = "/var/lib/spike"
_DEFAULT_INTERVAL = "5m"
# A push of Nexus goes to one keeper after the other, and is not sent to the second.
_SLACK_SECONDS = 30
_HTTPS_PORT = 443


@dataclass(frozen=True)
class Cluster:
    """A cluster as its inventory describes it.

    ``nexus_host`` and ``bootstrap_host`` are empty where their group is. ``shard_timeout`` is how
    long a keeper may wait for a shard from a Nexus that has the key.
    """

    keepers: tuple[Keeper, ...]
    nexus_host: str
    bootstrap_host: str
    threshold: int
    share_scheme: str
    trust_root_keeper: tuple[str, ...]
    trust_root_nexus: tuple[str, ...]
    trust_root_bootstrap: tuple[str, ...]
    trust_domain: str
    nexus_api_url: str
    nexus_address: str
    nexus_data_dir: str
    update_interval: str
    shard_timeout: str
    spiffe_endpoint_socket: str
    state_dir: str
    accept_existing: bool

    def told(self) -> dict[str, Any]:
        """The same for playbooks, with the keepers' URLs as SPIKE has them."""
        return {
            **{name: _plain(value) for name, value in asdict(self).items()},
            "keepers": [{**asdict(one), "address": address_of(one.url)} for one in self.keepers],
            "peers": ",".join(one.url for one in self.keepers),
            "shares": len(self.keepers),
        }


def cluster_of(
    groups: Mapping[str, Sequence[str]],
    hostvars: Mapping[str, Mapping[str, Any]],
    children: Sequence[str] | None,
    own: Mapping[str, Any],
) -> tuple[Cluster | None, list[str]]:
    """The cluster, or what is wrong with its description, in sentences.

    ``children`` are the child groups of the keepers' group, see ``keepers_of``. ``own`` are the
    variables of the host at hand, which decide where there is no bootstrap host.
    """
    hosts = list(groups.get(KEEPERS, ()))
    keepers, problems = keepers_of(
        KEEPERS, hosts, {host: hostvars[host] for host in hosts}, children
    )
    bootstrap_host, problem = _only(groups, BOOTSTRAP)
    problems += problem
    nexus_host, problem = _only(groups, NEXUS)
    problems += problem
    shared = hostvars[bootstrap_host] if bootstrap_host else own
    nexus = hostvars[nexus_host] if nexus_host else own

    def option(name: str) -> Any:
        return _first(shared.get(f"spike_bootstrap_{name}"), DEFAULTS.get(name))

    trust_domain = str(_first(shared.get(TRUST_DOMAIN), _DEFAULT_TRUST_DOMAIN))
    roots: dict[str, tuple[str, ...]] = {}
    for part in ("keeper", "nexus", "bootstrap"):
        roots[part], problem = _trust_roots(f"trust_root_{part}", shared, trust_domain)
        problems += problem
    threshold, problem = _threshold(option("shamir_threshold"), option("shamir_shares"), keepers)
    problems += problem
    data_dir, problem = _data_dir(nexus, shared, same_host=nexus_host in ("", bootstrap_host))
    problems += problem
    interval = str(_first(nexus.get("spike_nexus_keeper_update_interval"), _DEFAULT_INTERVAL))
    shard_timeout = ""
    try:
        shard_timeout = f"{parse_duration(interval).seconds + _SLACK_SECONDS:g}s"
    except ValueError as error:
        problems.append(f"spike_nexus_keeper_update_interval: {error}. Give one such as 5m.")
    if problems:
        return None, problems
    url = str(option("nexus_api_url"))
    return Cluster(
        keepers=tuple(keepers),
        nexus_host=nexus_host,
        bootstrap_host=bootstrap_host,
        threshold=threshold,
        share_scheme=str(option("share_scheme")),
        trust_root_keeper=roots["keeper"],
        trust_root_nexus=roots["nexus"],
        trust_root_bootstrap=roots["bootstrap"],
        trust_domain=trust_domain,
        nexus_api_url=url,
        nexus_address=address_of(url),
        nexus_data_dir=data_dir,
        update_interval=interval,
        shard_timeout=shard_timeout,
        spiffe_endpoint_socket=str(option("spiffe_endpoint_socket")),
        state_dir=str(option("state_dir")).rstrip("/"),
        accept_existing=_true(option("accept_existing")),
    ), []


def address_of(url: str) -> str:
    """Where the service with this URL listens, as SPIKE has it: on every address of its host."""
    try:
        port = urlsplit(url).port
    except ValueError:
        port = None
    return f":{port or _HTTPS_PORT}"


def _only(groups: Mapping[str, Sequence[str]], name: str) -> tuple[str, list[str]]:
    hosts = groups.get(name, ())
    if len(hosts) > 1:
        return "", [f"The group {name} must hold one host. It holds {', '.join(hosts)}."]
    return (hosts[0] if hosts else ""), []


def _trust_roots(
    option: str, variables: Mapping[str, Any], trust_domain: str
) -> tuple[tuple[str, ...], list[str]]:
    given = _first(variables.get(f"spike_bootstrap_{option}"), [trust_domain])
    texts = given.split(",") if isinstance(given, str) else list(given)
    try:
        return tuple(parse_trust_domain(str(text).strip().rstrip("/")) for text in texts), []
    except ValueError as error:
        return (), [f"spike_bootstrap_{option}: {error}. Give one such as example.org."]


def _threshold(given: Any, shares: Any, keepers: Sequence[Keeper]) -> tuple[int, list[str]]:
    number = len(keepers)
    if not number:
        return 0, []
    try:
        threshold = int(given)
    except (TypeError, ValueError):
        threshold = 0
    problems = []
    if not 2 <= threshold <= number:
        problems.append(
            f"spike_bootstrap_shamir_threshold must be from 2 to {number}, the number of keepers."
            f" It is {given}."
        )
    if shares is not None and str(shares).strip() != str(number):
        problems.append(
            f"spike_bootstrap_shamir_shares must be {number}, the number of keepers. It is"
            f" {shares}. Leave it out."
        )
    return threshold, problems


def _data_dir(
    nexus: Mapping[str, Any], bootstrap: Mapping[str, Any], *, same_host: bool
) -> tuple[str, list[str]]:
    own = nexus.get("spike_nexus_data_dir")
    guarded = bootstrap.get("spike_bootstrap_nexus_data_dir") if same_host else None
    directory = str(_first(own, guarded, _DEFAULT_DATA_DIR)).rstrip("/")
    if guarded and str(guarded).rstrip("/") != directory:
        return "", [
            f"spike_nexus_data_dir is {directory}, and spike_bootstrap_nexus_data_dir is {guarded}."
            " A bootstrap must look for the database where Nexus has it. Leave out the second."
        ]
    return directory, []


def _first(*values: Any) -> Any:
    """The first that is set."""
    return next((value for value in values if value is not None), None)


def _true(value: Any) -> bool:
    return str(value).strip().lower() in ("true", "yes", "on", "1")


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


__all__ = ["DEFAULTS", "Cluster", "address_of", "cluster_of"]
