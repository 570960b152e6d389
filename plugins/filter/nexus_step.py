# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is to be done with Nexus now."""

from __future__ import annotations

DOCUMENTATION = r"""
name: nexus_step
short_description: Decide whether SPIKE Nexus is started, restarted, left or refused
version_added: 1.0.0
author:
  - The dayzero.spike authors (@dayzero-collections)
description:
  - A Nexus is not started before the shards are delivered, which day zero does. One that may have a
    root key is started or restarted only where a threshold of keepers is known to hold shards, and
    restarted only where all of these are from the Nexus that runs now.
options:
  _input:
    description:
      - What was seen of Nexus. C(running), C(stale) and C(uptime) of its unit, C(state) and C(why)
        as it told the bootstrap host, C(journal) of the bootstrap, and whether it has a
        C(database).
    type: dict
    required: true
  keepers:
    description: The results of M(dayzero.spike.spike_service_info) for all keepers, by host.
    type: dict
    required: true
  threshold:
    description: How many shards make the root key.
    type: int
    required: true
"""

EXAMPLES = r"""
- name: Decide what to do with Nexus
  ansible.builtin.set_fact:
    step: "{{ nexus | dayzero.spike.nexus_step(keepers=seen, threshold=2) }}"
"""

RETURN = r"""
_value:
  description: C(step), one of V(leave), V(start), V(restart) and V(refuse), and C(why).
  type: dict
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.dayzero.spike.plugins.plugin_utils._restart import (
    SeenNexus,
    next_step,
    seen_keepers,
)


def nexus_step(
    nexus: Mapping[str, Any], keepers: Mapping[str, Mapping[str, Any]], threshold: int
) -> dict[str, str]:
    decided = next_step(seen_keepers(keepers), SeenNexus(**nexus), int(threshold))
    return {"step": decided.step, "why": decided.why}


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"nexus_step": nexus_step}
