# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the root key is split; the journal remembers it, and shards of two splits must not meet."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  keeper_peers:
    description:
      - URLs of all SPIKE Keepers, V(https) only, in the order in which SPIKE Nexus lists them.
      - The position is the keeper's id, counted from 1, and decides which shard it gets, so the
        order must be that of Nexus's own E(SPIKE_NEXUS_KEEPER_PEERS).
      - Between 2 and 1000 keepers, each named once.
      - Falls back to E(SPIKE_NEXUS_KEEPER_PEERS) on the target host, separated by commas.
    type: list
    elements: str
    required: true
    version_added: 1.0.0
  shamir_threshold:
    description:
      - Number of shards that together give the root key, 2 by default. At least 2 and at most the
        number of keepers.
      - SPIKE allows 1, with which each keeper holds the root key itself. That is refused here.
      - Falls back to E(SPIKE_NEXUS_SHAMIR_THRESHOLD) on the target host.
    type: int
    default: 2
    version_added: 1.0.0
  shamir_shares:
    description:
      - Number of shards, by default the number of keepers, and refused when it is any other.
      - Falls back to E(SPIKE_NEXUS_SHAMIR_SHARES) on the target host.
    type: int
    version_added: 1.0.0
  share_scheme:
    description:
      - How the polynomial follows from the root key, V(circl-1.6.2) by default. It must be the one
        of the Nexus in use. Nexus later splits the same key again by itself, and shards of two
        polynomials recombine, without an error, to a wrong key.
    type: str
    choices:
      circl-1.6.2: For SPIKE built since January 2026, that is releases after v0.8.0.
      circl-1.6.1: For SPIKE v0.8.0 and older.
    default: circl-1.6.2
    version_added: 1.0.0
"""
