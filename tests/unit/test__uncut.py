# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import threading

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._uncut import UNCUT, Resources


class End(BaseException):
    """What a signal raises."""


def test_an_end_outside_comes_at_once() -> None:
    with pytest.raises(End):
        UNCUT.end(End())


def test_an_end_inside_comes_when_the_outermost_block_is_over() -> None:
    done = []

    def work() -> None:
        with UNCUT:
            with UNCUT:
                UNCUT.end(End())
                done.append("inner")
            done.append("outer")
            assert UNCUT.told

    with pytest.raises(End):
        work()
    assert done == ["inner", "outer"]
    assert not UNCUT.told


def test_an_end_comes_once() -> None:
    with pytest.raises(End), UNCUT:
        UNCUT.end(End())
    with UNCUT:
        pass


def test_an_end_takes_the_place_of_an_error_of_the_block() -> None:
    def work() -> None:
        with UNCUT:
            UNCUT.end(End())
            raise ValueError

    with pytest.raises(End):
        work()


def test_a_block_of_another_thread_does_not_keep_an_end() -> None:
    inside, over = threading.Event(), threading.Event()

    def block() -> None:
        with UNCUT:
            inside.set()
            over.wait(10)

    other = threading.Thread(target=block)
    other.start()
    try:
        assert inside.wait(10)
        with pytest.raises(End):
            UNCUT.end(End())
    finally:
        over.set()
        other.join()


def test_all_resources_are_given_back_before_an_end_that_comes_meanwhile() -> None:
    given_back = []

    def work() -> None:
        with Resources() as resources:
            resources.callback(given_back.append, "first taken")
            resources.callback(UNCUT.end, End())
            resources.callback(given_back.append, "last taken")

    with pytest.raises(End):
        work()
    assert given_back == ["last taken", "first taken"]
