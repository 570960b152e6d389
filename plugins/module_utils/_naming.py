# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the reader calls things: the module's options, or the variables of the role.

Messages are written with ``{option}`` in the place of a name, because one and the same refusal is
read by somebody who wrote a task and by somebody who wrote an inventory.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping

_PLACE = re.compile(r"\{([a-z_]+)\}")
# In place of a brace in somebody else's text until names are put in: no text has this character.
_BRACE = "\ufdd0"
_PREFIX = "spike_bootstrap_"

# What describes the identity of a run and not the cluster: in an emergency it is another one.
_OF_THE_IDENTITY = (
    "svid_source",
    "spiffe_endpoint_socket",
    "spiffe_source_timeout",
    "svid_cert",
    "svid_key",
    "svid_bundle",
    "spire_agent_path",
    "federated_bundles",
    "runtime_dir",
)
OPTIONS = (
    "keeper_peers",
    "shamir_threshold",
    "shamir_shares",
    "share_scheme",
    "keeper_timeout",
    "keeper_max_retries",
    "keeper_retry_initial_interval",
    "keeper_retry_max_interval",
    "timeout",
    "nexus_api_url",
    "verify",
    "init_verification_timeout",
    "force",
    "state",
    "nexus_silence",
    "accept_existing",
    *_OF_THE_IDENTITY,
    "trust_root_keeper",
    "trust_root_nexus",
    "trust_root_bootstrap",
    "state_dir",
    "nexus_data_dir",
    "nexus_database",
    "naming",
    "progress",
)

# Options of the modules for an emergency, each with those of them that have it.
EMERGENCY_OPTIONS = {
    "trust_root_pilot": ("recover", "restore"),
    "custodians": ("recover",),
    "directory": ("recover",),
    "shards": ("restore",),
    "complete": ("restore",),
    "unchecked": ("restore",),
    "proof_svid_cert": ("restore",),
    "proof_svid_key": ("restore",),
}

# Besides the options: ``keeper_url``, where one keeper's URL is written, and whole instructions.
_FOR_TASKS = {
    **{option: option for option in (*OPTIONS, *EMERGENCY_OPTIONS)},
    "keeper_url": "keeper_peers",
    "with_force": "force: true",
    "abandon": "run once with state: abandoned",
    "accept": "accept_existing: true",
    "ask_status": "spike_bootstrap_info",
    "do_restore": "spike_restore",
}
_FOR_INVENTORIES = {
    **{option: _PREFIX + option for option in OPTIONS},
    "keeper_url": "spike_keeper_url",
    "with_force": (
        "-e spike_bootstrap_force=true and spike_bootstrap_force_nexus set to the URL of this Nexus"
    ),
    "abandon": "run the playbook dayzero.spike.abandon",
    "accept": "-e spike_bootstrap_accept_existing=true",
    "ask_status": "the playbook dayzero.spike.status",
    "do_restore": "the playbook dayzero.spike.restore",
}


def _for_the_role(name: str) -> dict[str, str]:
    """The words of an inventory for ``spike_recover`` or ``spike_restore``."""
    own = [option for option, roles in EMERGENCY_OPTIONS.items() if name in roles]
    return {
        **_FOR_INVENTORIES,
        **{option: f"spike_{name}_{option}" for option in (*own, *_OF_THE_IDENTITY)},
    }


class Naming(enum.Enum):
    """Whose names a message uses.

    ``OPTIONS`` and ``VARIABLES`` are the values of the option ``naming``; for a module for an
    emergency the variables are those of its own role.
    """

    OPTIONS = "options"
    VARIABLES = "variables"
    RECOVER_VARIABLES = "variables of spike_recover"
    RESTORE_VARIABLES = "variables of spike_restore"

    def spell(self, text: str) -> str:
        """``text`` with the reader's own names in the places of ``{option}``."""
        return fill(text, _WORDS[self]).replace(_BRACE, "{")


NAMINGS = (Naming.OPTIONS, Naming.VARIABLES)
_WORDS = {
    Naming.OPTIONS: _FOR_TASKS,
    Naming.VARIABLES: _FOR_INVENTORIES,
    Naming.RECOVER_VARIABLES: _for_the_role("recover"),
    Naming.RESTORE_VARIABLES: _for_the_role("restore"),
}


def fill(text: str, words: Mapping[str, object]) -> str:
    """``text`` with ``words`` in their places; a place that is none of them stays as it is.

    What is put in is not looked at again: a value that an operator wrote may hold braces.
    """
    return _PLACE.sub(lambda found: str(words.get(found[1], found[0])), text)


def literal(text: str) -> str:
    """``text`` of an operator for a message that is still to be spelt: its braces are no places."""
    return text.replace("{", _BRACE)


def place_of(option: str) -> str:
    """How a message names ``option`` before it is known who reads it."""
    return f"{{{option}}}" if option in OPTIONS or option in EMERGENCY_OPTIONS else option


__all__ = ["EMERGENCY_OPTIONS", "NAMINGS", "OPTIONS", "Naming", "fill", "literal", "place_of"]
