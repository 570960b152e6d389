# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._duration import Duration
from ansible_collections.dayzero.spike.plugins.module_utils._errors import ConfigError, Phase
from ansible_collections.dayzero.spike.plugins.module_utils._settings import (
    MOST_ATTEMPTS,
    MOST_KEEPERS,
    Peer,
    Settings,
    read_settings,
    readable_peers,
    url_credentials,
)

KEEPERS = ["https://keeper1:8443", "https://keeper2:8443", "https://keeper3:8443"]
DURATIONS = [
    "keeper_timeout",
    "keeper_retry_initial_interval",
    "keeper_retry_max_interval",
    "timeout",
    "init_verification_timeout",
    "spiffe_source_timeout",
]
DIRECTORIES = ["state_dir", "runtime_dir", "nexus_data_dir"]
NO_URL = "is not a URL with a host and, if any, a port from 1 to 65535"
EXAMPLES = {"keeper_peers": "https://keeper1:8443", "nexus_api_url": "https://localhost:8553"}
TRUST_ROOTS = ["trust_root_keeper", "trust_root_nexus", "trust_root_bootstrap"]


def given(**changed: Any) -> dict[str, Any]:
    """Every option as Ansible leaves it, with the defaults that the module documents."""
    params = {
        "keeper_peers": list(KEEPERS),
        "shamir_threshold": 2,
        "shamir_shares": None,
        "share_scheme": "circl-1.6.2",
        "keeper_timeout": "30s",
        "keeper_max_retries": 5,
        "keeper_retry_initial_interval": "2s",
        "keeper_retry_max_interval": "30s",
        "timeout": "0",
        "nexus_api_url": "https://localhost:8553",
        "verify": True,
        "init_verification_timeout": "30m",
        "force": False,
        "svid_source": "workload_api",
        "spiffe_endpoint_socket": "unix:///tmp/spire-agent/public/api.sock",
        "spiffe_source_timeout": "30s",
        "svid_cert": None,
        "svid_key": None,
        "svid_bundle": None,
        "spire_agent_path": "spire-agent",
        "federated_bundles": {},
        "trust_root_keeper": ["spike.ist"],
        "trust_root_nexus": ["spike.ist"],
        "trust_root_bootstrap": ["spike.ist"],
        "state_dir": "/var/lib/spike-bootstrap",
        "runtime_dir": None,
        "nexus_data_dir": None,
    }
    assert changed.keys() <= params.keys()
    return {**params, **changed}


def refusal(option: str, value: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        read_settings(given(**{option: value}))
    error = caught.value
    assert error.phase is Phase.CONFIG
    assert error.code == "data_invalid_input"
    assert error.option == option
    assert error.message.startswith(f"{option}: ")
    assert "\n" not in error.message
    return error


def test_the_defaults_are_read_into_one_record() -> None:
    assert read_settings(given()) == Settings(
        peers=(Peer(1, KEEPERS[0]), Peer(2, KEEPERS[1]), Peer(3, KEEPERS[2])),
        shamir_threshold=2,
        share_scheme="circl-1.6.2",
        keeper_timeout=Duration(30.0, "30s"),
        keeper_max_retries=5,
        keeper_retry_initial_interval=Duration(2.0, "2s"),
        keeper_retry_max_interval=Duration(30.0, "30s"),
        timeout=Duration(0.0, "0s"),
        nexus_api_url="https://localhost:8553",
        verify=True,
        init_verification_timeout=Duration(1800.0, "30m"),
        force=False,
        svid_source="workload_api",
        spiffe_endpoint_socket="unix:///tmp/spire-agent/public/api.sock",
        spiffe_source_timeout=Duration(30.0, "30s"),
        svid_cert=None,
        svid_key=None,
        svid_bundle=None,
        spire_agent_path="spire-agent",
        federated_bundles={},
        trust_root_keeper=("spike.ist",),
        trust_root_nexus=("spike.ist",),
        trust_root_bootstrap=("spike.ist",),
        state_dir="/var/lib/spike-bootstrap",
        runtime_dir=None,
        nexus_data_dir=None,
    )


def test_every_option_but_the_two_about_the_list_is_a_field_of_its_own_name() -> None:
    options = set(given()) - {"keeper_peers", "shamir_shares"}
    assert {field.name for field in fields(Settings)} == options | {"peers"}


@pytest.mark.parametrize("option", ["keeper_peers", "nexus_api_url"])
@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://k:8443", "https://k:8443"),
        (" https://k:8443/ ", "https://k:8443"),
        ("https://k", "https://k"),
        ("https://k/spike", "https://k/spike"),
        ("https://127.0.0.1:1", "https://127.0.0.1:1"),
        ("https://[::1]:65535", "https://[::1]:65535"),
        ("https://keeper1.example.org.:8443", "https://keeper1.example.org.:8443"),
    ],
)
def test_an_https_url_is_kept_without_its_last_slash(option: str, url: str, kept: str) -> None:
    settings = read_settings(given(**{option: [url, KEEPERS[1]] if "peers" in option else url}))
    found = settings.peers[0].url if "peers" in option else settings.nexus_api_url
    assert found == kept


