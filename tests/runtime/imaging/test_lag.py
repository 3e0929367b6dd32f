"""The lag in closed loop with motions known as formulas."""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from collections.abc import Callable

import numpy as np
import pytest
from live import numbered_message, received_frame
from numpy.typing import NDArray

from usert.errors import OptionError
from usert.runtime.imaging.frames import ReceivedFrame
from usert.runtime.imaging.lag import Course, LagControl, LagRule
from usert.runtime.imaging.pairing import PairingRule, choose_reference

LOW, HIGH = LagRule().useful_strain
Array = NDArray[np.float64]


def follow(
    control: LagControl, course: Array, *, score: Callable[[int, float], float] = lambda frame, strain: 1.0
) -> tuple[NDArray[np.int64], Array]:
    """Lag and strain of the image of each frame from 1 on, when frame k is compressed by `course[k]`."""
    lags, strains = [], []
    for current in range(1, len(course)):
        lag = control.lag_for(current, reach=current)
        strain = float(course[current] - course[current - lag])
        control.observe(
            reference=current - lag,
            current=current,
            mean_strain=strain,
            score=score(current, strain),
            moving=abs(strain) >= 5e-4,
        )
        lags.append(lag)
        strains.append(strain)
    return np.array(lags), np.array(strains)


def useful(strains: Array) -> NDArray[np.bool_]:
    return np.asarray((np.abs(strains) >= LOW) & (np.abs(strains) <= HIGH))


@pytest.mark.parametrize("speed", [2.5e-4, 1e-3, 4e-3, -2.5e-4, -1e-3, -4e-3])
def test_a_press_and_a_release_come_into_range_within_twelve_images_and_the_lag_then_stays(
    speed: float,
) -> None:
    lags, strains = follow(LagControl(), speed * np.arange(100.0))
    assert useful(strains[11:]).all()
    assert (np.sign(strains) == np.sign(speed)).all()
    assert len(set(lags[40:])) == 1, "no limit cycle"


@pytest.mark.parametrize("rate_hz", [20, 40, 60])
@pytest.mark.parametrize("peak", [0.01, 0.02, 0.03])
def test_palpation_at_one_hertz_is_in_range_more_often_than_at_the_best_fixed_lag(
    rate_hz: int, peak: float
) -> None:
    course = peak * (1 - np.cos(2 * np.pi * np.arange(6 * rate_hz) / rate_hz)) / 2
    lags, strains = follow(LagControl(), course)
    settled = strains[rate_hz:]
    fixed = max(useful(course[lag:] - course[:-lag]).mean() for lag in range(1, LagRule().most + 1))
    assert useful(settled).mean() > fixed
    assert (settled > LOW).mean() > 0.35
    assert (settled < -LOW).mean() > 0.35
    assert ((lags >= 1) & (lags <= LagRule().most)).all()


def test_lags_repeat_with_the_motion_and_have_no_cycle_of_their_own() -> None:
    lags, _ = follow(LagControl(), 0.02 * np.sin(2 * np.pi * np.arange(400) / 40))
    assert (lags[200:239] == lags[360:399]).mean() > 0.9


def test_a_still_probe_is_watched_at_the_longest_lag_and_steadily() -> None:
    noise = 1e-4 * np.random.default_rng(0).standard_normal(200)
    lags, _ = follow(LagControl(), noise)
    assert (lags[40:] == LagRule().most).all()


def test_motion_after_rest_is_in_range_within_ten_images() -> None:
    course = np.concatenate([np.zeros(100), 2e-3 * np.arange(60)])
    _, strains = follow(LagControl(), course)
    assert useful(strains[109:]).all()
    assert np.abs(strains).max() <= HIGH


def test_a_step_in_speed_costs_at_most_two_images() -> None:
    for before, after in ((5e-4, 4e-3), (4e-3, 5e-4), (1e-3, -3e-3)):
        course = np.concatenate([before * np.arange(60), before * 59 + after * np.arange(1, 60)])
        lags, strains = follow(LagControl(), course)
        assert (np.abs(strains[59:]) > HIGH).sum() <= 2
        assert useful(strains[75:]).all()
        assert len(set(lags[100:])) == 1


def test_the_lag_halves_at_once_when_quality_fails_and_grows_back() -> None:
    lags, strains = follow(
        LagControl(), 3e-4 * np.arange(200.0), score=lambda frame, strain: 0.2 if 100 <= frame < 106 else 1.0
    )
    before = lags[98]
    assert before >= 16
    assert lags[100] <= before // 2
    assert lags[105] == 1, "loss of contact"
    assert useful(strains[140:]).all()
    assert lags[-1] >= 15


def test_strain_that_decorrelates_is_kept_away_from() -> None:
    lags, strains = follow(
        LagControl(),
        0.03 * (1 - np.cos(2 * np.pi * np.arange(400) / 40)) / 2,
        score=lambda frame, strain: 0.9 if abs(strain) < 0.01 else 0.1,
    )
    lost = np.abs(strains[40:]) >= 0.01
    assert lost.mean() < 0.1
    assert (np.diff(lags)[np.flatnonzero(lost[:-1]) + 40] <= 0).all()


def test_an_image_that_is_not_finite_counts_as_poor() -> None:
    control = LagControl()
    control.observe(reference=0, current=8, mean_strain=math.nan, score=1.0, moving=True)
    assert control.course.last is None
    assert control.lag_for(9) == 1


def test_a_session_begins_at_the_least_lag() -> None:
    control = LagControl()
    assert (control.lag, control.lag_for(3), control.precompression) == (1, 1, 0.0)
    assert control.course.first is None


def test_pairing_has_the_last_word() -> None:
    control = LagControl()
    follow(control, 3e-4 * np.arange(100.0))
    assert control.lag_for(100, reach=5) == 5
    assert control.lag_for(100, reach=0) == 1


