"""Two pairs at once, of which each starts from the newest image that has ended: in every order of ending."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import product

import numpy as np
import pytest
from jumping_press import Press
from live import TIMEOUT_S
from pairs_beside import AT_ONCE, Beside
from told_engine import SCAN, SHAPE, Told

from usert.bundle import Bundle, default_bundle_path
from usert.errors import EngineError, FrameError
from usert.frame import Shape
from usert.phantom.scanner import ScannerConfig
from usert.runtime.engines import open_engine
from usert.runtime.engines.concurrency import ConcurrentEngine, pairs_at_once
from usert.runtime.engines.course import MOST_FOLLOWED
from usert.runtime.engines.following import FollowingEngine
from usert.runtime.imaging.frames import ReceivedFrame


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(AT_ONCE) as opened:
        yield opened


def test_in_every_order_of_ending_a_pair_starts_from_the_newest_motion(pool: ThreadPoolExecutor) -> None:
    for order in product(range(AT_ONCE), repeat=9):
        beside = Beside(pool)
        beside.begin()
        for which in order:
            pair = beside.begin()
            assert pair.start is None or pair.number - pair.origin <= MOST_FOLLOWED
            beside.end(beside.under_way[which])
        beside.end(beside.under_way[0])


def test_two_in_turns_follow_six_images_of_seven(pool: ThreadPoolExecutor) -> None:
    beside = Beside(pool)
    beside.begin()
    whole = []
    for _ in range(40):
        pair = beside.begin()
        if pair.start is None:
            whole.append(pair.number)
        else:
            assert AT_ONCE <= pair.number - pair.start <= AT_ONCE + 1
        beside.end(beside.under_way[0])
    beside.end(beside.under_way[0])
    assert whole[0] == 2
    assert set(np.diff(whole[:-1])) == {MOST_FOLLOWED + 1 - AT_ONCE}


@pytest.mark.parametrize("seed", range(30))
def test_at_doubts_in_any_order_nothing_follows_what_came_from_before(
    pool: ThreadPoolExecutor, seed: int
) -> None:
    """A wrong start that one pair finds holds for what starts after, whatever the pair beside it found."""
    chance, beside = random.Random(seed), Beside(pool)
    beside.begin()
    for _ in range(60):
        beside.begin()
        near, whole = chance.choice([(1.0, 1.0)] * 6 + [(0.6, 1.0), (0.7, 0.7), (0.9, 0.2), (0.3, 0.3)])
        beside.end(chance.choice(beside.under_way), near=near, whole=whole)
    beside.end(beside.under_way[0])
    assert sum(image.start is not None for image in beside.ended) > 5


def test_both_pairs_over_one_jump_are_one_wrong_start(pool: ThreadPoolExecutor) -> None:
    beside = Beside(pool)
    for _ in range(2):
        beside.end(beside.begin())
    first, second = beside.begin(), beside.begin()
    assert first.start == second.start == 2
    beside.end(second, near=0.5)
    beside.end(first, near=0.5)
    starts = []
    for _ in range(3):
        pair = beside.begin()
        starts.append(pair.start)
        beside.end(pair)
    assert starts == [None, 5, 6]


def test_a_pair_that_fails_ends_the_chain_and_not_the_pair_beside_it(pool: ThreadPoolExecutor) -> None:
    beside = Beside(pool)
    for _ in range(2):
        beside.end(beside.begin())
    first, second = beside.begin(), beside.begin()
    first.call.answer.put(FrameError("constant"))
    with pytest.raises(FrameError, match="constant"):
        first.done.result(TIMEOUT_S)
    assert beside.answer(second)
    assert [beside.answer(beside.pair_of(frame)) for frame in (5, 6)] == [False, True]


@pytest.mark.parametrize(("step", "follows"), [(4, True), (5, False)])
def test_a_gap_is_one_from_the_image_begun_before(pool: ThreadPoolExecutor, step: int, follows: bool) -> None:
    """Four frames from image to image are eight from an image to the one that starts from it."""
    beside = Beside(pool)
    first, second = beside.pair_of(10), beside.pair_of(14)
    beside.answer(first)
    third = beside.pair_of(14 + step)
    assert [beside.answer(pair) for pair in (second, third)] == [False, follows]


def test_of_two_threads_either_may_come_first(pool: ThreadPoolExecutor) -> None:
    beside = Beside(pool)
    beside.answer(beside.pair_of(1))
    late, early = beside.pair_of(3), beside.pair_of(2)
    assert [beside.answer(pair) for pair in (early, late)] == [True, True]
    assert beside.answer(beside.pair_of(4))
    assert not beside.answer(beside.pair_of(3)), "none is under way beside which it could have come late"


def test_that_nothing_follows_is_told_once(
    pool: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    beside = Beside(pool)
    beside.answer(beside.pair_of(1))
    pairs = [beside.pair_of(2), beside.pair_of(3)]
    for pair in pairs:
        pair.call.answer.put(EngineError("broken"))
        pair.call = beside.called()
    assert [beside.answer(pair) for pair in pairs] == [False, False]
    assert len(caplog.records) == 1


def test_it_takes_as_many_pairs_as_its_engine_and_warms_each_session_for_what_follows() -> None:
    class Counting(Told):
        def at_once(self, shape: Shape, scan: object = None) -> int:
            return AT_ONCE

    told = Counting()
    following = FollowingEngine(told)
    assert isinstance(following, ConcurrentEngine)
    assert pairs_at_once(following, SHAPE, SCAN) == AT_ONCE
    assert pairs_at_once(FollowingEngine(Told()), SHAPE, SCAN) == 1
    following.warm_up(SHAPE, SCAN)
    assert told.asked == ["warm up", "follow", "follow"]


def test_two_threads_on_a_press_with_a_jump_show_nothing_wrong(pool: ThreadPoolExecutor) -> None:
    """Nowhere readable and wrong by a quarter of a wavelength, whichever ends first."""
    press = Press(ScannerConfig(shape=(512, 128), period_frames=24), seed=2)
    frames = [
        ReceivedFrame(frame=press.frame(k), stream="s", clock="c", received_ns=k, session=1)
        for k in range(24)
    ]
    bundle = Bundle.load(default_bundle_path(), verify=False)
    quarter = 0.25 / press.scan.cycles_per_sample
    inner = slice(32, -32), slice(4, -4)
    opened = open_engine(bundle, engine="onnxruntime", threads=2, at_once=AT_ONCE)
    with closing(FollowingEngine(opened)) as engine:
        engine.warm_up((512, 128), press.scan)
        made = list(pool.map(engine.after, frames, frames[1:]))
    for k, (estimate, _) in enumerate(made):
        error = np.abs(estimate.displacement[0] - press.truth(k, k + 1)[0])[inner]
        assert error[(estimate.quality >= 0.7)[inner]].max(initial=0) < quarter, k
    assert not made[0][1]
    assert sum(follows for _, follows in made) >= 12
