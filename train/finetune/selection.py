"""The automatic selection of pairs of frames, and regions in them, that a network may learn from.

The paper's "automatic frame and region selection" ([1] Tehrani, Mirzaei, Rivaz, MICCAI 2020, contributions and 2.2)
goes by the outlier mask while training, which `usert.train.finetune.training` does. What can be seen before is judged
here: strain, correlation and signal of pairs at several lags. Invariant: every candidate is either chosen or rejected
with a reason, and a bad recording does not stop the others.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from usert.errors import FrameError, RecordingError
from usert.frame import Kind
from usert.network.liteflownet import MULTIPLE
from usert.recording import Recording

from ..check import check
from .motion import Motion, measure_motion
from .regions import Region, choose_regions, crop_that_fits, usable


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionConfig:
    """The criteria for a pair. Errors: `RecipeError` for an impossible value."""

    lags: tuple[int, ...] = (1, 2, 3, 4, 6, 8)
    """Frames from the reference to the current one."""
    strain: tuple[float, float] = (0.005, 0.05)
    """Least and largest mean axial strain, of either sign; [1] is for 0.5 to 5 %."""
    least_correlation: float = 0.8
    """Smallest median local correlation after matching."""
    pairs_a_recording: int = 40
    """Pairs chosen at most, evenly over time and lag; four times as many are looked at."""
    crop: tuple[int, int] = (1024, 128)
    """Shape (N, M) of the regions, multiples of 32; for smaller frames the largest multiples that fit."""
    regions_a_pair: int = 2
    near_field_mm: float = 3.0
    """Depth of the near field, which is left out."""
    shadow_db: float = 20.0
    """Level below the frame's median from which tissue counts as in shadow."""
    least_signal: float = 0.8
    """Share of a region that must have echoes."""

    def __post_init__(self) -> None:
        check(bool(self.lags) and min(self.lags) >= 1, "selection.lags", list(self.lags), "numbers from 1 up")
        low, high = self.strain
        check(
            0 <= low < high < 0.5, "selection.strain", list(self.strain), "[least, largest] within 0 to 0.5"
        )
        for name in ("least_correlation", "least_signal"):
            value = getattr(self, name)
            check(0 <= value <= 1, f"selection.{name}", value, "0 to 1")
        for name in ("pairs_a_recording", "regions_a_pair"):
            value = getattr(self, name)
            check(value >= 1, f"selection.{name}", value, "1 or more")
        fits = all(side >= 64 and side % MULTIPLE == 0 for side in self.crop)
        check(fits, "selection.crop", list(self.crop), "multiples of 32, 64 or more")
        check(0 <= self.near_field_mm < math.inf, "selection.near_field_mm", self.near_field_mm, "0 or more")
        check(self.shadow_db > 0, "selection.shadow_db", self.shadow_db, "above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenPair:
    """Two frames of a recording, and the regions to learn from."""

    recording: Path
    reference: int
    current: int
    regions: tuple[Region, ...]
    strain: float
    """Mean axial strain as a fraction, compression positive."""
    correlation: float
    near_rows: int = 0
    """Rows of near field, above which no region begins."""
    signal: Kind = "rf"
    """What the recording holds; IQ is turned up to RF as it is read."""

    @property
    def lag(self) -> int:
        """Frames from the reference to the current one."""
        return self.current - self.reference


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedPair:
    """Two frames that were examined and rejected, with the reason."""

    recording: Path
    reference: int
    current: int
    kind: str
    """One word: blank, strain, correlation, signal, or number (more good pairs than wanted)."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The chosen pairs, and the rejected ones with reasons."""

    chosen: tuple[ChosenPair, ...]
    rejected: tuple[RejectedPair, ...]
    skipped: tuple[tuple[Path, str], ...]
    """Recordings skipped as a whole, with reasons."""


def select(
    recordings: Sequence[Path],
    config: SelectionConfig,
    *,
    observe: Callable[[Path], None] = lambda path: None,
) -> Selection:
    """Select from the pairs of all `recordings`; `observe` is called with each path when it is done.

    Errors: `RecordingError` when no recording at all can be used.
    """
    chosen: list[ChosenPair] = []
    rejected: list[RejectedPair] = []
    skipped: list[tuple[Path, str]] = []
    seen: set[Path] = set()
    for path in recordings:
        try:
            with Recording(path, as_rf=True) as recording:
                if fault := "named twice" if path.resolve() in seen else _unusable(recording, config):
                    skipped.append((path, fault))
                else:
                    good, bad = _judge(recording, config)
                    chosen += good
                    rejected += bad
        except RecordingError as error:
            skipped.append((path, str(error).removeprefix(f"{path}: ")))
        seen.add(path.resolve())
        observe(path)
    if not chosen:
        if rejected:
            kind, count = Counter(pair.kind for pair in rejected).most_common(1)[0]
            example = next(pair.reason for pair in rejected if pair.kind == kind)
            why = f"most often for their {kind} ({count} times, such as {example})"
            remedy = "record a slow press and release, or widen [selection] in the recipe"
        else:
            why = "; ".join(f"{path.name}: {fault}" for path, fault in skipped[:3]) or "none was named"
            remedy = "name recordings that can be read and are long enough"
        raise RecordingError(
            f"no usable pair in {len(recordings)} recording{'s' if len(recordings) != 1 else ''}: "
            f"{len(rejected)} candidates rejected, {why}; {remedy}"
        )
    return Selection(chosen=tuple(chosen), rejected=tuple(rejected), skipped=tuple(skipped))


def _unusable(recording: Recording, config: SelectionConfig) -> str | None:
    count, (rows, lines), lag = len(recording), recording.shape, min(config.lags)
    if count <= lag:
        least = "two or more" if lag == 1 else f"{lag + 1} or more for a lag of {lag}"
        return f"{count} frame{'s' if count != 1 else ''}, expected {least}"
    if min(rows - _near_rows(recording, config), lines) < 64:
        return f"frames of {rows} x {lines}, expected 64 or more lines, and samples below the near field"
    return None


def _near_rows(recording: Recording, config: SelectionConfig) -> int:
    return math.ceil(config.near_field_mm / recording.scan.axial_pitch_mm)


def _judge(recording: Recording, config: SelectionConfig) -> tuple[list[ChosenPair], list[RejectedPair]]:
    candidates = [
        (reference, reference + lag)
        for reference in range(len(recording))
        for lag in sorted(set(config.lags))
        if reference + lag < len(recording)
    ]
    lags = [current - reference for reference, current in candidates]
    candidates = [candidates[k] for k in spread(lags, 4 * config.pairs_a_recording)]
    near_rows = _near_rows(recording, config)
    crop = crop_that_fits((recording.shape[0] - near_rows, recording.shape[1]), config.crop)
    good: list[ChosenPair] = []
    bad: list[RejectedPair] = []
    for reference, current in candidates:
        names: dict[str, Any] = {"recording": recording.path, "reference": reference, "current": current}
        try:
            first, second = (_echoes(recording, number) for number in (reference, current))
            regions, motion = _learnable(first, second, config, near_rows, crop)
        except _Rejection as found:
            bad.append(RejectedPair(**names, kind=found.kind, reason=found.reason))
        else:
            good.append(
                ChosenPair(
                    **names,
                    regions=regions,
                    strain=motion.strain,
                    correlation=motion.correlation,
                    near_rows=near_rows,
                    signal=recording.kind,
                )
            )
    kept = [good[k] for k in spread([pair.lag for pair in good], config.pairs_a_recording)]
    reason = f"{len(good)} good pairs, expected at most {config.pairs_a_recording}"
    for pair in good:
        if pair not in kept:
            names = {"recording": pair.recording, "reference": pair.reference, "current": pair.current}
            bad.append(RejectedPair(**names, kind="number", reason=reason))
    return kept, bad


class _Rejection(Exception):
    """Raised for a pair that is rejected; `kind` and `reason` as in `RejectedPair`."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


def _echoes(recording: Recording, number: int) -> NDArray[Any]:
    """(N, M): samples of frame `number`. Errors: `_Rejection` where those that are finite are all the same."""
    try:
        samples = recording.frame(number).samples
    except FrameError as error:  # IQ that cannot be turned up to RF
        raise _Rejection("blank", f"frame {number}: {error}") from error
    finite = samples[np.isfinite(samples)]
    if not finite.size:
        raise _Rejection("blank", f"frame {number}: no sample is finite, expected an RF signal")
    if finite.min() == finite.max():
        raise _Rejection("blank", f"frame {number}: all samples are the same, expected an RF signal")
    return samples


def _learnable(
    first: NDArray[Any],
    second: NDArray[Any],
    config: SelectionConfig,
    near_rows: int,
    crop: tuple[int, int],
) -> tuple[tuple[Region, ...], Motion]:
    """The regions to learn from in two frames (N, M), and the motion between the frames. Errors: `_Rejection`."""
    mask = np.logical_and(
        *(usable(frame, near_rows=near_rows, shadow_db=config.shadow_db) for frame in (first, second))
    )
    regions = choose_regions(
        mask, crop, count=config.regions_a_pair, least_signal=config.least_signal, near_rows=near_rows
    )
    if not regions:
        share = 100 * float(mask.mean())
        raise _Rejection(
            "signal",
            f"echoes in {share:.0f} % of the frame, expected {100 * config.least_signal:.0f} % of a region of "
            f"{crop[0]} x {crop[1]}",
        )
    first, second = (np.where(np.isfinite(frame), frame, 0) for frame in (first, second))
    motion = measure_motion(first, second, mask, largest_strain=config.strain[1])
    if not motion.correlation >= config.least_correlation:
        raise _Rejection(
            "correlation",
            f"correlation {motion.correlation:.2f}, expected {config.least_correlation:g} or more",
        )
    low, high = config.strain
    if not low <= abs(motion.strain) <= high:
        raise _Rejection(
            "strain",
            f"strain {100 * abs(motion.strain):.2f} %, expected {100 * low:.2f} to {100 * high:.2f} %",
        )
    return regions, motion


def spread(lags: Sequence[int], count: int) -> list[int]:
    """Indices of at most `count` of the pairs with these `lags`, in order of time, spread evenly over lag and time.

    Each lag is thinned separately, since a fixed step through all pairs may meet the same lag every time.
    """
    if len(lags) <= count:
        return list(range(len(lags)))
    groups = sorted(([k for k, lag in enumerate(lags) if lag == one] for one in sorted(set(lags))), key=len)
    kept: list[int] = []
    for number, group in enumerate(groups):
        share = min(len(group), (count - len(kept)) // (len(groups) - number))
        # the only one of its lag lies elsewhere in time for every lag
        places = np.linspace(0, 1, share) if share > 1 else np.full(share, (number + 0.5) / len(groups))
        kept += [group[k] for k in (places * (len(group) - 1)).round().astype(int)]
    return sorted(kept)
