# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Our data classes do what those of the standard library do."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils import _dataclass

# One case for each maker: ours, and the one that it stands for.
MAKERS = [
    pytest.param(_dataclass.dataclass, id="ours"),
    pytest.param(dataclasses.dataclass, id="the standard library's"),
]
Make = Callable[..., Any]


def classes(make: Make) -> Any:
    """A class with all that is used, and one that is derived from it."""

    @make(frozen=True)
    class Base:
        name: str
        secret: str = dataclasses.field(repr=False)  # pylint: disable=invalid-field-call

    @make(frozen=True)
    class Derived(Base):
        number: int = 3
        # pylint: disable-next=invalid-field-call
        items: list[int] = dataclasses.field(default_factory=list)

    return Derived


@pytest.mark.parametrize("make", MAKERS)
def test_values_are_taken_by_place_by_name_and_by_default(make: Make) -> None:
    cls = classes(make)
    made = cls("a", secret="b", number=4)
    assert (made.name, made.secret, made.number, made.items) == ("a", "b", 4, [])
    assert cls("a", "b", 5, [6]).items == [6]
    assert cls("a", "b").items is not cls("a", "b").items


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize(
    ("values", "named"),
    [
        pytest.param((), {"secret": "b"}, id="one is missing"),
        pytest.param(("a", "b", 1, [], 2), {}, id="too many"),
        pytest.param(("a", "b"), {"name": "c"}, id="one twice"),
        pytest.param(("a", "b"), {"other": 1}, id="no such field"),
    ],
)
def test_other_values_than_the_fields_have_are_refused(
    make: Make, values: tuple[Any, ...], named: dict[str, Any]
) -> None:
    with pytest.raises(TypeError):
        classes(make)(*values, **named)


@pytest.mark.parametrize("make", MAKERS)
def test_instances_are_equal_when_class_and_values_are(make: Make) -> None:
    cls, other = classes(make), classes(make)
    assert cls("a", "b", 1, []) == cls("a", "b", 1, [])
    assert cls("a", "b", 1, []) != cls("a", "c", 1, [])
    assert cls("a", "b", 1, []) != other("a", "b", 1, [])


@pytest.mark.parametrize("make", MAKERS)
def test_a_frozen_one_can_be_a_key_and_cannot_be_changed(make: Make) -> None:
    made = make(frozen=True)(type("Pair", (), {"__annotations__": {"a": int, "b": int}}))
    pair = made(1, 2)
    assert {pair: "found"}[made(1, 2)] == "found"
    with pytest.raises(dataclasses.FrozenInstanceError):
        pair.a = 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        del pair.a


@pytest.mark.parametrize("make", MAKERS)
def test_one_that_is_not_frozen_can_be_changed_and_is_no_key(make: Make) -> None:
    made = make(type("Pair", (), {"__annotations__": {"a": int}}))(1)
    made.a = 2
    assert made.a == 2
    with pytest.raises(TypeError, match="unhashable"):
        hash(made)


@pytest.mark.parametrize("make", MAKERS)
def test_one_that_is_not_compared_equals_only_itself(make: Make) -> None:
    made = make(frozen=True, eq=False)(type("Pair", (), {"__annotations__": {"a": int}}))
    assert made(1) != made(1)
    assert len({made(1), made(1)}) == 2


@pytest.mark.parametrize("make", MAKERS)
def test_its_repr_leaves_out_what_is_not_to_be_shown(make: Make) -> None:
    shown = repr(classes(make)("a", "b"))
    assert shown.endswith("Derived(name='a', number=3, items=[])")


@pytest.mark.parametrize("make", MAKERS)
def test_the_standard_librarys_functions_know_it(make: Make) -> None:
    made = classes(make)("a", "b")
    assert dataclasses.replace(made, number=7).number == 7
    assert dataclasses.asdict(made) == {"name": "a", "secret": "b", "number": 3, "items": []}


@pytest.mark.parametrize("make", MAKERS)
def test_what_is_to_follow_its_making_does(make: Make) -> None:
    def double(self: Any) -> None:
        self.twice = 2 * self.a

    made = make(type("One", (), {"__annotations__": {"a": int}, "__post_init__": double}))
    assert made(2).twice == 4
