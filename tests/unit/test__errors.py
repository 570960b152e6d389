# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import inspect
import re

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils import _errors
from ansible_collections.dayzero.spike.plugins.module_utils._errors import (
    RERUN,
    Advice,
    AttemptFailed,
    Cause,
    ConfigError,
    DayZeroError,
    Failure,
    Finding,
    GuardRefusal,
    IdentityError,
    KeepersFailed,
    NexusFailed,
    NoThread,
    OutOfTime,
    Phase,
    StateUnusable,
)
from ansible_collections.dayzero.spike.plugins.module_utils._naming import Naming

# What is no error itself.
PARTS = {"RERUN", "Advice", "Cause", "DayZeroError", "Failure", "Finding", "Phase"}


def _drawn_tree() -> dict[str, str]:
    """Class name to the name of its parent, as the module's docstring draws them."""
    parents: dict[str, str] = {}
    path: list[str] = []
    for line in (inspect.getdoc(_errors) or "").splitlines():
        node = re.match(r"^((?:\|   )*)(?:\||`)-- (\w+)", line)
        if node:
            depth = len(node[1]) // 4 + 1
            del path[depth:]
            parents[node[2]] = path[-1]
            path.append(node[2])
        elif re.fullmatch(r"\w+", line):
            path = [line]
    return parents


def _real_tree() -> dict[str, str]:
    return {
        name: thing.__bases__[0].__name__
        for name, thing in vars(_errors).items()
        if inspect.isclass(thing) and issubclass(thing, DayZeroError) and thing is not DayZeroError
    }


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes() -> None:
    assert _real_tree()
    assert _drawn_tree() == _real_tree()


def test_every_error_is_public() -> None:
    assert set(_real_tree()) | PARTS == set(_errors.__all__)


