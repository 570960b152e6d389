#!/usr/bin/python
# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The bootstrap status of a SPIKE cluster; the work is done in module_utils."""

from __future__ import annotations

DOCUMENTATION = r"""
module: spike_bootstrap_info
short_description: Report the bootstrap status of a SPIKE cluster
version_added: 1.0.0
author:
  - The dayzero.spike authors (@dayzero-collections)
description:
  - Reads the journal that M(dayzero.spike.spike_bootstrap) keeps, asks SPIKE Nexus whether it
    still proves the root key, reaches every keeper, and says in one line what it all means and
    what to do next.
  - Predicts what M(dayzero.spike.spike_bootstrap) would do now, by the rules that it follows
    itself.
  - Sends no shard, draws no key to be used and writes nothing. It needs no lock, so it can look on
    while a run is at work.
  - Keepers and a Nexus that do not answer are findings, and the module succeeds. It fails where
    it cannot find out, because an option is refused, it has no identity, or
    O(timeout) is used up.
extends_documentation_fragment:
  - dayzero.spike._split
  - dayzero.spike._keepers
  - dayzero.spike._nexus
  - dayzero.spike._identity
  - dayzero.spike._directories
  - dayzero.spike._nexus_data
  - dayzero.spike._guard
  - dayzero.spike._naming
attributes:
  action_group:
    description: Use C(group/dayzero.spike.cluster) in C(module_defaults) to set defaults for both.
    support: full
    membership:
      - dayzero.spike.cluster
  check_mode:
    description: Can run in C(check_mode) and say what would change, without changing it.
    support: full
    details:
      - Does the same with and without it, because it changes nothing.
  diff_mode:
    description: Says what was changed, or in C(check_mode) would be, in C(diff_mode).
    support: none
    details:
      - There is never anything to show.
  platform:
    description: Systems that the module runs on.
    support: full
    platforms: linux
options:
  probe_keepers:
    description:
      - Whether to reach every keeper, V(true) by default.
      - With V(false) keepers are not contacted, which leaves nothing in their audit logs, and
        RV(keepers) says nothing of them. For monitoring every minute.
    type: bool
    default: true
    version_added: 1.0.0
requirements:
  - Python 3.9 or later
  - cryptography 3.4.8 or later
  - requests 2.25.1 or later
  - spiffe, when O(svid_source=workload_api)
notes:
  - Run it on the same host, as the same user and with the same options as
    M(dayzero.spike.spike_bootstrap). Only that user may see whether an unfinished run's key is
    kept, and only with the same settings does the prediction hold.
  - Reaching a keeper means sending it an empty request. Each of them leaves one C(audit-errored)
    line with C(shamir_nil_shard) in that keeper's audit log. These lines are expected. A monitoring
    that asks every minute leaves none with O(probe_keepers=false).
  - Where RV(next) is V(refuse), O(dayzero.spike.spike_bootstrap#module:force) would draw a new root
    key all the same. B(That destroys data), from its next restart on Nexus cannot read anything
    that it encrypted under the key that it had. So ask first what RV(summary) advises.
  - That a keeper is reached does not mean that it has its shard. Keepers do not say, and lose
    their shard when they restart. A Nexus that has its key gives it to them again.
  - Nothing is made on the host, with one exception. With O(svid_source=spire_agent) the agent's
    files are in a new directory in memory, in O(runtime_dir) if there is one and next to it
    otherwise, and it is removed at once.
  - A keeper that is down takes as long as in a run, O(keeper_timeout). Lower it for a quick look.
  - Environment variables are read on the target host, in the environment of the task. A variable
    that is set to nothing counts as not set. Proxy variables are ignored.
seealso:
  - module: dayzero.spike.spike_bootstrap
    description: Does what this module predicts.
  - name: SPIKE
    description: The secrets manager that both are day zero of.
    link: https://spike.ist/
"""

