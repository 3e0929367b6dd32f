"""Motions of the hand as formulas, and ways to choose the lag in closed loop with them.

An image's score falls with strain, as that of a volunteer's arm (half of it lost at 1 %) or of a phantom (4 %), and
with time (1.2 s). Its mean strain is off by 5 % and .02 %; that of a lost one is anything. Knows no frames and no
engine. Invariant: everything comes again on every run.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from usert.runtime.imaging.image_quality import ImageQualityRule
from usert.runtime.imaging.lag import LagControl, LagRule

RATES_HZ = 20, 40, 60
LOST_AT = {"arm": 0.01, "phantom": 0.04}

Course = NDArray[np.float64]
"""Compression of the tissue in each frame."""


class Fixed(LagControl):
    """Always the longest lag of its rule."""

    def lag_for(self, sequence: int, reach: int = 256) -> int:
        return min(self.rule.most, reach)


class Hunting(LagControl):
    """The plain way: in proportion to the largest strain a lag of the last half second, once out of the range."""

    def __init__(self, window_frames: int) -> None:
        self.window_frames = window_frames
        super().__init__()
        self.seen: list[tuple[float, int]] = []

    def lag_for(self, sequence: int, reach: int = 256) -> int:
        return min(self.lag, reach)

    def observe(
        self, *, reference: int, current: int, mean_strain: float, score: float, moving: bool
    ) -> None:
        lag, rule = current - reference, self.rule
        if score < rule.poor_score:
            self.lag = max(1, lag // 2)
            return
        self.seen.append((abs(mean_strain) / lag, current))
        self.seen = [(speed, at) for speed, at in self.seen if current - at < self.window_frames]
        fastest = max(speed for speed, _ in self.seen)
        wanted = round(0.01 / max(fastest, 1e-9))
        if fastest * lag > rule.useful_strain[1]:
            self.lag = max(1, wanted)
        elif fastest * lag < 2 * rule.useful_strain[0] and len(self.seen) > 4:
            self.lag = min(max(lag, wanted), 2 * lag, rule.most)


class Known(LagControl):
    """The best lag there is, for a motion known ahead."""

    def __init__(self, course: Course) -> None:
        self._known = course
        super().__init__()

    def lag_for(self, sequence: int, reach: int = 256) -> int:
        lags = np.arange(1, min(self.rule.most, reach, sequence) + 1)
        strain = np.abs(self._known[sequence] - self._known[sequence - lags])
        middle = math.sqrt(math.prod(self.rule.useful_strain))
        return int(lags[np.abs(np.log(np.maximum(strain, 1e-9) / middle)).argmin()])


def motions(rate_hz: float, seconds: float = 10.0) -> dict[str, Course]:
    """By name."""
    t = np.arange(0, seconds, 1 / rate_hz)
    white = np.random.default_rng(1).standard_normal(len(t))
    bell = np.exp(-0.5 * (np.arange(-60, 61) / rate_hz / 0.15) ** 2)

    def palpation(hz: float, peak: float) -> Course:
        return peak * (1 - np.cos(2 * np.pi * hz * t)) / 2

    return {
        "1 Hz, 2 %": palpation(1, 0.02),
        "1 Hz, 4 %": palpation(1, 0.04),
        "1 Hz, .5 %": palpation(1, 0.005),
        "2 Hz, 2 %": palpation(2, 0.02),
        ".3 Hz, 2 %": palpation(0.3, 0.02),
        "press, hold, release": 0.02 * np.clip(np.minimum(t % 4, 3 - t % 4), 0, 1),
        "random": 0.01 * np.convolve(white, bell / np.linalg.norm(bell), "same"),
        "slow, then fast": np.where(t < 5, palpation(0.3, 0.02), palpation(1.2, 0.02)),
    }


def follow(control: LagControl, course: Course, rate_hz: int, step: int, lost_at: float) -> Course:
    """Rows of (lag, true strain, score): the images of every `step`-th frame, after the first tenth."""
    rng, found = np.random.default_rng(0), []
    for current in range(step, len(course), step):
        lag = control.lag_for(current, reach=min(current, rate_hz))
        strain = course[current] - course[current - lag]
        score = math.exp(-((lag / rate_hz / 1.2) ** 2)) / (1 + (abs(strain) / lost_at) ** 3)
        seen = strain * (1 + 0.05 * rng.standard_normal()) + 2e-4 * rng.standard_normal()
        if score < 0.3:
            seen = 0.005 * rng.standard_normal()
        control.observe(
            reference=current - lag,
            current=current,
            mean_strain=seen,
            score=score,
            moving=abs(seen) >= ImageQualityRule().still_strain,
        )
        found.append((lag, strain, score))
    return np.array(found[len(found) // 10 :])


def ways() -> dict[str, Callable[[Course, int], LagControl]]:
    """Ways to choose the lag for a course at a frame rate, by name: fixed, hunting, the rule and its changes."""
    changes: dict[str, dict[str, Any]] = {"the rule": {}}
    changes |= {f"hysteresis {value:g}": {"hysteresis": value} for value in (0.0, 0.2, 0.8)}
    changes |= {f"lag cost {value:g}": {"lag_cost": value} for value in (0.0, 0.1, 0.4)}
    changes |= {f"at most {value} frames": {"most": value} for value in (8, 16)}
    found: dict[str, Callable[[Course, int], LagControl]] = {
        f"always {lag}": lambda course, rate, lag=lag: Fixed(LagRule(most=lag))  # type: ignore[misc]
        for lag in (1, 2, 4, 8, 16)
    }
    found["hunting"] = lambda course, rate: Hunting(rate // 2)
    found |= {
        name: lambda course, rate, change=change: LagControl(dataclasses.replace(LagRule(), **change))  # type: ignore[misc]
        for name, change in changes.items()
    }
    found["known ahead"] = lambda course, rate: Known(course)
    return found


def lag_table() -> list[dict[str, Any]]:
    """Of the images of all motions at all rates, every frame, every other, and ten a second imaged: how many are
    readable and in the useful range. Asserts that the rule beats each fixed lag, and hunting.
    """
    low, high = LagRule().useful_strain
    columns = [f"useful, {tissue} (%)" for tissue in LOST_AT]
    rows: list[dict[str, Any]] = []
    for name, make in ways().items():
        shares: dict[str, list[float]] = {column: [] for column in columns}
        for rate_hz in RATES_HZ:
            for step in (1, 2, rate_hz // 10):
                for tissue, lost_at in LOST_AT.items():
                    for course in motions(rate_hz).values():
                        lag, strain, score = follow(make(course, rate_hz), course, rate_hz, step, lost_at).T
                        readable = score >= LagRule().poor_score
                        useful = readable & (np.abs(strain) >= low) & (np.abs(strain) <= high)
                        for column, images in {
                            f"useful, {tissue} (%)": useful,
                            "lost (%)": ~readable,
                            "lag changes (% of images)": np.diff(lag) != 0,
                        }.items():
                            shares.setdefault(column, []).append(100 * float(images.mean()))
        rows.append({"lag": name} | {column: float(np.mean(values)) for column, values in shares.items()})
    for column in columns:
        best = max(row[column] for row in rows if row["lag"] == "hunting" or row["lag"].startswith("always"))
        (found,) = (row[column] for row in rows if row["lag"] == "the rule")
        if found <= best:
            raise AssertionError(f"{column}: got {found:.1f}, expected more than {best:.1f}")
    return rows
