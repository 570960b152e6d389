# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whose identity an operator has in an emergency."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  trust_root_pilot:
    description:
      - Trust domains that the identity used here may belong to, V(spike.ist) alone by default.
      - Falls back to E(SPIKE_TRUST_ROOT_PILOT) on the target host, separated by commas.
    type: list
    elements: str
    default: [spike.ist]
    version_added: 1.0.0
"""
