#!/usr/bin/python

# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: spike_sandbox
short_description: Run an embedded SPIKE on loopback, for rehearsal and tests
version_added: 1.0.0
author:
  - The dayzero.spike authors (@dayzero-collections)
description:
  - Starts, or stops, an embedded SPIKE - keepers, Nexus and a throwaway SPIFFE authority - that
    behaves on the wire as SPIKE does, so that a bootstrap can be rehearsed without one.
  - Faults chosen by O(faults) show beforehand what a bootstrap makes of a keeper that refuses,
    hangs or is not who it should be.
  - It listens on loopback only, runs as the user of the task, and ends by itself after
    O(lifetime). Its keys are made when it starts and guard nothing.
attributes:
  check_mode:
    description: Can run in check mode and return the changed status without changing anything.
    support: full
    details:
      - What would be started is not described, since its ports are not known before it starts.
  diff_mode:
    description: Returns details on what has changed in diff mode.
    support: none
  platform:
    description: Where the module runs.
    platforms: linux
    support: full
requirements:
  - cryptography 3.4.8 or later
options:
  state:
    description:
      - V(started) sees to it that a sandbox with these options runs in O(directory). One that
        runs there with other options is replaced, and what it held is lost.
      - V(stopped) sees to it that none does, and removes what it has written.
      - V(restarted) restarts every keeper and Nexus of the one that runs there at once. Every shard
        and the key are lost then, and the database is not. Fails where none runs.
    type: str
    choices: [started, stopped, restarted]
    default: started
  directory:
    description:
      - The directory of the sandbox, which distinguishes it from others. It is made with mode 0700
        if it is missing; if it is there, it must be the user's own and hold nothing else.
      - Everything is removed from it when the sandbox stops; the empty directory stays.
    type: path
    required: true
  keepers:
    description: The number of keepers, from 1 to 1000.
    type: int
    default: 3
  threshold:
    description: How many shards make the root key.
    type: int
    default: 2
  trust_domain:
    description: The trust domain of the bootstrap identity, and of the others by default.
    type: str
    default: spike.ist
  keeper_trust_domain:
    description: The trust domain of the keepers, if it is another one.
    type: str
  nexus_trust_domain:
    description: The trust domain of Nexus, if it is another one.
    type: str
  share_scheme:
    description: How Nexus draws the polynomial when it splits the root key again.
    type: str
    choices: [circl-1.6.2, circl-1.6.1]
    default: circl-1.6.2
  faults:
    description:
      - What is wrong with which server. The keys are the keepers' ids, from 1, and V(nexus); a
        value is a dictionary with one of the faults below, and conditions if need be.
      - "On the port: V(refuse) and V(blackhole) (connections hang), both V(true)."
      - "On connections: V(reset) (accepted, and reset at once), V(stall_tls) (no answer to the TLS
        handshake), V(plain_http) (no TLS at all), V(untrusted) (a certificate of another
        authority), V(expired), V(refuse_identity) (the TLS alert of a server that does not trust
        the client), all V(true), and V(wrong_identity), the SPIFFE ID that the server has instead."
      - "On requests: V(status) (an HTTP status), V(redirect) (a URL), V(close) (no answer),
        V(garbage) (an answer that is not HTTP), V(bad_json), V(accept_empty) (200 to the empty
        request), V(other_key) (what a Nexus answers that holds another root key), V(huge_body)
        (it never ends), all V(true) but the first two; V(drip), V(true) or the seconds between
        two bytes; V(delay), a duration before the answer, by itself or together with another fault
        on requests."
      - "Conditions: V(failures), how many connections or requests meet the fault before the
        server is healthy, not for V(refuse) and V(blackhole), whose victims cannot be counted;
        V(until), a duration after which it is; V(when), one of V(reach), V(deliver) or
        V(always), for keepers: which step of a bootstrap meets the fault. With V(deliver), a
        fault on the port or on connections begins once the first empty request has been
        answered."
    type: dict
    default: {}
  nexus_behaviour:
    description: V(main) answers 503 as long as it has no root key, V(v0.8.0) does not listen.
    type: str
    choices: [main, v0.8.0]
    default: main
  nexus_keepers:
    description:
      - The keepers that Nexus has in its own settings, by their ids, in its order. By default all
        of them, in the right one. With another order Nexus makes a wrong root key of right shards,
        as SPIKE does.
    type: list
    elements: int
  nexus_threshold:
    description: The threshold in Nexus's own settings, if it is another one than O(threshold).
    type: int
  nexus_poll:
    description: How often Nexus asks the keepers for their shards. A duration.
    type: str
    default: 200ms
  nexus_push:
    description:
      - How often Nexus, once it has the root key, sends the keepers their shards of it. A
        duration; V(0) is never.
    type: str
    default: '0'
  lifetime:
    description:
      - When the sandbox stops by itself and removes what it has written. A duration, such as
        V(90s) or V(1h30m), greater than 0.
    type: str
    default: 1h
