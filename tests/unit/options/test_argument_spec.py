# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.dayzero.spike.plugins.module_utils._options.argument_spec import (
    bootstrap_arguments,
    info_arguments,
    shared_arguments,
)

KEEPERS = ["https://keeper1:8443", "https://keeper2:8443"]


@pytest.fixture(autouse=True)
def no_settings_in_the_environment(monkeypatch):
    for option in bootstrap_arguments().values():
        for variable in option.get("fallback", (None, []))[1]:
            monkeypatch.delenv(variable, raising=False)


def _validated(**params):
    result = ArgumentSpecValidator(bootstrap_arguments()).validate(params)
    assert result.error_messages == []
    return result.validated_parameters


@pytest.mark.parametrize(
    ("option", "variable", "text", "value"),
    [
        ("keeper_timeout", "SPIKE_BOOTSTRAP_KEEPER_TIMEOUT", "1m30s", "1m30s"),
        ("keeper_max_retries", "SPIKE_BOOTSTRAP_KEEPER_MAX_RETRIES", "7", 7),
        (
            "keeper_retry_initial_interval",
            "SPIKE_BOOTSTRAP_KEEPER_RETRY_INITIAL_INTERVAL",
            "3s",
            "3s",
        ),
        ("keeper_retry_max_interval", "SPIKE_BOOTSTRAP_KEEPER_RETRY_MAX_INTERVAL", "4s", "4s"),
        ("timeout", "SPIKE_BOOTSTRAP_TIMEOUT", "10m", "10m"),
        ("init_verification_timeout", "SPIKE_BOOTSTRAP_INIT_VERIFICATION_TIMEOUT", "5m", "5m"),
        ("force", "SPIKE_BOOTSTRAP_FORCE", "true", True),
        ("shamir_threshold", "SPIKE_NEXUS_SHAMIR_THRESHOLD", "3", 3),
        ("shamir_shares", "SPIKE_NEXUS_SHAMIR_SHARES", "5", 5),
        ("nexus_api_url", "SPIKE_NEXUS_API_URL", "https://nexus:8553", "https://nexus:8553"),
        ("spiffe_endpoint_socket", "SPIFFE_ENDPOINT_SOCKET", "unix:///run/a", "unix:///run/a"),
        ("spiffe_source_timeout", "SPIKE_SPIFFE_SOURCE_TIMEOUT", "9s", "9s"),
        ("trust_root_keeper", "SPIKE_TRUST_ROOT_KEEPER", "a.org, b.org", ["a.org", "b.org"]),
        ("trust_root_nexus", "SPIKE_TRUST_ROOT_NEXUS", "c.org", ["c.org"]),
        ("trust_root_bootstrap", "SPIKE_TRUST_ROOT_BOOTSTRAP", "d.org", ["d.org"]),
    ],
)
def test_an_option_falls_back_to_its_setting(monkeypatch, option, variable, text, value):
    monkeypatch.setenv(variable, text)
    assert _validated(keeper_peers=KEEPERS)[option] == value


def test_the_keepers_fall_back_to_nexus_own_list(monkeypatch):
    monkeypatch.setenv("SPIKE_NEXUS_KEEPER_PEERS", "https://keeper1:8443, https://keeper2:8443")
    assert _validated()["keeper_peers"] == KEEPERS


def test_an_option_wins_over_its_setting(monkeypatch):
    monkeypatch.setenv("SPIKE_BOOTSTRAP_KEEPER_TIMEOUT", "1m")
    assert _validated(keeper_peers=KEEPERS, keeper_timeout="5s")["keeper_timeout"] == "5s"


@pytest.mark.parametrize("text", ["", "  "], ids=["empty", "blank"])
def test_a_setting_that_is_set_to_nothing_counts_as_not_set(monkeypatch, text):
    monkeypatch.setenv("SPIKE_BOOTSTRAP_KEEPER_TIMEOUT", text)
    monkeypatch.setenv("SPIKE_TRUST_ROOT_KEEPER", text)
    validated = _validated(keeper_peers=KEEPERS)
    assert validated["keeper_timeout"] == "30s"
    assert validated["trust_root_keeper"] == ["spike.ist"]


def test_keepers_are_required(monkeypatch):
    monkeypatch.setenv("SPIKE_NEXUS_KEEPER_PEERS", "")
    result = ArgumentSpecValidator(bootstrap_arguments()).validate({})
    assert result.error_messages == ["missing required arguments: keeper_peers"]


@pytest.mark.parametrize(("given", "passed"), [(30, "30"), (1.5, "1.5"), ("30s", "30s")])
def test_a_duration_may_be_a_number(given, passed):
    assert _validated(keeper_peers=KEEPERS, keeper_timeout=given)["keeper_timeout"] == passed


def test_the_path_of_the_key_is_not_masked():
    spec = ArgumentSpecValidator(bootstrap_arguments())
    result = spec.validate({"keeper_peers": KEEPERS, "svid_key": "/run/spiffe/key.pem"})
    assert not result._no_log_values


@pytest.mark.parametrize(
    ("option", "default", "choices"),
    [
        ("state", "bootstrapped", ["bootstrapped", "abandoned"]),
        ("nexus_silence", "refused", ["refused", "never", "accept"]),
        ("nexus_database", "look", ["look", "present", "absent"]),
        ("naming", "options", ["options", "variables"]),
    ],
)
def test_a_choice_has_a_default_and_only_these_values(
    option: str, default: str, choices: list[str]
) -> None:
    assert _validated(keeper_peers=KEEPERS)[option] == default
    for choice in choices:
        assert _validated(keeper_peers=KEEPERS, **{option: choice})[option] == choice
    spec = ArgumentSpecValidator(bootstrap_arguments())
    assert spec.validate({"keeper_peers": KEEPERS, option: "maybe"}).error_messages == [
        f"value of {option} must be one of: {', '.join(choices)}, got: maybe"
    ]


def test_an_existing_key_is_not_accepted_unless_somebody_says_so() -> None:
    assert _validated(keeper_peers=KEEPERS)["accept_existing"] is False
    assert _validated(keeper_peers=KEEPERS, accept_existing="yes")["accept_existing"] is True


def _of_the_info_module(**params: Any) -> dict[str, Any]:
    result = ArgumentSpecValidator(info_arguments()).validate({"keeper_peers": KEEPERS, **params})
    assert result.error_messages == []
    validated: dict[str, Any] = result.validated_parameters
    return validated


def test_the_info_module_asks_keepers_unless_somebody_says_otherwise() -> None:
    assert _of_the_info_module()["probe_keepers"] is True
    assert _of_the_info_module(probe_keepers=False)["probe_keepers"] is False


def test_the_info_module_takes_the_shared_options_and_one_of_its_own() -> None:
    assert set(info_arguments()) == set(shared_arguments()) | {"probe_keepers"}


def test_only_a_bootstrap_is_told_what_to_do() -> None:
    alone = set(bootstrap_arguments()) - set(shared_arguments())
    assert alone == {"state", "verify", "init_verification_timeout", "force", "progress"}
