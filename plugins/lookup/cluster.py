# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The cluster of an inventory, as keepers, Nexus and bootstrap must agree on it."""

from __future__ import annotations

DOCUMENTATION = r"""
name: cluster
short_description: Describe the SPIKE cluster of the inventory
version_added: 1.0.0
author:
  - The dayzero.spike authors (@dayzero-collections)
description:
  - Reads from the inventory what keepers, Nexus and bootstrap must agree on, from one variable
    each. These are the order of the keepers, the threshold, the number of shares and the trust
    roots.
  - They are the variables of the role P(dayzero.spike.spike_bootstrap#role), as the host in the
    group C(spike_bootstrap) has them. Null is "not set".
options:
  _terms:
    description: None.
  check:
    description:
      - Return what is wrong with the description, as sentences, instead of the cluster. The list is
        empty where nothing is.
    type: bool
    default: false
seealso:
  - plugin: dayzero.spike.keepers
    plugin_type: lookup
"""

EXAMPLES = r"""
- name: Show how many shards make the root key
  ansible.builtin.debug:
    msg: "{{ query('dayzero.spike.cluster')[0].threshold }}"
"""

RETURN = r"""
_raw:
  description:
    - One dictionary. With O(check=true) sentences.
    - C(keepers) is a list in the order of their ids, each with C(id), C(host), C(url) and
      C(address), where it listens. C(peers) has their URLs as SPIKE takes them.
    - Further C(threshold), C(shares), C(share_scheme), C(trust_domain), C(trust_root_keeper),
      C(trust_root_nexus), C(trust_root_bootstrap), C(nexus_host), C(bootstrap_host),
      C(nexus_api_url), C(nexus_address), C(nexus_data_dir), C(update_interval), C(shard_timeout),
      C(spiffe_endpoint_socket), C(state_dir) and C(accept_existing).
  type: list
  elements: raw
"""

from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.dayzero.spike.plugins.plugin_utils._inventory import cluster_in


class LookupModule(LookupBase):  # type: ignore[misc]
    """The lookup."""

    def run(
        self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any
    ) -> list[Any]:
        self.set_options(var_options=variables, direct=kwargs)
        cluster, problems = cluster_in(variables or {})
        if self.get_option("check"):
            return problems
        if cluster is None:
            raise AnsibleLookupError(" ".join(problems))
        return [cluster.told()]
