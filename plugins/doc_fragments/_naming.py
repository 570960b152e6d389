# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whose names messages use."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  naming:
    description:
      - Whose names messages and hints use, V(options) by default.
    type: str
    choices:
      options: Those of this module's options, as a task has them.
      variables: >-
        Those of the variables of the role for this module, such as
        P(dayzero.spike.spike_bootstrap#role), which sets this itself.
    default: options
    version_added: 1.0.0
"""
