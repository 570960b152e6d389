# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From what Ansible hands to a lookup to the cluster in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.dayzero.spike.plugins.plugin_utils._cluster import (
    KEEPERS,
    Cluster,
    cluster_of,
)


def cluster_in(variables: Mapping[str, Any]) -> tuple[Cluster | None, list[str]]:
    """The cluster, or what is wrong with its description, in sentences."""
    hostvars = variables.get("hostvars", {})
    return cluster_of(
        variables.get("groups", {}), hostvars, children_of(hostvars, KEEPERS), variables
    )


def children_of(hostvars: Any, group: str) -> list[str] | None:
    """The names of a group's child groups; None where this Ansible does not say."""
    # No variable distinguishes a child group from another one that holds the same hosts.
    inventory = getattr(hostvars, "_inventory", None)
    groups = getattr(inventory, "groups", None)
    if groups is None:
        return None
    found = groups.get(group)
    return [] if found is None else [child.name for child in found.child_groups]


__all__ = ["children_of", "cluster_in"]
