"""Averaging over time: noise by theory, and nothing smeared that moves."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from usert.errors import OptionError
from usert.runtime.imaging.estimate import Estimate
from usert.runtime.imaging.persistence import Persisted, Persistence, PersistenceRule, _sampled
from usert.warp import warp

SHAPE = (96, 48)


def estimate_of(
    strain: NDArray[Any],
    *,
    quality: NDArray[Any] | float = 0.9,
    axial: NDArray[Any] | float = 0.0,
    lateral: NDArray[Any] | float = 0.0,
) -> Estimate:
    shape = strain.shape
    return Estimate(
        displacement=np.stack([np.broadcast_to(axial, shape), np.broadcast_to(lateral, shape)]).astype(
            np.float32
        ),
        strain=strain.astype(np.float32),
        quality=np.broadcast_to(np.asarray(quality, np.float32), shape),
    )


def added(persistence: Persistence, estimate: Estimate, share: float = 0.0) -> Persisted:
    return persistence.add(estimate, mean_strain=float(np.nanmean(estimate.strain)), share=share)


def inclusion(row: float, line: float, shape: tuple[int, int] = SHAPE) -> NDArray[np.float64]:
    """Strain of 1 %, a third of it in a smooth spot."""
    rows, lines = np.meshgrid(np.arange(shape[0]), np.arange(shape[1]), indexing="ij")
    spot = np.exp(-(((rows - row) / 8) ** 2) - ((lines - line) / 5) ** 2)
    return np.asarray(0.01 * (1 - 2 / 3 * spot))


def worst(shown: NDArray[Any], expected: NDArray[Any]) -> float:
    """Largest difference away from the borders, over the mean."""
    inside = np.s_[10:-10, 6:-6]
    return float(np.abs(shown[inside] - expected[inside]).max() / np.abs(expected).mean())


def test_off_gives_back_the_image_itself() -> None:
    persistence = Persistence(PersistenceRule(weight=0.0))
    for _ in range(3):
        estimate = estimate_of(inclusion(40, 20))
        shown = added(persistence, estimate, share=1.0)
        assert shown.strain is estimate.strain
        assert (shown.averaging.images, shown.averaging.past_share) == (1, 0.0)


@pytest.mark.parametrize("weight", [0.4, 0.6, 0.8])
def test_noise_falls_as_theory_says(weight: float) -> None:
    rng, persistence = np.random.default_rng(0), Persistence(PersistenceRule(weight=weight))
    for _ in range(60):
        noise = rng.standard_normal(SHAPE)
        shown = added(persistence, estimate_of(0.01 + 1e-3 * (noise - noise.mean())))
    expected = math.sqrt((1 - weight) / (1 + weight))
    assert shown.strain.std() / 1e-3 == pytest.approx(expected, rel=0.04)
    assert shown.averaging.past_share == pytest.approx(weight, abs=1e-3)
    assert shown.averaging.images == 60


def test_the_first_images_are_a_plain_weighted_mean() -> None:
    rng, persistence = np.random.default_rng(0), Persistence(PersistenceRule(weight=0.5))
    images = [0.01 + 1e-3 * rng.standard_normal(SHAPE) for _ in range(3)]
    images = [image * 0.01 / image.mean() for image in images]
    for image in images:
        shown = added(persistence, estimate_of(image))
    expected = (images[2] + images[1] / 2 + images[0] / 4) / 1.75
    np.testing.assert_allclose(shown.strain, expected, rtol=2e-3)


@pytest.mark.parametrize(("axial", "lateral"), [(1.5, 0.0), (-0.8, 0.6), (0.4, -0.5)])
def test_an_inclusion_that_moves_is_not_smeared(axial: float, lateral: float) -> None:
    carried, left = (Persistence(PersistenceRule(weight=0.8)) for _ in range(2))
    for k in range(12):
        true = inclusion(48 + axial * (k - 6), 24 + lateral * (k - 6))
        estimate = estimate_of(true, axial=4 * axial, lateral=4 * lateral)
        with_tissue, where_it_was = added(carried, estimate, share=0.25), added(left, estimate)
    assert worst(with_tissue.strain, true) < 0.03
    assert worst(where_it_was.strain, true) > 0.1


def test_an_inclusion_that_goes_down_under_a_press_is_not_smeared() -> None:
    carried = Persistence(PersistenceRule(weight=0.8))
    rows = np.arange(SHAPE[0])[:, np.newaxis]
    for k in range(10):
        depth = 60 * (1 - 0.02) ** k
        estimate = estimate_of(inclusion(depth, 24), axial=-0.02 * rows)
        shown = added(carried, estimate, share=1.0 if k else math.nan)
    assert worst(shown.strain, inclusion(depth, 24)) < 0.03
    assert shown.averaging.images == 10


def test_a_release_adds_to_a_press_and_the_sign_is_that_of_the_newest() -> None:
    rng, persistence = np.random.default_rng(0), Persistence(PersistenceRule(weight=0.8))
    for k in range(40):
        sign = -1 if k % 2 else 1
        noise = rng.standard_normal(SHAPE)
        shown = added(persistence, estimate_of(sign * inclusion(48, 24) + 1e-3 * (noise - noise.mean())))
        assert np.sign(shown.strain.mean()) == sign
    assert (shown.strain + inclusion(48, 24))[10:-10].std() < 0.4e-3


def test_images_of_any_strain_come_to_the_scale_of_the_newest() -> None:
    persistence = Persistence(PersistenceRule(weight=0.8))
    for factor in (1.0, 0.3, -1.7, 0.6):
        shown = added(persistence, estimate_of(factor * inclusion(48, 24)))
        np.testing.assert_allclose(shown.strain, factor * inclusion(48, 24), rtol=1e-4)


def test_little_strain_counts_little() -> None:
    strong, weak = inclusion(48, 24), inclusion(20, 10)
    shares = []
    for size in (0.1, 1.0):
        persistence = Persistence(PersistenceRule(weight=0.8))
        added(persistence, estimate_of(strong))
        shares.append(added(persistence, estimate_of(size * weak)).averaging.past_share)
    assert shares[0] > 0.95
    assert shares[1] == pytest.approx(0.8 / 1.8, abs=0.03)


def test_what_must_not_be_read_adds_nothing() -> None:
    persistence = Persistence(PersistenceRule(weight=0.8))
    true, quality = inclusion(48, 24), np.full(SHAPE, 0.9)
    quality[:30] = 0.69
    spoilt = true.copy()
    spoilt[:30] = np.nan
    spoilt[:10] = 5.0
    added(persistence, estimate_of(true))
    shown = persistence.add(estimate_of(spoilt, quality=quality), mean_strain=0.009, share=0.0)
    np.testing.assert_allclose(shown.strain, true, rtol=1e-4)


def test_better_pixels_count_more() -> None:
    persistence = Persistence(PersistenceRule(weight=0.5))
    quality = np.where(np.arange(SHAPE[1]) < 24, 0.75, 0.97) + np.zeros(SHAPE)
    added(persistence, estimate_of(np.full(SHAPE, 0.01), quality=0.9))
    bent = 0.01 * (1 + 0.3 * np.sin(2 * np.pi * np.arange(SHAPE[0]) / 24))[:, np.newaxis] + np.zeros(SHAPE)
    shown = added(persistence, estimate_of(bent, quality=quality)).strain
    assert shown[:, 30:].std() > 1.5 * shown[:, :20].std()


def test_a_pixel_known_to_neither_shows_the_newest() -> None:
    persistence = Persistence(PersistenceRule(weight=0.8))
    quality = np.full(SHAPE, 0.9)
    quality[:, :8] = 0.1
    for value in (0.01, 0.02):
        strain = np.full(SHAPE, value)
        shown = persistence.add(estimate_of(strain, quality=quality), mean_strain=value, share=0.0)
    np.testing.assert_allclose(shown.strain, 0.02, rtol=1e-5)


def test_a_pixel_that_was_last_known_long_ago_shows_the_newest() -> None:
    persistence = Persistence(PersistenceRule(weight=0.8))
    added(persistence, estimate_of(inclusion(48, 24)))
    quality = np.full(SHAPE, 0.9)
    quality[:, :20] = 0.1
    estimate = estimate_of(np.full(SHAPE, 0.02), quality=quality)
    early = persistence.add(estimate, mean_strain=0.02, share=0.0).strain
    for _ in range(60):
        late = persistence.add(estimate, mean_strain=0.02, share=0.0).strain
    assert early[48, 19] < 0.018, "still carried"
    assert late[48, 19] == pytest.approx(0.02)


@pytest.mark.parametrize("share", [math.nan, 100.0, -math.inf])
def test_the_past_is_forgotten_where_it_cannot_be_carried(share: float) -> None:
    persistence = Persistence(PersistenceRule(weight=0.8))
    added(persistence, estimate_of(inclusion(48, 24)))
    shown = added(persistence, estimate_of(inclusion(20, 10)), share=share)
    assert (shown.averaging.images, shown.averaging.past_share) == (1, 0.0)
    np.testing.assert_allclose(shown.strain, inclusion(20, 10), rtol=1e-4)


def test_another_shape_starts_anew() -> None:
    persistence = Persistence(PersistenceRule(weight=0.8))
    assert added(persistence, estimate_of(inclusion(20, 10))).averaging.images == 1
    assert added(persistence, estimate_of(inclusion(20, 10, (64, 32)))).averaging.images == 1


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_constant_and_broken_images_do_no_harm(value: float) -> None:
    persistence = Persistence(PersistenceRule(weight=0.8))
    flat = np.full(SHAPE, value)
    for _ in range(2):
        shown = persistence.add(estimate_of(flat, axial=value), mean_strain=0.0, share=0.5)
        np.testing.assert_array_equal(shown.strain, flat.astype(np.float32))
    true = inclusion(48, 24)
    for _ in range(2):
        shown = added(persistence, estimate_of(true))
    np.testing.assert_allclose(shown.strain, true, rtol=1e-4)


@pytest.mark.parametrize("shape", [(1, 5), (5, 1), (2, 2)])
def test_the_smallest_frames(shape: tuple[int, int]) -> None:
    persistence = Persistence()
    for _ in range(3):
        shown = added(persistence, estimate_of(np.full(shape, 0.01), axial=0.2, lateral=0.2), share=0.5)
    np.testing.assert_allclose(shown.strain, 0.01, rtol=1e-5)


def test_a_tall_frame_is_kept_at_fewer_rows_and_shown_at_all() -> None:
    shape = (1000, 32)
    rows = np.arange(shape[0])[:, np.newaxis]
    true = 0.01 + 0.004 * np.sin(2 * np.pi * rows / 400) + np.zeros(shape)
    persistence = Persistence(PersistenceRule(weight=0.8))
    for k in range(8):
        moved = 0.01 + 0.004 * np.sin(2 * np.pi * (rows - 3 * k) / 400) + np.zeros(shape)
        shown = persistence.add(estimate_of(moved, axial=3.0), mean_strain=0.01, share=1.0)
    assert shown.strain.shape == shape
    assert np.abs(shown.strain - moved)[40:-40].max() < 1e-4
    assert np.abs(true - moved)[40:-40].max() > 1e-3


def test_sampling_is_that_of_warp() -> None:
    rng = np.random.default_rng(0)
    image = (rng.standard_normal(SHAPE) + 1j * rng.standard_normal(SHAPE)).astype(np.complex64)
    moved = 3 * rng.standard_normal((2, *SHAPE)).astype(np.float32)
    expected, valid = warp(image, moved, order=1)
    np.testing.assert_allclose(_sampled(image, moved)[valid], expected[valid], atol=1e-4)
    far = _sampled(image, moved + np.float32(1000))
    assert not far.any()


@pytest.mark.parametrize(
    "bad", [{"weight": 1.0}, {"weight": -0.1}, {"weight": math.nan}, {"readable_quality": 0.0}]
)
def test_impossible_rules_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(OptionError, match="expected"):
        PersistenceRule(**bad)
