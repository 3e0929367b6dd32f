"""The slot of one item a stream."""

from __future__ import annotations

import threading

from usert.runtime.clients.slot import MOST_STREAMS, Slot, SlotCounts


def test_the_newest_wins_and_the_rest_is_counted() -> None:
    slot: Slot[int] = Slot()
    for item in range(5):
        slot.put(item)
    assert slot.take(0) == 4
    assert slot.take(0) is None
    assert slot.counts == SlotCounts(received=5, dropped=4, taken=1)


def test_streams_do_not_replace_each_other_and_take_turns() -> None:
    slot: Slot[str] = Slot()
    for item in ("a1", "b1", "a2", "a3", "b2"):
        slot.put(item, item[0])
    assert [slot.take(0) for _ in range(3)] == ["a3", "b2", None]
    slot.put("b3", "b")
    slot.put("a4", "a")
    slot.put("b4", "b")
    assert [slot.take(0), slot.take(0)] == ["b4", "a4"]
    assert slot.counts == SlotCounts(received=8, dropped=4, taken=4)


def test_names_without_end_fill_no_memory() -> None:
    slot: Slot[int] = Slot()
    for item in range(MOST_STREAMS + 10):
        slot.put(item, str(item))
    assert slot.counts == SlotCounts(received=MOST_STREAMS + 10, dropped=10, taken=0)
    assert slot.take(0) == 10


def test_a_waiting_taker_is_woken() -> None:
    slot: Slot[str] = Slot()
    taken: list[object] = []
    thread = threading.Thread(target=lambda: taken.append(slot.take(20)))
    thread.start()
    slot.put("frame")
    thread.join(20)
    assert taken == ["frame"]


def test_nothing_is_lost_from_the_books_between_threads() -> None:
    slot: Slot[int] = Slot()
    seen: list[int] = []

    def take_all() -> None:
        while not seen or seen[-1] != 4999:
            taken = slot.take(20)
            assert taken is not None
            seen.append(taken)

    thread = threading.Thread(target=take_all)
    thread.start()
    for item in range(5000):
        slot.put(item)
    thread.join(20)
    counts = slot.counts
    assert seen == sorted(set(seen))
    assert counts.received == 5000 == counts.dropped + counts.taken
    assert counts.taken == len(seen)
