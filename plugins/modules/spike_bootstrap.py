#!/usr/bin/python
# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Day zero of a SPIKE cluster; the work is done in module_utils."""

from __future__ import annotations

DOCUMENTATION = r"""
module: spike_bootstrap
short_description: Give a new SPIKE cluster its root key
version_added: 1.0.0
author:
  - The dayzero.spike authors (@dayzero-collections)
description:
  - Draws a root key, splits it, delivers shard number I(i) to keeper number I(i), and has SPIKE
    Nexus prove that it holds the same key.
  - Runs on the host that holds the bootstrap identity. The root key leaves that host only as
    shards. It is in no result, log, argument or environment variable and on no disk. Swap is a
    disk. Encrypt it, or switch it off.
  - Every keeper is reached before the first shard is sent. While one of them cannot be reached, no
    shard leaves, and every keeper that failed is reported, with the cause, in the same run.
  - Can be run again at any point. A finished cluster is left alone. An unfinished run goes on with
    the key that it had drawn, because a second key next to the first can leave SPIKE Nexus with a
    third one that nobody drew.
  - Never takes a Nexus that it could not ask for one without a key. Nexus is asked before keepers
    are reached, and again for up to 5 seconds before a shard leaves.
  - Where Nexus proves the key of an earlier run and the keepers, the threshold or the scheme are
    other ones now, the cluster has been changed by its owners. The journal takes the new
    description over, RV(ignore:changed) is V(true), and nothing is sent.
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
      - Everything up to reaching all keepers is really done, so an unreachable keeper fails a
        check as it fails a run, and where a run would contact none a check does not either. No key
        is drawn, no shard is sent, and RV(ignore:changed) is what a real run would say.
  diff_mode:
    description: Says what was changed, or in C(check_mode) would be, in C(diff_mode).
    support: full
    details:
      - Shows the state of each keeper before and after, by id, and whether O(force) replaces a root
        key. Keys and shards are never part of it.
  platform:
    description: Systems that the module runs on.
    support: full
    platforms: linux
options:
  state:
    description:
      - What this host is to end with, V(bootstrapped) by default.
    type: str
    choices:
      bootstrapped: A cluster whose Nexus has proved its root key.
      abandoned: >-
        No unfinished run. The journal of one is moved to C(journal-abandoned-<UTC time>.json)
        next to it, and its waiting key is wiped. No keeper is contacted. Refused where Nexus proves
        that key, which O(force) does not override, and where Nexus cannot be asked, which O(force)
        overrides. Keepers and Nexus may still hold shards of that key, so restart Nexus and every
        keeper before a run draws a new one. For a run that lost against a Nexus with another key,
        for example, or one with wrong settings.
    default: bootstrapped
    version_added: 1.0.0
  verify:
    description:
      - Whether to wait at the end until SPIKE Nexus proves that it holds the root key, V(true) by
        default.
      - V(false) skips only this proof. The run is then unfinished, its key stays in
        O(runtime_dir), and the next run with V(true) finishes it. The check that no initialised
        cluster is overwritten is always made.
    type: bool
    default: true
    version_added: 1.0.0
  init_verification_timeout:
    description:
      - Time for SPIKE Nexus to prove the key after delivery, 30 minutes by default, as a Go
        duration or a number of seconds.
      - Falls back to E(SPIKE_BOOTSTRAP_INIT_VERIFICATION_TIMEOUT) on the target host.
    type: str
    default: 30m
    version_added: 1.0.0
  force:
    description:
      - Whether to draw a new key where a run without it is refused, because the cluster has, or may
        have, a key already. V(false) by default.
      - >-
        B(This destroys data.) It overrides the refusals that protect a key which the cluster has or
        may have: SPIKE Nexus holds another key, refuses our SVID, gives no clear answer or is not
        Nexus at all; it has no key or cannot be reached although an earlier run had finished; the
        key of an unfinished run is lost; there is a Nexus database that no journal mentions; the
        keepers, the threshold or the scheme are not those of the earlier run. It never overwrites a
        key that Nexus proves to be the earlier run's. It changes nothing where a run is not
        refused, so a finished cluster is left alone, and an unfinished run goes on with its own
        key. It is no remedy for a refused option or identity, nor for a journal, a kept key or a
        lock that cannot be used. What it destroys is
        the old key. Every keeper's shard is overwritten, from its next restart on Nexus has the new
        key, and whatever it encrypted with the old one, every secret and every policy, can never be
        read again. There is no copy of the old key, unless custodians have its recovery shards.
      - It is never quiet. A warning, RV(forced), diff mode, check mode and the journal say that it
        replaces, or would replace, the root key that Nexus holds or may hold.
      - Right for a cluster without data that is worth keeping, for example after the bootstrap
        host rebooted in the middle of the very first run. Restart SPIKE Nexus and every keeper
        before that, so that they forget the shards of the old key.
      - Falls back to E(SPIKE_BOOTSTRAP_FORCE) on the target host.
    type: bool
    default: false
    version_added: 1.0.0
  progress:
    description:
      - Where the lines of RV(log) can be read while the run goes on. Set by the action plugin of
        this name, which shows them. A task does not set it.
    type: path
    version_added: 1.0.0
requirements:
  - Python 3.9 or later
  - cryptography 3.4.8 or later
  - requests 2.25.1 or later
  - spiffe, when O(svid_source=workload_api)
notes:
  - Reaching a keeper means sending it an empty request, because nothing else proves network, TLS,
    both identities and route without changing anything. Each of them leaves one C(audit-errored)
    line with C(shamir_nil_shard) in that keeper's audit log. These lines are expected.
  - SPIRE registers processes by user on plain machines (selector C(unix:uid)). Run the task as a
    dedicated user with C(become_user), as the role P(dayzero.spike.spike_bootstrap#role) does.
  - The lines of RV(log) appear in Ansible's output as they happen, and every 10 seconds a line that
    says how long SPIKE Nexus has been waited for and what it said last. With C(async), there are
    none. Where the target cannot be looked at while the module runs, the lines of RV(log) come
    when it has ended.
  - Start SPIKE Nexus after the shards are delivered where that is possible. It then finds them in
    about 2 seconds. A Nexus that has polled empty keepers for a while has slowed down, and takes
    20 to 60 seconds. O(init_verification_timeout) covers both.
  - O(runtime_dir) is in memory, so a reboot in the middle of a run loses the key. The next run
    notices, and says what to do.
  - The task needs no C(no_log). Key and shards are masked by the module itself, and a result that
    is hidden helps nobody.
  - Environment variables are read on the target host, in the environment of the task. A variable
    that is set to nothing counts as not set. Proxy variables are ignored.
seealso:
  - module: dayzero.spike.spike_bootstrap_info
    description: Reports the status of a cluster and what this module would do, and changes nothing.
  - name: SPIKE
    description: The secrets manager that this module is day zero of.
    link: https://spike.ist/
  - name: SPIFFE
    description: The identities that keepers, Nexus and this module show to each other.
    link: https://spiffe.io/docs/latest/spiffe-about/overview/
"""

