#!/usr/bin/python
# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Recovery shards for custodians; the work is done in module_utils."""

from __future__ import annotations

DOCUMENTATION = r"""
module: spike_recover
short_description: Hand each custodian a recovery shard of a SPIKE cluster, encrypted
version_added: 1.0.0
author:
  - The dayzero.spike authors (@dayzero-collections)
description:
  - Fetches the recovery shards from SPIKE Nexus, checks them, and encrypts each for its custodian,
    with age or OpenPGP. With the shards of O(shamir_threshold) custodians
    M(dayzero.spike.spike_restore) gives a cluster its root key back that has lost it.
  - Nothing is encrypted before everything is checked. There must be one shard for each keeper, any
    threshold of them must give one and the same key, and that key, split again, must give exactly
    these shards. Where there is a journal of M(dayzero.spike.spike_bootstrap), the key must open
    its token.
  - No shard is ever written or shown in plain. What a custodian decrypts is SPIKE's own line,
    C(spike:<index>:<64 hex digits>), which C(spike operator restore) takes as well.
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
      - Fetches and checks everything, custodians' keys included, and hands out and writes nothing.
        RV(shards) is empty, unless O(directory) already holds them.
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
  custodians:
    description:
      - Who gets a shard, exactly one custodian for each keeper, in order. The first gets shard 1.
      - A key that is not one, that is secret, cannot encrypt, has expired or is revoked is refused,
        and its owner is named. That is found out before Nexus is asked for anything.
    type: list
    elements: dict
    required: true
    version_added: 1.0.0
    suboptions:
      name:
        description: The custodian's name, which becomes part of a file's name.
        type: str
        required: true
      age:
        description:
          - An age recipient, V(age1...), or an SSH public key, V(ssh-ed25519 ...). Exclusive with
            O(custodians[].pgp), and one of both is required.
        type: str
      pgp:
        description:
          - An OpenPGP public key, armoured. Parts of it that have expired or are revoked are not
            used.
        type: str
  directory:
    description:
      - Where the encrypted shards go on the target host, one file a custodian, mode 0600, and
        C(recovery.json), which says who has which and holds nothing secret. By default no file is
        written.
      - Where C(recovery.json) already describes these shards and custodians, and the files are
        whole, nothing is written, and the result has what is there. Files of an earlier set that it
        describes are replaced.
    type: path
    version_added: 1.0.0
requirements:
  - Python 3.9 or later
  - cryptography 3.4.8 or later
  - requests 2.25.1 or later
  - spiffe, when O(svid_source=workload_api)
  - pyrage, where a custodian has an age or SSH key
  - pysequoia, where a custodian has an OpenPGP key
notes:
  - The identity must be V(spiffe://<trust domain>/spike/pilot/role/recover) or one below it, in
    O(trust_root_pilot). Whoever has it can have the root key. Let nobody have it on other days.
  - Run it again after the root key has changed, and when a custodian leaves. Custodians who
    together have O(shamir_threshold) old shards can still make the key that those were of.
  - All shards and the key are in this host's memory while the module runs. It must be trusted as
    the bootstrap host is.
  - Environment variables are read on the target host, in the environment of the task. A variable
    that is set to nothing counts as not set. Proxy variables are ignored.
seealso:
  - module: dayzero.spike.spike_restore
    description: Gives the key back.
  - module: dayzero.spike.spike_bootstrap
    description: Gave it to the cluster.
  - name: SPIKE
    description: The secrets manager.
    link: https://spike.ist/
"""

EXAMPLES = r"""
- name: Hand out the recovery shards
  dayzero.spike.spike_recover:
    keeper_peers: "{{ query('dayzero.spike.keepers') | map(attribute='url') | list }}"
    nexus_api_url: https://nexus.example.org:8553
    directory: /root/spike-recovery
    custodians:
      - name: alice
        age: age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p
      - name: bob
        age: "{{ lookup('file', 'bob.pub') }}"
      - name: carol
        pgp: "{{ lookup('file', 'carol.asc') }}"
  become: true
  become_user: spike-recover
"""

RETURN = r"""
shards:
  description: The encrypted shards, in the order of their index. Empty where none was handed out.
  returned: always, except when Ansible itself refuses an option
  type: list
  elements: dict
  contains:
    index:
      description: The shard's number, which is part of it.
      returned: always
      type: int
      sample: 1
    custodian:
      description: For whom it is encrypted.
      returned: always
      type: str
      sample: alice
    key_id:
      description: The age or SSH key itself, or the OpenPGP fingerprint.
      returned: always
      type: str
      sample: age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p
    ciphertext:
      description: The encrypted line, armoured.
      returned: always
      type: str
      sample: "-----BEGIN AGE ENCRYPTED FILE-----..."
    sha256:
      description: >-
        SHA-256 of the line, in hex, without a line end, so that a custodian can check what was
        decrypted, for example with C(age -d -i key.txt shard-1-alice.age | sha256sum).
      returned: always
      type: str
      sample: 5b1c6f0d3f7a1c0a7f3f1d0f6e2ad9c0f0c7a4d6e1b2c3d4e5f60718293a4b5c
recovery:
  description: >-
    What C(recovery.json) says of these shards: whose they are, of which cluster, and what to
    compare them with. Nothing in it is secret. V(null) where nothing was handed out.
  returned: always, except when Ansible itself refuses an option
  type: dict
  sample: {"version": 1}
threshold:
  description: How many custodians it takes. V(null) where the options are refused.
  returned: always, except when Ansible itself refuses an option
  type: int
  sample: 2
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
  choices: [config, identity, guard, verify, deliver, done]
  sample: done
msg:
  description: What went wrong, for the operator.
  returned: on failure
  type: str
  sample: >-
    custodians: the key of carol is revoked. Nothing was handed out; give a public key of carol that
    can encrypt now
why:
  description: What can have caused the failure, the likeliest first, each with the evidence for it.
  returned: on failure, except when Ansible itself refuses an option
  type: list
  elements: str
  sample: []
what_to_do:
  description: What to do, in order, one action a step.
  returned: on failure, except when Ansible itself refuses an option
  type: list
  elements: str
  sample:
    - Rerun spike_recover.
code:
  description: The failure as a code, SPIKE's own where SPIKE has one.
  returned: on failure, except when Ansible itself refuses an option
  type: str
  sample: data_invalid_input
option:
  description: The option that was refused.
  returned: when the module refuses an option
  type: str
  sample: custodians
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
from ansible_collections.dayzero.spike.plugins.module_utils._entry.emergencies import RECOVER
from ansible_collections.dayzero.spike.plugins.module_utils._entry.module_entry import run_module
from ansible_collections.dayzero.spike.plugins.module_utils._options.argument_spec import (
    recover_arguments,
)


def main() -> None:
    run_module(AnsibleModule(argument_spec=recover_arguments(), supports_check_mode=True), RECOVER)


if __name__ == "__main__":
    main()
