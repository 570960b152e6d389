#!/usr/bin/python
# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A root key for a cluster that has lost it; the work is done in module_utils."""

from __future__ import annotations

DOCUMENTATION = r"""
module: spike_restore
short_description: Give a SPIKE cluster its root key back from custodians' shards
version_added: 1.0.0
author:
  - The dayzero.spike authors (@dayzero-collections)
description:
  - Checks the recovery shards that M(dayzero.spike.spike_recover) handed out, gives a threshold of
    them to a SPIKE Nexus that has no root key, and has Nexus prove that it holds the right one.
  - SPIKE itself checks nothing. With one mistyped digit or index Nexus is live on a key that nobody
    ever had, without a word, and sends that key's shards to the keepers. A shard can never be taken
    back. So here everything is checked before the first shard is sent.
  - The shards must have the right form and different indices, and the key that they give, split
    again, must give exactly these shards, so that a single wrong digit anywhere is found. That
    key must open the token in the journal of M(dayzero.spike.spike_bootstrap).
  - Refused unless Nexus itself says that it has no root key, because a live one would change its
    key.
extends_documentation_fragment:
  - dayzero.spike._split
  - dayzero.spike._nexus
  - dayzero.spike._identity
  - dayzero.spike._directories
  - dayzero.spike._pilot
  - dayzero.spike._naming
attributes:
  action_group:
    description: >-
      Use C(group/dayzero.spike.break_glass) in C(module_defaults) to set defaults for both.
    support: full
    membership:
      - dayzero.spike.break_glass
  check_mode:
    description: Can run in C(check_mode) and say what would change, without changing it.
    support: full
    details:
      - Checks everything, and whether Nexus takes a restore, and sends nothing.
  diff_mode:
    description: Says what was changed, or in C(check_mode) would be, in C(diff_mode).
    support: none
    details:
      - What changes is secret, or in the result.
  platform:
    description: Systems that the module runs on.
    support: full
    platforms: linux
options:
  shards:
    description:
      - The lines as the custodians decrypted them, C(spike:<index>:<64 hex digits>). At least
        O(shamir_threshold) of them. More than that must agree, and only the threshold is sent.
      - Never written or shown. Take them from a private prompt or from ansible-vault. Set
        C(ansible_pipelining=true) for the task, as the role P(dayzero.spike.spike_restore#role)
        does. Without it Ansible itself writes a task's options into a file on the host, for as long
        as the task runs.
    type: list
    elements: str
    required: true
    version_added: 1.0.0
  complete:
    description:
      - Whether O(shards) is a whole set, V(true) by default.
      - With V(false) custodians give theirs in runs of their own, fewer than O(shamir_threshold) in
        each. Then B(nothing can check them against each other). Only the form, the index, and that
        Nexus took each are checked, and a wrong digit leaves Nexus live on a wrong key. The proof
        after the last one finds that. Better bring the custodians together.
      - What was given is noted in O(runtime_dir), without anything secret, until Nexus is restored.
    type: bool
    default: true
    version_added: 1.0.0
  unchecked:
    description:
      - Whether to restore from exactly O(shamir_threshold) shards on a host without the bootstrap's
        journal, V(false) by default, and it is refused.
      - Such a set is still checked by itself. But that it is of B(this) cluster nothing says. With
        the shards of another cluster Nexus is live on a wrong key at once, it cannot read its data,
        what it stores from then on is lost when the right key comes back, and it pushes the wrong
        key's shards to every keeper. One more shard, or the journal, makes this option needless.
    type: bool
    default: false
    version_added: 1.0.0
  trust_root_bootstrap:
    description:
      - Trust domains that the bootstrap's identity may belong to, which asks for the proof,
        V(spike.ist) alone by default.
      - Falls back to E(SPIKE_TRUST_ROOT_BOOTSTRAP) on the target host, separated by commas.
    type: list
    elements: str
    default: [spike.ist]
    version_added: 1.0.0
  proof_svid_cert:
    description:
      - Path of the certificate chain of the bootstrap's SVID, PEM, which asks for the proof. With
        O(svid_source=files) there is no proof without it. With another source it is not needed
        where that source gives this user the bootstrap's SVID too.
    type: path
    version_added: 1.0.0
  proof_svid_key:
    description:
      - Path of the private key of O(proof_svid_cert), PEM. Required with it.
    type: path
    version_added: 1.0.0
requirements:
  - Python 3.9 or later
  - cryptography 3.4.8 or later
  - requests 2.25.1 or later
  - spiffe, when O(svid_source=workload_api)
notes:
  - The identity must be V(spiffe://<trust domain>/spike/pilot/role/restore) or one below it, in
    O(trust_root_pilot). Nexus lets only the bootstrap's identity ask for a proof, so the module
    needs both, or M(dayzero.spike.spike_bootstrap_info) is to be run afterwards.
  - Where RV(restored) is V(true) and RV(proved) is not, take Nexus for live on a wrong key until it
    is proved. RV(what_to_do) says what to do at once.
  - Restart Nexus before the first run if anybody may have given it a shard. It has no key, so
    nothing is lost. A shard that it has it keeps, and mixes with these.
  - More than O(shamir_threshold) shards without a journal are taken for this cluster's when they
    are of one key. All shards of another cluster pass that.
  - Environment variables are read on the target host, in the environment of the task. A variable
    that is set to nothing counts as not set. Proxy variables are ignored.
seealso:
  - module: dayzero.spike.spike_recover
    description: Hands the shards out.
  - module: dayzero.spike.spike_bootstrap_info
    description: Asks Nexus for its proof.
  - name: SPIKE
    description: The secrets manager.
    link: https://spike.ist/
"""