EXAMPLES = r"""
- name: Report the bootstrap status of the cluster
  dayzero.spike.spike_bootstrap_info:
    keeper_peers:
      - https://keeper1.example.org:8443
      - https://keeper2.example.org:8443
      - https://keeper3.example.org:8443
    nexus_api_url: https://nexus.example.org:8553
  become: true
  become_user: spike-bootstrap
  register: status

- name: Show it in one line
  ansible.builtin.debug:
    var: status.summary

# Before a change window: stop here if a bootstrap would be refused, and say why.
- name: Require that a bootstrap would not be refused
  dayzero.spike.spike_bootstrap_info:
    keeper_peers: "{{ query('dayzero.spike.keepers') | map(attribute='url') | list }}"
  become: true
  become_user: spike-bootstrap
  register: status
  failed_when: status is failed or status.next == 'refuse'

# For monitoring: a quick look that fails unless the cluster is finished and whole. With
# probe_keepers: false it does not contact the keepers, and can run every minute.
- name: Watch a bootstrapped cluster
  dayzero.spike.spike_bootstrap_info:
    keeper_peers: "{{ query('dayzero.spike.keepers') | map(attribute='url') | list }}"
    keeper_timeout: 5s
    keeper_max_retries: 2
  become: true
  become_user: spike-bootstrap
  register: status
  failed_when: >-
    status is failed
    or status.journal.state != 'finished'
    or status.nexus.state != 'ready'
    or status.failed_keepers | length > 0

# The options that both modules take are written once.
- name: Bootstrap only where there is something to do
  module_defaults:
    group/dayzero.spike.cluster:
      keeper_peers: "{{ query('dayzero.spike.keepers') | map(attribute='url') | list }}"
      nexus_data_dir: /var/lib/spike
  become: true
  become_user: spike-bootstrap
  block:
    - name: Report the bootstrap status of the cluster
      dayzero.spike.spike_bootstrap_info:
      register: status

    - name: Bootstrap
      dayzero.spike.spike_bootstrap:
      when: status.next != 'nothing'
"""

