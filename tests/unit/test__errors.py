# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import inspect
import re

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils import _errors
from ansible_collections.dayzero.spike.plugins.module_utils._errors import (
    AttemptFailed,
    Cause,
    ConfigError,
    DayZeroError,
    Failure,
    GuardRefusal,
    IdentityError,
    KeepersFailed,
    NexusFailed,
    NoThread,
    OutOfTime,
    Phase,
    StateUnusable,
)


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
    assert set(_real_tree()) | {"DayZeroError", "Phase", "Cause", "Failure"} == set(_errors.__all__)


@pytest.mark.parametrize(
    ("error", "phase", "code"),
    [
        (DayZeroError("m"), None, "gen_general_failure"),
        (ConfigError("o", "m"), Phase.CONFIG, "data_invalid_input"),
        (IdentityError("m"), Phase.IDENTITY, "spiffe_unable_to_fetch_x509_source"),
        (GuardRefusal("m"), Phase.GUARD, "state_already_initialized"),
        (StateUnusable("m"), None, "store_invalid_configuration"),
        (KeepersFailed("m"), None, "bootstrap_keeper_unreachable"),
        (NexusFailed("m"), Phase.VERIFY, "state_not_ready"),
        (OutOfTime("m"), None, "retry_maximum_elapsed_time_reached"),
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


def test_a_failed_attempt_carries_its_failure() -> None:
    failure = Failure(Cause.TLS, "words")
    assert AttemptFailed(failure).failure is failure
    assert AttemptFailed(failure).message == "tls: words"


@pytest.mark.parametrize("enumeration", [Phase, Cause])
def test_the_values_are_the_names_in_lower_case(enumeration: type[Phase] | type[Cause]) -> None:
    assert all(member.value == member.name.lower() for member in enumeration)
