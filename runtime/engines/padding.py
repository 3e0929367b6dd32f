"""A frame in a graph of a larger shape: padded with its own mean, which has no echoes, and cut out again.

Knows arrays and what the graph does at the end of a frame. Invariant: strain and quality never see what padding
added: where their windows would reach over the end, the last whole window counts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def padded(frame: NDArray[np.int16], shape: tuple[int, int]) -> NDArray[np.int16]:
    """`frame` (N, M) at the top left of a contiguous one of `shape`."""
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
    """Displacement, strain and quality of a padded frame as those of a frame of `shape` (N, M); copies."""
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
    """The last `margin` rows become those above them."""
    whole = len(values) - margin
    if 0 < whole < len(values):
        values[whole:] = values[whole - 1]
