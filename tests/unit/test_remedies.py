# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a refused option is told to be is accepted: the examples in the messages are valid.

A remedy without an example is an instruction, and is done here as it is written.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from ansible_collections.dayzero.spike.plugins.module_utils._errors import ConfigError
from ansible_collections.dayzero.spike.plugins.module_utils._naming import Naming
from ansible_collections.dayzero.spike.plugins.module_utils._options.settings import (
    bootstrap_settings,
)
from ansible_collections.dayzero.spike.tests.support.options import options

KEEPERS = ["https://keeper1:8443", "https://keeper2:8443", "https://keeper3:8443"]
Params = dict[str, Any]
# The values that follow such an example: the options as they are with one of them.
Instance = Callable[[Any, str], list[Any]]


def alone(_refused: Any, shown: str) -> list[Any]:
    """Each example is the option's whole value."""
    return re.split(r", | or ", shown)


def numbers(_refused: Any, shown: str) -> list[Any]:
    return [int(shown)]


def of_a_range(_refused: Any, shown: str) -> list[Any]:
    return [int(number) for number in shown.split(" to ")]


def in_the_list(refused: Any, shown: str) -> list[Any]:
    """The example instead of the one keeper that is refused, the second."""
    return [[refused[0], shown, *refused[2:]]]


def as_a_list(_refused: Any, shown: str) -> list[Any]:
    return [[shown]]


def as_yaml(_refused: Any, shown: str) -> list[Any]:
    return [yaml.safe_load(shown)]


def as_a_trust_domain(refused: Any, shown: str) -> list[Any]:
    return [dict.fromkeys([shown], *refused.values())]


# -- instructions


def without_the_user(option: str, params: Params) -> Params:
    """The URL without what stands before the @."""
    value = params[option]
    bare = [re.sub(r"//.*@", "//", url) for url in ([value] if isinstance(value, str) else value)]
    return {option: bare[0] if isinstance(value, str) else bare}


def one_for_each_keeper(option: str, _params: Params) -> Params:
    return {option: KEEPERS}


def each_once(option: str, params: Params) -> Params:
    return {option: [params[option][0], *KEEPERS[1:]]}


def left_out(option: str, _params: Params) -> Params:
    return {option: None}


