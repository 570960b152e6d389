#!/usr/bin/python
# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The end of a run as an operator reads it; the work is done by the action plugin of this name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: spike_report
short_description: Show what a bootstrap of SPIKE has ended with, and fail where it has failed
version_added: 1.0.0
author:
  - The dayzero.spike authors (@dayzero-collections)
description:
  - Shows the result of M(dayzero.spike.spike_bootstrap) or M(dayzero.spike.spike_bootstrap_info) as
    plain lines. Of a success, what it has done. Of a failure, one table with every keeper and SPIKE
    Nexus, then why it failed, then what to do, and then it fails with the one message.
  - For a task that registers the result with C(failed_when=false), so that Ansible does not show
    all of it.
  - Runs on the controller, and contacts no host. With C(-v) it shows the settings as well.
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
  result:
    description: The result, as it was registered.
    type: dict
    required: true
  of:
    description: Whether it is that of a run or of a look, V(bootstrap) by default.
    type: str
    choices:
      bootstrap: The result is that of M(dayzero.spike.spike_bootstrap).
      status: The result is that of M(dayzero.spike.spike_bootstrap_info).
    default: bootstrap
  settings:
    description: What was set, by name, for C(-v).
    type: dict
    default: {}
seealso:
  - module: dayzero.spike.spike_bootstrap
  - module: dayzero.spike.spike_bootstrap_info
"""

EXAMPLES = r"""
- name: Give the cluster its root key
  dayzero.spike.spike_bootstrap:
    keeper_peers:
      - https://keeper1:8443
      - https://keeper2:8443
      - https://keeper3:8443
  become: true
  become_user: spike-bootstrap
  register: bootstrap
  failed_when: false

- name: Show what it has done, or why it has failed
  dayzero.spike.spike_report:
    result: "{{ bootstrap }}"
"""

RETURN = r"""
msg:
  description: The message of the failure that is shown.
  returned: failure
  type: str
  sample: >-
    Failed to reach keeper 1 at https://keeper1:8443 after 5 attempts (30s timeout): connection
    refused. Ensure all keepers are running and rerun bootstrap.
changed:
  description: Whether the run that has failed had changed anything.
  returned: failure
  type: bool
  sample: false
"""
