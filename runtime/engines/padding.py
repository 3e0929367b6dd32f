"""Padding of a frame to a graph of a larger shape with the frame's mean, which has no echoes, and its removal.

Invariant: padding does not affect strain and quality: where their windows would reach over the end of the frame, the
last whole window counts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def padded(frame: NDArray[np.int16], shape: tuple[int, int]) -> NDArray[np.int16]:
    """`frame` (N, M) in the top left corner of a contiguous array of `shape`."""
    if frame.shape == shape:
        return np.ascontiguousarray(frame)
    larger = np.full(shape, round(float(frame.mean())), np.int16)
    larger[: frame.shape[0], : frame.shape[1]] = frame
    return larger


def cut(
    outputs: Sequence[NDArray[np.float32]],
    shape: tuple[int, int],
    *,
    strain_window: int,
    quality_window: tuple[int, int],
) -> list[NDArray[np.float32]]:
    """Displacement, strain and quality of a padded frame cut to `shape` (N, M), as copies."""
    rows, lines = shape
    whole_rows, whole_lines = outputs[1].shape
    displacement, strain, quality = (output[..., :rows, :lines].copy() for output in outputs)
    if whole_rows != rows:
        _repeat_last(strain, strain_window // 2)
        _repeat_last(quality, quality_window[0] // 2)
    if whole_lines != lines:
        _repeat_last(quality.T, quality_window[1] // 2)
    return [displacement, strain, quality]


def _repeat_last(values: NDArray[np.float32], margin: int) -> None:
    """Replace the last `margin` rows by the one above them."""
    whole = len(values) - margin
    if 0 < whole < len(values):
        values[whole:] = values[whole - 1]
