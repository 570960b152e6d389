# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is wrong with the role's variables in an inventory."""

from __future__ import annotations

DOCUMENTATION = r"""
name: variables
short_description: List what is wrong with the variables of the role spike_bootstrap
version_added: 1.0.0
author:
  - The dayzero.spike authors (@dayzero-collections)
description:
  - Looks at the variables of the bootstrap host, and returns what cannot be as sentences. The list
    is empty where nothing is wrong.
  - Warns of each variable whose name begins with C(spike_bootstrap_) and that nothing reads,
    because it is mistyped, or set for keepers only. A typing error must not silently mean the
    default.
options:
  _terms:
    description: The bootstrap host, by default the one of the group C(spike_bootstrap).
    type: list
    elements: str
seealso:
  - plugin: dayzero.spike.keepers
    plugin_type: lookup
"""

EXAMPLES = r"""
- name: The variables can be
  ansible.builtin.assert:
    that: query('dayzero.spike.variables') | length == 0
    fail_msg: "{{ query('dayzero.spike.variables') | join(' ') }}"
"""

RETURN = r"""
_raw:
  description: What is wrong, in sentences.
  type: list
  elements: str
  sample:
    - "Value of spike_bootstrap_nexus_silence must be one of: refused, never, accept, got: no."
"""

from pathlib import Path
from typing import Any

from ansible.plugins.lookup import LookupBase
from ansible.utils.display import Display
from ansible_collections.dayzero.spike.plugins.plugin_utils import _variables

_GROUP = "spike_bootstrap"
_SPEC = Path(__file__).resolve().parents[2] / "roles/spike_bootstrap/meta/argument_specs.yml"


class LookupModule(LookupBase):  # type: ignore[misc]
    """The lookup."""

    def run(
        self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any
    ) -> list[Any]:
        self.set_options(var_options=variables, direct=kwargs)
        available = variables or {}
        groups, hostvars = available.get("groups", {}), available.get("hostvars", {})
        host = terms[0] if terms else groups[_GROUP][0]
        spec = self._loader.load_from_file(str(_SPEC))["argument_specs"]["main"]["options"]
        keepers = {name: hostvars[name] for name in groups.get("spike_keepers", []) if name != host}
        for warning in _variables.unread(spec, host, hostvars[host], keepers):
            Display().warning(warning)
        return _variables.problems(spec, hostvars[host])
