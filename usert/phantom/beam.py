"""The image that a band-limited beam makes of point scatterers.

Each scatterer adds one pulse: a cosine at the centre frequency under a Gaussian along depth, a Gaussian across the
lines (the separable, shift-invariant model of B-mode speckle; J. C. Bamber and R. J. Dickinson, Phys. Med. Biol. 25,
1980). Scatterers are spread with linear weights over a grid four times finer along depth and twice across, then
filtered; depth by its spectrum, of which only the part below fs/2 is kept.

Knows nothing of tissue or time. Invariant: linear in the amplitudes, and moving every scatterer by a whole sample
moves the image by a whole sample.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from array_api_compat import array_namespace, device, is_numpy_array

from ..frame import Scan
from .field import Array
from .scatterers import Scatterers

AXIAL_FINE, LATERAL_FINE = 4, 2
"""Grid points a sample and a line: at .25 cycles/sample the linear weights shift a pulse by .001 sample at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beam:
    """The point-spread function, the same everywhere in the frame."""

    fractional_bandwidth: float = 0.6
    """Full width at half maximum (-6 dB) of the pulse's spectrum over its centre frequency."""
    lateral_sigma_lines: float = 1.2
    """Standard deviation of the Gaussian across the lines (two-way)."""


def rf_image(cloud: Scatterers, scan: Scan, shape: tuple[int, int], beam: Beam) -> Array:
    """RF samples (N, M) of the scatterers `cloud`, float, without noise; `shape` is (N, M).

    Row 0 is at depth 0, line 0 at x = 0; scatterers outside the frame still count as far as the pulse reaches.
    """
    xp = array_namespace(cloud.amplitude)
    where = device(cloud.amplitude)
    rows, lines = shape
    sigma_hz = beam.fractional_bandwidth * scan.f0_hz / (2 * math.sqrt(2 * math.log(2)))
    sigma_samples = scan.fs_hz / (2 * math.pi * sigma_hz)
    above = math.ceil(4 * sigma_samples)
    aside = math.ceil(4 * beam.lateral_sigma_lines) + 1
    height = _even_fast_length(rows + 2 * above)
    width = lines + 2 * aside

    fine = _spread(
        (cloud.z_mm / scan.axial_pitch_mm + above) * AXIAL_FINE,
        (cloud.x_mm / scan.line_pitch_mm + aside) * LATERAL_FINE,
        cloud.amplitude,
        (height * AXIAL_FINE, width * LATERAL_FINE),
    )
    across = np.arange(width * LATERAL_FINE)[:, None] / LATERAL_FINE - (np.arange(lines) + aside)[None, :]
    blur = np.exp(-0.5 * (across / beam.lateral_sigma_lines) ** 2)
    blurred = xp.matmul(fine, xp.asarray(blur, dtype=fine.dtype, device=where))

    frequency = np.arange(height // 2 + 1) * scan.fs_hz / height
    pulse = np.exp(-0.5 * ((frequency - scan.f0_hz) / sigma_hz) ** 2)
    spectrum = xp.fft.rfft(blurred, axis=0)[: height // 2 + 1, :]
    shaped = spectrum * xp.asarray(pulse, dtype=fine.dtype, device=where)[:, None]
    return xp.fft.irfft(shaped, n=height, axis=0)[above : above + rows, :]


def _even_fast_length(length: int) -> int:
    """The next even number whose only prime factors are 2, 3 and 5 (fast for every FFT)."""
    length += length % 2
    while True:
        rest = length
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return length
        length += 2


def _spread(row: Array, column: Array, amplitude: Array, shape: tuple[int, int]) -> Array:
    """Add each amplitude to the four grid points round it, with linear weights; what lies outside is lost."""
    xp = array_namespace(amplitude)
    height, width = shape
    keep = (row >= 0) & (row < height - 1) & (column >= 0) & (column < width - 1)
    row, column, amplitude = row[keep], column[keep], amplitude[keep]
    top, left = xp.floor(row), xp.floor(column)
    below, right = row - top, column - left
    corner = xp.astype(top, xp.int64) * width + xp.astype(left, xp.int64)
    index = xp.concat([corner, corner + 1, corner + width, corner + width + 1])
    upper, lower = amplitude * (1 - below), amplitude * below
    weight = xp.concat([upper * (1 - right), upper * right, lower * (1 - right), lower * right])
    if is_numpy_array(weight):  # the array API has no scatter-add
        total = np.bincount(index, weights=weight, minlength=height * width)
    else:
        total = xp.zeros(height * width, dtype=weight.dtype, device=device(weight)).index_add_(
            0, index, weight
        )
    return xp.reshape(total, (height, width))
