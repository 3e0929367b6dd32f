"""The lag of the next pair, which brings mean strain into the useful range and keeps quality.

Each image tells how much the tissue was compressed between two frames. Chained, the images tell the compression of
every frame of the last seconds, so the strain that each lag would give is known before the pair is computed: the lag is
looked up, not hunted for, and cannot oscillate. At a turn of the hand, where a fixed lag sees nothing, it
reaches back past the turn. What it leaves out, an image that decorrelates, is learnt the plain way: the longest lag is
halved at once and grows again slowly.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from usert.errors import OptionError, expect

from .pairing import MAX_LAG

_REMEMBERED = 256
"""Images whose frames have a place in the course."""
_SHARED = 0.2
"""Of each step taken from the mean speed of the pair instead of from the chain, or chains that interleave at a long
lag would drift apart."""
_BENT = 0.5
"""Of the last change of speed that is expected to go on: all of it overshoots at a turn, none comes late."""
_REGROWTH = 0.5
"""Frames that the longest lag wins back with each good image."""
_PATIENCE = 3
"""Frames in a row without an image after which the lag is taken to be what prevents it."""
_LEAST_STEP = 5e-4
"""Strain below which the course is too flat to say how a motion was shared out in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LagRule:
    """Limits of a good lag, in frames; the defaults are measured, in `benchmarks/live_logic.py`."""

    least: int = 1
    """Smallest lag in frames."""
    most: int = 32
    """Largest lag in frames: half a second at 60 frames a second. The limits of pairing hold as well."""
    useful_strain: tuple[float, float] = (0.003, 0.015)
    """Range of |mean strain| that shows most: below it noise rules, above it echoes decorrelate."""
    hysteresis: float = 0.5
    """The lag stays while the strain expected at it is inside the range by this share of its ends."""
    lag_cost: float = 0.2
    """Preference for a short lag: twice the lag counts as much as strain that is off by the factor 2^cost."""
    poor_score: float = 0.5
    """Frame score below which an image counts for nothing, and lags as long as its own are too long."""

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.most <= MAX_LAG:
            raise OptionError(
                f"lag: got {self.least} to {self.most}, expected 1 <= least <= most <= {MAX_LAG}"
            )
        low, high = self.useful_strain
        expect(0 < low < high < 1, "useful strain", f"{low:g} to {high:g}", "0 < low < high < 1")
        if not (self.hysteresis >= 0 and low * (1 + self.hysteresis) ** 2 < high):
            raise OptionError(
                f"hysteresis: got {self.hysteresis:g}, expected 0 or more, and a range left to stay in"
            )
        expect(0 <= self.lag_cost < math.inf, "lag cost", f"{self.lag_cost:g}", "0 or more")
        expect(0 <= self.poor_score <= 1, "poor score", f"{self.poor_score:g}", "0 to 1")


class Course:
    """Compression of the frames of one session relative to the first, the sum over images."""

    def __init__(self) -> None:
        self._frames: deque[int] = deque(maxlen=_REMEMBERED)
        self._compression: deque[float] = deque(maxlen=_REMEMBERED)
        self._least = 0.0

    @property
    def first(self) -> int | None:
        """Sequence number of the oldest frame with a known compression; None without any."""
        return self._frames[0] if self._frames else None

    @property
    def last(self) -> int | None:
        """Sequence number of the newest frame; None without any."""
        return self._frames[-1] if self._frames else None

    @property
    def above_least(self) -> float:
        """Compression of the newest frame over the least seen, a fraction: a lower bound, as no one saw the start."""
        return self._compression[-1] - self._least if self._frames else 0.0

    def add(self, reference: int, current: int, strain: float) -> None:
        """Add the strain of the image of `current`, the newest frame, against `reference`, compression positive."""
        if not self._frames:
            self._put(reference, 0.0)
        last, at_last = self._frames[-1], self._compression[-1]
        if current <= last:
            return
        by_speed = at_last + strain * (current - last) / (current - reference)
        by_chain = float(self.at(np.array([reference]))[0]) + strain if reference < last else by_speed
        self._put(current, (1 - _SHARED) * by_chain + _SHARED * by_speed)

    def _put(self, frame: int, compression: float) -> None:
        self._frames.append(frame)
        self._compression.append(compression)
        self._least = min(self._least, compression)

    def at(self, frames: NDArray[np.int64]) -> NDArray[np.float64]:
        """Compression of `frames`: between known ones by straight lines, beyond the newest extrapolated."""
        known, compression = np.array(self._frames), np.array(self._compression)
        found: NDArray[np.float64] = np.interp(frames, known, compression)
        if len(known) > 1 and frames.max() > known[-1]:
            steps = np.diff(known[-3:])
            speeds = np.diff(compression[-3:]) / steps
            change = _BENT * (speeds[-1] - speeds[0]) / max(steps.mean(), 1)
            ahead = np.maximum(frames - known[-1], 0)
            found += (speeds[-1] + change * steps[-1] / 2) * ahead + change * ahead**2 / 2
        return found

    def share(self, previous: int, reference: int, current: int) -> float:
        """Motion from frame `previous` to `reference`, as a share of that from `reference` to `current`.

        By compression where there is enough of it, else by the count of frames. NaN where the course ends.
        """
        if self.first is None or not self.first <= min(previous, reference):
            return math.nan
        before, start, end = self.at(np.array([previous, reference, current]))
        if abs(end - start) >= _LEAST_STEP:
            return float((start - before) / (end - start))
        return (reference - previous) / (current - reference)