EXAMPLES = r"""
- name: Give the cluster its root key back
  dayzero.spike.spike_restore:
    keeper_peers: "{{ query('dayzero.spike.keepers') | map(attribute='url') | list }}"
    nexus_api_url: https://nexus.example.org:8553
    shards: "{{ spike_restore_shards }}"
  become: true
  become_user: spike-restore

# Each custodian alone, in a run of its own.
- name: Give one shard
  dayzero.spike.spike_restore:
    keeper_peers: "{{ query('dayzero.spike.keepers') | map(attribute='url') | list }}"
    nexus_api_url: https://nexus.example.org:8553
    complete: false
    shards:
      - "{{ my_line }}"
  register: part
"""

RETURN = r"""
sent:
  description: The indices of the shards that Nexus answered to in this run.
  returned: always, except when Ansible itself refuses an option
  type: list
  elements: int
  sample: [1, 3]
collected:
  description: How many shards Nexus has, as it says. V(null) where none was sent.
  returned: always, except when Ansible itself refuses an option
  type: int
  sample: 2
remaining:
  description: How many it still needs, as it says. V(null) where none was sent.
  returned: always, except when Ansible itself refuses an option
  type: int
  sample: 0
restored:
  description: Whether Nexus says that it has a root key again.
  returned: always, except when Ansible itself refuses an option
  type: bool
  sample: true
proved:
  description: Whether Nexus has proved with the journal's token that it is the right one.
  returned: always, except when Ansible itself refuses an option
  type: bool
  sample: true
nexus:
  description: What is known of SPIKE Nexus.
  returned: always, except when Ansible itself refuses an option
  type: dict
  contains:
    url:
      description: The URL of Nexus.
      returned: always
      type: str
      sample: https://localhost:8553
    state:
      description:
        - V(ready), it has a root key; V(not_ready), it has none; V(unreachable), every address of
          its name refused the connection; V(unclear), it did not answer, or not as SPIKE does;
          V(other_key), it has a key, and not the journal's; V(skipped), it was not asked, because
          the module failed before.
      returned: always
      type: str
      choices: [ready, not_ready, unreachable, unclear, other_key, skipped]
      sample: ready
    attempts:
      description: Number of times that Nexus was asked, in the phase that asked it last.
      returned: always
      type: int
      sample: 1
    elapsed:
      description: Seconds spent on asking it.
      returned: always
      type: float
      sample: 0.1
    detail:
      description: The last answer in one line.
      returned: always
      type: str
      sample: ''
phase:
  description: Where the module ended. V(done) only on success.
  returned: always, except when Ansible itself refuses an option
  type: str
  choices: [config, identity, guard, deliver, verify, done]
  sample: done
msg:
  description: What went wrong, for the operator.
  returned: on failure
  type: str
  sample: >-
    The shards are refused, the key that these shards give, split again, does not give these
    shards. Nothing was sent.
why:
  description: What can have caused the failure, the likeliest first, each with the evidence for it.
  returned: on failure, except when Ansible itself refuses an option
  type: list
  elements: str
  sample: []
what_to_do:
  description: What to do, in order, one action a step.
  returned: on failure, and after a restore without a proof
  type: list
  elements: str
  sample:
    - Rerun spike_restore.
code:
  description: The failure as a code, SPIKE's own where SPIKE has one.
  returned: on failure, except when Ansible itself refuses an option
  type: str
  sample: shamir_reconstruction_failed
option:
  description: The option that was refused.
  returned: when the module refuses an option
  type: str
  sample: shards
shares:
  description: How many shards there are, one for each keeper.
  returned: always, except when Ansible itself refuses an option
  type: int
  sample: 3
scheme:
  description: >-
    How the key was split, as in O(share_scheme), told by the shards, whatever the option says.
    V(null) until they are checked, and where no scheme known here gives them.
  returned: always, except when Ansible itself refuses an option
  type: str
  sample: circl-1.6.2
token_opened:
  description: >-
    Whether the key of these shards opens the token in the bootstrap's journal. V(null) without a
    journal, and until it was tried.
  returned: always, except when Ansible itself refuses an option
  type: bool
  sample: true
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.dayzero.spike.plugins.module_utils._entry.emergencies import RESTORE
from ansible_collections.dayzero.spike.plugins.module_utils._entry.module_entry import run_module
from ansible_collections.dayzero.spike.plugins.module_utils._options.argument_spec import (
    restore_arguments,
)


def main() -> None:
    run_module(AnsibleModule(argument_spec=restore_arguments(), supports_check_mode=True), RESTORE)


if __name__ == "__main__":
    main()