@pytest.mark.parametrize(
    ("error", "phase", "code"),
    [
        (DayZeroError("m"), None, "gen_general_failure"),
        (ConfigError("o", "m"), Phase.CONFIG, "data_invalid_input"),
        (IdentityError("m"), Phase.IDENTITY, "spiffe_unable_to_fetch_x509_source"),
        (GuardRefusal("m"), Phase.GUARD, "state_already_initialized"),
        (StateUnusable("m"), None, "store_invalid_configuration"),
        (KeepersFailed("m", (2,)), None, "bootstrap_keeper_unreachable"),
        (NexusFailed("m"), Phase.VERIFY, "state_not_ready"),
        (OutOfTime("m"), None, "retry_max_elapsed_time_reached"),
        (NoThread(1), None, "gen_general_failure"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_an_error_knows_its_phase_and_spikes_code(
    error: DayZeroError, phase: Phase | None, code: str
) -> None:
    assert (error.phase, error.code) == (phase, code)
    assert str(error) == error.message


def test_a_code_of_ones_own_replaces_the_classs_for_that_error_only() -> None:
    assert GuardRefusal("m", code="x").code == "x"
    assert GuardRefusal("m").code == "state_already_initialized"


def test_an_error_about_an_option_begins_with_its_name() -> None:
    assert ConfigError("o", "is wrong").message == "o: is wrong"
    assert IdentityError("is wrong", option="o").message == "o: is wrong"
    assert IdentityError("is wrong").message == "is wrong"


REFUSALS = [
    pytest.param(
        ConfigError("state_dir", "it is {timeout}", "give {svid_key}", why=["{verify}."]),
        id="ConfigError",
    ),
    pytest.param(
        IdentityError("it is {timeout}", "give {svid_key}", option="state_dir", why=["{verify}."]),
        id="IdentityError",
    ),
]


@pytest.mark.parametrize("error", REFUSALS)
def test_a_refusal_ends_in_a_remedy_that_is_a_step_too(error: ConfigError | IdentityError) -> None:
    assert error.option == "state_dir"
    assert error.message == "state_dir: it is timeout; give svid_key"
    assert error.advice.spelt(Naming.OPTIONS) == Advice(
        "state_dir: it is timeout; give svid_key",
        ("verify.",),
        ("state_dir: Give svid_key.", "Rerun bootstrap."),
    )


@pytest.mark.parametrize("error", REFUSALS)
def test_a_refusal_can_be_told_in_the_names_of_the_role(
    error: ConfigError | IdentityError,
) -> None:
    assert error.advice.spelt(Naming.VARIABLES) == Advice(
        "spike_bootstrap_state_dir: it is spike_bootstrap_timeout; give spike_bootstrap_svid_key",
        ("spike_bootstrap_verify.",),
        ("spike_bootstrap_state_dir: Give spike_bootstrap_svid_key.", "Rerun bootstrap."),
    )


def test_a_refusal_without_an_option_names_none() -> None:
    error = IdentityError("no agent", "start one")
    assert error.option is None
    assert error.advice == Advice("no agent; start one", (), ("Start one.", RERUN))


@pytest.mark.parametrize("error", [ConfigError("timeout", "is wrong"), IdentityError("is wrong")])
def test_a_refusal_without_a_remedy_has_no_steps(error: DayZeroError) -> None:
    assert error.advice.what_to_do == ()


def test_an_option_that_is_refused_later_has_the_phase_of_then() -> None:
    assert ConfigError("timeout", "is wrong", phase=Phase.REACH).phase is Phase.REACH
    assert ConfigError("timeout", "is wrong").phase is Phase.CONFIG


# -- advice


ADVICE = Advice(
    "{url} is not what {keeper_peers} says.",
    ("{likely}", "Somebody changed {state_dir}.", " {unlikely} "),
    ("{first_step}", RERUN),
)


def test_advice_is_told_of_one_case_without_the_lines_that_are_then_empty() -> None:
    told = ADVICE.about(url="https://k", likely="", unlikely="", first_step="Look at {journal}.")
    assert told == Advice(
        "https://k is not what {keeper_peers} says.",
        ("Somebody changed {state_dir}.",),
        ("Look at {journal}.", RERUN),
    )


def test_a_fact_that_is_not_told_keeps_its_place() -> None:
    assert ADVICE.about(likely="It rained.").why[0] == "It rained."
    assert ADVICE.about(likely="It rained.").msg == ADVICE.msg


def test_a_fact_may_be_of_any_kind() -> None:
    assert Advice("{count} of {all}").about(count=0, all=None).msg == "0 of None"


@pytest.mark.parametrize(
    "braces", ["{0}", "{}", "{", "}", "{a!r}", "{{keeper_peers}}x", "%s", "\\1"]
)
def test_odd_texts_in_advice_are_no_error(braces: str) -> None:
    advice = Advice(braces, (braces,), (braces,))
    # A place between braces is one as well; the braces around it stay.
    spelt = braces.replace("{keeper_peers}", "keeper_peers")
    assert advice.about(fact=1) == advice
    assert advice.spelt(Naming.OPTIONS) == Advice(spelt, (spelt,), (spelt,))


def test_a_message_alone_is_advice_too() -> None:
    assert DayZeroError("Look at {state_dir}.").advice == Advice("Look at {state_dir}.")
    assert DayZeroError("Look at {state_dir}.").message == "Look at state_dir."


def test_a_host_without_threads_is_told_what_limits_them() -> None:
    error = NoThread(7)
    assert error.running == 7
    assert "(7 running)" in error.message
    assert "ulimit -u" in error.advice.what_to_do[0]
    assert error.advice.what_to_do[-1] == RERUN


def test_a_failed_attempt_carries_its_failure() -> None:
    failure = Failure(Cause.TLS, "words")
    assert AttemptFailed(failure).failure is failure
    assert AttemptFailed(failure).message == "tls: words"


def test_of_a_failure_nothing_further_is_known_unless_somebody_says_so() -> None:
    assert Failure(Cause.TLS, "words").finding is None
    assert Failure(Cause.TLS, "words", finding=Finding.EXPIRED).finding is Finding.EXPIRED


@pytest.mark.parametrize("enumeration", [Phase, Cause])
def test_the_values_are_the_names_in_lower_case(enumeration: type[Phase] | type[Cause]) -> None:
    assert all(member.value == member.name.lower() for member in enumeration)
