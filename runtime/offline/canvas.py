"""The pixels of a picture, square in mm: parallel lines are stretched, those of a curved array laid out as a fan.

Invariant: a place in mm has the same pixel in every image that one canvas holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from usert.beam_space import BeamSpace, Span
from usert.frame import Scan, Shape

_AROUND = 30
"""Grey outside a fan."""


@dataclass(frozen=True, kw_only=True)
class Canvas:
    """The pixels over the bounds of an image."""

    space: BeamSpace
    """Where the samples of the image lie."""
    longest_px: float
    """Depth in pixels, or width if the image is wider than deep."""

    @classmethod
    def of(cls, scan: Scan, shape: Shape, longest_px: float) -> Canvas:
        """The canvas of images of `shape` (N, M)."""
        return cls(space=BeamSpace.of(scan, shape), longest_px=longest_px)

    @property
    def bounds_mm(self) -> tuple[Span, Span]:
        """Depth and lateral position from and to."""
        return self.space.bounds_mm

    @cached_property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        height_mm, width_mm = self.space.extent_mm
        scale = self.longest_px / max(height_mm, width_mm)
        return max(1, round(width_mm * scale)), max(1, round(height_mm * scale))

    @property
    def pixel_mm(self) -> tuple[float, float]:
        """Depth and width of a pixel."""
        (height_mm, width_mm), (width, height) = self.space.extent_mm, self.size
        return height_mm / height, width_mm / width

    def resampled(self, values: NDArray[np.floating]) -> NDArray[np.float32]:
        """`values` (N, M) at the pixels, NaN outside: averaged where there are more, interpolated where fewer."""
        picture = Image.fromarray(np.ascontiguousarray(values, dtype=np.float32))
        if self.space.radius_mm is None:
            return np.asarray(picture.resize(self.size, Image.Resampling.BILINEAR))
        shape = min(values.shape[0], self.size[1]), min(values.shape[1], self.size[0])
        few = np.asarray(picture.resize(shape[::-1], Image.Resampling.BILINEAR))
        return self.space.resampled(shape).laid_out(few, self.size[::-1])

    def picture(self, colours: NDArray[np.uint8]) -> Image.Image:
        """Pixels (height, width, 3) as a picture, grey outside the image."""
        if self.space.radius_mm is not None:
            outside = np.isnan(self.resampled(np.zeros(self.space.shape, np.float32)))
            colours = np.where(outside[..., np.newaxis], np.uint8(_AROUND), colours)
        return Image.fromarray(colours)
