"""Augmentation of pairs within physics: as by another gain, preamplifier, probe orientation or moment.

No rotation and no flip along depth: depth is not interchangeable with width, nor up with down, in a beam.
Invariant: second(r + truth(r)) ≈ first(r) still holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..check import check

Image = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentConfig:
    """Size of each change; 0 switches it off."""

    gain: float = 0.2
    """Largest relative change of the current frame's gain."""
    tgc: float = 1.0
    """Largest exponent of a smooth change of gain over depth (top to bottom), the same for both frames."""
    noise: float = 0.02
    """Largest electronic noise added, over the rms of the frame."""
    flip: float = 0.5
    """Probability that lines are reversed."""
    reverse: float = 0.5
    """Probability that the frames change places; never where there is truth."""
    jitter: float = 0.125
    """Largest shift of a region over its size."""

    def __post_init__(self) -> None:
        check(0 <= self.gain < 1, "augment.gain", self.gain, "0 to below 1")
        for name in ("tgc", "noise", "jitter"):
            value = getattr(self, name)
            check(0 <= value <= 10, f"augment.{name}", value, "0 to 10")
        for name in ("flip", "reverse"):
            value = getattr(self, name)
            check(0 <= value <= 1, f"augment.{name}", value, "0 to 1")


def augment(
    first: Image, second: Image, truth: Image | None, rng: np.random.Generator, config: AugmentConfig
) -> tuple[Image, Image, Image | None]:
    """Augment a pair of frames (N, M) and its truth (2, N, M), in samples and lines; the inputs are not changed."""
    rows = first.shape[0]
    if rng.random() < config.reverse and truth is None:
        first, second = second, first
    if rng.random() < config.flip:
        first, second = first[:, ::-1], second[:, ::-1]
        if truth is not None:
            truth = truth[:, :, ::-1] * np.array([1, -1], np.float32)[:, None, None]
    # a smooth curve: half a cosine over depth and a tilt
    depth = np.linspace(0, 1, rows, dtype=np.float32)[:, None]
    curve = rng.uniform(-1, 1) * (depth - 0.5) + rng.uniform(-0.5, 0.5) * np.cos(np.pi * depth)
    level = np.exp(config.tgc * curve)
    first, second = first * level, second * level * (1 + rng.uniform(-config.gain, config.gain))
    share = rng.uniform(0, config.noise)
    first, second = _noisy(first, share, rng), _noisy(second, share, rng)
    return first, second, None if truth is None else np.ascontiguousarray(truth)


def _noisy(frame: NDArray[Any], share: float, rng: np.random.Generator) -> Image:
    noise = rng.standard_normal(frame.shape, dtype=np.float32)
    return np.ascontiguousarray(frame + share * frame.std() * noise, dtype=np.float32)
