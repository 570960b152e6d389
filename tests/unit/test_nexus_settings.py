# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Settings of a Nexus that is there are not changed where that would cost its key or its data."""

from __future__ import annotations

import pytest
from ansible_collections.dayzero.spike.plugins.plugin_utils._nexus_settings import (
    MARK,
    differences,
    is_ours,
    read_settings,
)

WANTED = {
    "SPIKE_NEXUS_KEEPER_PEERS": "https://k1:8443,https://k2:8443,https://k3:8443",
    "SPIKE_NEXUS_SHAMIR_THRESHOLD": "2",
    "SPIKE_NEXUS_SHAMIR_SHARES": "3",
    "SPIKE_NEXUS_DATA_DIR": "/var/lib/spike",
    "SPIKE_NEXUS_BACKEND_STORE": "sqlite",
    "SPIKE_SYSTEM_LOG_LEVEL": "WARN",
}


def file(ours: bool = False, **changes: str) -> str:
    lines = [MARK] if ours else ["# by hand"]
    settings = {**WANTED, **{f"SPIKE_NEXUS_{name}": value for name, value in changes.items()}}
    return "\n".join([*lines, *(f"{name}={value}" for name, value in settings.items())])


def found(text: str, *, has_key: bool = True) -> str:
    return " ".join(differences(text, WANTED, has_key=has_key))


def test_a_file_that_says_the_same_is_no_hindrance() -> None:
    assert found(file()) == ""
    quoted = file(KEEPER_PEERS='"https://k1:8443/, https://K2:8443 ,https://k3:8443"')
    assert found(quoted) == ""
    assert found("SPIKE_SYSTEM_LOG_LEVEL=DEBUG\n") == ""


@pytest.mark.parametrize("has_key", [True, False])
@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("SHAMIR_THRESHOLD", "3", "SHAMIR_THRESHOLD is 3 there, and 2 here"),
        ("SHAMIR_SHARES", "5", "SHAMIR_SHARES is 5 there, and 3 here"),
        ("DATA_DIR", "/srv/spike", "DATA_DIR is /srv/spike there"),
        ("BACKEND_STORE", "lite", "BACKEND_STORE is lite there"),
        (
            "KEEPER_PEERS",
            "https://k2:8443,https://k1:8443,https://k3:8443",
            "keeper 1: https://k2:8443 there, https://k1:8443 here;"
            " keeper 2: https://k1:8443 there, https://k2:8443 here.",
        ),
        (
            "KEEPER_PEERS",
            "https://k1:8443,https://k2:8443",
            "keeper 3: none there, https://k3:8443 here.",
        ),
    ],
)
def test_in_a_file_of_somebody_else_every_difference_is_named(
    name: str, value: str, said: str, has_key: bool
) -> None:
    assert said in found(file(**{name: value}), has_key=has_key)


def test_our_own_file_may_be_changed_while_nexus_never_had_a_key() -> None:
    text = file(True, SHAMIR_THRESHOLD="3", KEEPER_PEERS="https://k3:8443,https://k1:8443")
    assert found(text, has_key=False) == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SHAMIR_THRESHOLD", "3"),
        ("DATA_DIR", "/srv/spike"),
        ("BACKEND_STORE", "memory"),
        ("KEEPER_PEERS", "https://k2:8443,https://k1:8443,https://k3:8443"),
        ("KEEPER_PEERS", "https://k2:8443,https://k3:8443"),
    ],
)
def test_with_a_key_our_own_file_keeps_what_the_key_depends_on(name: str, value: str) -> None:
    assert found(file(True, **{name: value})) != ""


@pytest.mark.parametrize(
    "peers",
    [
        "https://k1:8443,https://k2:8443",
        "https://k1:8443,https://old:8443,https://k3:8443",
        "https://k1:8443,https://k2:8443,https://k3:8443,https://k4:8443",
    ],
    ids=["one more", "another host for one", "one less"],
)
def test_a_keeper_that_keeps_its_number_may_come_go_or_move(peers: str) -> None:
    assert found(file(True, KEEPER_PEERS=peers)) == ""


def test_a_file_is_ours_by_its_first_line() -> None:
    assert is_ours(file(True))
    assert not is_ours(file())
    assert not is_ours(f"# other\n{MARK}")


def test_a_file_is_read_as_systemd_reads_it() -> None:
    text = "# A=1\n;B=2\n\nexport C='3'\n D=\"4\"\nno setting\n"
    assert read_settings(text) == {"C": "3", "D": "4"}