class LagControl:
    """`lag_for` each frame of a session, then `observe` what came of it."""

    def __init__(self, rule: LagRule | None = None) -> None:
        self.rule = rule or LagRule()
        self.course = Course()
        self.lag = self.rule.least
        """The last answer of `lag_for`, or less where an image failed since."""
        self._longest = float(self.rule.most)
        self._unanswered = 0

    @property
    def precompression(self) -> float:
        """Compression of the tissue beyond the least state of the session, a fraction; a lower bound."""
        return self.course.above_least

    def lag_for(self, sequence: int, reach: int = MAX_LAG) -> int:
        """The lag in frames for frame `sequence`; `reach` is the longest that pairing allows."""
        rule, last = self.rule, self.course.last
        self._unanswered += 1
        if self._unanswered > _PATIENCE:
            self._shorten(self.lag)
        longest = max(rule.least, min(rule.most, int(self._longest), reach))
        if last is not None and sequence - last > rule.most:
            self.course = Course()  # too long without a good image to say where the tissue is now
            self.lag = rule.least
        if self.course.first is None:
            self.lag = min(self.lag, longest)
            return self.lag
        lags = np.arange(rule.least, max(rule.least, min(longest, sequence - self.course.first)) + 1)
        compression = self.course.at(np.append(sequence - lags, sequence))
        self.lag = self._choose(lags, np.abs(compression[-1] - compression[:-1]))
        return self.lag

    def _choose(self, lags: NDArray[np.int64], strains: NDArray[np.float64]) -> int:
        """By the |strain| that each of `lags`, ascending, is expected to give."""
        low, high = self.rule.useful_strain
        at = int(np.clip(self.lag - lags[0], 0, len(lags) - 1))
        slack = 1 + self.rule.hysteresis
        if low * slack <= strains[at] <= high / slack:
            return int(lags[at])
        if strains.max() >= low:
            middle = math.sqrt(low * high)
            off = np.abs(np.log(np.maximum(strains, 1e-9) / middle)) + self.rule.lag_cost * np.log(lags)
            return int(lags[off.argmin()])
        return int(min(2 * lags[at], lags[-1]))  # nothing to see yet: look further back

    def observe(
        self, *, reference: int, current: int, mean_strain: float, score: float, moving: bool
    ) -> None:
        """Learn from the image of a pair: sequence numbers and figures of `ImageQuality`; at rest, strain is noise."""
        self._unanswered = 0
        if not (score >= self.rule.poor_score and math.isfinite(mean_strain)):
            self._shorten(current - reference)
            return
        self._longest = min(self._longest + _REGROWTH, self.rule.most)
        self.course.add(reference, current, mean_strain if moving else 0.0)

    def _shorten(self, failed: int) -> None:
        """After an image at the lag `failed` that was poor, or never came."""
        self._longest = max(self.rule.least, failed // 2)
        self.lag = min(self.lag, int(self._longest))
