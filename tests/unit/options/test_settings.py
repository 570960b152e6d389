# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import copy
import enum
from dataclasses import fields
from typing import Any

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._clock import Duration
from ansible_collections.dayzero.spike.plugins.module_utils._errors import (
    RERUN,
    ConfigError,
    Phase,
)
from ansible_collections.dayzero.spike.plugins.module_utils._naming import Naming
from ansible_collections.dayzero.spike.plugins.module_utils._options.argument_spec import (
    bootstrap_arguments,
    info_arguments,
)
from ansible_collections.dayzero.spike.plugins.module_utils._options.cluster import Keeper
from ansible_collections.dayzero.spike.plugins.module_utils._options.settings import (
    MOST_ATTEMPTS,
    MOST_KEEPERS,
    BootstrapSettings,
    SeenDatabase,
    Silence,
    StatusSettings,
    bootstrap_settings,
    readable_keepers,
    status_settings,
    url_credentials,
)
from hypothesis import given as hypothesis_given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

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
EXAMPLES = {"keeper_peers": "https://keeper2:8443", "nexus_api_url": "https://localhost:8553"}
PORTS = {"keeper_peers": 8443, "nexus_api_url": 8553}
TRUST_ROOTS = ["trust_root_keeper", "trust_root_nexus", "trust_root_bootstrap"]
CHOICES = [("nexus_silence", Silence), ("nexus_database", SeenDatabase)]


def given(**changed: Any) -> dict[str, Any]:
    """Every option as Ansible leaves it, with the defaults that the module documents."""
    spec = {**bootstrap_arguments(), **info_arguments()}
    params = {name: copy.copy(entry.get("default")) for name, entry in spec.items()}
    params["keeper_peers"] = list(KEEPERS)
    assert changed.keys() <= params.keys()
    return {**params, **changed}


def refusal(option: str, value: Any, **other: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        bootstrap_settings(given(**{option: value}, **other))
    error = caught.value
    assert error.phase is Phase.CONFIG
    assert error.code == "data_invalid_input"
    assert error.option == option
    assert error.message.startswith(f"{option}: ")
    assert "\n" not in error.message
    # A refusal ends in what to do, and the steps say the same.
    remedy = error.message.rpartition("; ")[2]
    step = f"{option}: {remedy[0].upper()}{remedy[1:]}."
    assert error.advice.spelt(Naming.OPTIONS).what_to_do == (step, RERUN)
    return error


def with_url(option: str, url: str) -> Any:
    """The value of ``option`` with ``url`` in it: as the second keeper, or as Nexus."""
    return ["https://first", url] if option == "keeper_peers" else url


def example_in(option: str, message: str) -> str:
    """The URL that a refusal shows as a valid one."""
    example = message.rpartition("; give it as ")[2]
    return example.removesuffix(" in keeper_peers") if option == "keeper_peers" else example


def test_the_defaults_are_read_into_one_record() -> None:
    assert bootstrap_settings(given()) == BootstrapSettings(
        keepers=(Keeper(1, KEEPERS[0]), Keeper(2, KEEPERS[1]), Keeper(3, KEEPERS[2])),
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
        abandoned=False,
        nexus_silence=Silence.REFUSED,
        accept_existing=False,
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
        nexus_database=SeenDatabase.LOOK,
    )


def test_every_option_that_no_field_replaces_is_a_field_of_its_own_name() -> None:
    # The list is in ``keepers``, the state in ``abandoned``; names are a matter of messages, and
    # who follows a run is none of its settings.
    options = set(given()) - {"keeper_peers", "shamir_shares", "state", "naming", "progress"}
    of_a_run = {field.name for field in fields(BootstrapSettings)}
    of_a_status = {field.name for field in fields(StatusSettings)}
    assert of_a_run | of_a_status == options | {"keepers", "abandoned"}
    assert of_a_run - of_a_status == {"verify", "init_verification_timeout", "force", "abandoned"}
    assert of_a_status - of_a_run == {"probe_keepers"}


@pytest.mark.parametrize("option", ["keeper_peers", "nexus_api_url"])
@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://k:8443", "https://k:8443"),
        (" https://k:8443/ ", "https://k:8443"),
        ("https://k", "https://k"),
        ("https://127.0.0.1:1", "https://127.0.0.1:1"),
        ("https://[::1]:65535", "https://[::1]:65535"),
        ("https://keeper1.example.org.:8443", "https://keeper1.example.org.:8443"),
    ],
)
def test_an_https_url_is_kept_without_its_last_slash(option: str, url: str, kept: str) -> None:
    settings = bootstrap_settings(given(**{option: with_url(option, url)}))
    found = settings.keepers[1].url if "peers" in option else settings.nexus_api_url
    assert found == kept