@pytest.mark.parametrize("option", ["keeper_peers", "nexus_api_url"])
@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("", NO_URL),
        ("k", NO_URL),
        ("https://", NO_URL),
        ("https://:8443", NO_URL),
        ("https://k:0", NO_URL),
        ("https://k:65536", NO_URL),
        ("https://k:port", NO_URL),
        ("https://[::1", NO_URL),
        ("https://k\u00f6ln", NO_URL),
        ("https://k\n1", NO_URL),
        ("k:8443", NO_URL),
        ("https://k%31:1", NO_URL),
        ("https://k,l:1", NO_URL),
        ("https://[::1]8443", NO_URL),
        ("https://k[::1]:8443", NO_URL),
        ("https://[::1]k:8443", NO_URL),
        ("https://[k]:8443", NO_URL),
        ("https://[127.0.0.1]:8443", NO_URL),
        ("https://[fe80::1%eth0]:8443", NO_URL),
        ("https://k:8_443", NO_URL),
        ("https://k:+8443", NO_URL),
        ("spiffe://k/x", "does not begin with https://"),
        ("https://k/?a=b", "has a query, a fragment or a space"),
        ("https://k?", "has a query, a fragment or a space"),
        ("https://k/#f", "has a query, a fragment or a space"),
        ("https://k#", "has a query, a fragment or a space"),
        ("https://k/a b", "has a query, a fragment or a space"),
    ],
)
def test_any_other_url_is_refused_and_shown(option: str, url: str, problem: str) -> None:
    error = refusal(option, [KEEPERS[0], url] if option == "keeper_peers" else url)
    assert error.message.endswith(f"{url!r}, which {problem}; give it as {EXAMPLES[option]}")
    assert ("keeper 2 is" in error.message) == (option == "keeper_peers")


@pytest.mark.parametrize("option", ["keeper_peers", "nexus_api_url"])
def test_an_http_url_is_refused_and_shown_as_it_should_be(option: str) -> None:
    url = "http://k:8443"
    error = refusal(option, [KEEPERS[0], url] if option == "keeper_peers" else url)
    assert error.message.endswith(
        f"{url!r}, which does not begin with https://; give it as https://k:8443"
    )


@pytest.mark.parametrize("option", ["keeper_peers", "nexus_api_url"])
@pytest.mark.parametrize(
    "url",
    ["https://me:pa55@k", "http://me:pa55@k", "https://me:pa55@k:99999", "https://pa55@k", "pa55@"],
)
def test_a_password_in_a_url_is_refused_and_not_shown(option: str, url: str) -> None:
    error = refusal(option, [KEEPERS[0], url] if option == "keeper_peers" else url)
    assert "SVIDs identify us, remove it" in error.message
    assert "pa55" not in error.message


