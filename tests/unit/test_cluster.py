# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What all parts of SPIKE must agree on comes from one variable each."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible_collections.dayzero.spike.plugins.plugin_utils._cluster import (
    DEFAULTS,
    Cluster,
    address_of,
    cluster_of,
)
from ansible_collections.dayzero.spike.plugins.plugin_utils._entries import (
    entries_of,
    entries_of_pilots,
)
from ansible_collections.dayzero.spike.tests.unit.test_options_agree import DOCUMENTED

GROUPS = {
    "spike_keepers": ["k1", "k2", "k3"],
    "spike_nexus": ["n1"],
    "spike_bootstrap": ["n1"],
}


def inventory(**of_n1: Any) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {
        host: {
            "spike_keeper_url": f"https://{host}:8443",
            "spire_agent_id": f"spiffe://spike.ist/spire/agent/{host}",
        }
        for host in GROUPS["spike_keepers"]
    }
    found["n1"] = {"spire_agent_id": "spiffe://spike.ist/spire/agent/n1", **of_n1}
    return found


def described(groups: dict[str, list[str]] | None = None, **of_n1: Any) -> Cluster:
    cluster, problems = cluster_of(groups or GROUPS, inventory(**of_n1), [], {})
    assert problems == []
    assert cluster is not None
    return cluster


def problems_of(**of_n1: Any) -> str:
    cluster, problems = cluster_of(GROUPS, inventory(**of_n1), [], {})
    assert cluster is None
    return " ".join(problems)


def test_the_defaults_are_those_of_the_module() -> None:
    assert {name: DOCUMENTED[name]["default"] for name in DEFAULTS} == DEFAULTS


def test_a_bare_inventory_has_the_modules_defaults() -> None:
    cluster = described()
    assert (cluster.threshold, cluster.share_scheme) == (2, "circl-1.6.2")
    assert cluster.trust_root_keeper == cluster.trust_root_nexus == ("spike.ist",)
    assert (cluster.nexus_address, cluster.nexus_data_dir) == (":8553", "/var/lib/spike")
    assert (cluster.update_interval, cluster.shard_timeout) == ("5m", "330s")


def test_null_is_not_set() -> None:
    nothing: dict[str, Any] = dict.fromkeys(
        [
            "spike_trust_domain",
            "spike_bootstrap_shamir_threshold",
            "spike_bootstrap_shamir_shares",
            "spike_bootstrap_trust_root_nexus",
            "spike_bootstrap_nexus_data_dir",
            "spike_nexus_data_dir",
            "spike_nexus_keeper_update_interval",
            "spike_bootstrap_accept_existing",
        ]
    )
    assert described(**nothing) == described()


def test_the_trust_domain_is_that_of_every_part_where_a_part_has_no_other() -> None:
    cluster = described(
        spike_trust_domain="example.org",
        spike_bootstrap_trust_root_nexus="spiffe://a.org, b.org/",
    )
    assert cluster.trust_root_keeper == cluster.trust_root_bootstrap == ("example.org",)
    assert cluster.trust_root_nexus == ("a.org", "b.org")


def test_playbooks_get_the_keepers_in_their_order_as_spike_has_them() -> None:
    told = described().told()
    assert told["peers"] == "https://k1:8443,https://k2:8443,https://k3:8443"
    assert told["shares"] == 3
    assert told["keepers"][1] == {
        "id": 2,
        "host": "k2",
        "url": "https://k2:8443",
        "address": ":8443",
    }
    assert yaml.safe_load(yaml.safe_dump(told)) == told


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"spike_bootstrap_shamir_threshold": 4}, "must be from 2 to 3"),
        ({"spike_bootstrap_shamir_threshold": 1}, "must be from 2 to 3"),
        ({"spike_bootstrap_shamir_threshold": "two"}, "must be from 2 to 3"),
        ({"spike_bootstrap_shamir_shares": 5}, "spike_bootstrap_shamir_shares must be 3"),
        ({"spike_bootstrap_trust_root_keeper": ["Not A Domain"]}, "trust_root_keeper: "),
        ({"spike_nexus_keeper_update_interval": "soon"}, "'soon' is not a duration"),
        (
            {"spike_nexus_data_dir": "/srv/a", "spike_bootstrap_nexus_data_dir": "/srv/b"},
            "spike_nexus_data_dir is /srv/a, and spike_bootstrap_nexus_data_dir is /srv/b",
        ),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_done(
    variables: dict[str, Any], said: str
) -> None:
    assert said in problems_of(**variables)


