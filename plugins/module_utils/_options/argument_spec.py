# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What Ansible is told about the modules' options.

Ansible splits, converts and fills in. What a value may be is decided in ``settings``: what Ansible
itself refuses has no result but its message. Durations are therefore plain strings.
"""

from __future__ import annotations

import os
from typing import Any

from ansible.module_utils.errors import AnsibleFallbackNotFound

from .._key.shamir import CIRCL_1_6_2, SCHEMES
from .._naming import NAMINGS, Naming
from .._spiffe.source import SVID_SOURCES
from .settings import SeenDatabase, Silence


def setting(name: str) -> str:
    """Read the setting ``name`` of SPIKE from the environment of the module.

    A variable that is set to nothing is one that unit files and containers leave behind for
    "not set"; Ansible's own ``env_fallback`` would take the empty text for the value.
    """
    value = os.environ.get(name, "").strip()
    if not value:
        raise AnsibleFallbackNotFound
    return value


def setting_list(name: str) -> list[str]:
    """Read a list as SPIKE writes it: separated by commas, with or without spaces."""
    return [item.strip() for item in setting(name).split(",")]


def _duration(default: str, variable: str) -> dict[str, Any]:
    return {"type": "str", "default": default, "fallback": (setting, [variable])}


def _trust_root(variable: str) -> dict[str, Any]:
    return {
        "type": "list",
        "elements": "str",
        "default": ["spike.ist"],
        "fallback": (setting_list, [variable]),
    }


# The parts are those of the settings and of the doc fragments.


def split_arguments() -> dict[str, Any]:
    """The keepers, in their order, and how the root key is split for them."""
    return {
        "keeper_peers": {
            "type": "list",
            "elements": "str",
            "required": True,
            "fallback": (setting_list, ["SPIKE_NEXUS_KEEPER_PEERS"]),
        },
        "shamir_threshold": {
            "type": "int",
            "default": 2,
            "fallback": (setting, ["SPIKE_NEXUS_SHAMIR_THRESHOLD"]),
        },
        "shamir_shares": {"type": "int", "fallback": (setting, ["SPIKE_NEXUS_SHAMIR_SHARES"])},
        "share_scheme": {
            "type": "str",
            "choices": list(SCHEMES),
            "default": CIRCL_1_6_2,
        },
    }


def keeper_arguments() -> dict[str, Any]:
    """How keepers are contacted, and as whom."""
    return {
        "keeper_timeout": _duration("30s", "SPIKE_BOOTSTRAP_KEEPER_TIMEOUT"),
        "keeper_max_retries": {
            "type": "int",
            "default": 5,
            "fallback": (setting, ["SPIKE_BOOTSTRAP_KEEPER_MAX_RETRIES"]),
        },
        "keeper_retry_initial_interval": _duration(
            "2s", "SPIKE_BOOTSTRAP_KEEPER_RETRY_INITIAL_INTERVAL"
        ),
        "keeper_retry_max_interval": _duration("30s", "SPIKE_BOOTSTRAP_KEEPER_RETRY_MAX_INTERVAL"),
        "trust_root_keeper": _trust_root("SPIKE_TRUST_ROOT_KEEPER"),
        "trust_root_bootstrap": _trust_root("SPIKE_TRUST_ROOT_BOOTSTRAP"),
    }


def nexus_arguments() -> dict[str, Any]:
    """Where Nexus is, and how long the whole run may take."""
    return {
        "nexus_api_url": {
            "type": "str",
            "default": "https://localhost:8553",
            "fallback": (setting, ["SPIKE_NEXUS_API_URL"]),
        },
        "trust_root_nexus": _trust_root("SPIKE_TRUST_ROOT_NEXUS"),
        "timeout": _duration("0", "SPIKE_BOOTSTRAP_TIMEOUT"),
    }


def svid_arguments() -> dict[str, Any]:
    """Where our SVID comes from."""
    return {
        "svid_source": {
            "type": "str",
            "choices": list(SVID_SOURCES),
            "default": "workload_api",
        },
        "spiffe_endpoint_socket": {
            "type": "str",
            "default": "unix:///tmp/spire-agent/public/api.sock",
            "fallback": (setting, ["SPIFFE_ENDPOINT_SOCKET"]),
        },
        "spiffe_source_timeout": _duration("30s", "SPIKE_SPIFFE_SOURCE_TIMEOUT"),
        "svid_cert": {"type": "path"},
        # The path of a key, not a key: Ansible would otherwise guess from the name.
        "svid_key": {"type": "path", "no_log": False},
        "svid_bundle": {"type": "path"},
        "spire_agent_path": {"type": "path", "default": "spire-agent"},
        "federated_bundles": {"type": "dict", "default": {}},
    }


def directory_arguments() -> dict[str, Any]:
    """What is kept where."""
    return {
        "state_dir": {"type": "path", "default": "/var/lib/spike-bootstrap"},
        "runtime_dir": {"type": "path"},
    }


def nexus_data_arguments() -> dict[str, Any]:
    """Where Nexus's data is, and who looks into it."""
    return {
        "nexus_data_dir": {"type": "path"},
        "nexus_database": {
            "type": "str",
            "choices": [seen.value for seen in SeenDatabase],
            "default": SeenDatabase.LOOK.value,
        },
    }


