"""The critical rate of a live server: the highest frame rate that it holds, and a run that confirms it.

A rate is held where 99 of 100 frames have their image at the client within the limit: an image that is late and a
frame that has none count alike, so neither dropped frames nor a queue that grows can pass. The limit is two frame
times unless one is named: an image is there before the frame after the next is due. A limit in milliseconds that
suits 60 frames a second is out of reach of frames that take longer than that to compute, and one that suits those lets
a small frame be many frames late.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from usert.errors import EngineError

from .monitor_client import SilentError
from .rate_search import RateSearch, Threshold
from .worker import Opened
from .workload import Measurement, Workload

LATE_SHARE = 0.01
"""Share of frames that may have no image within the limit."""
LIMIT_FRAMES = 2.0
"""The limit in frame times, where none is named."""
LEAST_FRAMES = 40
"""Frames of a trial at least: a server that is 1/40 too slow is a frame time late after as many."""
LEAST_CONFIRMED_FRAMES = 100
"""Frames of a confirming run at least: of fewer, p99 is the largest."""
_REACH = 8.0
"""The search goes this factor above and below the rate at which each frame would follow the image of the last."""
_LEAST_HZ, _MOST_HZ = 1.25, 10_000.0
"""Bounds of every search: two frames further apart than a second make no pair (`PairRule.max_interval_ms`)."""
_STEP_DOWN, _CONFIRMATIONS = 0.9, 3
_LONG_S, _FIRST_SHARE = 60.0, 0.8
"""Length from which a confirming run begins at this share of the interval's lower end: trials of seconds are too short
to see stalls that are rare."""
_IN_ALL = 1.1
"""All long confirming runs together take at most this many times the length of one."""
_LEAST_HOLD_S = 20.0
"""Length below which no further long confirming run is begun."""
_ATTEMPTS = 2
"""So often a run is begun in which no images come."""
_LEAST_READINGS = 10
"""With fewer readings of memory no trend is reported."""


class Stage(Protocol):
    """A live server, such as `LiveServer`."""

    opened: Opened

    def measure(self, workload: Workload) -> Measurement:
        """Send the frames of `workload` and measure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CriticalRate:
    """The highest rate that was held, and how it was found."""

    rate_hz: float
    """Rate of the confirming run; the lowest rate tried where there was none."""
    held: bool
    """Whether that run held it."""
    limit_ms: float
    """Limit of the age at that rate."""
    threshold: Threshold
    trial_s: float
    """Length of a trial."""
    run: Measurement | None = None
    """The last confirming run; None where the search found that not even the lowest rate is held, or `fault`."""
    fault: str | None = None
    """Why no rate could be confirmed; None where nothing went wrong."""

    @property
    def rss_mb_per_min(self) -> float | None:
        """Trend of the server's memory in the confirming run, by least squares; None where it is too short to tell."""
        read = () if self.run is None else self.run.rss_mb
        return None if len(read) < _LEAST_READINGS else float(60 * np.polyfit(range(len(read)), read, 1)[0])