EXAMPLES = r"""
- name: Bootstrap three keepers with the identity of a dedicated user
  dayzero.spike.spike_bootstrap:
    keeper_peers:
      - https://keeper1.example.org:8443
      - https://keeper2.example.org:8443
      - https://keeper3.example.org:8443
    nexus_api_url: https://nexus.example.org:8553
  become: true
  become_user: spike-bootstrap

- name: Use an SVID that spiffe-helper keeps in files, and a Nexus on this host
  dayzero.spike.spike_bootstrap:
    keeper_peers: "{{ query('dayzero.spike.keepers') | map(attribute='url') | list }}"
    svid_source: files
    svid_cert: /run/spiffe/svid.pem
    svid_key: /run/spiffe/svid_key.pem
    svid_bundle: /run/spiffe/bundle.pem
    nexus_data_dir: /var/lib/spike
  become: true
  become_user: spike-bootstrap

# The timeouts are inventory variables here. A keeper that is down is known after 10 seconds, and
# its four attempts start after 0, 1, 3 and 7 seconds.
- name: Bootstrap with less patience
  dayzero.spike.spike_bootstrap:
    keeper_peers: "{{ query('dayzero.spike.keepers') | map(attribute='url') | list }}"
    keeper_timeout: "{{ site_keeper_timeout | default('10s') }}"
    keeper_max_retries: 4
    keeper_retry_initial_interval: 1s

- name: Bootstrap SPIKE v0.8.0, and do not wait for Nexus
  dayzero.spike.spike_bootstrap:
    keeper_peers: "{{ query('dayzero.spike.keepers') | map(attribute='url') | list }}"
    share_scheme: circl-1.6.1
    verify: false

# Reaches every keeper and sends nothing. Fails where a real run would.
- name: Ask whether the cluster is ready for day zero
  dayzero.spike.spike_bootstrap:
    keeper_peers: "{{ query('dayzero.spike.keepers') | map(attribute='url') | list }}"
  check_mode: true
  register: readiness

# A run that fails has the same result as one that succeeds. Here it opens a ticket that says which
# keepers to look at, then fails the play.
- name: Bootstrap, and say what is wrong
  block:
    - name: Bootstrap
      dayzero.spike.spike_bootstrap:
        keeper_peers: "{{ query('dayzero.spike.keepers') | map(attribute='url') | list }}"
      register: bootstrap
  rescue:
    - name: Report each keeper that failed
      ansible.builtin.uri:
        url: https://tickets.example.org/api/new
        method: POST
        body_format: json
        body:
          title: "Keeper {{ item.id }} at {{ item.url }}: {{ item.cause }}"
          text: "{{ item.attempts }} attempts in {{ item.elapsed }} seconds. {{ item.hint }}"
      loop: "{{ bootstrap.keepers | default([]) | rejectattr('cause', 'none') }}"
      loop_control:
        label: "keeper {{ item.id }}"

    - name: Fail with the module's message
      ansible.builtin.fail:
        msg: "{{ bootstrap.msg }}"
"""