def guard_arguments() -> dict[str, Any]:
    """What stands between a run and a live cluster."""
    return {
        "nexus_silence": {
            "type": "str",
            "choices": [silence.value for silence in Silence],
            "default": Silence.REFUSED.value,
        },
        "accept_existing": {"type": "bool", "default": False},
    }


def naming_arguments() -> dict[str, Any]:
    """Whose names messages use."""
    return {
        "naming": {
            "type": "str",
            "choices": [naming.value for naming in NAMINGS],
            "default": Naming.OPTIONS.value,
        },
    }


def shared_arguments() -> dict[str, Any]:
    return {
        **split_arguments(),
        **keeper_arguments(),
        **nexus_arguments(),
        **svid_arguments(),
        **directory_arguments(),
        **nexus_data_arguments(),
        **guard_arguments(),
        **naming_arguments(),
    }


def info_arguments() -> dict[str, Any]:
    """The whole argument spec of ``spike_bootstrap_info``."""
    return {**shared_arguments(), "probe_keepers": {"type": "bool", "default": True}}


def pilot_arguments() -> dict[str, Any]:
    """Whose identity an operator has in an emergency."""
    return {"trust_root_pilot": _trust_root("SPIKE_TRUST_ROOT_PILOT")}


def _emergency_arguments() -> dict[str, Any]:
    return {
        **split_arguments(),
        **nexus_arguments(),
        **svid_arguments(),
        **directory_arguments(),
        **pilot_arguments(),
        **naming_arguments(),
    }


def recover_arguments() -> dict[str, Any]:
    """The whole argument spec of ``spike_recover``."""
    return {
        **_emergency_arguments(),
        "custodians": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "options": {
                "name": {"type": "str", "required": True},
                "age": {"type": "str"},
                "pgp": {"type": "str"},
            },
        },
        "directory": {"type": "path"},
    }


def restore_arguments() -> dict[str, Any]:
    """The whole argument spec of ``spike_restore``."""
    return {
        **_emergency_arguments(),
        "shards": {"type": "list", "elements": "str", "required": True, "no_log": True},
        "complete": {"type": "bool", "default": True},
        "unchecked": {"type": "bool", "default": False},
        "trust_root_bootstrap": _trust_root("SPIKE_TRUST_ROOT_BOOTSTRAP"),
        "proof_svid_cert": {"type": "path"},
        # The path of a key, not a key.
        "proof_svid_key": {"type": "path", "no_log": False},
    }


def bootstrap_arguments() -> dict[str, Any]:
    """The whole argument spec of ``spike_bootstrap``."""
    return {
        **shared_arguments(),
        "state": {
            "type": "str",
            "choices": ["bootstrapped", "abandoned"],
            "default": "bootstrapped",
        },
        "verify": {"type": "bool", "default": True},
        "init_verification_timeout": _duration("30m", "SPIKE_BOOTSTRAP_INIT_VERIFICATION_TIMEOUT"),
        "force": {
            "type": "bool",
            "default": False,
            "fallback": (setting, ["SPIKE_BOOTSTRAP_FORCE"]),
        },
        "progress": {"type": "path"},
    }


__all__ = [
    "bootstrap_arguments",
    "info_arguments",
    "recover_arguments",
    "restore_arguments",
    "setting",
    "setting_list",
    "shared_arguments",
]
