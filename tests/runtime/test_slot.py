"""The slot of one."""

from __future__ import annotations

import threading

from usert.runtime.slot import Slot, SlotCounts


def test_newest_wins_and_the_rest_is_counted() -> None:
    slot: Slot[int] = Slot(kept=2)
    for item in range(5):
        slot.put(item)
    assert slot.take(0) == (4, (2, 3))
    assert slot.take(0) is None
    assert slot.counts == SlotCounts(received=5, dropped=4, taken=1)


def test_kept_items_outlive_their_taking() -> None:
    slot: Slot[int] = Slot(kept=3)
    slot.put(0)
    assert slot.take(0) == (0, ())
    slot.put(1)
    assert slot.take(0) == (1, (0,))
    assert slot.counts.dropped == 0


def test_a_waiting_taker_is_woken() -> None:
    slot: Slot[str] = Slot()
    taken: list[object] = []
    thread = threading.Thread(target=lambda: taken.append(slot.take(20)))
    thread.start()
    slot.put("frame")
    thread.join(20)
    assert taken == [("frame", ())]


def test_nothing_is_lost_from_the_books_between_threads() -> None:
    slot: Slot[int] = Slot(kept=1)
    seen: list[int] = []

    def take_all() -> None:
        while not seen or seen[-1] != 4999:
            taken = slot.take(20)
            assert taken is not None
            seen.append(taken[0])

    thread = threading.Thread(target=take_all)
    thread.start()
    for item in range(5000):
        slot.put(item)
    thread.join(20)
    counts = slot.counts
    assert seen == sorted(set(seen))
    assert counts.received == 5000 == counts.dropped + counts.taken
    assert counts.taken == len(seen)