"""

EXAMPLES = r"""
- name: Start a healthy sandbox of three keepers
  dayzero.spike.spike_sandbox:
    directory: ~/.ansible/spike-sandbox
  register: sandbox

- name: Start one in which keeper 2 refuses connections and keeper 3 answers late, twice
  dayzero.spike.spike_sandbox:
    directory: ~/.ansible/spike-sandbox
    faults:
      2:
        refuse: true
      3:
        delay: 5s
        failures: 2

- name: Show the inventory with which dayzero.spike.day_zero runs against it
  ansible.builtin.debug:
    msg: ansible-playbook -i {{ sandbox.inventory }} dayzero.spike.day_zero

- name: Stop it
  dayzero.spike.spike_sandbox:
    directory: ~/.ansible/spike-sandbox
    state: stopped
"""

RETURN = r"""
running:
  description: Whether a sandbox runs in the directory now; in check mode, whether one would.
  returned: success
  type: bool
  sample: true
directory:
  description: The directory of the sandbox.
  returned: success
  type: str
  sample: /home/ops/.ansible/spike-sandbox
inventory:
  description:
    - The path of an inventory for the day-zero playbook, with the groups C(spike_keepers) and
      C(spike_bootstrap).
  returned: when a sandbox runs
  type: str
  sample: /home/ops/.ansible/spike-sandbox/inventory.yml
log:
  description: The path of the log, which is empty unless something went wrong.
  returned: when a sandbox runs
  type: str
  sample: /home/ops/.ansible/spike-sandbox/sandbox.log
pid:
  description: The number of its process.
  returned: when a sandbox runs
  type: int
  sample: 4711
ends_at:
  description: When it stops by itself, in UTC.
  returned: when a sandbox runs
  type: str
  sample: '2026-07-01T13:00:00+00:00'
keepers:
  description: The keepers, in the order of their ids.
  returned: when a sandbox runs
  type: list
  elements: dict
  contains:
    id:
      description: The keeper's id, from 1.
      type: int
    url:
      description: Where it listens.
      type: str
  sample:
    - id: 1
      url: https://127.0.0.1:40001
nexus:
  description: Nexus.
  returned: when a sandbox runs
  type: dict
  contains:
    url:
      description: Where it listens.
      type: str
    data_dir:
      description: The directory with its database, C(spike.db), once it has a root key.
      type: str
  sample:
    url: https://127.0.0.1:40000
    data_dir: /home/ops/.ansible/spike-sandbox/nexus
bootstrap:
  description: What a bootstrap against the sandbox needs.
  returned: when a sandbox runs
  type: dict
  contains:
    svid_cert:
      description: The path of the bootstrap identity's certificate chain.
      type: str
    svid_key:
      description: The path of its private key.
      type: str
    svid_bundle:
      description: The path of the trust bundle of its trust domain.
      type: str
    federated_bundles:
      description: The paths of the trust bundles of the other trust domains, by name.
      type: dict
    trust_root_bootstrap:
      description: The trust domain of the bootstrap identity.
      type: str
    trust_root_keeper:
      description: The trust domain of the keepers.
      type: str
    trust_root_nexus:
      description: The trust domain of Nexus.
      type: str
    shamir_threshold:
      description: How many shards make the root key.
      type: int
    share_scheme:
      description: How the root key is split.
      type: str
    state_dir:
      description: An empty directory for the journal.
      type: str
    runtime_dir:
      description:
        - An empty directory in memory for the key of an unfinished run; V(null) where neither
          C(/run) nor C(/dev/shm) is in memory and may be written to.
      type: str
  sample:
    svid_cert: /home/ops/.ansible/spike-sandbox/identity/svid.pem
    svid_key: /home/ops/.ansible/spike-sandbox/identity/svid.key
    svid_bundle: /home/ops/.ansible/spike-sandbox/identity/bundle.pem
    federated_bundles: {}
    trust_root_bootstrap: spike.ist
    trust_root_keeper: spike.ist
    trust_root_nexus: spike.ist
    shamir_threshold: 2
    share_scheme: circl-1.6.2
    state_dir: /home/ops/.ansible/spike-sandbox/state
    runtime_dir: /dev/shm/spike-sandbox-5_7v0k1c