class CriticalSearch:
    """Finds the critical rate of one server: `trial()` until `decided`, then `confirm()`."""

    def __init__(
        self,
        stage: Stage,
        workload: Workload,
        *,
        trials: int,
        limit_ms: float | None,
        hold_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`workload`: that of a trial, at any rate. `trials`: most trials. `limit_ms`: limit of the age; None:
        `LIMIT_FRAMES`. `hold_s`: length of a confirming run. `clock`: seconds that have passed."""
        self._stage = stage
        self._workload = workload
        self._limit_ms = limit_ms
        self._hold_s = hold_s
        self._clock = clock
        alone_hz = 1e3 / stage.opened.first_ms
        lowest_hz = min(max(alone_hz / _REACH, _LEAST_HZ), _MOST_HZ / _REACH)
        highest_hz = min(max(alone_hz * _REACH, lowest_hz * _REACH), _MOST_HZ)
        self._search = RateSearch(lowest_hz, highest_hz, trials=trials)
        self._fault: str | None = None
        """Why the last measurement failed; None where it did not."""
        self._ended = False
        """Whether the stage can measure no more."""

    @property
    def decided(self) -> bool:
        """Whether no further trial is needed, or possible."""
        return self._ended or self._search.decided

    def trial(self) -> str:
        """Try one rate, and return a line about it. A rate at which no images come, twice, is not held."""
        rate_hz = self._search.next_hz
        run = self._measure(rate_hz, self._workload.seconds, LEAST_FRAMES)
        if self._ended:
            return f"{rate_hz:.3g} frames/s: the search ends: {self._fault}"
        limit_ms = self.limit_ms(rate_hz)
        held = run is not None and is_held(run, limit_ms)
        self._search.add(rate_hz, held)
        if run is None:
            return f"{rate_hz:.3g} frames/s: not held, twice: {self._fault}"
        late = f"{100 * late_share(run, limit_ms):.3g} % later than {limit_ms:.3g} ms"
        return f"{rate_hz:.3g} frames/s: {'held' if held else 'not held'}, {late}"

    def confirm(self) -> CriticalRate:
        """Hold the rate at the lower end of the interval, or lower ones until one is held: up to two of them where runs
        are short, as many as there is time for where they are long.

        A run ends as soon as it cannot be held any more. Of long ones the next has the rest of the time, and its length
        is told by `run.seconds`.
        """
        threshold, trial_s = self._search.threshold, self._workload.seconds
        rate_hz, run, held = threshold.low_hz or self._search.lowest_hz, None, False
        long = self._hold_s >= _LONG_S
        rate_hz *= _FIRST_SHARE if long else 1
        left_s, attempts = _IN_ALL * self._hold_s, 0
        over = held or self._ended or self._search.hopeless
        while not (over or (left_s < _LEAST_HOLD_S if long else attempts == _CONFIRMATIONS)):
            rate_hz = max(rate_hz * (_STEP_DOWN if attempts else 1), _LEAST_HZ)
            seconds, begun_s = min(self._hold_s, left_s) if long else self._hold_s, self._clock()
            run = self._measure(rate_hz, seconds, LEAST_CONFIRMED_FRAMES, give_up=True)
            held, attempts = run is not None and is_held(run, self.limit_ms(rate_hz)), attempts + 1
            over = held or self._ended
            left_s -= self._clock() - begun_s
        return CriticalRate(
            rate_hz=rate_hz,
            held=held,
            limit_ms=self.limit_ms(rate_hz),
            threshold=threshold,
            trial_s=trial_s,
            run=run,
            fault=self._fault,
        )

    def limit_ms(self, rate_hz: float) -> float:
        """Limit of the age at a rate."""
        return self._limit_ms or LIMIT_FRAMES * 1e3 / rate_hz

    def _measure(
        self, rate_hz: float, seconds: float, frames: int, *, give_up: bool = False
    ) -> Measurement | None:
        """None where no images came, also when tried again: on a busy machine a server may stall for seconds once.

        `give_up`: whether the run ends as soon as it cannot be held any more.
        """
        workload = Workload(
            seconds=max(seconds, frames / rate_hz),
            rate_hz=rate_hz,
            every_frame=self._workload.every_frame,
        )
        if give_up:
            most_late = int(LATE_SHARE * workload.frames)
            workload = replace(workload, limit_ms=self.limit_ms(rate_hz), most_late=most_late)
        for _ in range(_ATTEMPTS):
            try:
                run = self._stage.measure(workload)
                self._fault = None
                return run
            except SilentError as error:
                self._fault = str(error)
            except EngineError as error:  # a process has ended
                self._fault, self._ended = str(error), True
                break
        return None


def is_held(run: Measurement, limit_ms: float) -> bool:
    """Whether all but `LATE_SHARE` of a run's frames had their image within the limit, and no queue grew."""
    return late_share(run, limit_ms) <= LATE_SHARE and not run.grows


def late_share(run: Measurement, limit_ms: float) -> float:
    """Share of a run's frames without an image within the limit."""
    none = run.missing + run.waiting
    late = sum(ms > limit_ms for ms in run.latency_ms)
    return (none + late) / (none + len(run.latency_ms))
