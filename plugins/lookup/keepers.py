# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The keepers of an inventory, in the order of their ids."""

from __future__ import annotations

DOCUMENTATION = r"""
name: keepers
short_description: List the SPIKE Keepers of the inventory in the order of their ids
version_added: 1.0.0
author:
  - The dayzero.spike authors (@dayzero-collections)
description:
  - Gives the hosts of a group with their C(spike_keeper_url), in the order of their
    C(spike_keeper_id) where that is set for all of them.
  - Without C(spike_keeper_id) the order is that of the group, which must be flat. Ansible lists the
    hosts of child groups in another order than they are written in, and a wrong order makes a wrong
    root key, so a group with child groups is refused then.
options:
  _terms:
    description: The group, V(spike_keepers) by default.
    type: list
    elements: str
  check:
    description:
      - Return what is wrong with the group, as sentences, instead of the keepers. The list is empty
        where nothing is.
    type: bool
    default: false
seealso:
  - plugin: ansible.builtin.inventory_hostnames
    plugin_type: lookup
"""

EXAMPLES = r"""
- name: Bootstrap the keepers of the inventory
  dayzero.spike.spike_bootstrap:
    keeper_peers: "{{ query('dayzero.spike.keepers') | map(attribute='url') }}"

- name: Stop early where the inventory does not say which keeper is which
  ansible.builtin.assert:
    that: problems | length == 0
    fail_msg: "{{ problems | join(' ') }}"
  vars:
    problems: "{{ query('dayzero.spike.keepers', check=true) }}"
"""

RETURN = r"""
_raw:
  description:
    - One entry a keeper, with its C(id), counted from 1, the name of its C(host), and its C(url).
      With O(check=true) sentences.
  type: list
  elements: raw
  sample:
    - id: 1
      host: keeper1
      url: https://keeper1.example.org:8443
"""

from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.dayzero.spike.plugins.plugin_utils._inventory import children_of
from ansible_collections.dayzero.spike.plugins.plugin_utils._keepers import keepers_of

_GROUP = "spike_keepers"


class LookupModule(LookupBase):  # type: ignore[misc]
    """The lookup."""

    def run(
        self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any
    ) -> list[Any]:
        self.set_options(var_options=variables, direct=kwargs)
        available = variables or {}
        group = terms[0] if terms else _GROUP
        hosts = list(available.get("groups", {}).get(group, []))
        hostvars = available.get("hostvars", {})
        keepers, problems = keepers_of(
            group,
            hosts,
            {host: hostvars[host] for host in hosts},
            children_of(hostvars, group),
        )
        if self.get_option("check"):
            return problems
        if problems:
            raise AnsibleLookupError(" ".join(problems))
        return [{"id": one.id, "host": one.host, "url": one.url} for one in keepers]