def test_nexus_may_be_behind_a_path() -> None:
    settings = bootstrap_settings(given(nexus_api_url="https://k/spike/"))
    assert settings.nexus_api_url == "https://k/spike"


@pytest.mark.parametrize("path", ["/spike", "/v1/", "//x", "/{keeper_peers}"])
def test_a_keeper_behind_a_path_is_refused_and_shown_without_it(path: str) -> None:
    url = f"https://k7.corp:9000{path}"
    assert refusal("keeper_peers", [KEEPERS[0], url]).message == (
        f"keeper_peers: keeper 2 is {url!r}, which has a path;"
        " give it as https://k7.corp:9000 in keeper_peers"
    )


@pytest.mark.parametrize("option", ["keeper_peers", "nexus_api_url"])
@pytest.mark.parametrize(
    ("url", "problem", "host"),
    [
        ("", NO_URL, None),
        ("k", NO_URL, "k"),
        ("https://", NO_URL, None),
        ("https://:8443", NO_URL, None),
        ("https://k:0", NO_URL, "k"),
        ("https://k:65536", NO_URL, "k"),
        ("https://k:port", NO_URL, None),
        ("https://[::1", NO_URL, None),
        ("https://k\u00f6ln", NO_URL, "xn--kln-sna"),
        ("https://k\n1", NO_URL, None),
        ("k:9000", NO_URL, "k:9000"),
        ("https:/k.corp:9000/x", NO_URL, "k.corp:9000"),
        ("//k.corp", "does not begin with https://", "k.corp"),
        ("https://k%31:1", NO_URL, None),
        ("https://k,l:1", NO_URL, None),
        ("https://[::1]8443", NO_URL, None),
        ("https://k[::1]:8443", NO_URL, None),
        ("https://[::1]k:8443", NO_URL, None),
        ("https://[k]:8443", NO_URL, None),
        ("https://[127.0.0.1]:8443", NO_URL, None),
        ("https://[fe80::1%eth0]:8443", NO_URL, None),
        ("https://k:8_443", NO_URL, None),
        ("https://k:+8443", NO_URL, None),
        ("spiffe://k/x", "does not begin with https://", "k"),
        ("http://k7.corp:9000/x", "does not begin with https://", "k7.corp:9000"),
        ("https://k/?a=b", "has a query, a fragment or a space", "k"),
        ("https://k?", "has a query, a fragment or a space", "k"),
        ("https://k:9000/#f", "has a query, a fragment or a space", "k:9000"),
        ("https://k#", "has a query, a fragment or a space", "k"),
        ("https://k/a b", "has a query, a fragment or a space", "k"),
    ],
)
def test_any_other_url_is_refused_and_shown_as_it_should_be(
    option: str, url: str, problem: str, host: str | None
) -> None:
    message = refusal(option, with_url(option, url)).message
    example = EXAMPLES[option] if host is None else f"https://{host}"
    if host is not None and ":" not in host:
        example = f"{example}:{PORTS[option]}"
    assert f"{url!r}, which {problem}; " in message
    assert example_in(option, message) == example
    assert ("keeper 2 is" in message) == (option == "keeper_peers")