DURATION = "give a number of seconds or a Go duration such as "
# What a remedy says, with what follows in the place of the example, and how that is read.
EXAMPLES: dict[str, tuple[str, Instance]] = {
    "keeper_peers": (r"give it as (\S+) in keeper_peers", in_the_list),
    "nexus_api_url": (r"give it as (\S+)", alone),
    "shamir_threshold": (r"give (\d+) or more", numbers),
    "shamir_threshold of fewer keepers": (
        r"give a number from (\d+ to \d+), the one that Nexus has",
        of_a_range,
    ),
    "share_scheme": (r"give one of (.+)", alone),
    "nexus_silence": (r"give one of (.+)", alone),
    "nexus_database": (r"give one of (.+)", alone),
    "keeper_max_retries": (
        r"give a number of attempts, the first included, for example (\d+)",
        numbers,
    ),
    "spiffe_endpoint_socket": (r"give for example (\S+)", alone),
    "federated_bundles": (r"give one, for example (.+)", as_yaml),
    "federated_bundles of no trust domain": (r"give for example (\S+)", as_a_trust_domain),
    "empty trust root": (r"give at least one trust domain, such as (\S+)", as_a_list),
    "trust root": (r"give for example (\S+)", as_a_list),
    "directory": (r"give for example (\S+)", alone),
    "duration": (f"{DURATION}(.+)", alone),
}
INSTRUCTIONS: dict[str, Callable[[str, Params], Params]] = {
    "remove it: this host is known to its peers by its SVID": without_the_user,
    "list one https URL for each keeper, in the order that Nexus has": one_for_each_keeper,
    "list each keeper once, because one keeper cannot hold two shards": each_once,
    "leave it out, or correct the list of keepers: each keeper has one share": left_out,
}
DURATIONS = [
    "keeper_timeout",
    "keeper_retry_initial_interval",
    "keeper_retry_max_interval",
    "init_verification_timeout",
    "spiffe_source_timeout",
    "timeout",
]
BAD_URLS = [
    "",
    "k",
    "k:9000",
    "https://",
    "https://k:0",
    "https://k:99999",
    "https://[::1",
    "https://k\u00f6ln",
    "http://k7.corp:9000/x",
    "//k.corp",
    "https://k/?a=b",
    "https://k/a b",
]
WITH_EXAMPLES: list[tuple[str, str, Any]] = [
    *(("keeper_peers", "keeper_peers", [KEEPERS[0], url, KEEPERS[2]]) for url in BAD_URLS),
    ("keeper_peers", "keeper_peers", [KEEPERS[0], "https://k:9000/path", KEEPERS[2]]),
    *(("nexus_api_url", "nexus_api_url", url) for url in BAD_URLS),
    *(("shamir_threshold", "shamir_threshold", number) for number in (-1, 0, 1)),
    ("shamir_threshold of fewer keepers", "shamir_threshold", 4),
    ("share_scheme", "share_scheme", "circl-1.5.0"),
    ("nexus_silence", "nexus_silence", "maybe"),
    ("nexus_database", "nexus_database", "maybe"),
    *(("keeper_max_retries", "keeper_max_retries", number) for number in (-1, 0, 1001)),
    *(("spiffe_endpoint_socket", "spiffe_endpoint_socket", text) for text in ("", "a", "tcp://a")),
    ("federated_bundles", "federated_bundles", {"b.example": ""}),
    ("federated_bundles", "federated_bundles", {"b.example": None}),
    ("federated_bundles of no trust domain", "federated_bundles", {"B": "/b.pem"}),
    *(
        (kind, f"trust_root_{part}", value)
        for part in ("keeper", "nexus", "bootstrap")
        for kind, value in (
            ("empty trust root", []),
            ("trust root", [""]),
            ("trust root", ["Spike.ist"]),
            ("trust root", ["spike.ist/x"]),
        )
    ),
    *(
        ("directory", option, value)
        for option in ("state_dir", "runtime_dir", "nexus_data_dir")
        for value in ("x", "~/x", "/x\0")
    ),
    *(("duration", option, value) for option in DURATIONS for value in ("soon", "-1s", "9" * 12)),
    *(("duration", option, "0") for option in DURATIONS if option != "timeout"),
]
WITH_INSTRUCTIONS: list[tuple[str, Any]] = [
    ("keeper_peers", ["https://me:pa55@keeper1:8443", *KEEPERS[1:]]),
    ("nexus_api_url", "https://me:pa55@localhost:8553"),
    ("keeper_peers", []),
    ("keeper_peers", KEEPERS[:1]),
    ("keeper_peers", [KEEPERS[0], KEEPERS[0], KEEPERS[2]]),
    ("shamir_shares", 2),
]


def given(**changed: Any) -> Params:
    # An option of a source that is not used is not refused.
    source = {"svid_source": "files"} if "federated_bundles" in changed else {}
    return options(**{"keeper_peers": KEEPERS, **source, **changed})


def remedy_of(option: str, value: Any) -> str:
    """The remedy with which a value of an option is refused."""
    with pytest.raises(ConfigError) as caught:
        bootstrap_settings(given(**{option: value}))
    assert caught.value.option == option
    step = caught.value.advice.spelt(Naming.OPTIONS).what_to_do[0]
    remedy = step.removeprefix(f"{option}: ").removesuffix(".")
    return remedy[:1].lower() + remedy[1:]


@pytest.mark.parametrize(("kind", "option", "value"), WITH_EXAMPLES)
def test_what_a_refusal_gives_as_an_example_is_accepted_for_that_option(
    kind: str, option: str, value: Any
) -> None:
    pattern, read = EXAMPLES[kind]
    found = re.fullmatch(pattern, remedy_of(option, value))
    assert found, remedy_of(option, value)
    examples = read(value, found[1])
    assert examples
    for example in examples:
        bootstrap_settings(given(**{option: example}))


@pytest.mark.parametrize(("option", "value"), WITH_INSTRUCTIONS)
def test_an_instruction_without_an_example_can_be_done_as_it_is_written(
    option: str, value: Any
) -> None:
    act = INSTRUCTIONS[remedy_of(option, value)]
    bootstrap_settings(given(**act(option, given(**{option: value}))))


def test_every_kind_of_example_and_every_instruction_is_met() -> None:
    assert {kind for kind, _unused, _unused in WITH_EXAMPLES} == set(EXAMPLES)
    met = {remedy_of(option, value) for option, value in WITH_INSTRUCTIONS}
    assert met == set(INSTRUCTIONS)
