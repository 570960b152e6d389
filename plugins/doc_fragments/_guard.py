# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What counts as a Nexus without a root key, and as one with a key that will do."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  nexus_silence:
    description:
      - What stands for "SPIKE Nexus has no root key" besides Nexus's own word, which is a 503 with
        C(state_not_ready). V(refused) by default.
      - Whatever else comes of asking Nexus, such as no route, a time-out, a failed TLS handshake, a
        name that does not resolve or an answer that is not SPIKE's, is asked again for 5 seconds.
        Then the run is refused, and nothing is sent, because Nexus may have a key.
    type: str
    choices:
      refused: >-
        Its port refuses the connection at every address of its name, for 5 seconds. That is a Nexus
        that was not started yet. A firewall that answers for its host looks the same. Where one can
        be in between, use V(never).
      never: Nothing. Nexus must run before day zero, and say so itself.
      accept: >-
        No answer of any kind. You vouch that this Nexus never had a root key. An answer that is not
        SPIKE's is refused all the same.
    default: refused
    version_added: 1.0.0
  accept_existing:
    description:
      - Whether a Nexus that holds a root key of which nothing is known here, neither a journal nor
        the key of an unfinished run, counts as bootstrapped. V(false) by default, and the run is
        refused.
      - With V(true) such a run succeeds, RV(ignore:changed) is V(false), and nothing is sent or
        written. It is for a bootstrap host that was rebuilt, or a cluster that was bootstrapped
        from elsewhere.
    type: bool
    default: false
    version_added: 1.0.0
"""