@pytest.mark.parametrize("option", ["keeper_peers", "nexus_api_url"])
@hypothesis_settings(max_examples=200, deadline=None)
@hypothesis_given(
    st.one_of(
        st.text(max_size=30),
        st.text(alphabet="htps:/.k0-_[]?# {}", max_size=30),
        st.from_regex(r"(https?:/{1,3})?[a-z0-9.-]{0,5}:[0-9]{0,7}(/.*)?", fullmatch=True),
    )
)
def test_what_a_refusal_shows_as_a_valid_url_is_one(option: str, url: str) -> None:
    try:
        bootstrap_settings(given(**{option: with_url(option, url)}))
    except ConfigError as error:
        if "; give it as " in error.message:
            example = example_in(option, error.message)
            bootstrap_settings(given(**{option: with_url(option, example)}))


@pytest.mark.parametrize(
    ("naming", "where"),
    [(Naming.OPTIONS, "keeper_peers"), (Naming.VARIABLES, "spike_keeper_url")],
)
def test_a_refused_keeper_is_to_be_corrected_where_its_url_is_written(
    naming: Naming, where: str
) -> None:
    advice = refusal("keeper_peers", [KEEPERS[0], "k:9000"]).advice.spelt(naming)
    assert advice.msg.endswith(f"; give it as https://k:9000 in {where}")
    assert advice.what_to_do[0].endswith(f": Give it as https://k:9000 in {where}.")


@pytest.mark.parametrize("option", ["keeper_peers", "nexus_api_url"])
@pytest.mark.parametrize(
    "url",
    ["https://me:pa55@k", "http://me:pa55@k", "https://me:pa55@k:99999", "https://pa55@k", "pa55@"],
)
def test_a_password_in_a_url_is_refused_and_not_shown(option: str, url: str) -> None:
    advice = refusal(option, with_url(option, url)).advice
    assert "has a user name in its URL; remove it" in advice.msg
    assert "pa55" not in f"{advice}"


BRACES = ["{keeper_peers}", "{0}", "{}", "{", "{{keeper_url}}", "{keeper_peers!r:>{width}}", "%s"]


@pytest.mark.parametrize("naming", Naming)
@pytest.mark.parametrize("text", BRACES)
@pytest.mark.parametrize(
    "option",
    [
        "keeper_peers",
        "nexus_api_url",
        "share_scheme",
        "keeper_timeout",
        "spiffe_endpoint_socket",
        "state_dir",
        "trust_root_keeper",
        "nexus_silence",
    ],
)
def test_braces_in_what_was_given_are_shown_as_they_were_given(
    option: str, text: str, naming: Naming
) -> None:
    value: Any = text
    if option in EXAMPLES:
        value = with_url(option, f"https://{text}:8443")
    elif option in TRUST_ROOTS:
        value = [text]
    assert text in refusal(option, value).advice.spelt(naming).msg


@pytest.mark.parametrize("naming", Naming)
def test_braces_in_a_trust_domain_that_is_none_are_shown_as_they_were_given(
    naming: Naming,
) -> None:
    bundles = {"{state_dir}": ""}
    advice = refusal("federated_bundles", bundles, svid_source="files").advice.spelt(naming)
    assert ": '{state_dir}' is not a trust domain: " in advice.msg