def test_a_pairing_that_gives_no_image_is_not_asked_for_the_same_again() -> None:
    """As where frames are 50 ms apart and pairs at most 1 s, and no one says so by `reach`."""
    control, without, longest = LagControl(), 0, 0
    for current in range(1, 400):
        lag = control.lag_for(current)
        if lag > min(current, 20):
            without += 1
            longest = max(longest, without)
            continue
        without = 0
        control.observe(reference=current - lag, current=current, mean_strain=0.0, score=1.0, moving=False)
    assert 0 < longest <= 4


def test_with_the_reach_of_pairing_every_frame_has_its_reference() -> None:
    rule, kept, lags = PairingRule(), deque[ReceivedFrame](maxlen=LagRule().most + 4), []
    control = LagControl()
    for current in range(200):
        frame = received_frame(numbered_message(current, time_ns=1 + 50_000_000 * current))
        within = [k for k in range(1, current + 1) if 50 * k <= rule.max_interval_ms]
        lag = control.lag_for(current, reach=max(within, default=0))
        reference = choose_reference(frame, kept, dataclasses.replace(rule, lag=lag))
        kept.append(frame)
        if current == 0:
            assert reference is None
            continue
        assert reference is not None
        lags.append(current - reference.frame.sequence)
        control.observe(
            reference=current - lags[-1], current=current, mean_strain=0.0, score=1.0, moving=False
        )
    assert set(lags[20:]) == {20}


def test_after_a_long_gap_nothing_is_assumed() -> None:
    control = LagControl()
    follow(control, 3e-4 * np.arange(100.0))
    assert control.lag_for(99 + LagRule().most + 1) == 1
    assert control.course.first is None


def test_the_longest_lag_of_the_rule_holds() -> None:
    lags, _ = follow(LagControl(LagRule(least=2, most=6)), np.zeros(50))
    assert (lags[10:] == 6).all()
    assert lags.min() == 2


def test_a_chain_of_any_lags_gives_the_course_of_a_steady_press() -> None:
    rng, course = np.random.default_rng(0), Course()
    frames = np.cumsum(rng.integers(1, 4, 80))
    for current in frames:
        reference = int(current - rng.integers(1, min(current, 9) + 1))
        course.add(reference, int(current), 1e-3 * (current - reference))
    at = course.at(np.array([frames[-1] - 7, frames[-1], frames[-1] + 3]))
    assert at[1] - at[0] == pytest.approx(7e-3, abs=1e-6)
    assert at[2] - at[1] == pytest.approx(3e-3, abs=1e-6)


def test_chains_that_interleave_do_not_drift_apart() -> None:
    rng, course = np.random.default_rng(0), Course()
    for k in range(6000):
        course.add(max(k - 15, 0), k + 1, 2e-4 * rng.standard_normal())
    steps = np.diff(course.at(np.arange(5800, 6000)))
    assert steps.std() < 4 * 2e-4, "a sum of 375 errors would be 19 times one"


def test_precompression_is_that_beyond_the_least_seen() -> None:
    down_up_down = np.concatenate([np.linspace(0.03, 0.0, 40), np.linspace(0, 0.12, 150), np.full(40, 0.12)])
    control = LagControl()
    follow(control, down_up_down)
    assert control.precompression == pytest.approx(0.12, rel=0.03)


def test_noise_at_rest_adds_up_to_nothing() -> None:
    control = LagControl()
    for k in range(1000):
        control.observe(reference=k, current=k + 1, mean_strain=2e-4, score=1.0, moving=False)
    assert control.precompression == 0.0


def test_the_dearer_lag_is_the_shorter_it_gets() -> None:
    rng = np.random.default_rng(3)
    bell = np.exp(-0.5 * (np.arange(-12, 13) / 3) ** 2)
    course = 0.01 * np.convolve(rng.standard_normal(400), bell / np.linalg.norm(bell), "same")
    mean_lags = [follow(LagControl(LagRule(lag_cost=cost)), course)[0].mean() for cost in (0.0, 0.2, 0.6)]
    assert mean_lags == sorted(mean_lags, reverse=True)
    assert mean_lags[2] < 0.8 * mean_lags[0]


def test_share_of_the_motion() -> None:
    course = Course()
    for k in range(20):
        course.add(k, k + 1, 1e-3 if k < 10 else -1e-3)
    assert course.share(2, 4, 8) == pytest.approx(0.5, abs=0.02)
    assert course.share(6, 14, 18) == pytest.approx(0.0, abs=0.1), "there and back again"
    assert course.share(12, 8, 4) == pytest.approx(0.0, abs=0.1)
    assert course.share(8, 9, 11) == 0.5, "a pair across the turn: by the count of frames"
    assert math.isnan(course.share(-1, 4, 8))
    assert math.isnan(Course().share(1, 2, 3))


def test_an_image_that_comes_late_is_left_out() -> None:
    course = Course()
    course.add(0, 5, 1e-3)
    course.add(0, 5, 7e-3)
    course.add(1, 3, 7e-3)
    assert course.above_least == pytest.approx(1e-3)


@pytest.mark.parametrize(
    "bad",
    [
        {"least": 0},
        {"least": 9, "most": 8},
        {"most": 1000},
        {"useful_strain": (0.01, 0.01)},
        {"useful_strain": (0.0, 0.01)},
        {"hysteresis": -0.1},
        {"hysteresis": 1.5},
        {"lag_cost": math.inf},
        {"poor_score": 1.1},
    ],
)
def test_impossible_rules_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(OptionError, match="expected"):
        dataclasses.replace(LagRule(), **bad)  # type: ignore[arg-type]