RETURN = r"""
msg:
  description:
    - What went wrong, for the operator. One line for each keeper that failed.
  returned: on failure
  type: str
  sample: >-
    Failed to reach keeper 1 at https://keeper1:8443 after 5 attempts (30s timeout): connection
    refused. Ensure all keepers are running and rerun bootstrap.
why:
  description:
    - What can have caused the failure, the likeliest first, each with the evidence for it. Empty
      where the message says it all.
  returned: on failure, except when Ansible itself refuses an option
  type: list
  elements: str
  sample:
    - "Keeper 1: Nothing listens on that port: the keeper is not running, or it listens elsewhere.
      (connection refused)"
what_to_do:
  description: What to do about the failure, in order, one action a step.
  returned: on failure, except when Ansible itself refuses an option
  type: list
  elements: str
  sample:
    - "Keeper 1: Start the keeper, or correct the host and port in keeper_peers."
    - Rerun bootstrap.
phase:
  description: Where the run ended. V(done) only on success.
  returned: always, except when Ansible itself refuses an option
  type: str
  choices: [config, identity, guard, reach, deliver, verify, done]
  sample: reach
code:
  description: The failure as a code, SPIKE's own where SPIKE has one.
  returned: on failure, except when Ansible itself refuses an option
  type: str
  sample: bootstrap_keeper_unreachable
option:
  description: The option that was refused.
  returned: when the module refuses an option
  type: str
  sample: keeper_timeout
keeper_id:
  description: Id of the first keeper, in id order, that failed.
  returned: when a keeper failed
  type: int
  sample: 1
keeper_url:
  description: URL of that keeper.
  returned: when a keeper failed
  type: str
  sample: https://keeper1:8443
failed_keepers:
  description: Ids of all keepers that failed, in id order. Empty when none did.
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
        - V(pending), it was not its turn; V(reached), it answered the empty request; V(delivered),
          it has its shard; V(unreachable), no answer came; V(rejected), there was an answer that
          waiting cannot fix; V(unknown), the shard was sent, so the keeper may have it, and no
          valid answer came.
      returned: always
      type: str
      choices: [pending, reached, delivered, unreachable, rejected, unknown]
      sample: unreachable
    attempts:
      description: Attempts that were really started in the step in which this keeper ended.
      returned: always
      type: int
      sample: 5
    elapsed:
      description: Seconds spent on this keeper in that step.
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
        - V(ready), it proved the root key; V(not_ready), it has none yet; V(unreachable), every
          address of its name refused the connection; V(unclear), it did not answer, or not as SPIKE
          does, see RV(nexus.detail); V(other_key), it has another key; V(skipped), the run ended
          before it was asked, or O(verify=false) left out its proof.
        - Without a proof, too, it is C(other_key) where a forced run has left Nexus with the key
          that it had before.
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
      description: >-
        The last answer in one line. With O(verify=false), that the proof was left out, and where
        the root key waits for the run that asks for it.
      returned: always
      type: str
      sample: ''
resumed:
  description: Whether the key of an unfinished run was used again.
  returned: always, except when Ansible itself refuses an option
  type: bool
  sample: false
forced:
  description:
    - What O(force) has overridden, or in check mode would override, and that it replaces the root
      key that Nexus holds or may hold. V(null) where nothing was forced.
  returned: always, except when Ansible itself refuses an option
  type: str
  sample: >-
    force has overridden a refusal (finished, and Nexus has no key) and replaces the root key that
    Nexus holds or may hold
log:
  description: >-
    The attempts at keepers and nothing else, one line each, in the order in which they were
    started.
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
from ansible_collections.dayzero.spike.plugins.module_utils._entry.modules import BOOTSTRAP
from ansible_collections.dayzero.spike.plugins.module_utils._options.argument_spec import (
    bootstrap_arguments,
)


def main() -> None:
    run_module(
        AnsibleModule(argument_spec=bootstrap_arguments(), supports_check_mode=True), BOOTSTRAP
    )


if __name__ == "__main__":
    main()
