"""Calls at the same time, in threads of their own, with outcomes in order: gates that the test opens in any order."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import closing
from itertools import permutations

import pytest
from live import TIMEOUT_S

from usert.runtime.engines.in_order import CallsInOrder

FAULT = ZeroDivisionError("of mine")


def outcome(future: Future[int]) -> int | BaseException:
    return future.exception() or future.result()


def gated(number: int, gate: threading.Event) -> Callable[[], int]:
    def call() -> int:
        assert gate.wait(TIMEOUT_S)
        if number == 1:
            raise FAULT
        return number

    return call


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_outcomes_are_taken_in_the_order_of_the_starts_whichever_ends_first(order: tuple[int, ...]) -> None:
    taken: list[tuple[str, int | BaseException]] = []
    ended = threading.Semaphore(0)
    gates = [threading.Event() for _ in range(3)]
    calls: CallsInOrder[str, int] = CallsInOrder(
        lambda item, future: taken.append((item, outcome(future))), ended=ended.release
    )
    with closing(calls):
        for k, gate in enumerate(gates):
            calls.start(f"call {k}", gated(k, gate), at_once=3)
        assert not calls.has_room(0)
        opened: set[int] = set()
        for k in order:
            gates[k].set()
            assert ended.acquire(timeout=TIMEOUT_S)
            opened.add(k)
            first = next((j for j in range(3) if j not in opened), 3)  # nothing passes one that still runs
            assert calls.has_room(0) == (first > 0)
            assert [item for item, _ in taken] == [f"call {j}" for j in range(first)]
            assert calls.oldest == (None if first == 3 else f"call {first}")
    assert [found for _, found in taken] == [0, FAULT, 2]


def test_one_more_than_may_run_waits_until_the_oldest_was_taken() -> None:
    taken: list[int] = []
    running = threading.Semaphore(2)

    def call() -> int:
        assert running.acquire(blocking=False), "more calls than may run"
        threading.Event().wait(0.001)
        running.release()
        return 0

    calls: CallsInOrder[int, int] = CallsInOrder(lambda item, _: taken.append(item))
    with closing(calls):
        for k in range(50):
            calls.start(k, call, at_once=2)
            assert k + 1 - len(taken) <= 2
        calls.finish()
    assert taken == list(range(50))


def test_a_call_that_runs_alone_runs_in_the_thread_that_starts_it() -> None:
    threads: list[int] = []

    def call() -> int:
        threads.append(threading.get_ident())
        raise FAULT

    found: list[int | BaseException] = []
    calls: CallsInOrder[int, int] = CallsInOrder(lambda _, future: found.append(outcome(future)))
    with closing(calls):
        calls.start(0, call, at_once=1)
        assert found == [FAULT]
    assert threads == [threading.get_ident()]


def test_closing_waits_for_what_runs_and_takes_nothing() -> None:
    taken: list[int] = []
    gate, ended = threading.Event(), threading.Event()

    def call() -> int:
        assert gate.wait(TIMEOUT_S)
        ended.set()
        return 0

    calls: CallsInOrder[int, int] = CallsInOrder(lambda item, _: taken.append(item))
    calls.start(0, call, at_once=2)
    threading.Timer(0.05, gate.set).start()
    calls.close()
    assert ended.is_set()
    assert taken == []
