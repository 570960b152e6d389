#!/usr/bin/python
# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SPIRE's registration entries; the work is done in module_utils."""

from __future__ import annotations

DOCUMENTATION = r"""
module: spike_entries
short_description: Create and update registration entries of a SPIRE server
version_added: 1.0.0
author:
  - The dayzero.spike authors (@dayzero-collections)
description:
  - Shows the entries of the wanted SPIFFE IDs with C(spire-server), compares them, and creates or
    updates what is not as wanted.
  - An entry with the wanted SPIFFE ID, parent and selectors is the wanted one, by whomever it was
    made. Of such an entry only the TTLs are ever changed.
  - An entry that is created here has an ID that begins with O(id_prefix) and follows from its
    selectors. So a new binary gets a new entry, and a process of the old one keeps its identity
    until O(retire).
  - Never deletes an entry that it did not make.
attributes:
  check_mode:
    description: Can run in C(check_mode) and say what would change, without changing it.
    support: full
  diff_mode:
    description: Says what was changed, or in C(check_mode) would be, in C(diff_mode).
    support: full
  platform:
    description: Systems that the module runs on.
    support: full
    platforms: linux
options:
  entries:
    description: The wanted entries.
    type: list
    elements: dict
    required: true
    suboptions:
      spiffe_id:
        description: The SPIFFE ID that is given.
        type: str
        required: true
      parent_id:
        description: The SPIFFE ID of the agent that gives it.
        type: str
        required: true
      selectors:
        description: What a process must be to get it, for example V(unix:user:spike-keeper).
        type: list
        elements: str
        required: true
      x509_svid_ttl:
        description:
          - How long an X.509-SVID is valid, as a duration such as V(1h). By default it is left as
            it is, and to SPIRE for a new entry.
        type: str
      jwt_svid_ttl:
        description: The same of a JWT-SVID.
        type: str
  state:
    description:
      - Whether O(entries) are to be there, V(present) by default.
      - With V(absent) those are deleted that this module made with the same O(id_prefix), and no
        other, also where another gives the same SPIFFE ID to the same process.
    type: str
    choices: [present, absent]
    default: present
  expires_in:
    description:
      - How long an entry that is made here is there, as a duration such as V(1h). Then SPIRE
        deletes it, whatever became of this run. By default it stays. Each run sets it anew.
    type: str
  retire:
    description:
      - Whether to delete entries that were made here, with a wanted SPIFFE ID and parent, and are
        not wanted any more.
    type: bool
    default: false
  spire_server:
    description: SPIRE's server program, V(spire-server) by default, found in the path.
    type: str
    default: spire-server
  socket:
    description: Socket of the server's API, by default the program's own default.
    type: path
  id_prefix:
    description:
      - How the ID of an entry begins that is created here, V(dayzero-spike) by default. Only such
        an entry is ever deleted.
    type: str
    default: dayzero-spike
requirements:
  - Python 3.9 or later
  - SPIRE 1.5 or later
"""

EXAMPLES = r"""
- name: Let the user spike-keeper of one host be a keeper
  dayzero.spike.spike_entries:
    entries:
      - spiffe_id: spiffe://example.org/spike/keeper
        parent_id: spiffe://example.org/spire/agent/x509pop/4f1c
        selectors: [unix:user:spike-keeper]
        x509_svid_ttl: 1h
  become: true

# For an emergency. SPIRE deletes it after an hour, if nothing else does.
- name: Let the user spike-restore give a cluster its root key back
  dayzero.spike.spike_entries:
    id_prefix: for-now
    expires_in: 1h
    entries:
      - spiffe_id: spiffe://example.org/spike/pilot/role/restore
        parent_id: spiffe://example.org/spire/agent/x509pop/4f1c
        selectors: [unix:user:spike-restore]
  become: true
"""

RETURN = r"""
entries:
  description: The wanted entries, and what was done with each, or would be in check mode.
  returned: success
  type: list
  elements: dict
  contains:
    act:
      description: What was done.
      returned: always
      type: str
      choices: [unchanged, created, updated, deleted]
      sample: created
    id:
      description: The entry's ID.
      returned: always
      type: str
      sample: dayzero-spike-0123456789abcdef
    spiffe_id:
      description: The SPIFFE ID.
      returned: always
      type: str
      sample: spiffe://example.org/spike/keeper
    parent_id:
      description: The agent's SPIFFE ID.
      returned: always
      type: str
      sample: spiffe://example.org/spire/agent/x509pop/4f1c
    selectors:
      description: The selectors.
      returned: always
      type: list
      elements: str
      sample: [unix:user:spike-keeper]
    x509_svid_ttl:
      description: Seconds; V(0) is SPIRE's own default.
      returned: always
      type: int
      sample: 3600
    jwt_svid_ttl:
      description: Seconds; V(0) is SPIRE's own default.
      returned: always
      type: int
      sample: 0
    expires_at:
      description: When SPIRE deletes it, in seconds since 1970; V(0) is never.
      returned: always
      type: int
      sample: 0
superseded:
  description: Entries that were made here and are not wanted any more. O(retire=true) deletes them.
  returned: success
  type: list
  elements: dict
  sample: []
others:
  description:
    - Entries of somebody else that give a wanted SPIFFE ID, by the same agent, to what other
      selectors select. They are left alone. What they select can act as that part of SPIKE.
  returned: success
  type: list
  elements: dict
  sample: []
msg:
  description: What went wrong, for the operator.
  returned: on failure
  type: str
  sample: "SPIRE's server cannot be asked: spire-server: no such file or directory."
why:
  description: What can have caused the failure.
  returned: on failure
  type: list
  elements: str
  sample: []
what_to_do:
  description: What to do about the failure, in order, one action a step.
  returned: on failure
  type: list
  elements: str
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.dayzero.spike.plugins.module_utils._hosts.modules import (
    entries_arguments,
    manage_entries,
)


def main() -> None:
    manage_entries(AnsibleModule(argument_spec=entries_arguments(), supports_check_mode=True))


if __name__ == "__main__":
    main()