@pytest.mark.parametrize(
    ("keeper_peers", "nexus_api_url", "hidden"),
    [
        pytest.param(["https://me:pa55@k", KEEPERS[0]], "https://n", ["me:pa55@"], id="a keeper's"),
        pytest.param(KEEPERS, "http://me:pa55@n:99999", ["me:pa55@"], id="Nexus's"),
        pytest.param(["pa55@", KEEPERS[0]], "https://n", ["pa55@"], id="no URL at all"),
        pytest.param(["https://a:b@c@k", KEEPERS[0]], "https://n", ["a:b@c@"], id="an @ in it"),
        pytest.param(["https://a:b//c@k", KEEPERS[0]], "https://n", ["a:b//c@"], id="// in it"),
        # Not "a", or every such letter of the output would be masked.
        pytest.param(["https://a@k", KEEPERS[0]], "https://n", ["a@"], id="a single letter"),
        pytest.param(["https://@k", KEEPERS[0]], "https://n", [], id="none before the @"),
        pytest.param(KEEPERS, "https://n", [], id="none"),
        pytest.param(None, None, [], id="no URLs"),
    ],
)
def test_what_stands_before_the_at_of_a_url_is_found_for_masking(
    keeper_peers: list[str] | None, nexus_api_url: str | None, hidden: list[str]
) -> None:
    params = given(keeper_peers=keeper_peers, nexus_api_url=nexus_api_url)
    assert list(url_credentials(params)) == hidden


@pytest.mark.parametrize("count", [0, 1, MOST_KEEPERS + 1])
def test_a_number_of_keepers_that_cannot_be_split_for_is_refused(count: int) -> None:
    urls = [f"https://k{i}" for i in range(count)]
    message = refusal("keeper_peers", urls).message
    assert f"{count} given, but a split needs 2 to 1000 keepers" in message


@pytest.mark.parametrize("count", [2, MOST_KEEPERS])
def test_two_to_a_thousand_keepers_are_numbered_in_their_order(count: int) -> None:
    urls = [f"https://k{i}" for i in range(count)]
    peers = read_settings(given(keeper_peers=urls)).peers
    assert peers == tuple(Peer(i + 1, url) for i, url in enumerate(urls))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("https://k:8443", "https://k:8443"),
        ("https://k", "https://k:443"),
        ("https://K:8443", "https://k:8443/"),
        ("HTTPS://k/a", "https://k/a"),
        ("https://k.example.org", "https://k.example.org."),
        ("https://127.0.0.1:1", "https://127.1:1"),
        ("https://[::1]:1", "https://[0:0:0:0:0:0:0:1]:1"),
        ("https://127.0.0.1:1", "https://[::ffff:127.0.0.1]:1"),
    ],
)
def test_one_keeper_listed_twice_is_refused_however_it_is_written(first: str, second: str) -> None:
    message = refusal("keeper_peers", [first, KEEPERS[0], second]).message
    assert "keepers 1 and 3 are the same" in message


@pytest.mark.parametrize(
    ("threshold", "problem"),
    [
        (-1, "is below 2"),
        (0, "is below 2"),
        (1, "every shard would be the root key itself"),
        (4, "is more than the 3 keepers"),
    ],
)
def test_a_threshold_that_protects_nothing_or_recovers_nothing_is_refused(
    threshold: int, problem: str
) -> None:
    assert problem in refusal("shamir_threshold", threshold).message


@pytest.mark.parametrize("threshold", [2, 3])
def test_a_threshold_from_two_to_all_keepers_is_taken(threshold: int) -> None:
    assert read_settings(given(shamir_threshold=threshold)).shamir_threshold == threshold


@pytest.mark.parametrize("shares", [0, 2, 4])
def test_shares_other_than_the_keepers_are_refused(shares: int) -> None:
    message = refusal("shamir_shares", shares).message
    assert f"{shares} does not match the 3 keepers" in message


def test_shares_that_match_the_keepers_are_taken() -> None:
    assert read_settings(given(shamir_shares=3)) == read_settings(given())


def test_an_unknown_scheme_is_refused_with_the_known_ones() -> None:
    assert "circl-1.6.2, circl-1.6.1" in refusal("share_scheme", "circl-1.5.0").message


@pytest.mark.parametrize("attempts", [-1, 0, MOST_ATTEMPTS + 1])
def test_a_number_of_attempts_that_is_none_or_a_flood_is_refused(attempts: int) -> None:
    message = refusal("keeper_max_retries", attempts).message
    assert f"{attempts} is not in 1 to 1000" in message


