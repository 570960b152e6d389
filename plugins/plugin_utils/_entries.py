# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which registration entries a cluster needs, from its inventory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.dayzero.spike.plugins.module_utils._spiffe.spiffe_id import (
    BOOTSTRAP_PATH,
    KEEPER_PATH,
    NEXUS_PATH,
    SpiffeId,
)
from ansible_collections.dayzero.spike.plugins.plugin_utils._cluster import Cluster

AGENT = "spire_agent_id"
PILOT_ROLES = ("superuser", "recover", "restore")
# Each part's path in its SPIFFE ID, the variable with its user, and that user's default.
_PARTS = {
    "keeper": (KEEPER_PATH, "spike_keeper_user", "spike-keeper"),
    "nexus": (NEXUS_PATH, "spike_nexus_user", "spike-nexus"),
    "bootstrap": (BOOTSTRAP_PATH, "spike_bootstrap_user", "spike-bootstrap"),
}


@dataclass(frozen=True)
class _Part:
    """One process of SPIKE's: which part it plays, on which host, as which user."""

    path: str
    host: str
    user: str
    sha256: str
    trust_domains: tuple[str, ...] | None


def entries_of(
    cluster: Cluster,
    hostvars: Mapping[str, Mapping[str, Any]],
    pilots: Sequence[Mapping[str, Any]],
    *,
    sha256: bool,
) -> tuple[list[dict[str, Any]], list[str]]:
    """The entries that are wanted, and what is wrong, in sentences; one of the two is empty.

    ``sha256``: whether entries select the binary too, where its digest is known.
    """
    parts, problems = _pilots(pilots, hostvars)
    for keeper in cluster.keepers:
        parts.append(_part("keeper", keeper.host, hostvars, cluster.trust_root_keeper))
    if cluster.nexus_host:
        parts.append(_part("nexus", cluster.nexus_host, hostvars, cluster.trust_root_nexus))
    if cluster.bootstrap_host:
        roots = cluster.trust_root_bootstrap
        parts.append(_part("bootstrap", cluster.bootstrap_host, hostvars, roots))
    return _entries(parts, problems, hostvars, sha256=sha256)


def entries_of_pilots(
    hostvars: Mapping[str, Mapping[str, Any]],
    pilots: Sequence[Mapping[str, Any]],
    *,
    sha256: bool,
) -> tuple[list[dict[str, Any]], list[str]]:
    """The same for the pilots alone, whatever is wrong with the rest of the cluster."""
    parts, problems = _pilots(pilots, hostvars)
    return _entries(parts, problems, hostvars, sha256=sha256)


def _entries(
    parts: Sequence[_Part],
    problems: list[str],
    hostvars: Mapping[str, Mapping[str, Any]],
    *,
    sha256: bool,
) -> tuple[list[dict[str, Any]], list[str]]:
    entries = []
    for part in parts:
        parent = str(hostvars[part.host].get(AGENT) or "").strip()
        problem = _problem_of(part, parent)
        if problem:
            problems.append(problem)
            continue
        selectors = [f"unix:user:{part.user}"]
        if sha256 and part.sha256:
            selectors.append(f"unix:sha256:{part.sha256}")
        domain = SpiffeId.parse(parent).trust_domain
        entry = {
            "spiffe_id": str(SpiffeId(domain, part.path)),
            "parent_id": parent,
            "selectors": selectors,
        }
        if entry not in entries:
            entries.append(entry)
    return ([], list(dict.fromkeys(problems))) if problems else (entries, [])


def _part(
    name: str,
    host: str,
    hostvars: Mapping[str, Mapping[str, Any]],
    trust_domains: tuple[str, ...],
) -> _Part:
    path, variable, default = _PARTS[name]
    variables = hostvars[host]
    digest = str(variables.get(f"spike_{name}_binary_sha256") or "").strip().lower()
    user = str(variables.get(variable) or default)
    return _Part(path, host, user, digest, trust_domains)


def _pilots(
    pilots: Sequence[Mapping[str, Any]], hostvars: Mapping[str, Mapping[str, Any]]
) -> tuple[list[_Part], list[str]]:
    parts, problems = [], []
    for pilot in pilots:
        role, host, user = (str(pilot.get(name) or "") for name in ("role", "host", "user"))
        if role not in PILOT_ROLES or host not in hostvars or not user:
            problems.append(
                "spike_entries_pilots: each needs a role (superuser, recover or restore), a host of"
                f" the inventory and a user. One has role {role or 'none'}, host {host or 'none'},"
                f" user {user or 'none'}."
            )
            continue
        digest = str(pilot.get("sha256") or "").strip().lower()
        parts.append(_Part(f"/spike/pilot/role/{role}", host, user, digest, None))
    return parts, problems


def _problem_of(part: _Part, parent: str) -> str:
    if not parent:
        return (
            f"{part.host} has no {AGENT}. Set it to the SPIFFE ID of SPIRE's agent on that host, as"
            " spire-server agent list shows it, for example"
            " spiffe://example.org/spire/agent/x509pop/4f1c."
        )
    try:
        agent = SpiffeId.parse(parent)
    except ValueError as error:
        return f"{AGENT} of {part.host}: {error}."
    if part.trust_domains is not None and agent.trust_domain not in part.trust_domains:
        return (
            f"{AGENT} of {part.host} is of the trust domain {agent.trust_domain}, and SPIKE takes"
            f" {part.path} from {', '.join(part.trust_domains)} only. Set spike_trust_domain:"
            f" {agent.trust_domain}, or correct {AGENT}."
        )
    return ""


__all__ = ["entries_of", "entries_of_pilots"]
