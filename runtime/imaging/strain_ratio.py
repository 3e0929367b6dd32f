"""The strain ratio of two rectangles of an image, with its uncertainty: never a bare number.

Strain is averaged over the pixels that may be read; the ratio is that of target over background, below 1 for a stiff
target, as in `usert.quality`. Over frames it is the slope of target on background through the origin, Σ tb / Σ b², so
that images of little strain count little and releases count like presses. Invariant: a reading has its spread, its
quality and its count of pixels, or a named reason why there is none.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from usert.beam_space import BeamSpace
from usert.errors import OptionError, expect
from usert.quality import READABLE_QUALITY
from usert.strain import STRAIN_WINDOW_SAMPLES

Refusal = Literal["", "outside", "unreadable", "background"]
"""`outside`: a rectangle is not wholly inside the frame. `unreadable`: too few of its pixels may be read.
`background`: its strain cannot be told from 0, so a ratio to it means nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rectangle:
    """A part of the frame in mm: depth, and lateral from the first line or the centre line (`usert.beam_space`)."""

    depth_mm: tuple[float, float]
    lateral_mm: tuple[float, float]

    def __post_init__(self) -> None:
        for name, (first, last) in (("depth", self.depth_mm), ("lateral", self.lateral_mm)):
            if not -math.inf < first < last < math.inf:
                raise OptionError(f"rectangle: got {name} {first:g}:{last:g} mm, expected a:b with a < b")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse "depth,lateral" in mm, such as "10:14.5,3:8". Errors: `OptionError`."""
        try:
            depth, lateral = (tuple(map(float, part.split(":"))) for part in text.split(","))
            (a, b), (c, d) = depth, lateral
        except ValueError as error:
            raise OptionError(
                f"rectangle: got {text!r}, expected depth,lateral in mm, as 10:14.5,3:8"
            ) from error
        return cls(depth_mm=(a, b), lateral_mm=(c, d))

    def __str__(self) -> str:
        """The text that `parse` reads."""
        return ",".join(f"{first:g}:{last:g}" for first, last in (self.depth_mm, self.lateral_mm))


@dataclass(frozen=True, slots=True, kw_only=True)
class RatioRule:
    """Requirements on a ratio."""

    readable_quality: float = READABLE_QUALITY
    """Quality below which a pixel is not read; as in `ImageQualityRule`."""
    least_pixels: int = 100
    """Number of readable pixels in each rectangle."""
    least_share: float = 0.5
    """Share of the pixels of each rectangle that must be readable."""
    patch: tuple[int, int] = (STRAIN_WINDOW_SAMPLES, 12)
    """Size in samples and lines of a patch with correlated errors of strain: the strain window; 8 to 14 lines on
    simulated frames, by the sum of the correlation of errors."""
    least_strain: float = 3e-4
    """Least |background strain|, more than that of a still probe."""
    certainty: float = 3.0
    """Distance of the background from 0 in standard errors."""
    frames: int = 10
    """Number of images that a ratio is taken over."""

    def __post_init__(self) -> None:
        for name in ("readable_quality", "least_share"):
            expect(0 < getattr(self, name) <= 1, name, f"{getattr(self, name):g}", "more than 0, at most 1")
        if min(self.least_pixels, self.frames, *self.patch) < 1:
            raise OptionError("ratio: got a count below 1, expected pixels, frames and patch of 1 or more")
        for name in ("least_strain", "certainty"):
            expect(0 <= getattr(self, name) < math.inf, name, f"{getattr(self, name):g}", "0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionReading:
    """Strain in one rectangle of one image."""

    mean_strain: float
    """Mean over readable pixels, a fraction, compression positive."""
    spread: float
    """Standard deviation over them: structure and noise."""
    error: float
    """Standard error of the mean: the spread over the root of the patches that are independent."""
    pixels: int
    """Number of readable pixels."""
    readable_share: float
    quality: float
    """Mean over readable pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RatioReading:
    """Readings of the newest image's rectangles, and the ratio over the last images; None where refused."""

    refused: Refusal
    target: RegionReading | None = None
    background: RegionReading | None = None
    ratio: float | None = None
    """Target over background, over `frames` images."""
    spread: float | None = None
    """Spread of the ratio: the larger of that over pixels and that over frames."""
    pixel_spread: float | None = None
    """Standard error by the pixels of the newest image, first order: r √((e_t / t)² + (e_b / b)²)."""
    frame_spread: float | None = None
    """Standard deviation over images, weighted as the ratio is; None below 3 images."""
    frames: int = 0
    """Images in the ratio."""
    quality: float | None = None
    """Mean quality of the worse rectangle."""


