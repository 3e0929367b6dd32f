"""Front ends: how two frames become what the network sees, by name, and the depth grid that goes with one.

    rf         the paper's: RF, envelope and imaginary part of the analytic signal, at the scanner's sampling (2.3)
    baseband   the complex envelope about the carrier, resampled to a fixed number of samples a wavelength

A **wavelength** is one cycle of the echo along depth, fs / f0 samples: half of a wavelength of the sound in the tissue,
for the echo travels there and back. On the grid of `baseband` all scanners look alike, whatever their sampling.

Knows nothing of torch or of files. Invariant: row k of a grid lies at the same depth in wavelengths for every sampling.
"""

from __future__ import annotations

from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from .errors import FrameError, OptionError

FrontEnd = Literal["rf", "baseband"]
SAMPLES_PER_WAVELENGTH = 3.0
"""Rows of the depth grid in a wavelength. Three hold a pulse of any bandwidth, and a linear interpolation between them
loses a hundredth of it."""
GRID_MULTIPLE = 64
"""Grids have a multiple of this many rows: the network runs on half of them, and wants multiples of 32."""
TYPICAL = 6.5 / 40
"""Cycles a sample of a common scanner, 6.5 MHz at 40 MHz: what graphs of one shape are made for and warmed up with."""
LINE_MULTIPLE = 32
"""Frames on a grid have a multiple of this many lines."""
START_SHAPE = (3, 32, 8)
"""A motion to start from: axial displacement in wavelengths, lateral in lines and its weight, 0 to 1, of 32 windows
evenly along the grid and 8 bands across lines (`usert.network.coarse`)."""
CYCLES_PER_SAMPLE = (0.02, 0.49)
"""Centre over sampling frequency that a grid can be made for."""


def graph_inputs(
    front_end: FrontEnd, reference: NDArray[Any], current: NDArray[Any], cycles_per_sample: float | None
) -> tuple[NDArray[Any], ...]:
    """Inputs of a graph in order: two frames (N, M), and with `baseband` the depths (K,) of its grid in samples.

    The lines of frames for `baseband` are padded to a multiple of 32 with each frame's mean, which has no echoes; the
    graph's outputs have as many lines and must be cut.

    Errors: `FrameError` where the grid needs `cycles_per_sample`, f0 over fs, and it is None or impossible.
    """
    if front_end == "rf":
        return reference, current
    if cycles_per_sample is None:
        raise FrameError(
            "frame: got no sampling and centre frequency, expected a scan: the front end baseband counts wavelengths"
        )
    rows = reference.shape[-2]
    depths = depth_grid(grid_rows(rows, cycles_per_sample), cycles_per_sample)
    return _with_whole_lines(reference), _with_whole_lines(current), depths


def _with_whole_lines(frame: NDArray[Any]) -> NDArray[Any]:
    rows, lines = frame.shape
    if lines % LINE_MULTIPLE == 0:
        return np.ascontiguousarray(frame)
    wider = np.full((rows, lines + -lines % LINE_MULTIPLE), round(float(frame.mean())), frame.dtype)
    wider[:, :lines] = frame
    return wider


def as_front_end(text: str, what: str) -> FrontEnd:
    """Check that `text` names a front end. Errors: `OptionError` that begins with `what`."""
    if text not in get_args(FrontEnd):
        raise OptionError(f"{what}: got {text!r}, expected {' or '.join(get_args(FrontEnd))}")
    return cast(FrontEnd, text)


def grid_rows(rows: int, cycles_per_sample: float) -> int:
    """Rows of the depth grid that covers `rows` samples, a multiple of 64.

    Errors: `FrameError` for a centre frequency outside `CYCLES_PER_SAMPLE` times the sampling frequency.
    """
    low, high = CYCLES_PER_SAMPLE
    if not low <= cycles_per_sample <= high:
        raise FrameError(
            f"f0_hz over fs_hz: got {cycles_per_sample:.3g}, expected {low:g} to {high:g}; "
            "look at the centre and the sampling frequency that were told"
        )
    return rows_of_grid(rows * cycles_per_sample)


def rows_of_grid(wavelengths: float) -> int:
    """Rows of the depth grid that covers so many wavelengths along depth, a multiple of 64."""
    needed = int(np.ceil(round(wavelengths * SAMPLES_PER_WAVELENGTH, 6)))
    return max(1, -(-needed // GRID_MULTIPLE)) * GRID_MULTIPLE


def depth_grid(count: int, cycles_per_sample: float) -> NDArray[np.float32]:
    """Depths (count,) of the grid's rows in samples of the frame, float32; row 0 covers the frame's first samples.

    `cycles_per_sample` is the centre frequency over the sampling frequency.
    """
    spacing = 1 / (SAMPLES_PER_WAVELENGTH * cycles_per_sample)
    return ((np.arange(count) + 0.5) * spacing - 0.5).astype(np.float32)
