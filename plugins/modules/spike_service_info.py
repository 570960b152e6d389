#!/usr/bin/python
# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A keeper or a Nexus on its host; the work is done in module_utils."""

from __future__ import annotations

DOCUMENTATION = r"""
module: spike_service_info
short_description: Report whether a SPIKE Keeper or SPIKE Nexus runs, answers, and has a shard
version_added: 1.0.0
author:
  - The dayzero.spike authors (@dayzero-collections)
description:
  - Looks at a service of systemd on its own host. Does its process run, who answers at its port,
    was it started with the settings that are wanted, and has a keeper a shard.
  - With O(wait_for) it looks again until that is so, and fails with the last lines of the service's
    log where it is not so in time.
  - A keeper cannot be asked whether it has a shard. It writes an audit line when it takes one, and
    forgets it when it ends. So the shard is known from the journal, from the lines of the process
    that runs now.
  - The certificate at the port is looked at and not verified, and nothing is sent. This says that
    the right service was started. It is no ground to send it anything.
  - Changes nothing. Must run as root, which alone may read the journal of every service.
attributes:
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
  unit:
    description: The service's unit, for example V(spike-keeper.service).
    type: str
    required: true
  part:
    description: Which part of SPIKE it is, which decides the SPIFFE ID that must answer.
    type: str
    required: true
    choices: [keeper, nexus]
  trust_roots:
    description: Trust domains of that part, V([spike.ist]) by default.
    type: list
    elements: str
    default: [spike.ist]
  address:
    description:
      - Where the service listens, as SPIKE has it, for example V(:8443). It is called on this host.
      - Needed with O(wait_for=answer). Without it nobody is called.
    type: str
  started_with:
    description:
      - The digest that a process with the wanted binary and settings has in its variable
        E(DAYZERO_SPIKE_STARTED_WITH). RV(stale) compares.
    type: str
  binary:
    description: The service's program, for RV(share_scheme) and RV(program_stale).
    type: path
  wait_for:
    description: What the service is waited for.
    type: str
    default: nothing
    choices:
      nothing: It is looked at once.
      answer: The right SPIFFE ID answers at O(address).
      shard: The keeper took a shard.
  timeout:
    description: How long it is waited for, one minute by default, as a duration such as V(60s).
    type: str
    default: 60s
  taken_within:
    description:
      - Only a shard counts that the keeper took within this many seconds before the module began,
        or later. With the uptime of Nexus, a shard that it has from this Nexus.
      - By default any shard counts.
    type: float
  log_lines:
    description: How many of its last log lines are shown with a failure.
    type: int
    default: 20
requirements:
  - Python 3.9 or later
  - systemd with its journal
seealso:
  - module: dayzero.spike.spike_bootstrap_info
    description: Asks the whole cluster, from the bootstrap host.
"""

EXAMPLES = r"""
- name: Wait until the keeper has a shard again
  dayzero.spike.spike_service_info:
    unit: spike-keeper.service
    part: keeper
    wait_for: shard
    timeout: 5m30s
  become: true
"""

RETURN = r"""
exists:
  description: Whether systemd knows the unit.
  returned: success
  type: bool
  sample: true
running:
  description: Whether it has a process.
  returned: success
  type: bool
  sample: true
state:
  description: What systemd says of it, in one line.
  returned: success
  type: str
  sample: active (running)
uptime:
  description: For how many seconds its process has run; V(null) where there is none.
  returned: success
  type: float
  sample: 311.2
stale:
  description: Whether it runs, and was started with something other than O(started_with).
  returned: success
  type: bool
  sample: false
program_stale:
  description: Whether it runs, and was started from another file than the one in O(binary) now.
  returned: success
  type: bool
  sample: false
shard:
  description:
    - Whether the keeper has a shard. V(held), it says that it took one; V(none), it does not run,
      or the journal has all that it wrote and it took none; V(unknown), the journal does not reach
      back to its start or cannot be read, so it may have one. V(none) for Nexus.
  returned: success
  type: str
  choices: [held, none, unknown]
  sample: held
shard_age:
  description: How many seconds ago it took its last shard; V(null) where that is not known.
  returned: success
  type: float
  sample: 42.0
spiffe_id:
  description: The SPIFFE ID that answers at O(address); V(null) where none does.
  returned: success
  type: str
  sample: spiffe://spike.ist/spike/keeper
no_answer:
  description: Why none answers; empty where one does, or where nobody was called.
  returned: success
  type: str
  sample: connection refused
share_scheme:
  description:
    - How the program in O(binary) splits a root key, as in
      O(dayzero.spike.spike_bootstrap#module:share_scheme), from the version of CIRCL that it says
      it was built with. V(null) where it does not say.
  returned: success
  type: str
  choices: [circl-1.6.2, circl-1.6.1]
  sample: circl-1.6.2
msg:
  description: What was waited for in vain.
  returned: on failure
  type: str
  sample: spike-keeper.service did not answer at :8443 within 60s.
why:
  description: What was seen, with the last lines of the service's log.
  returned: on failure
  type: list
  elements: str
  sample: ["systemd: spike-keeper.service is activating (auto-restart)."]
what_to_do:
  description: What to do about it, in order, one action a step.
  returned: on failure
  type: list
  elements: str
  sample: ["Read its log: journalctl -u spike-keeper.service."]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.dayzero.spike.plugins.module_utils._hosts.modules import (
    service_info,
    service_info_arguments,
)


def main() -> None:
    service_info(AnsibleModule(argument_spec=service_info_arguments(), supports_check_mode=True))


if __name__ == "__main__":
    main()
