# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an operator may say of custodians' lines, and that no refusal repeats one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._errors import ConfigError
from ansible_collections.dayzero.spike.plugins.module_utils._options.argument_spec import (
    restore_arguments,
)
from ansible_collections.dayzero.spike.plugins.module_utils._options.emergency_settings import (
    RestoreSettings,
    restore_settings,
)

DIGITS = "5a" * 32
THRESHOLDS = [2, 3, 5]


def line(index: int, digits: str = DIGITS) -> str:
    return f"spike:{index}:{digits}"


def lines(threshold: int) -> list[str]:
    return [line(index) for index in range(1, threshold + 1)]


def read(threshold: int, shards: Sequence[str], **changed: Any) -> RestoreSettings:
    params = {name: spec.get("default") for name, spec in restore_arguments().items()}
    peers = [f"https://keeper{number}:8443" for number in range(1, threshold + 2)]
    return restore_settings(
        {
            **params,
            "keeper_peers": peers,
            "shamir_threshold": threshold,
            "shards": list(shards),
            **changed,
        }
    )


def refused(threshold: int, shards: Sequence[str], **changed: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        read(threshold, shards, **changed)
    assert caught.value.option == "shards"
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    text = str(caught.value) + str(caught.value.advice)
    assert DIGITS[:20] not in text
    return caught.value.message


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_a_whole_set_is_taken_and_not_shown(threshold: int) -> None:
    settings = read(threshold, lines(threshold))
    assert settings.lines == tuple(lines(threshold))
    assert DIGITS not in repr(settings)


@pytest.mark.parametrize("threshold", THRESHOLDS)
@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (DIGITS[:-1], "it has 63 digits instead of 64"),
        (DIGITS[:40], "it has 40 digits instead of 64"),
        (DIGITS + "00", "it has 66 digits instead of 64"),
        ("00" * 32, "it is all zeros"),
        ("ff" * 32, "its number is larger than a shard can be"),
        (DIGITS[:-1] + "g", "it has characters that are not hex digits"),
        ("", "it has 0 digits instead of 64"),
    ],
    ids=["short", "20 bytes", "long", "zero", "larger than a scalar", "no digit", "nothing"],
)
def test_a_line_that_is_no_shard_is_named_by_its_place(
    threshold: int, wrong: str, reason: str
) -> None:
    for place in range(threshold):
        given = lines(threshold)
        given[place] = line(place + 1, wrong)
        message = refused(threshold, given)
        assert f"line {place + 1} of {threshold} is no recovery shard: {reason}" in message
        assert "Nothing was sent" in message


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_an_index_that_no_keeper_has_is_named(threshold: int) -> None:
    message = refused(threshold, [*lines(threshold)[1:], line(99)])
    assert f"line {threshold} of {threshold} has index 99" in message


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_an_index_that_is_there_twice_is_named(threshold: int) -> None:
    message = refused(threshold, [*lines(threshold)[:-1], line(1, "6b" * 32)])
    assert f"lines 1 and {threshold} of {threshold} both have index 1" in message


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_a_missing_line_is_told(threshold: int) -> None:
    for count in range(1, threshold):
        assert f"{count} of the {threshold} shards" in refused(threshold, lines(count))
    assert "none is given" in refused(threshold, [])


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_parts_are_fewer_than_a_whole_set(threshold: int) -> None:
    assert len(read(threshold, lines(1), complete=False).lines) == 1
    assert "a whole set, and complete is false" in refused(
        threshold, lines(threshold), complete=False
    )
