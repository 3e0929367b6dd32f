"""What images are worth: fields whose figures are known."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from usert.errors import OptionError
from usert.runtime.imaging.estimate import Estimate
from usert.runtime.imaging.image_quality import ImageQualityRule, assess
from usert.strain import axial_strain

SHAPE = (256, 64)
RULE = ImageQualityRule(trained_strain=(3e-4, 0.03))


def estimate_of(axial: NDArray[Any], quality: NDArray[Any] | float = 1.0) -> Estimate:
    """Strain by least squares, no lateral motion."""
    return Estimate(
        displacement=np.stack([axial, np.zeros_like(axial)]).astype(np.float32),
        strain=axial_strain(axial, 65),
        quality=np.broadcast_to(np.asarray(quality, np.float32), axial.shape),
    )


def pressed(strain: float, shape: tuple[int, int] = SHAPE) -> NDArray[np.float64]:
    rows, lines = np.meshgrid(np.arange(shape[0]), np.arange(shape[1]), indexing="ij")
    return -strain * rows + 0.0 * lines


def blobs(rms_samples: float) -> NDArray[np.float64]:
    """Smooth motion without a compression, as the network draws into a still pair: three waves by two."""
    rows, lines = np.meshgrid(np.arange(SHAPE[0]) / SHAPE[0], np.arange(SHAPE[1]) / SHAPE[1], indexing="ij")
    wave = np.cos(6 * np.pi * rows) * np.cos(4 * np.pi * lines)
    return rms_samples * wave / wave.std()


@pytest.mark.parametrize("strain", [0.01, -0.004, 0.002])
def test_a_uniform_press_is_read_exactly_and_keeps_its_sign(strain: float) -> None:
    image = assess(estimate_of(pressed(strain), 0.9), RULE)
    assert image.readable_strain == pytest.approx(strain, rel=1e-4)
    assert image.score == pytest.approx(0.9)
    assert image.readable_share == 1.0
    assert image.evident_strain == pytest.approx(abs(strain), rel=1e-3)
    assert image.compression == pytest.approx(strain / 0.015, rel=1e-4)
    assert image.moving


def test_the_bar_ends_at_one() -> None:
    assert assess(estimate_of(pressed(0.04)), RULE).compression == 1.0
    assert assess(estimate_of(pressed(-0.04)), RULE).compression == -1.0


def test_what_must_not_be_read_counts_for_nothing() -> None:
    quality = np.full(SHAPE, 0.95)
    quality[100:, :] = 0.69
    axial = pressed(0.01)
    axial[100:] = 50 * np.random.default_rng(0).standard_normal((156, 64))
    estimate = dataclasses.replace(estimate_of(axial, quality), strain=axial_strain(pressed(0.01), 65))
    estimate.strain[100:] = np.nan
    image = assess(estimate, RULE)
    assert image.readable_strain == pytest.approx(0.01, rel=1e-4)
    assert image.readable_share == pytest.approx(100 / 256)
    assert image.score == pytest.approx(0.95 * 100 / 256)
    assert image.evident_strain == pytest.approx(0.01, rel=1e-2)
    assert (RULE.readable(estimate.quality) == (quality >= 0.7)).all()


def test_blobs_of_a_still_probe_are_not_motion_but_the_same_blobs_under_a_press_are() -> None:
    still = estimate_of(blobs(0.2))
    assert np.abs(still.strain).max() > 0.003, "they look like strain"
    image = assess(still, RULE)
    assert not image.moving
    assert image.compression == 0.0
    assert assess(estimate_of(blobs(0.2) + pressed(0.004)), RULE).moving


def test_a_shift_or_a_tilt_of_the_whole_is_not_motion() -> None:
    lines = 0.05 * np.arange(SHAPE[1]) + np.zeros(SHAPE)
    assert not assess(estimate_of(np.full(SHAPE, 7.3)), RULE).moving
    assert not assess(estimate_of(lines), RULE).moving
    tilted = assess(estimate_of(lines + pressed(0.002)), RULE)
    assert tilted.evident_strain == pytest.approx(0.002, rel=1e-3)


def test_evident_strain_is_that_of_the_plane_less_its_scatter() -> None:
    axial = pressed(0.01) + 0.4 * np.random.default_rng(0).standard_normal(SHAPE)
    rows, lines = np.meshgrid(np.arange(0, 256, 4), np.arange(0, 64, 2), indexing="ij")
    columns = np.stack([np.ones(rows.size), rows.ravel(), lines.ravel()], axis=1)
    seen = axial[::4, ::2].ravel().astype(np.float32).astype(np.float64)
    solution, *_ = np.linalg.lstsq(columns, seen)
    residual = np.sqrt(np.mean((seen - columns @ solution) ** 2))
    expected = abs(solution[1]) - 4 * residual / 256
    assert assess(estimate_of(axial), RULE).evident_strain == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("shape", [(3, 1), (1, 3), (2, 2), (64, 1), (24, 8)])
@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_every_figure_is_finite(shape: tuple[int, int], value: float) -> None:
    flat = np.full(shape, value, np.float32)
    for quality in (np.ones(shape, np.float32), flat):
        image = assess(Estimate(displacement=np.stack([flat, flat]), strain=flat, quality=quality), RULE)
        figures = (image.score, image.readable_share, image.readable_strain, image.evident_strain)
        assert np.isfinite([*figures, image.compression]).all()
        assert not image.moving


def test_nothing_readable_gives_zeros() -> None:
    image = assess(estimate_of(pressed(0.01), 0.2), RULE)
    assert (image.score, image.readable_share, image.readable_strain, image.moving) == (0.0, 0.0, 0.0, False)
    assert image.warnings == ("low_quality",)


def test_a_large_frame_is_judged_by_a_part_of_its_pixels() -> None:
    rng = np.random.default_rng(0)
    axial = pressed(0.01, (1920, 768)) + 0.05 * rng.standard_normal((1, 768))
    quality = np.clip(0.85 + 0.1 * rng.standard_normal((1920, 768)), 0, 1).astype(np.float32)
    estimate = estimate_of(axial, quality)
    readable = quality >= 0.7
    image = assess(estimate, RULE)
    assert image.readable_share == pytest.approx(readable.mean(), abs=0.01)
    assert image.score == pytest.approx((quality * readable).mean(), abs=0.01)
    assert image.readable_strain == pytest.approx(estimate.strain[readable].mean(), rel=0.01)


@pytest.mark.parametrize(
    ("strain", "quality", "precompression", "expected"),
    [
        (0.008, 1.0, 0.0, ()),
        (0.002, 1.0, 0.0, ("strain_low",)),
        (-0.02, 1.0, 0.0, ("strain_high",)),
        (0.04, 1.0, 0.0, ("strain_high", "strain_untrained")),
        (0.0001, 1.0, 0.0, ()),
        (0.008, 0.3, 0.0, ("low_quality",)),
        (0.008, 1.0, 0.11, ("precompressed",)),
        (-0.002, 1.0, 0.2, ("strain_low", "precompressed")),
    ],
)
def test_warnings(strain: float, quality: float, precompression: float, expected: tuple[str, ...]) -> None:
    image = assess(estimate_of(pressed(strain), quality), RULE, precompression=precompression)
    assert image.warnings == expected


def test_what_the_network_was_trained_for_may_be_unknown() -> None:
    image = assess(estimate_of(pressed(0.04)), ImageQualityRule())
    assert image.warnings == ("strain_high",)


@pytest.mark.parametrize(
    "bad",
    [
        {"readable_quality": 0.0},
        {"fair_score": 1.1},
        {"useful_strain": (0.02, 0.01)},
        {"trained_strain": (-0.1, 0.01)},
        {"still_strain": -1.0},
        {"scatter": np.inf},
        {"precompression": np.nan},
    ],
)
def test_impossible_rules_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="expected"):
        ImageQualityRule(**bad)