RETURN = r"""
summary:
  description:
    - What it all means and what to do next, in one line for the operator. V(null) where the module
      failed.
  returned: always, except when Ansible itself refuses an option
  type: str
  sample: >-
    Unfinished: keepers 2, 3 are not known to have their shard; rerun bootstrap, it goes on with
    the same key.
next:
  description:
    - What M(dayzero.spike.spike_bootstrap) without O(dayzero.spike.spike_bootstrap#module:force)
      would do now. V(null) where this module failed.
    - V(nothing), the cluster is finished; V(finish), note that Nexus proves the root key, and send
      nothing; V(adopt), take changed settings over into the journal, and send nothing; V(accept),
      take the key that Nexus holds for good (O(accept_existing=true)), and send nothing; V(resume),
      send an unfinished run's key again; V(draw), draw a new root key; V(refuse), fail and send
      nothing, for the reason in RV(summary).
    - V(resume) and V(draw) begin with reaching every keeper, and end there if one of them is in
      RV(failed_keepers).
    - While RV(journal.running), what it would do if that run ended now.
  returned: always, except when Ansible itself refuses an option
  type: str
  choices: [nothing, finish, adopt, accept, resume, draw, refuse]
  sample: resume
journal:
  description: What earlier runs left on this host. V(null) where the module failed before.
  returned: always, except when Ansible itself refuses an option
  type: dict
  contains:
    path:
      description: Where the journal is, or would be.
      returned: always
      type: str
      sample: /var/lib/spike-bootstrap/journal.json
    state:
      description:
        - V(none), no run has begun to deliver; V(delivering), one has, and Nexus has not proved its
          key; V(finished), Nexus has proved it; V(unusable), the journal or the key of an
          unfinished run is there and cannot be read, RV(summary) says why.
      returned: always
      type: str
      choices: [none, delivering, finished, unusable]
      sample: delivering
    cluster:
      description: For which cluster that run split its key; V(null) without a run.
      returned: always
      type: dict
      contains:
        keepers:
          description: The keepers' URLs, in id order.
          returned: always
          type: list
          elements: str
          sample: [https://keeper1:8443, https://keeper2:8443]
        threshold:
          description: How many shards make the root key.
          returned: always
          type: int
          sample: 2
        scheme:
          description: How the root key was split, as in O(share_scheme).
          returned: always
          type: str
          sample: circl-1.6.2
    delivered:
      description: Ids of the keepers that are known to have taken their shard.
      returned: always
      type: list
      elements: int
      sample: [1]
    pending_key:
      description:
        - Whether the key of an unfinished run is kept in O(runtime_dir), and is the journal's where
          there is one. The key itself is never shown.
      returned: always
      type: bool
      sample: true
    running:
      description: Whether a run is at work on this host at this moment.
      returned: always
      type: bool
      sample: false
msg:
  description: What went wrong, for the operator.
  returned: on failure
  type: str
  sample: "svid_cert: /run/spiffe/svid.pem cannot be read: No such file or directory"
why:
  description: What can have caused the failure, the likeliest first, each with the evidence for it.
  returned: on failure, except when Ansible itself refuses an option
  type: list
  elements: str
  sample: []
what_to_do:
  description: What to do about the failure, in order, one action a step.
  returned: on failure, except when Ansible itself refuses an option
  type: list
  elements: str
  sample:
    - "svid_cert: Give a path on the host that runs the bootstrap."
    - Rerun bootstrap.
phase:
  description: Where the module ended. V(done) only on success.
  returned: always, except when Ansible itself refuses an option
  type: str
  choices: [config, identity, guard, reach, done]
  sample: done
code:
  description: The failure as a code, SPIKE's own where SPIKE has one.
  returned: on failure, except when Ansible itself refuses an option
  type: str
  sample: spiffe_unable_to_fetch_x509_source
option:
  description: The option that was refused.
  returned: when the module refuses an option
  type: str
  sample: keeper_timeout
keeper_id:
  description: Id of the first keeper, in id order, that was not reached.
  returned: when a keeper was not reached
  type: int
  sample: 1
keeper_url:
  description: URL of that keeper.
  returned: when a keeper was not reached
  type: str
  sample: https://keeper1:8443
failed_keepers:
  description: Ids of all keepers that were not reached, in id order.
  returned: always, except when Ansible itself refuses an option
  type: list
  elements: int
  sample: [1, 3]
keepers:
  description: One entry for each keeper, in id order.
  returned: always, except when Ansible itself refuses an option
  type: list
  elements: dict
  contains:
    id:
      description: The keeper's position in O(keeper_peers), counted from 1.
      returned: always
      type: int
      sample: 1
    url:
      description: The keeper's URL.
      returned: always
      type: str
      sample: https://keeper1:8443
    state:
      description:
        - V(reached), it answered the empty request; V(unreachable), no answer came; V(rejected),
          there was an answer that waiting cannot fix; V(pending), the module failed before it
          asked. Who has a shard is in RV(journal.delivered), because a keeper does not say.
      returned: always
      type: str
      choices: [pending, reached, unreachable, rejected]
      sample: unreachable
    attempts:
      description: Attempts that were really started.
      returned: always
      type: int
      sample: 5
    elapsed:
      description: Seconds spent on this keeper.
      returned: always
      type: float
      sample: 28.0
    cause:
      description: Why the keeper failed, as a word; V(null) when it did not.
      returned: always
      type: str
      choices:
        - connection_refused
        - connect_timeout
        - name_resolution
        - tls
        - tls_timeout
        - peer_untrusted
        - peer_identity
        - identity_refused
        - http_status
        - bad_response
        - response_timeout
        - local
      sample: connection_refused
    detail:
      description: >-
        The failure in one line, for example the HTTP status or the SPIFFE ID that was found.
      returned: always
      type: str
      sample: connection refused
    hint:
      description: What the operator does about it. Empty when there is nothing to do.
      returned: always
      type: str
      sample: Start the keeper, or correct the host and port in keeper_peers.
  sample:
    - id: 1
      url: https://keeper1:8443
      state: unreachable
      attempts: 5
      elapsed: 28.0
      cause: connection_refused
      detail: connection refused
      hint: Start the keeper, or correct the host and port in keeper_peers.
    - id: 2
      url: https://keeper2:8443
      state: reached
      attempts: 1
      elapsed: 0.012
      cause: null
      detail: ''
      hint: ''
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
        - V(ready), it proves the root key of the journal; V(not_ready), it has none yet;
          V(unreachable), every address of its name refused the connection; V(unclear), it did not
          answer, or not as SPIKE does; V(other_key), it has a key, and not the journal's;
          V(skipped), it was not asked, because the module failed before.
      returned: always
      type: str
      choices: [ready, not_ready, unreachable, unclear, other_key, skipped]
      sample: ready
    attempts:
      description: Number of times that Nexus was asked, in the phase that asked it last.
      returned: always
      type: int
      sample: 3
    elapsed:
      description: Seconds spent on asking it.
      returned: always
      type: float
      sample: 2.1
    detail:
      description: The last answer in one line.
      returned: always
      type: str
      sample: ''
log:
  description: The attempts, one line each, in the order in which they were started.
  returned: always, except when Ansible itself refuses an option
  type: list
  elements: str
  sample:
    - Reaching keeper 1 at https://keeper1:8443... (attempt 1/5)
    - Reaching keeper 2 at https://keeper2:8443... (attempt 1/5)
    - Reaching keeper 1 at https://keeper1:8443... (attempt 2/5)
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.dayzero.spike.plugins.module_utils._entry.module_entry import run_module
from ansible_collections.dayzero.spike.plugins.module_utils._entry.modules import STATUS
from ansible_collections.dayzero.spike.plugins.module_utils._options.argument_spec import (
    info_arguments,
)


def main() -> None:
    run_module(AnsibleModule(argument_spec=info_arguments(), supports_check_mode=True), STATUS)


if __name__ == "__main__":
    main()
