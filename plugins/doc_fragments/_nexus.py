# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where Nexus is, and how long the whole run may take."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  nexus_api_url:
    description:
      - URL of SPIKE Nexus as seen from the target host, V(https://localhost:8553) by default.
      - Falls back to E(SPIKE_NEXUS_API_URL) on the target host.
    type: str
    default: https://localhost:8553
    version_added: 1.0.0
  trust_root_nexus:
    description:
      - Trust domains that SPIKE Nexus may belong to, V(spike.ist) alone by default. Nexus must
        show the SPIFFE ID V(spiffe://<trust domain>/spike/nexus) or one below it.
      - Falls back to E(SPIKE_TRUST_ROOT_NEXUS) on the target host, separated by commas.
    type: list
    elements: str
    default: [spike.ist]
    version_added: 1.0.0
  timeout:
    description:
      - Time for the whole run, as a Go duration or a number of seconds. V(0), the default, sets no
        limit of its own, and the run is bounded by those of its steps.
      - Falls back to E(SPIKE_BOOTSTRAP_TIMEOUT) on the target host.
    type: str
    default: '0'
    version_added: 1.0.0
"""
