# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a keeper may be restarted now."""

from __future__ import annotations

DOCUMENTATION = r"""
name: keeper_refusal
short_description: Say why a SPIKE Keeper must not be restarted now
version_added: 1.0.0
author:
  - The dayzero.spike authors (@dayzero-collections)
description:
  - A keeper that is restarted forgets its shard, and gets it again only from a Nexus that has the
    root key. So a keeper that may hold a shard is restarted only while Nexus proves its key, while
    a threshold of the other keepers is known to hold shards, and all of these are from the Nexus
    that runs now.
options:
  _input:
    description: The host of the keeper, as the inventory names it.
    type: str
    required: true
  keepers:
    description: The results of M(dayzero.spike.spike_service_info) for all keepers, by host.
    type: dict
    required: true
  nexus:
    description:
      - What was seen of Nexus. C(state) and C(why) as it told the bootstrap host, C(uptime) in
        seconds where it is known, C(accepted) where it holds a key that the operator has accepted.
    type: dict
    required: true
  threshold:
    description: How many shards make the root key.
    type: int
    required: true
"""

EXAMPLES = r"""
- name: Show why keeper1 must not be restarted
  ansible.builtin.debug:
    msg: "{{ 'keeper1' | dayzero.spike.keeper_refusal(keepers=seen, nexus=nexus, threshold=2) }}"
"""

RETURN = r"""
_value:
  description: Why, in sentences; empty where it may be restarted.
  type: str
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.dayzero.spike.plugins.plugin_utils._restart import (
    SeenNexus,
    refuse_keeper,
    seen_keepers,
)


def keeper_refusal(
    host: str,
    keepers: Mapping[str, Mapping[str, Any]],
    nexus: Mapping[str, Any],
    threshold: int,
) -> str:
    return refuse_keeper(host, seen_keepers(keepers), SeenNexus(**nexus), int(threshold))


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"keeper_refusal": keeper_refusal}
