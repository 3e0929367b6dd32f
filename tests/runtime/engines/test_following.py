"""Pairs of a session start from the motion of the image before; at any doubt, from nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from jumping_press import Press
from numpy.typing import NDArray
from told_engine import SCAN, SHAPE, Told, received

from usert.bundle import Bundle, default_bundle_path
from usert.errors import BundleError, EngineError
from usert.iq import as_iq
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.runtime.engines import open_engine
from usert.runtime.engines.course import MOST_FOLLOWED, MOST_PAUSE
from usert.runtime.engines.following import FollowingEngine
from usert.runtime.engines.interface import Follower
from usert.runtime.engines.start import start_of
from usert.runtime.imaging.frames import ReceivedFrame


class Live:
    """Images of `told`, each of the next frame."""

    def __init__(self, told: Told) -> None:
        self.told, self.engine, self.k = told, FollowingEngine(told), 10

    def image(self, *, lag: int = 1, ahead: int = 1, **of: Any) -> str:
        """What the engine was asked for the image of the frame that lies `ahead`."""
        self.told.asked.clear()
        self.k += ahead
        self.engine.after(received(self.k - lag, **of), received(self.k, **of))
        return " ".join(self.told.asked)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def live(told: Told) -> Live:
    return Live(told)


def test_the_first_image_starts_from_nothing_and_the_next_follow_until_one_is_renewed(live: Live) -> None:
    asked = [live.image() for _ in range(2 * MOST_FOLLOWED + 3)]
    one_turn = ["run", *["follow"] * MOST_FOLLOWED]
    assert asked == [*one_turn, *one_turn, "run"]


def test_the_start_is_the_motion_before_as_long_as_the_lags(live: Live, told: Told) -> None:
    live.image(lag=1)
    live.image(lag=2)
    assert told.starts[0].shape == (3, 32, 8)
    assert told.starts[0][0, 0, 0] == pytest.approx(2 * 2.0 * SCAN.cycles_per_sample)
    assert told.starts[0][1, 0, 0] == pytest.approx(2 * 2.0)


@pytest.mark.parametrize(
    "other",
    [
        {"session": 2},
        {"ahead": 5},
        {"ahead": 0},
        {"lag": 4},
        {"scan": replace(SCAN, fs_hz=30e6)},
        {"stream": "another"},
    ],
    ids=str,
)
def test_nothing_is_followed_into_another_motion(live: Live, other: dict[str, Any]) -> None:
    live.image()
    assert live.image(**other) == "run"


def test_two_streams_follow_each_its_own(told: Told) -> None:
    engine = FollowingEngine(told)
    for k in range(1, 4):
        for stream in "ab":
            engine.after(received(k - 1, stream=stream), received(k, stream=stream))
    assert told.asked == ["run", "run", "follow", "follow", "follow", "follow"]


def test_at_a_doubt_the_pair_is_run_again_and_the_more_readable_answer_is_taken(
    live: Live, told: Told
) -> None:
    live.image()
    told.near = 0.6
    assert live.image() == "follow run"
    told.near = 1.0
    assert live.image() == "run", "the next starts from nothing, too"
    assert live.image() == "follow"
    told.near, told.whole = 0.8, 0.3
    estimate, follows = live.engine.after(received(live.k), received(live.k + 1))
    assert follows
    assert (estimate.quality > 0).mean() == pytest.approx(0.8, abs=0.01)


def test_tissue_that_is_less_alike_is_no_wrong_start(live: Live, told: Told) -> None:
    live.image()
    told.near = told.whole = 0.8
    assert [live.image() for _ in range(3)] == ["follow run", "follow", "follow"]


def test_where_starts_are_wrong_again_and_again_trying_becomes_rare_and_never_ends(
    live: Live, told: Told
) -> None:
    told.near = 0.85
    asked = [live.image() for _ in range(60)]
    doubts = [k for k, one in enumerate(asked) if one == "follow run"]
    assert np.diff(doubts).max() == MOST_PAUSE + 1
    told.near = 1.0
    assert [live.image() for _ in range(60)].count("follow") > 45


def test_what_is_hardly_readable_is_not_followed(live: Live, told: Told) -> None:
    told.whole = told.near = 0.3
    assert [live.image() for _ in range(4)] == ["run"] * 4
    told.whole = told.near = 1.0
    assert [live.image() for _ in range(2)] == ["run", "follow"]


@pytest.mark.parametrize("error", [EngineError("broken"), BundleError("none")])
def test_where_nothing_can_follow_every_pair_is_run_and_the_log_tells_once(
    live: Live, told: Told, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    told.raises = error
    assert [live.image() for _ in range(4)] == ["run", "follow run", "run", "run"]
    assert [record.getMessage() for record in caplog.records] == [
        f"--follow: {error}; images start from nothing from now on"
    ]
    told.raises = None
    live.engine.warm_up(SHAPE, SCAN)
    live.engine.close()
    assert told.asked[-2:] == ["warm up", "close"]


@pytest.fixture(scope="module")
def following() -> Iterator[FollowingEngine]:
    opened = open_engine(Bundle.load(default_bundle_path()), engine="onnxruntime", threads=1)
    with closing(FollowingEngine(opened)) as engine:
        yield engine


def test_a_recorded_press_with_a_jump_shows_what_it_shows_without_following(
    following: FollowingEngine,
) -> None:
    press = Press(ScannerConfig(shape=(512, 128), period_frames=24), seed=2)
    frames = [
        ReceivedFrame(frame=press.frame(k), stream="s", clock="c", received_ns=k, session=1)
        for k in range(16)
    ]
    followed = []
    for k in range(1, len(frames)):
        got, follows = following.after(frames[k - 1], frames[k])
        expected = following.run(frames[k - 1].frame.samples, frames[k].frame.samples, press.scan)
        followed.append(follows)
        both = (got.quality >= 0.7) & (expected.quality >= 0.7)
        assert np.mean(got.quality >= 0.7) >= np.mean(expected.quality >= 0.7) - 0.02, k
        assert np.abs(got.displacement - expected.displacement)[0][both].max(initial=0) < 0.02, k
        assert np.abs(got.strain - expected.strain)[both].max(initial=0) < 1e-3, k
    assert not followed[0]
    assert sum(followed) >= 9


def test_iq_follows_like_rf(following: FollowingEngine) -> None:
    """Its rows are not those of the graph: the start counts wavelengths."""
    from usert.analytic import analytic_signal

    press = SimulatedScanner(ScannerConfig(shape=(512, 128)), seed=4)
    turn = np.exp(-2j * np.pi * press.scan.cycles_per_sample * np.arange(512))[:, None]
    first, second = ((analytic_signal(press.frame(k).samples) * turn)[::2] for k in (8, 10))
    scan = replace(press.scan, fs_hz=20e6, demodulation_hz=press.scan.f0_hz)
    pair = [np.stack((frame.real, frame.imag), axis=-1).astype(np.float32) for frame in (first, second)]
    expected = following.run(*pair, scan)
    engine = following.engine
    assert isinstance(engine, Follower)
    start = start_of(expected, scan.cycles_per_sample, engine.grid_rows_at((256, 128), scan))
    got = engine.follow(*pair, scan, start)
    readable = (got.quality >= 0.7) & (expected.quality >= 0.7)
    assert readable.mean() > 0.9
    assert np.abs(got.displacement - expected.displacement)[0][readable].max() < 0.02


@pytest.mark.parametrize(("rows", "decimation"), [(197, 4), (230, 4), (394, 2), (300, 4)])
def test_the_start_of_iq_has_the_windows_of_the_grid_that_the_graph_runs_on(
    following: FollowingEngine, monkeypatch: pytest.MonkeyPatch, rows: int, decimation: int
) -> None:
    """Some numbers of rows of IQ are just above a block of the grid, and the RF that is made of them just below."""
    press = SimulatedScanner(ScannerConfig(shape=(rows * decimation, 32)), seed=4)
    f0_hz = press.scan.f0_hz
    frames = [
        ReceivedFrame(
            frame=replace(as_iq(press.frame(k), f0_hz, decimation), sequence=k),
            stream="s",
            clock="c",
            received_ns=k,
            session=9,
        )
        for k in range(3)
    ]
    ran: list[Sequence[NDArray[Any]]] = []
    opened = following.engine._session  # type: ignore[attr-defined]
    monkeypatch.setattr(
        following.engine,
        "_session",
        lambda graph, shape, inputs: (
            lambda inputs: (ran.append(inputs), opened(graph, shape, inputs)(inputs))[1]
        ),
    )
    first, _ = following.after(*frames[:2])
    _, follows = following.after(*frames[1:])
    assert follows
    *_, depths, start = ran[-1]
    np.testing.assert_array_equal(
        start, start_of(first, decimation * press.scan.cycles_per_sample, len(depths))
    )