class RatioHistory:
    """The ratio of two regions over the last images, from their readings; a refused image leaves it as it was."""

    def __init__(self, rule: RatioRule) -> None:
        self.rule = rule
        self._means: deque[tuple[float, float]] = deque(maxlen=rule.frames)

    def clear(self) -> None:
        """Forget earlier images, for a new session."""
        self._means.clear()

    def add(self, target: RegionReading, background: RegionReading) -> RatioReading:
        """The ratio with the readings of one more image as the newest."""
        rule = self.rule
        seen: dict[str, Any] = {"target": target, "background": background}
        if any(r.pixels < rule.least_pixels or r.readable_share < rule.least_share for r in seen.values()):
            return RatioReading(refused="unreadable", **seen)
        if abs(background.mean_strain) < max(rule.least_strain, rule.certainty * background.error):
            return RatioReading(refused="background", **seen)
        self._means.append((target.mean_strain, background.mean_strain))
        t, b = np.array(self._means).T
        ratio = float(t @ b / (b @ b))
        pixel_spread = math.hypot(target.error, ratio * background.error) / abs(background.mean_strain)
        frame_spread = None
        if len(t) >= 3:
            frame_spread = math.sqrt(float(((t - ratio * b) ** 2).sum() / (b @ b)) * len(t) / (len(t) - 1))
        return RatioReading(
            refused="",
            **seen,
            ratio=ratio,
            spread=max(pixel_spread, frame_spread or 0.0),
            pixel_spread=pixel_spread,
            frame_spread=frame_spread,
            frames=len(t),
            quality=min(target.quality, background.quality),
        )


class RatioMeter:
    """A meter of two rectangles in each live image; an image that is refused leaves the ratio as it was."""

    def __init__(self, target: Rectangle, background: Rectangle, rule: RatioRule | None = None) -> None:
        self.target = target
        self.background = background
        self.rule = rule or RatioRule()
        self._history = RatioHistory(self.rule)

    def reset(self) -> None:
        """Forget earlier images, for a new session."""
        self._history.clear()

    def read(self, strain: NDArray[Any], quality: NDArray[Any], space: BeamSpace) -> RatioReading:
        """The ratio with this image (N, M), whose pixels lie as in `space`, as the newest."""
        regions = []
        for rectangle in (self.target, self.background):
            found = space.pixels_in(rectangle.depth_mm, rectangle.lateral_mm)
            if found is None:
                return RatioReading(refused="outside")
            rows, lines, mask = found
            regions.append(read_region(strain[rows, lines], quality[rows, lines], self.rule, mask))
        return self._history.add(*regions)


def read_region(
    strain: NDArray[Any], quality: NDArray[Any], rule: RatioRule, mask: NDArray[np.bool_] | None = None
) -> RegionReading:
    """Figures of a part of an image, of the pixels in `mask` alone; all 0 where nothing may be read."""
    readable = (quality >= rule.readable_quality) & np.isfinite(strain)
    if mask is not None:
        readable &= mask
    at = np.flatnonzero(readable)
    count = len(at)
    if count == 0:
        return RegionReading(
            mean_strain=0.0, spread=0.0, error=0.0, pixels=0, readable_share=0.0, quality=0.0
        )
    values = strain.ravel().take(at).astype(np.float64)
    patches = math.prod(max(1.0, n / size) for n, size in zip(strain.shape, rule.patch, strict=True))
    share, spread = count / readable.size, float(values.std())
    among = readable.size if mask is None else int(np.count_nonzero(mask))
    return RegionReading(
        mean_strain=float(values.mean()),
        spread=spread,
        error=spread / math.sqrt(max(1.0, patches * share)),
        pixels=count,
        readable_share=count / among,
        quality=float(quality.ravel().take(at).mean(dtype=np.float64)),
    )
