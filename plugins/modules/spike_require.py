#!/usr/bin/python
# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What must be so before a role goes on; the work is done by the action plugin of this name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: spike_require
short_description: Go on only where something is so, and say in one line why not
version_added: 1.0.0
author:
  - The dayzero.spike authors (@dayzero-collections)
description:
  - Fails with a message where a condition does not hold. The roles of this collection use it for
    what they refuse.
  - M(ansible.builtin.assert) shows such a message twice, with the place of the task and the
    condition as JSON.
  - Runs on the controller, and contacts no host.
attributes:
  check_mode:
    description: Can run in C(check_mode) and say what would change, without changing it.
    support: full
  diff_mode:
    description: Says what was changed, or in C(check_mode) would be, in C(diff_mode).
    support: none
  action:
    description: Has an action plugin, so that some of its work is done on the controller.
    support: full
  platform:
    description: Systems that the module runs on.
    support: full
    platforms: all
options:
  that:
    description: Whether it is so, as a template.
    type: bool
    required: true
  fail_msg:
    description: Why the play cannot go on, and what to do.
    type: str
    required: true
  success_msg:
    description: A line to show where it is so.
    type: str
seealso:
  - module: dayzero.spike.spike_report
"""

EXAMPLES = r"""
- name: The inventory describes the cluster
  dayzero.spike.spike_require:
    that: "{{ query('dayzero.spike.keepers', check=true) | length == 0 }}"
    fail_msg: "{{ query('dayzero.spike.keepers', check=true) | join(' ') }} Nothing was done."
"""

RETURN = r"""
msg:
  description: Why the play cannot go on.
  returned: failure
  type: str
  sample: The group spike_bootstrap must hold exactly one host, the one with the bootstrap identity.
"""
