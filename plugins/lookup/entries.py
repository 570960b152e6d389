# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The registration entries that the cluster of an inventory needs."""

from __future__ import annotations

DOCUMENTATION = r"""
name: entries
short_description: List the registration entries that the SPIKE cluster of the inventory needs
version_added: 1.0.0
author:
  - The dayzero.spike authors (@dayzero-collections)
description:
  - Gives the entries for every keeper, for Nexus and for the bootstrap, as
    M(dayzero.spike.spike_entries) takes them.
  - The parent of an entry is the C(spire_agent_id) of its host, and its trust domain that of the
    parent. It selects the user of the part, C(spike_keeper_user) and so on, and with O(sha256) its
    binary, C(spike_keeper_binary_sha256) and so on, where that is known.
options:
  _terms:
    description: None.
  pilots:
    description:
      - Entries for SPIKE's pilot, each with a C(role) (superuser, recover or restore), a C(host), a
        C(user), and where it is known the C(sha256) of its binary.
    type: list
    elements: dict
    default: []
  only_pilots:
    description: Whether to give the entries of O(pilots) alone, whatever the rest of the cluster.
    type: bool
    default: false
  sha256:
    description: Whether entries select the binary too, where its digest is known.
    type: bool
    default: true
  check:
    description:
      - Return what is wrong with the inventory, as sentences, instead of the entries.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Show the entries
  ansible.builtin.debug:
    msg: "{{ query('dayzero.spike.entries') }}"
"""

RETURN = r"""
_raw:
  description:
    - One entry a part and host, with C(spiffe_id), C(parent_id) and C(selectors). With
      O(check=true) sentences.
  type: list
  elements: raw
"""

from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.dayzero.spike.plugins.plugin_utils._entries import (
    entries_of,
    entries_of_pilots,
)
from ansible_collections.dayzero.spike.plugins.plugin_utils._inventory import cluster_in


class LookupModule(LookupBase):  # type: ignore[misc]
    """The lookup."""

    def run(
        self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any
    ) -> list[Any]:
        self.set_options(var_options=variables, direct=kwargs)
        available = variables or {}
        hostvars = available.get("hostvars", {})
        pilots, sha256 = self.get_option("pilots") or [], self.get_option("sha256")
        found: list[dict[str, Any]] = []
        if self.get_option("only_pilots"):
            found, problems = entries_of_pilots(hostvars, pilots, sha256=sha256)
        else:
            cluster, problems = cluster_in(available)
            if cluster is not None:
                found, problems = entries_of(cluster, hostvars, pilots, sha256=sha256)
        if self.get_option("check"):
            return problems
        if problems:
            raise AnsibleLookupError(" ".join(problems))
        return found