def test_the_data_directory_that_the_bootstrap_guards_is_that_of_nexus() -> None:
    assert described(spike_bootstrap_nexus_data_dir="/srv/spike/").nexus_data_dir == "/srv/spike"


def test_a_group_of_two_nexus_is_refused() -> None:
    groups = {**GROUPS, "spike_nexus": ["n1", "k1"]}
    _cluster, problems = cluster_of(groups, inventory(), [], {})
    assert problems == ["The group spike_nexus must hold one host. It holds n1, k1."]


@pytest.mark.parametrize(
    ("url", "address"),
    [("https://k1:8443", ":8443"), ("https://k1", ":443"), ("https://[::1]:9000/", ":9000")],
)
def test_a_service_listens_at_the_port_of_its_url(url: str, address: str) -> None:
    assert address_of(url) == address


def entries(
    pilots: list[dict[str, Any]] | None = None, *, sha256: bool = True, **of_n1: Any
) -> tuple[list[dict[str, Any]], list[str]]:
    return entries_of(described(**of_n1), inventory(**of_n1), pilots or [], sha256=sha256)


def test_every_part_has_an_entry_by_the_agent_of_its_host() -> None:
    found, problems = entries()
    assert problems == []
    assert {(one["spiffe_id"], one["parent_id"], *one["selectors"]) for one in found} == {
        *(
            (
                "spiffe://spike.ist/spike/keeper",
                f"spiffe://spike.ist/spire/agent/{host}",
                "unix:user:spike-keeper",
            )
            for host in GROUPS["spike_keepers"]
        ),
        *(
            (
                f"spiffe://spike.ist/spike/{part}",
                "spiffe://spike.ist/spire/agent/n1",
                f"unix:user:spike-{part}",
            )
            for part in ("nexus", "bootstrap")
        ),
    }


def test_a_binary_is_selected_where_its_digest_is_known() -> None:
    digest = "AB" * 32
    found, _problems = entries(spike_nexus_binary_sha256=digest, spike_nexus_user="nexus")
    (nexus,) = [one for one in found if one["spiffe_id"].endswith("/nexus")]
    assert nexus["selectors"] == ["unix:user:nexus", f"unix:sha256:{digest.lower()}"]
    found, _problems = entries(spike_nexus_binary_sha256=digest, sha256=False)
    assert not [one for one in found if len(one["selectors"]) > 1]


def test_the_pilots_roles_have_entries_where_they_are_asked_for() -> None:
    found, _problems = entries([{"role": "recover", "host": "n1", "user": "alice", "sha256": "ab"}])
    (pilot,) = [one for one in found if "pilot" in one["spiffe_id"]]
    assert pilot["spiffe_id"] == "spiffe://spike.ist/spike/pilot/role/recover"
    assert pilot["selectors"] == ["unix:user:alice", "unix:sha256:ab"]


def test_a_pilots_entry_follows_from_its_host_alone() -> None:
    pilot = {"role": "restore", "host": "n1", "user": "spike-restore"}
    agent = "spiffe://spike.ist/spire/agent/n1"
    found, problems = entries_of_pilots({"n1": {"spire_agent_id": agent}}, [pilot], sha256=True)
    assert (problems, len(found)) == ([], 1)
    assert found[0] == {
        "spiffe_id": "spiffe://spike.ist/spike/pilot/role/restore",
        "parent_id": agent,
        "selectors": ["unix:user:spike-restore"],
    }
    found, problems = entries_of_pilots({"n1": {}}, [pilot], sha256=True)
    assert found == []
    assert "n1 has no spire_agent_id" in problems[0]


@pytest.mark.parametrize(
    ("pilot", "of_n1", "said"),
    [
        ({"role": "admin", "host": "n1", "user": "a"}, {}, "One has role admin"),
        ({"role": "recover", "host": "n9", "user": "a"}, {}, "host n9"),
        ({"role": "recover", "host": "n1"}, {}, "user none"),
        (None, {"spire_agent_id": None}, "n1 has no spire_agent_id"),
        (None, {"spire_agent_id": "n1"}, "spire_agent_id of n1: 'n1' is not a SPIFFE ID"),
        (
            None,
            {"spire_agent_id": "spiffe://example.org/spire/agent/n1"},
            "Set spike_trust_domain: example.org",
        ),
    ],
)
def test_what_lacks_for_the_entries_is_named(
    pilot: dict[str, Any] | None, of_n1: dict[str, Any], said: str
) -> None:
    found, problems = entries([pilot] if pilot else [], **of_n1)
    assert found == []
    assert said in " ".join(problems)
