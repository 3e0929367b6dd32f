"""Figures on fields whose answer is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from usert.evaluation.figures import (
    CPU_S,
    HIGH,
    LOW,
    MEANING,
    NEAR_TRUTH,
    TRUE_SR,
    better,
    doubling,
    measure,
)
from usert.evaluation.pair import BORDER, Pair
from usert.frame import RFFrame
from usert.quality import Window

SHAPE = (160, 24)
ABOVE, BELOW = Window(rows=(20, 60), lines=(0, 24)), Window(rows=(100, 140), lines=(0, 24))
STRAINS = 0.02, 0.005
"""Above and below row 80."""


def two_layers() -> np.ndarray:
    """Displacement of two layers, each of one strain; nothing across."""
    row = np.arange(SHAPE[0])[:, np.newaxis]
    axial = np.where(row < 80, -STRAINS[0] * row, -STRAINS[0] * 80 - STRAINS[1] * (row - 80))
    return np.stack([np.broadcast_to(axial, SHAPE), np.zeros(SHAPE)]).astype(np.float32)


@pytest.fixture
def pair(make_frame: Callable[..., RFFrame]) -> Pair:
    frame = make_frame(3, SHAPE)
    return Pair(
        name="0 → 1",
        pre=frame.samples,
        post=frame.samples,
        scan=frame.scan,
        strain_window=9,
        ncc_rows=(32, 128),
    )


def test_strain_ratio_is_that_of_the_layers_and_layers_of_no_noise_have_no_end_of_contrast(
    pair: Pair,
) -> None:
    figures = measure(replace(pair, target=BELOW, background=ABOVE), two_layers()).figures
    assert figures["SR"] == pytest.approx(STRAINS[1] / STRAINS[0], rel=1e-3)
    assert figures["CNR"] > 1e3
    assert TRUE_SR not in figures


def test_snre_is_mean_over_deviation(pair: Pair) -> None:
    d = two_layers()
    d[0] += 0.01 * np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)
    found = measure(replace(pair, homogeneous=ABOVE), d)
    values = found.strain[20:60].astype(np.float64)
    assert found.figures["SNRe"] == pytest.approx(values.mean() / values.std())
    assert values.mean() == pytest.approx(STRAINS[0], rel=0.02)  # compression is positive


def test_against_truth_a_constant_shift_is_an_error_of_displacement_and_none_of_strain(pair: Pair) -> None:
    truth = two_layers()
    shift = np.array([0.25, -0.5], np.float32)[:, np.newaxis, np.newaxis]
    figures = measure(replace(pair, truth=truth, target=BELOW, background=ABOVE), truth + shift).figures
    assert figures["axial RMSE (samples)"] == pytest.approx(0.25, rel=1e-5)
    assert figures["lateral RMSE (lines)"] == pytest.approx(0.5, rel=1e-5)
    assert figures["strain RMSE (%)"] == pytest.approx(0, abs=1e-3)
    assert figures[TRUE_SR] == pytest.approx(STRAINS[1] / STRAINS[0], rel=1e-3)


def test_strain_error_is_told_in_percent_and_as_a_share(pair: Pair) -> None:
    truth = two_layers()
    figures = measure(replace(pair, truth=truth), 1.5 * truth).figures
    inside = slice(BORDER[0], -BORDER[0])
    true_strain = np.where(np.arange(SHAPE[0]) < 80, *STRAINS)[inside]
    assert figures["strain NRMSE"] == pytest.approx(0.5, rel=1e-4)
    assert figures["strain RMSE (%)"] == pytest.approx(50 * math.sqrt(np.mean(true_strain**2)), rel=0.02)


def test_the_border_is_left_out_of_the_errors(pair: Pair) -> None:
    truth = np.zeros((2, *SHAPE), np.float32)
    d = truth.copy()
    d[:, : BORDER[0] - 9] = 7  # a fit of 9 samples does not reach the inside
    d[0, :, : BORDER[1]] = 7
    figures = measure(replace(pair, truth=truth), d).figures
    assert figures["axial RMSE (samples)"] == 0
    assert figures["strain RMSE (%)"] == 0


def test_frames_that_do_not_move_correlate_and_rest(pair: Pair) -> None:
    found = measure(replace(pair, still=ABOVE), np.zeros((2, *SHAPE), np.float32))
    assert found.figures["NCC"] == pytest.approx(1, abs=1e-5)
    assert found.figures["mean abs strain (%)"] == found.figures["strain deviation (%)"] == 0


def test_where_nothing_is_trusted_its_error_is_not_a_number(
    pair: Pair, make_frame: Callable[..., RFFrame]
) -> None:
    truth = np.zeros((2, *SHAPE), np.float32)
    other = make_frame(4, SHAPE).samples
    figures = measure(replace(pair, post=other, truth=truth), truth).figures
    assert figures["share of NCC > .9"] == 0
    assert math.isnan(figures["axial RMSE (samples) where NCC > .9"])


def test_twice_the_press_is_twice_the_motion(pair: Pair) -> None:
    half = two_layers()
    told = replace(pair, name="0 → 1 %", twice="0 → 0.5 %")
    assert doubling(told, 2 * half, half) == {"d(0 → 1 %) - 2 d(0 → 0.5 %) (samples)": 0}
    assert next(iter(doubling(told, 2 * half + 0.125, half).values())) == pytest.approx(0.125)


def test_every_figure_has_a_meaning_and_a_direction(pair: Pair) -> None:
    whole = replace(
        pair,
        truth=two_layers(),
        homogeneous=ABOVE,
        target=BELOW,
        background=ABOVE,
        still=ABOVE,
        ncc_rows=(0, 160),
    )
    figures = measure(whole, two_layers()).figures
    assert set(figures) | {CPU_S} == set(MEANING) | {TRUE_SR}
    directions = {name: better(name) for name in figures}
    assert {name for name, way in directions.items() if way == HIGH} == {
        "SNRe",
        "CNR",
        "NCC",
        "share of NCC > .9",
    }
    assert {name for name, way in directions.items() if way == NEAR_TRUTH} == {"SR"}
    assert [name for name, way in directions.items() if way is None] == [TRUE_SR]
    assert better(CPU_S) == better("d(0 → 1 %) - 2 d(0 → 0.5 %) (samples)") == LOW