recover:
  description: The SVID for a recovery, as C(svid_cert) and C(svid_key).
  returned: when a sandbox runs
  type: dict
  sample:
    svid_cert: /home/ops/.ansible/spike-sandbox/identity/recover.pem
    svid_key: /home/ops/.ansible/spike-sandbox/identity/recover.key
restore:
  description: The SVID for a restore, as C(svid_cert) and C(svid_key).
  returned: when a sandbox runs
  type: dict
  sample:
    svid_cert: /home/ops/.ansible/spike-sandbox/identity/restore.pem
    svid_key: /home/ops/.ansible/spike-sandbox/identity/restore.key
"""

import sys
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.dayzero.spike.plugins.module_utils._clock import (
    DURATION_EXAMPLE,
    parse_duration,
)
from ansible_collections.dayzero.spike.plugins.module_utils._entry.libraries import (
    check_libraries,
)
from ansible_collections.dayzero.spike.plugins.module_utils._errors import (
    ConfigError,
    DayZeroError,
)
from ansible_collections.dayzero.spike.plugins.module_utils._sandbox import daemon

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "state": {"type": "str", "choices": ["started", "stopped", "restarted"], "default": "started"},
    "directory": {"type": "path", "required": True},
    "keepers": {"type": "int", "default": 3},
    "threshold": {"type": "int", "default": 2},
    "trust_domain": {"type": "str", "default": "spike.ist"},
    "keeper_trust_domain": {"type": "str"},
    "nexus_trust_domain": {"type": "str"},
    "share_scheme": {
        "type": "str",
        "choices": ["circl-1.6.2", "circl-1.6.1"],
        "default": "circl-1.6.2",
    },
    "faults": {"type": "dict", "default": {}},
    "nexus_behaviour": {"type": "str", "choices": ["main", "v0.8.0"], "default": "main"},
    "nexus_keepers": {"type": "list", "elements": "int"},
    "nexus_threshold": {"type": "int"},
    "nexus_poll": {"type": "str", "default": "200ms"},
    "nexus_push": {"type": "str", "default": "0"},
    "lifetime": {"type": "str", "default": "1h"},
}


def _arguments(params: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of Sandbox. Raises ConfigError for what is not a duration."""
    return {
        "keepers": params["keepers"],
        "threshold": params["threshold"],
        "trust_domain": params["trust_domain"],
        "keeper_trust_domain": params["keeper_trust_domain"],
        "nexus_trust_domain": params["nexus_trust_domain"],
        "scheme": params["share_scheme"],
        "faults": params["faults"],
        "nexus_behaviour": params["nexus_behaviour"],
        "nexus_keepers": params["nexus_keepers"],
        "nexus_threshold": params["nexus_threshold"],
        "nexus_poll_seconds": _seconds(params, "nexus_poll"),
        "nexus_push_seconds": _seconds(params, "nexus_push") or None,
        "lifetime_seconds": _seconds(params, "lifetime"),
    }


def _seconds(params: dict[str, Any], option: str) -> float:
    try:
        return parse_duration(params[option]).seconds
    except ValueError as problem:
        raise ConfigError(option, str(problem), DURATION_EXAMPLE) from None


def _result(record: dict[str, Any] | None) -> dict[str, Any]:
    if record is None:
        return {}
    shown = ("inventory", "log", "ends_at", "keepers", "nexus", "bootstrap", "recover", "restore")
    return {"pid": record["process"]["pid"], **{name: record[name] for name in shown}}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    if not sys.platform.startswith("linux"):
        module.fail_json(msg="the sandbox needs Linux: /proc, and a port that can be a black hole")
    directory = Path(module.params["directory"])
    state = module.params["state"]
    try:
        check_libraries("cryptography")
        if state == "started":
            arguments = _arguments(module.params)
            outcome = daemon.start(directory, arguments, dry_run=module.check_mode)
        elif state == "restarted":
            outcome = daemon.restart(directory, dry_run=module.check_mode)
        else:
            outcome = daemon.stop(directory, dry_run=module.check_mode)
    except (DayZeroError, OSError) as problem:
        module.fail_json(msg=str(problem))
    module.exit_json(
        changed=outcome.changed,
        running=state != "stopped",
        directory=str(directory.absolute()),
        **_result(outcome.record),
    )


if __name__ == "__main__":
    main()
