# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How keepers are contacted: the time and the attempts given to them, and who is who."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  keeper_timeout:
    description:
      - Time for one keeper with all its attempts, 30 seconds by default, as a Go duration such as
        V(30s) or V(1m30s), or as a number of seconds.
      - Each of the two steps, reaching and delivering, has this time for every keeper, and keepers
        are worked on in parallel. A keeper's failure is known within this time and half a second.
      - Must be more than 0. SPIKE takes 0 as endless, and nothing here is endless.
      - Falls back to E(SPIKE_BOOTSTRAP_KEEPER_TIMEOUT) on the target host.
    type: str
    default: 30s
    version_added: 1.0.0
  keeper_max_retries:
    description:
      - Number of attempts for one keeper, the first one included, 5 by default. From 1 to 1000.
      - All of them are really started, however a keeper fails, unless the failure is one that
        waiting cannot fix. The last one starts no later than 14/15 of O(keeper_timeout).
      - Falls back to E(SPIKE_BOOTSTRAP_KEEPER_MAX_RETRIES) on the target host.
    type: int
    default: 5
    version_added: 1.0.0
  keeper_retry_initial_interval:
    description:
      - Time between the starts of the first and the second attempt, 2 seconds by default, as a Go
        duration or a number of seconds. It doubles from one attempt to the next.
      - With all defaults the attempts start after 0, 2, 6, 14 and 28 seconds. Starts that would
        not fit into O(keeper_timeout) are spread evenly over what is left of it.
      - Falls back to E(SPIKE_BOOTSTRAP_KEEPER_RETRY_INITIAL_INTERVAL) on the target host.
    type: str
    default: 2s
    version_added: 1.0.0
  keeper_retry_max_interval:
    description:
      - Longest time between the starts of two attempts, 30 seconds by default, as a Go duration or
        a number of seconds.
      - Falls back to E(SPIKE_BOOTSTRAP_KEEPER_RETRY_MAX_INTERVAL) on the target host.
    type: str
    default: 30s
    version_added: 1.0.0
  trust_root_keeper:
    description:
      - Trust domains that keepers may belong to, V(spike.ist) alone by default. A keeper must show
        the SPIFFE ID V(spiffe://<trust domain>/spike/keeper) or one below it.
      - Falls back to E(SPIKE_TRUST_ROOT_KEEPER) on the target host, separated by commas.
    type: list
    elements: str
    default: [spike.ist]
    version_added: 1.0.0
  trust_root_bootstrap:
    description:
      - Trust domains that the identity used here may belong to, V(spike.ist) alone by default. The
        identity must be V(spiffe://<trust domain>/spike/bootstrap) or one below it.
      - Falls back to E(SPIKE_TRUST_ROOT_BOOTSTRAP) on the target host, separated by commas.
    type: list
    elements: str
    default: [spike.ist]
    version_added: 1.0.0
"""
