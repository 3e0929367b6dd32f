"""The inbox: the newest frame of each source, or every frame, in turns; and books that balance."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from live import TIMEOUT_S, numbered_message, wait_until

from usert.runtime.imaging.frames import ReceivedFrame
from usert.runtime.server.frame_queue import MAX_SOURCES, SILENT_NS, FrameQueue


def taken(inbox: FrameQueue) -> list[tuple[str, int, list[int]]]:
    """All that is to be taken: stream, sequence, those before it."""
    found = []
    while (item := inbox.take(0)) is not None:
        current, before = item
        found.append((current.stream, current.frame.sequence, [f.frame.sequence for f in before]))
    return found


def balance(inbox: FrameQueue) -> int:
    """How many wait, by the books."""
    counts = inbox.counts
    refused = counts.duplicates + counts.late + counts.rejected
    return counts.received - refused - counts.dropped - counts.used


def test_the_newest_wins_and_those_it_replaced_stay_among_the_kept() -> None:
    inbox = FrameQueue(kept=3)
    for k in range(6):
        inbox.put(numbered_message(k), k)
    assert balance(inbox) == 1
    assert taken(inbox) == [("test", 5, [2, 3, 4])]
    inbox.put(numbered_message(6), 6)
    assert taken(inbox) == [("test", 6, [3, 4, 5])]
    counts = inbox.counts
    assert (counts.received, counts.dropped, counts.used, balance(inbox)) == (7, 5, 2, 0)


def test_every_frame_is_taken_in_order_with_those_before_it() -> None:
    inbox = FrameQueue(kept=2, queue=4)
    for k in range(4):
        inbox.put(numbered_message(k), k)
    assert taken(inbox) == [("test", 0, []), ("test", 1, [0]), ("test", 2, [0, 1]), ("test", 3, [1, 2])]
    assert inbox.counts.dropped == 0


@pytest.fixture
def full() -> Iterator[tuple[FrameQueue, threading.Thread]]:
    """A queue of two that is full, and a thread that brings a third."""
    inbox = FrameQueue(kept=1, queue=2)
    inbox.put(numbered_message(0), 0)
    inbox.put(numbered_message(1), 1)
    thread = threading.Thread(target=inbox.put, args=(numbered_message(2), 2))
    thread.start()
    wait_until(lambda: inbox.counts.received == 3)
    yield inbox, thread
    inbox.close()
    thread.join(TIMEOUT_S)
    assert not thread.is_alive()


def test_who_brings_more_than_the_queue_holds_waits(full: tuple[FrameQueue, threading.Thread]) -> None:
    inbox, thread = full
    assert thread.is_alive()
    assert inbox.take(0) is not None
    thread.join(TIMEOUT_S)
    assert [sequence for _, sequence, _ in taken(inbox)] == [1, 2]
    assert inbox.counts.dropped == 0


def test_closing_lets_go_who_waits(full: tuple[FrameQueue, threading.Thread]) -> None:
    inbox, thread = full
    inbox.close()
    thread.join(TIMEOUT_S)
    assert [sequence for _, sequence, _ in taken(inbox)] == [0, 1]
    assert (inbox.counts.dropped, balance(inbox)) == (1, 0)


def test_sources_take_turns_and_do_not_mix() -> None:
    inbox = FrameQueue(kept=2)
    for k in range(3):
        for stream in "ab":
            inbox.put(numbered_message(10 * (stream == "b") + k, stream=stream), k)
    inbox.put(numbered_message(3, stream="a"), 3)
    assert taken(inbox) == [("a", 3, [1, 2]), ("b", 12, [10, 11])]
    for _ in range(3):  # one that is faster keeps the other from nothing
        inbox.put(numbered_message(4, stream="a"), 4)
        inbox.put(numbered_message(13, stream="b"), 4)
        first = inbox.take(0)
        assert first is not None
        inbox.put(numbered_message(5, stream=first[0].stream), 5)
        second = inbox.take(0)
        assert second is not None
        assert second[0].stream != first[0].stream
        assert inbox.take(0) is not None
    assert inbox.sources in (("a", "b"), ("b", "a"))


def test_sessions_have_numbers_of_their_own_over_all_sources() -> None:
    sessions = []
    inbox = FrameQueue(kept=1, admitted=lambda frame: sessions.append(frame.session))
    for stream in ("a", "b", "a", "b"):
        inbox.put(numbered_message(1, stream=stream, shape=(24, 8 + len(sessions) // 2)), 0)
    assert sessions == [1, 2, 3, 4]
    assert inbox.counts.sessions == 4


def test_who_is_told_of_a_frame_is_told_before_it_can_be_taken() -> None:
    seen: list[str] = []
    threads: list[threading.Thread] = []

    def take() -> None:
        assert inbox.take(TIMEOUT_S) is not None
        seen.append("taken")

    def admitted(frame: ReceivedFrame) -> None:
        threads.append(threading.Thread(target=take))
        threads[0].start()
        threads[0].join(0.05)
        seen.append("admitted")

    inbox = FrameQueue(kept=1, admitted=admitted)
    inbox.put(numbered_message(1), 0)
    threads[0].join(TIMEOUT_S)
    assert seen == ["admitted", "taken"]


def test_a_name_belongs_to_the_way_it_came_by_until_that_is_silent() -> None:
    inbox = FrameQueue(kept=1)
    inbox.put(numbered_message(1), 1, origin=0)
    inbox.put(numbered_message(1), 2, origin=1)
    assert inbox.counts.rejected == 1
    assert taken(inbox) == [("test", 1, [])]
    inbox.put(numbered_message(1), 1 + SILENT_NS, origin=1)
    assert taken(inbox) == [("test", 1, [])]
    assert (inbox.counts.sources, inbox.counts.sessions, balance(inbox)) == (1, 2, 0)


def test_there_are_only_so_many_sources_and_a_silent_one_makes_room() -> None:
    inbox = FrameQueue(kept=1)
    for k in range(MAX_SOURCES + 2):
        inbox.put(numbered_message(1, stream=f"s{k}"), k)
    assert inbox.counts.rejected == 2
    assert len(taken(inbox)) == MAX_SOURCES
    inbox.put(numbered_message(1, stream="late"), SILENT_NS)
    assert "s0" not in inbox.sources
    assert taken(inbox) == [("late", 1, [])]
    assert (inbox.counts.sources, balance(inbox)) == (MAX_SOURCES, 0)


def test_a_source_whose_frame_waits_keeps_its_place() -> None:
    inbox = FrameQueue(kept=1)
    for k in range(MAX_SOURCES):
        inbox.put(numbered_message(1, stream=f"s{k}"), 0)
    inbox.put(numbered_message(1, stream="late"), 2 * SILENT_NS)
    assert inbox.counts.rejected == 1
    assert len(taken(inbox)) == MAX_SOURCES


def test_the_books_balance_whatever_the_threads_do() -> None:
    inbox = FrameQueue(kept=2)

    def bring(origin: int) -> None:
        for k in range(500):
            inbox.put(numbered_message(k, stream=f"s{origin}"), k, origin=origin)

    threads = [threading.Thread(target=bring, args=(origin,)) for origin in range(3)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        inbox.take(0.001)
    for thread in threads:
        thread.join()
    assert balance(inbox) == len(taken(inbox)) or balance(inbox) == 0
    assert balance(inbox) == 0
    assert inbox.counts.received == 1500
