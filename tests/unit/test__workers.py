# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Iterator

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._workers import (
    Workers,
    call_with_deadline,
)
from ansible_collections.dayzero.spike.tests.support.interpreter import run_python

# What a working machine never needs: only a failing test waits so long.
PATIENCE = 10.0


@pytest.fixture
def never() -> Iterator[threading.Event]:
    """An event that hung jobs wait for; set when the test is over, so that none is left."""
    event = threading.Event()
    yield event
    event.set()


def test_jobs_run_beside_each_other() -> None:
    together = threading.Barrier(20)
    workers: Workers[int] = Workers()

    def job(number: int) -> int:
        together.wait(PATIENCE)
        return number

    for number in range(20):
        workers.start(functools.partial(job, number))
    assert sorted(workers.next_result(PATIENCE) or 0 for _ in range(20)) == list(range(20))


def test_results_come_in_the_order_in_which_the_jobs_end() -> None:
    second_read = threading.Event()
    workers: Workers[str] = Workers()
    workers.start(lambda: "first started" if second_read.wait(PATIENCE) else "too late")
    workers.start(lambda: "second started")
    assert workers.next_result(PATIENCE) == "second started"
    second_read.set()
    assert workers.next_result(PATIENCE) == "first started"


def test_a_hung_job_holds_up_no_other(never: threading.Event) -> None:
    workers: Workers[str] = Workers()
    for _ in range(40):
        workers.start(lambda: str(never.wait()))
    for number in range(50):
        workers.start(functools.partial(str, number))
        assert workers.next_result(PATIENCE) == str(number)


def test_a_thread_whose_result_was_read_takes_the_next_job() -> None:
    workers: Workers[threading.Thread] = Workers()
    threads = []
    for _ in range(50):
        workers.start(threading.current_thread)
        threads.append(workers.next_result(PATIENCE))
    assert set(threads) == {threads[0]}
    assert isinstance(threads[0], threading.Thread)


def test_a_round_of_jobs_uses_the_threads_of_the_round_before() -> None:
    workers: Workers[threading.Thread] = Workers()

    def one_round() -> set[threading.Thread | None]:
        together = threading.Barrier(5)

        def job() -> threading.Thread:
            together.wait(PATIENCE)
            return threading.current_thread()

        for _ in range(5):
            workers.start(job)
        return {workers.next_result(PATIENCE) for _ in range(5)}

    first = one_round()
    assert len(first) == 5
    assert one_round() == first


@pytest.mark.parametrize("timeout", [0.0, -1.0, 0.01])
def test_no_result_in_time_is_none(never: threading.Event, timeout: float) -> None:
    workers: Workers[bool] = Workers()
    workers.start(never.wait)
    assert workers.next_result(timeout) is None


def test_a_result_that_is_there_is_taken_with_no_time_left() -> None:
    workers: Workers[str] = Workers()
    workers.start(lambda: "done")
    give_up = time.monotonic() + PATIENCE
    result = None
    while result is None and time.monotonic() < give_up:
        result = workers.next_result(0.0)
    assert result == "done"


def test_the_stack_size_of_other_threads_is_left_as_it_was() -> None:
    before = threading.stack_size()
    workers: Workers[int] = Workers()
    workers.start(threading.stack_size)
    assert workers.next_result(PATIENCE) is not None
    assert threading.stack_size() == before


def test_a_call_gives_what_it_returns() -> None:
    assert call_with_deadline(lambda: "done", PATIENCE) == "done"


def test_a_call_that_is_late_gives_none(never: threading.Event) -> None:
    assert call_with_deadline(never.wait, 0.01) is None


def test_hung_jobs_do_not_keep_the_process_from_ending() -> None:
    output = run_python(
        """
        import threading
        from ansible_collections.dayzero.spike.plugins.module_utils._workers import (
            Workers, call_with_deadline)

        hung = threading.Barrier(3)
        forever = threading.Event()
        job = lambda: (hung.wait(), forever.wait())
        Workers().start(job)
        call_with_deadline(job, 0)
        hung.wait()
        print("both hang")
        """
    )
    assert output == "both hang\n"