@pytest.mark.parametrize("naming", Naming)
def test_a_trust_domain_without_a_bundle_is_shown_with_one(naming: Naming) -> None:
    # Its braces are an example's, and no place for a name.
    bundles = {"b.example": ""}
    advice = refusal("federated_bundles", bundles, svid_source="files").advice.spelt(naming)
    assert ": b.example has no path to a PEM bundle; " in advice.msg
    assert advice.what_to_do[0].endswith(" {b.example: /etc/spiffe/b.example.pem}.")


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
    peers = bootstrap_settings(given(keeper_peers=urls)).keepers
    assert peers == tuple(Keeper(i + 1, url) for i, url in enumerate(urls))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("https://k:8443", "https://k:8443"),
        ("https://k", "https://k:443"),
        ("https://K:8443", "https://k:8443/"),
        ("HTTPS://k", "https://k"),
        ("https://k.example.org", "https://k.example.org."),
        ("https://127.0.0.1:1", "https://127.1:1"),
        ("https://[::1]:1", "https://[0:0:0:0:0:0:0:1]:1"),
        ("https://127.0.0.1:1", "https://[::ffff:127.0.0.1]:1"),
    ],
)
def test_one_keeper_listed_twice_is_refused_however_it_is_written(first: str, second: str) -> None:
    message = refusal("keeper_peers", [first, KEEPERS[0], second]).message
    assert "keepers 1 and 3 are the same" in message
    assert message.endswith("; list each keeper once, because one keeper cannot hold two shards")


def test_one_host_may_have_a_keeper_on_each_of_several_ports() -> None:
    urls = ["https://k", "https://k:8443", "https://k:8444"]
    assert [peer.url for peer in bootstrap_settings(given(keeper_peers=urls)).keepers] == urls


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
    assert bootstrap_settings(given(shamir_threshold=threshold)).shamir_threshold == threshold


@pytest.mark.parametrize("shares", [0, 2, 4])
def test_shares_other_than_the_keepers_are_refused(shares: int) -> None:
    message = refusal("shamir_shares", shares).message
    assert f"{shares} does not match the 3 keepers in keeper_peers; leave it out" in message


def test_shares_that_match_the_keepers_are_taken() -> None:
    assert bootstrap_settings(given(shamir_shares=3)) == bootstrap_settings(given())


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
    assert "a Go duration such as 30s" in message


def test_a_timeout_of_zero_for_the_whole_run_means_none() -> None:
    assert bootstrap_settings(given(timeout="0")).timeout.seconds == 0


@pytest.mark.parametrize(
    "value",
    ["/run/a.sock", "unix:/run/a.sock", "unix:///run/a.sock", "unix:////run/a.sock"],
)
def test_a_socket_is_kept_as_its_url(value: str) -> None:
    settings = bootstrap_settings(given(spiffe_endpoint_socket=value))
    assert settings.spiffe_endpoint_socket == "unix:///run/a.sock"


def test_a_socket_may_be_left_out() -> None:
    assert bootstrap_settings(given(spiffe_endpoint_socket=None)).spiffe_endpoint_socket is None


@pytest.mark.parametrize(
    "value", ["", "a.sock", "unix:", "unix:a.sock", "tcp://127.0.0.1:80", "http:///run/a.sock"]
)
def test_a_socket_that_is_no_absolute_path_is_refused(value: str) -> None:
    message = refusal("spiffe_endpoint_socket", value).message
    assert "neither an absolute path nor a unix: URL" in message


@pytest.mark.parametrize("option", TRUST_ROOTS)
def test_trust_domains_are_read_in_order_and_once(option: str) -> None:
    settings = bootstrap_settings(
        given(**{option: ["b.example", " spiffe://a.example", "b.example"]})
    )
    assert getattr(settings, option) == ("b.example", "a.example")


@pytest.mark.parametrize("option", TRUST_ROOTS)
@pytest.mark.parametrize("value", [[], [""], ["spike.ist", "Spike.ist"], ["spike.ist/x"]])
def test_trust_domains_that_are_none_are_refused(option: str, value: list[str]) -> None:
    refusal(option, value)


def test_federated_bundles_are_kept_by_trust_domain() -> None:
    bundles = {"spiffe://b.example": "/b.pem"}
    settings = bootstrap_settings(given(svid_source="files", federated_bundles=bundles))
    assert settings.federated_bundles == {"b.example": "/b.pem"}


