# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What in the settings of a Nexus must not be changed."""

from __future__ import annotations

DOCUMENTATION = r"""
name: nexus_differences
short_description: List settings of a SPIKE Nexus that must not be changed to the wanted ones
version_added: 1.0.0
author:
  - The dayzero.spike authors (@dayzero-collections)
description:
  - Compares the text of a file of settings with the settings that are wanted.
  - In a file that somebody else wrote, other keepers, another order, threshold, number of shares,
    data directory or backend must not be changed. In a file of the role
    P(dayzero.spike.spike_nexus#role) it is what would cost a Nexus its key or its data, another
    number for a keeper, another threshold, data directory or backend.
options:
  _input:
    description: The text of the file.
    type: str
    required: true
  wanted:
    description: The wanted settings, by SPIKE's names.
    type: dict
    required: true
  has_key:
    description: Whether this Nexus may have a root key.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Show what differs
  ansible.builtin.debug:
    msg: "{{ text | dayzero.spike.nexus_differences(wanted=settings) }}"
"""

RETURN = r"""
_value:
  description: Sentences; empty where nothing is in the way.
  type: list
  elements: str
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.dayzero.spike.plugins.plugin_utils._nexus_settings import differences


def nexus_differences(text: str, wanted: Mapping[str, Any], has_key: bool = True) -> list[str]:
    settings = {name: str(value) for name, value in wanted.items()}
    return differences(text, settings, has_key=has_key)


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"nexus_differences": nexus_differences}
