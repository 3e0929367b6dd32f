"""The figures of one displacement on one pair, by the definitions of `usert.quality`.

Strain is computed here, with the window of the pair, so that methods differ by their displacement only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from usert.quality import cnr, nrmse, rmse, snre, strain_ratio, warped_ncc
from usert.strain import axial_strain

from .pair import BORDER, Image, Pair

Figures = dict[str, float]

TRUSTED = 0.9
"""Correlation after the warp above which a displacement counts as found."""
CPU_S = "CPU s"
SR, TRUE_SR = "SR", "true SR"
LOW, HIGH, NEAR_TRUTH = "low", "high", "nearest to the true one"
_BETTER = {
    "SNRe": HIGH,
    "CNR": HIGH,
    "NCC": HIGH,
    "share of NCC > .9": HIGH,
    SR: NEAR_TRUTH,
}
_NEITHER = (TRUE_SR,)
MEANING = {
    CPU_S: "time of the process on all its threads, without opening the engine",
    "axial RMSE (samples)": "root mean square of the error of axial displacement, 32 samples and 4 lines from the "
    "frame's border",
    "axial RMSE (samples) where NCC > .9": "the same where the frames correlate after the warp",
    "share of NCC > .9": "of that area",
    "lateral RMSE (lines)": "of lateral displacement, in that area",
    "strain RMSE (%)": "of strain; the true strain is that of the true displacement, by the same window",
    "strain NRMSE": "‖estimate - truth‖ / ‖truth‖ of strain, a fraction",
    "SNRe": "|mean| / standard deviation of strain in the homogeneous window",
    "CNR": "√(2 (s̄_b - s̄_t)² / (σ_b² + σ_t²)) of strain, target and background (Varghese and Ophir 1998; Eq. 8 of "
    "Tehrani, Mirzaei and Rivaz, MICCAI 2020)",
    SR: "strain ratio s̄_t / s̄_b, below 1 for a stiff target (the same Eq. 8)",
    "mean abs strain (%)": "in the window where hardly anything moves",
    "strain deviation (%)": "standard deviation in that window",
    "NCC": "zero-mean normalised cross-correlation of the frames after the warp, 65 x 5 samples, mean over the rows "
    "of the pair",
}
"""Definition of each figure, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Figures and images of one displacement."""

    figures: Figures
    strain: Image
    """Axial strain (N, M) as a fraction."""
    quality: Image
    """Correlation after the warp (N, M), -1 to 1."""


def measure(pair: Pair, d: Image) -> Measured:
    """Figures of the displacement `d` (2, N, M) in samples and lines; the windows and truth of the pair decide which.

    Errors: `OptionError` for a window outside the frame.
    """
    figures: Figures = {}
    strain = axial_strain(d[0], pair.strain_window)
    quality = warped_ncc(pair.pre, pair.post, d)
    if pair.truth is not None:
        inside = (..., slice(BORDER[0], -BORDER[0]), slice(BORDER[1], -BORDER[1]))
        true_strain = axial_strain(pair.truth[0], pair.strain_window)
        figures["axial RMSE (samples)"] = rmse(d[0][inside], pair.truth[0][inside])
        trusted = quality[inside] > TRUSTED
        figures["axial RMSE (samples) where NCC > .9"] = (
            rmse(d[0][inside][trusted], pair.truth[0][inside][trusted]) if trusted.any() else math.nan
        )
        figures["share of NCC > .9"] = float(trusted.mean())
        figures["lateral RMSE (lines)"] = rmse(d[1][inside], pair.truth[1][inside])
        figures["strain RMSE (%)"] = 100 * rmse(strain[inside], true_strain[inside])
        figures["strain NRMSE"] = nrmse(strain[inside], true_strain[inside])
    if pair.homogeneous is not None:
        figures["SNRe"] = snre(strain, pair.homogeneous)
    if pair.target is not None and pair.background is not None:
        figures["CNR"] = cnr(strain, pair.target, pair.background)
        figures[SR] = strain_ratio(strain, pair.target, pair.background)
        if pair.truth is not None:
            figures[TRUE_SR] = strain_ratio(true_strain, pair.target, pair.background)
    if pair.still is not None:
        percent = 100 * pair.still.of(strain)
        figures["mean abs strain (%)"] = float(np.abs(percent).mean())
        figures["strain deviation (%)"] = float(percent.std())
    figures["NCC"] = float(quality[slice(*pair.ncc_rows)].mean())
    return Measured(figures=figures, strain=strain, quality=quality)


def doubling(pair: Pair, d: Image, half: Image) -> Figures:
    """Rms difference, in samples, of the axial part of `d` (2, N, M) from twice that of `half` (2, N, M)."""
    rest = (d[0] - 2 * half[0])[slice(*pair.ncc_rows)]
    return {f"d({pair.name}) - 2 d({pair.twice}) (samples)": float(np.sqrt(np.mean(rest**2)))}


def better(figure: str) -> str | None:
    """The better values of a figure: `LOW`, `HIGH` or `NEAR_TRUTH`; None where no value is better."""
    return None if figure in _NEITHER else _BETTER.get(figure, LOW)