@pytest.mark.parametrize(
    "value", [{"b.example": None}, {"b.example": ""}, {"b.example": ["/b.pem"]}, {"B": "/b.pem"}]
)
def test_a_federated_bundle_without_a_domain_or_a_path_is_refused(value: dict[str, Any]) -> None:
    refusal("federated_bundles", value, svid_source="files")


@pytest.mark.parametrize(
    ("source", "option", "value"),
    [
        ("files", "spiffe_endpoint_socket", "tcp://nowhere"),
        ("files", "spiffe_source_timeout", "0"),
        ("workload_api", "federated_bundles", {"B": "/b.pem"}),
        ("spire_agent", "federated_bundles", {"B": "/b.pem"}),
    ],
)
def test_an_option_of_a_source_that_is_not_used_is_not_refused(
    source: str, option: str, value: Any
) -> None:
    bootstrap_settings(given(svid_source=source, **{option: value}))


@pytest.mark.parametrize("option", DIRECTORIES)
@pytest.mark.parametrize("value", ["x", "./x", "~/x", "/x\0"])
def test_a_directory_that_is_no_absolute_path_is_refused(option: str, value: str) -> None:
    assert f"{value!r} is not an absolute path" in refusal(option, value).message


@pytest.mark.parametrize(
    ("option", "example"),
    [
        ("state_dir", "/var/lib/spike-bootstrap"),
        ("runtime_dir", "/run/spike-bootstrap"),
        ("nexus_data_dir", "/var/lib/spike"),
    ],
)
def test_a_refused_directory_comes_with_an_example(option: str, example: str) -> None:
    assert refusal(option, "x").message.endswith(f"; give for example {example}")


@pytest.mark.parametrize(("state", "abandoned"), [("bootstrapped", False), ("abandoned", True)])
def test_the_state_says_whether_an_unfinished_run_is_given_up(state: str, abandoned: bool) -> None:
    assert bootstrap_settings(given(state=state)).abandoned is abandoned


@pytest.mark.parametrize("option", ["accept_existing", "force", "verify"])
@pytest.mark.parametrize("value", [True, False])
def test_a_switch_is_taken_as_it_is(option: str, value: bool) -> None:
    assert getattr(bootstrap_settings(given(**{option: value})), option) is value


@pytest.mark.parametrize("value", [True, False])
def test_a_status_may_leave_the_keepers_alone(value: bool) -> None:
    assert status_settings(given(probe_keepers=value)).probe_keepers is value


@pytest.mark.parametrize(
    ("option", "choice"),
    [(option, choice) for option, choices in CHOICES for choice in choices],
)
def test_a_choice_is_read_by_its_value(option: str, choice: enum.Enum) -> None:
    assert getattr(bootstrap_settings(given(**{option: choice.value})), option) is choice


@pytest.mark.parametrize(
    ("option", "known"),
    [
        ("nexus_silence", "refused, never, accept"),
        ("nexus_database", "look, present, absent"),
    ],
)
def test_a_choice_that_is_none_is_refused_with_those_there_are(option: str, known: str) -> None:
    message = refusal(option, "maybe").message
    assert message == f"{option}: 'maybe' is not one of them; give one of {known}"


@pytest.mark.parametrize("option", DIRECTORIES)
def test_an_absolute_directory_is_taken(option: str) -> None:
    assert getattr(bootstrap_settings(given(**{option: "/a/b"})), option) == "/a/b"


@pytest.mark.parametrize(
    ("keeper_peers", "expected"),
    [
        (["nonsense", " https://k "], (Keeper(1, "nonsense"), Keeper(2, "https://k"))),
        ([7], (Keeper(1, "7"),)),
        ([], ()),
        ("https://k", ()),
        (None, ()),
    ],
)
def test_a_refused_list_is_still_shown_keeper_by_keeper(
    keeper_peers: object, expected: tuple[Keeper, ...]
) -> None:
    assert readable_keepers(keeper_peers) == expected
