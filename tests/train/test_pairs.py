"""Generated pairs: the truth is true, and a seed gives them again."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from usert.errors import RecipeError
from usert.quality import warped_ncc
from usert.train.pretrain.pairs import Pair, random_pairs
from usert.train.pretrain.ranges import PairRanges

CLEAN = PairRanges(
    decorrelation=(1e-6, 1e-6),
    noise=(1e-4, 1e-4),
    gain=0.0,
    offset_wavelengths=1.4,
    strain=(1e-3, 1e-2),
    lateral_sigma_lines=(1.8, 2.6),
)
"""Ranges without faults, whose lateral resolution leaves little error to interpolation between lines."""


def draw(seed: int, ranges: PairRanges = CLEAN, *, batch: int = 1, diverse: float = 0.0) -> Pair:
    return random_pairs(np.random.default_rng(seed), ranges, batch=batch, shape=(320, 64), diverse=diverse)


def similarity(pair: Pair, displacement: torch.Tensor) -> float:
    """Median correlation of the first frame with the second moved back, away from the edges."""
    ncc = warped_ncc(pair.first[0].numpy(), pair.second[0].numpy(), displacement[0].numpy())
    return float(np.median(ncc[60:-60, 8:-8]))


@pytest.mark.parametrize(("diverse", "least"), [(0.0, 0.98), (1.0, 0.8)])  # steep waves shear the pulses
@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_the_second_frame_moved_back_by_the_truth_is_the_first(
    seed: int, diverse: float, least: float
) -> None:
    pair = draw(seed, diverse=diverse)
    assert similarity(pair, pair.truth) > least
    near = [
        torch.tensor(by)[None, :, None, None] for by in ((0.5, 0.0), (-0.5, 0.0), (0.0, 0.7), (0.0, -0.7))
    ]
    for wrong in (*(pair.truth + by for by in near), -pair.truth, torch.zeros_like(pair.truth)):
        assert similarity(pair, wrong) < similarity(pair, pair.truth)


def test_decorrelation_and_noise_lower_the_correlation_as_far_as_asked() -> None:
    renewed = dataclasses.replace(CLEAN, decorrelation=(0.25, 0.25))
    noisy = dataclasses.replace(CLEAN, noise=(0.3, 0.3))
    for ranges in (renewed, noisy):
        pair = draw(0, ranges)
        assert 0.6 < similarity(pair, pair.truth) < 0.97


def test_shapes_types_and_finite_values() -> None:
    pair = draw(0, PairRanges(), batch=2, diverse=0.5)
    assert pair.first.shape == pair.second.shape == (2, 320, 64)
    assert pair.truth.shape == (2, 2, 320, 64)
    for part in (pair.first, pair.second, pair.truth):
        assert part.dtype == torch.float32
        assert torch.isfinite(part).all()


def test_a_seed_gives_the_same_pairs_again() -> None:
    one, again, other = (draw(seed, PairRanges(), batch=2, diverse=0.5) for seed in (5, 5, 6))
    for part in ("first", "second", "truth"):
        assert torch.equal(getattr(one, part), getattr(again, part))
        assert not torch.equal(getattr(one, part), getattr(other, part))


def test_the_pairs_of_a_batch_differ() -> None:
    pair = draw(0, batch=2)
    for part in (pair.first, pair.second, pair.truth):
        assert not torch.allclose(part[0], part[1], atol=1e-3)


def test_strain_lies_in_its_range_with_both_signs() -> None:
    ranges = dataclasses.replace(CLEAN, inclusions=(0, 0), strain=(2e-3, 3e-2))
    strains = []
    for seed in range(24):
        axial = draw(seed, ranges).truth[0, 0]
        strain = -(axial[-1, 0] - axial[0, 0]) / (axial.shape[0] - 1)
        assert (axial.diff(dim=0) + strain).abs().max() < 1e-3  # uniform
        strains.append(float(strain))
    sizes = np.abs(strains)
    assert sizes.min() > 2e-3 * 0.99
    assert sizes.max() < 3e-2 * 1.01
    assert sizes.max() / sizes.min() > 4  # it uses the range
    assert min(strains) < 0 < max(strains)


def test_a_hard_inclusion_strains_less_than_its_surroundings() -> None:
    ranges = dataclasses.replace(CLEAN, inclusions=(1, 1), modulus_ratio=(10.0, 10.0))
    size = draw(3, ranges).truth[0, 0].diff(dim=0).abs()
    assert size.min() < 0.4 * size.median()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strain": (0.03, 0.001)}, r"ranges\.strain: got \[0\.03, 0\.001\], expected \[low, high\]"),
        ({"noise": (0.0, 0.1)}, r"ranges\.noise: got \[0\.0, 0\.1\], expected numbers above 0"),
        ({"gain": -0.1}, "gain from 0 to 10"),
        ({"inclusions": (-1, 2)}, "inclusions from 0"),
    ],
)
def test_impossible_ranges_are_refused(change: dict[str, tuple[float, float]], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        PairRanges(**change)  # type: ignore[arg-type]