@pytest.mark.parametrize("option", DURATIONS)
@pytest.mark.parametrize("value", ["soon", "-1s", "", "1e3"])
def test_what_is_not_a_duration_is_refused_with_a_valid_example(option: str, value: str) -> None:
    message = refusal(option, value).message
    assert repr(value) in message
    assert "30s" in message


@pytest.mark.parametrize("option", [name for name in DURATIONS if name != "timeout"])
@pytest.mark.parametrize("value", ["0", "0s", "0.0", "0h0m"])
def test_a_duration_of_zero_is_refused_where_it_would_mean_endless(option: str, value: str) -> None:
    message = refusal(option, value).message
    assert "is not greater than 0" in message
    assert "give for example 30s" in message


def test_a_timeout_of_zero_for_the_whole_run_means_none() -> None:
    assert read_settings(given(timeout="0")).timeout.seconds == 0


@pytest.mark.parametrize(
    "value",
    ["/run/a.sock", "unix:/run/a.sock", "unix:///run/a.sock", "unix:////run/a.sock"],
)
def test_a_socket_is_kept_as_its_url(value: str) -> None:
    settings = read_settings(given(spiffe_endpoint_socket=value))
    assert settings.spiffe_endpoint_socket == "unix:///run/a.sock"


def test_a_socket_may_be_left_out() -> None:
    assert read_settings(given(spiffe_endpoint_socket=None)).spiffe_endpoint_socket is None


@pytest.mark.parametrize(
    "value", ["", "a.sock", "unix:", "unix:a.sock", "tcp://127.0.0.1:80", "http:///run/a.sock"]
)
def test_a_socket_that_is_no_absolute_path_is_refused(value: str) -> None:
    message = refusal("spiffe_endpoint_socket", value).message
    assert "neither an absolute path nor a unix: URL" in message


@pytest.mark.parametrize("option", TRUST_ROOTS)
def test_trust_domains_are_read_in_order_and_once(option: str) -> None:
    settings = read_settings(given(**{option: ["b.example", " spiffe://a.example", "b.example"]}))
    assert getattr(settings, option) == ("b.example", "a.example")


@pytest.mark.parametrize("option", TRUST_ROOTS)
@pytest.mark.parametrize("value", [[], [""], ["spike.ist", "Spike.ist"], ["spike.ist/x"]])
def test_trust_domains_that_are_none_are_refused(option: str, value: list[str]) -> None:
    refusal(option, value)


def test_federated_bundles_are_kept_by_trust_domain() -> None:
    settings = read_settings(given(federated_bundles={"spiffe://b.example": "/b.pem"}))
    assert settings.federated_bundles == {"b.example": "/b.pem"}


@pytest.mark.parametrize(
    "value", [{"b.example": None}, {"b.example": ""}, {"b.example": ["/b.pem"]}, {"B": "/b.pem"}]
)
def test_a_federated_bundle_without_a_domain_or_a_path_is_refused(value: dict[str, Any]) -> None:
    refusal("federated_bundles", value)


@pytest.mark.parametrize("option", DIRECTORIES)
@pytest.mark.parametrize("value", ["x", "./x", "~/x", "/x\0"])
def test_a_directory_that_is_no_absolute_path_is_refused(option: str, value: str) -> None:
    assert f"{value!r} is not an absolute path" in refusal(option, value).message


@pytest.mark.parametrize("option", DIRECTORIES)
def test_an_absolute_directory_is_taken(option: str) -> None:
    assert getattr(read_settings(given(**{option: "/a/b"})), option) == "/a/b"


@pytest.mark.parametrize(
    ("keeper_peers", "expected"),
    [
        (["nonsense", " https://k "], (Peer(1, "nonsense"), Peer(2, "https://k"))),
        ([7], (Peer(1, "7"),)),
        ([], ()),
        ("https://k", ()),
        (None, ()),
    ],
)
def test_a_refused_list_is_still_shown_keeper_by_keeper(
    keeper_peers: object, expected: tuple[Peer, ...]
) -> None:
    assert readable_peers(keeper_peers) == expected
