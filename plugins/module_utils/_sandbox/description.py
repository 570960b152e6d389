# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a running sandbox tells about itself: a record, and an inventory made from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .cluster import Sandbox


def describe(sandbox: Sandbox, state_dir: Path, runtime_dir: Path | None) -> dict[str, Any]:
    """Return where everything is, as JSON has it; nothing in it is secret."""
    return {
        "keepers": [{"id": keeper.id, "url": keeper.url} for keeper in sandbox.keepers],
        "nexus": {"url": sandbox.nexus.url, "data_dir": str(sandbox.nexus.data_dir)},
        **{
            name: {"svid_cert": str(svid[0]), "svid_key": str(svid[1])}
            for name, svid in (
                ("recover", sandbox.recover_svid),
                ("restore", sandbox.restore_svid),
            )
        },
        "bootstrap": {
            "svid_cert": str(sandbox.svid_cert),
            "svid_key": str(sandbox.svid_key),
            "svid_bundle": str(sandbox.svid_bundle),
            "federated_bundles": {
                name: str(path) for name, path in sandbox.federated_bundles.items()
            },
            "trust_root_bootstrap": sandbox.trust_domain,
            "trust_root_keeper": sandbox.keeper_trust_domain,
            "trust_root_nexus": sandbox.nexus_trust_domain,
            "shamir_threshold": sandbox.threshold,
            "share_scheme": sandbox.scheme,
            "state_dir": str(state_dir),
            "runtime_dir": str(runtime_dir) if runtime_dir is not None else None,
        },
    }


def inventory(description: dict[str, Any]) -> str:
    """Return an inventory (YAML) with which the day-zero playbook runs against the sandbox."""
    bootstrap = description["bootstrap"]
    local = {
        "ansible_connection": "local",
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
    }
    variables = {
        **local,
        "spike_bootstrap_svid_source": "files",
        "spike_bootstrap_svid_cert": bootstrap["svid_cert"],
        "spike_bootstrap_svid_key": bootstrap["svid_key"],
        "spike_bootstrap_svid_bundle": bootstrap["svid_bundle"],
        "spike_bootstrap_federated_bundles": bootstrap["federated_bundles"],
        "spike_bootstrap_trust_root_bootstrap": [bootstrap["trust_root_bootstrap"]],
        "spike_bootstrap_trust_root_keeper": [bootstrap["trust_root_keeper"]],
        "spike_bootstrap_trust_root_nexus": [bootstrap["trust_root_nexus"]],
        "spike_bootstrap_shamir_threshold": bootstrap["shamir_threshold"],
        "spike_bootstrap_share_scheme": bootstrap["share_scheme"],
        "spike_bootstrap_nexus_api_url": description["nexus"]["url"],
        "spike_bootstrap_state_dir": bootstrap["state_dir"],
        "spike_bootstrap_runtime_dir": bootstrap["runtime_dir"],
        "spike_bootstrap_manage_host": False,
        **{
            f"spike_{role}_{name}": path
            for role in ("recover", "restore")
            for name, path in description[role].items()
        },
    }
    if bootstrap["runtime_dir"] is None:
        del variables["spike_bootstrap_runtime_dir"]
    lines = ["---", "# An inventory of the sandbox, written by dayzero.spike.spike_sandbox."]
    lines += ["spike_keepers:", "  hosts:"]
    for keeper in description["keepers"]:
        lines.append(f"    keeper{keeper['id']}:")
        lines.append(f"      spike_keeper_url: {json.dumps(keeper['url'])}")
    lines += ["  vars:", *_yaml(local)]
    lines += ["spike_bootstrap:", "  hosts:", "    bootstrap:", "  vars:", *_yaml(variables)]
    return "\n".join(lines) + "\n"


def _yaml(variables: dict[str, Any]) -> list[str]:
    # A JSON value is a YAML value, and PyYAML need not be installed where this runs.
    return [f"    {name}: {json.dumps(value)}" for name, value in variables.items()]


__all__ = ["describe", "inventory"]
