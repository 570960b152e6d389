# Copyright (c) 2026, the dayzero.spike authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import concurrent.futures
import functools
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from ansible_collections.dayzero.spike.plugins.module_utils._errors import NoThread
from ansible_collections.dayzero.spike.plugins.module_utils._net.workers import (
    SharedCalls,
    Workers,
)
from ansible_collections.dayzero.spike.tests.support.interpreter import run_python

# What a working machine never needs: only a failing test waits so long.
PATIENCE = 10.0
# How often a wait of nearly no time is tried. Where its end was missed, queue.SimpleQueue waited
# for ever after 1700 to 17 000 such waits (CPython 3.11).
MOMENTS = 20_000


@pytest.fixture
def never() -> Iterator[threading.Event]:
    """An event that hung jobs wait for; set when the test is over, so that none is left."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def allow(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], int]:
    """Says how many more threads the host lets start; returns how many it would have until now."""
    start = threading.Thread.start
    left = 0

    def limited(thread: threading.Thread) -> None:
        nonlocal left
        if left == 0:
            raise RuntimeError("can't start new thread")
        left -= 1
        start(thread)

    def allow(number: int) -> int:
        nonlocal left
        unused, left = left, number
        return unused

    monkeypatch.setattr(threading.Thread, "start", limited)
    return allow


def beside_each_other(workers: Workers[int], number: int) -> bool:
    """Whether ``number`` jobs are really under way at the same time."""
    together = threading.Barrier(number)

    def job() -> int:
        try:
            return together.wait(PATIENCE)
        except threading.BrokenBarrierError:
            return -1

    for _unused in range(number):
        workers.start(job)
    return sorted(workers.next_result(PATIENCE) or 0 for _unused in range(number)) == [
        *range(number)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.0, 1e-6])
def test_a_wait_of_nearly_no_time_is_never_one_for_ever(seconds: float) -> None:
    def wait_often() -> None:
        for _unused in range(MOMENTS):
            Workers[int]().next_result(seconds)

    waiting = threading.Thread(target=wait_often, daemon=True)
    waiting.start()
    waiting.join(6 * PATIENCE)
    assert not waiting.is_alive()


def test_jobs_run_beside_each_other() -> None:
    together = threading.Barrier(20)
    workers: Workers[int] = Workers()

    def job(number: int) -> int:
        together.wait(PATIENCE)
        return number

    for number in range(20):
        workers.start(functools.partial(job, number))
    assert sorted(workers.next_result(PATIENCE) or 0 for _unused in range(20)) == list(range(20))


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
    for _unused in range(40):
        workers.start(lambda: str(never.wait()))
    for number in range(50):
        workers.start(functools.partial(str, number))
        assert workers.next_result(PATIENCE) == str(number)


def test_a_thread_whose_result_was_read_takes_the_next_job() -> None:
    workers: Workers[threading.Thread] = Workers()
    threads = []
    for _unused in range(50):
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

        for _unused in range(5):
            workers.start(job)
        return {workers.next_result(PATIENCE) for _unused in range(5)}

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


@pytest.fixture
def calls() -> SharedCalls[object]:
    return SharedCalls()


def test_a_call_gives_what_it_returns(calls: SharedCalls[object]) -> None:
    assert calls.result("a", lambda: "done", PATIENCE) == "done"


def test_a_call_that_is_under_way_is_not_made_again(
    calls: SharedCalls[object], never: threading.Event
) -> None:
    made: list[int] = []

    def slow(number: int) -> None:
        made.append(number)
        never.wait()

    for number in range(5):
        assert calls.result("a", functools.partial(slow, number), 0.01) is None
    assert made == [0]


def test_all_who_wait_for_a_call_get_its_result(
    calls: SharedCalls[object], never: threading.Event
) -> None:
    assert calls.result("a", lambda: str(never.wait()) and "the first", 0.01) is None
    # By then everybody waits; who came later would make a call of his own.
    timer = threading.Timer(0.5, never.set)
    timer.start()
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        waiting = [
            pool.submit(calls.result, "a", lambda: "another", PATIENCE) for _unused in range(3)
        ]
        assert [each.result() for each in waiting] == ["the first"] * 3
    timer.join()


def test_calls_with_other_keys_run_side_by_side(
    calls: SharedCalls[object], never: threading.Event
) -> None:
    assert calls.result("a", never.wait, 0.01) is None
    assert calls.result("b", lambda: "done", PATIENCE) == "done"


def test_a_call_that_has_ended_is_made_anew(calls: SharedCalls[object]) -> None:
    numbers = iter((1, 2))
    assert [calls.result("a", lambda: next(numbers), PATIENCE) for _unused in range(2)] == [1, 2]


def test_a_call_that_is_late_gives_none(calls: SharedCalls[object], never: threading.Event) -> None:
    assert calls.result("a", never.wait, 0.01) is None


def test_jobs_wait_for_the_threads_that_there_are_where_no_further_one_starts(
    allow: Callable[[int], int],
) -> None:
    workers: Workers[int] = Workers()
    allow(2)
    assert beside_each_other(workers, 2)
    for number in range(10):
        workers.start(functools.partial(int, number))
    # With two threads, neighbours may end in either order.
    assert sorted(workers.next_result(PATIENCE) or 0 for _unused in range(10)) == [*range(10)]


def test_jobs_that_waited_for_a_thread_get_one_as_soon_as_the_host_allows_it(
    allow: Callable[[int], int], never: threading.Event
) -> None:
    workers: Workers[str] = Workers()
    allow(1)
    for _unused in range(3):
        workers.start(lambda: str(never.wait()))
    assert workers.next_result(0) is None
    allow(3)
    workers.start(lambda: "not held up by those that hang")
    assert workers.next_result(PATIENCE) == "not held up by those that hang"


def test_jobs_run_beside_each_other_again_after_a_shortage(allow: Callable[[int], int]) -> None:
    workers: Workers[int] = Workers()
    allow(1)
    for number in range(5):
        workers.start(functools.partial(int, number))
    assert [workers.next_result(PATIENCE) for _unused in range(5)] == [*range(5)]
    allow(4)
    assert beside_each_other(workers, 5)


def test_where_not_even_one_thread_starts_the_limits_and_the_running_threads_are_told(
    allow: Callable[[int], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    allow(0)
    monkeypatch.setattr(threading, "active_count", lambda: 7)
    with pytest.raises(NoThread) as caught:
        Workers().start(lambda: None)
    assert caught.value.running == 7
    assert "(7 running)" in caught.value.message
    for words in ("ulimit -u", "TasksMax", "pids limit"):
        assert words in caught.value.advice.what_to_do[0]


def test_a_job_that_found_no_thread_is_never_run(allow: Callable[[int], int]) -> None:
    workers: Workers[str] = Workers()
    for _unused in range(20):
        with pytest.raises(NoThread):
            workers.start(lambda: "refused")
    allow(2)
    workers.start(lambda: "taken")
    assert workers.next_result(PATIENCE) == "taken"
    assert workers.next_result(0) is None
    assert allow(0) == 1, "a thread was started for those that were refused"


def test_a_call_that_finds_no_thread_says_so_and_can_be_made_later(
    allow: Callable[[int], int], calls: SharedCalls[object]
) -> None:
    allow(0)
    with pytest.raises(NoThread):
        calls.result("a", lambda: "done", PATIENCE)
    allow(1)
    assert calls.result("a", lambda: "done", PATIENCE) == "done"


def test_a_host_that_allows_no_thread_leaves_the_stack_size_as_it_was(
    allow: Callable[[int], int],
) -> None:
    before = threading.stack_size()
    allow(0)
    with pytest.raises(NoThread):
        Workers().start(lambda: None)
    assert threading.stack_size() == before


def test_hung_jobs_do_not_keep_the_process_from_ending() -> None:
    output = run_python(
        """
        import threading
        from ansible_collections.dayzero.spike.plugins.module_utils._net.workers import (
            SharedCalls, Workers)

        hung = threading.Barrier(3)
        forever = threading.Event()
        job = lambda: (hung.wait(), forever.wait())
        Workers().start(job)
        SharedCalls().result("a", job, 0)
        hung.wait()
        print("both hang")
        """
    )
    assert output == "both hang\n"
