"""The queue that holds the newest item of each stream."""

from __future__ import annotations

import threading

from live import TIMEOUT_S

from usert.runtime.clients.strain_client import MOST_STREAMS, NewestOfEach


def test_the_newest_wins_and_the_rest_is_counted() -> None:
    queue: NewestOfEach[int] = NewestOfEach()
    for item in range(5):
        queue.put(item, "a")
    assert queue.take(0) == 4
    assert queue.take(0) is None
    assert queue.dropped == 4


def test_streams_do_not_replace_each_other_and_take_turns() -> None:
    queue: NewestOfEach[str] = NewestOfEach()
    for item in ("a1", "b1", "a2", "a3", "b2"):
        queue.put(item, item[0])
    assert [queue.take(0) for _ in range(3)] == ["a3", "b2", None]
    for item in ("b3", "a4", "b4"):
        queue.put(item, item[0])
    assert [queue.take(0), queue.take(0)] == ["b4", "a4"]
    assert queue.dropped == 4


def test_names_without_end_fill_no_memory() -> None:
    queue: NewestOfEach[int] = NewestOfEach()
    for item in range(MOST_STREAMS + 10):
        queue.put(item, str(item))
    assert queue.dropped == 10
    assert queue.take(0) == 10


def test_a_waiting_taker_is_woken() -> None:
    queue: NewestOfEach[str] = NewestOfEach()
    taken: list[object] = []
    thread = threading.Thread(target=lambda: taken.append(queue.take(TIMEOUT_S)))
    thread.start()
    queue.put("frame", "a")
    thread.join(TIMEOUT_S)
    assert taken == ["frame"]


def test_every_item_is_taken_or_counted_between_threads() -> None:
    queue: NewestOfEach[int] = NewestOfEach()
    seen: list[int] = []

    def take_all() -> None:
        while not seen or seen[-1] != 4999:
            taken = queue.take(TIMEOUT_S)
            assert taken is not None
            seen.append(taken)

    thread = threading.Thread(target=take_all)
    thread.start()
    for item in range(5000):
        queue.put(item, "a")
    thread.join(TIMEOUT_S)
    assert seen == sorted(set(seen))
    assert queue.dropped + len(seen) == 5000
