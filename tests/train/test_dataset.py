"""Items of the dataset and their augmentation: repeatable, within physics, truth kept true."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from usert.errors import RecipeError, RecordingError
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.quality import warped_ncc
from usert.recording import write_recording
from usert.train.finetune.augment import AugmentConfig, augment
from usert.train.finetune.dataset import PairCrop, PairDataset
from usert.train.finetune.regions import Region
from usert.train.finetune.selection import ChosenPair

NOTHING = AugmentConfig(gain=0, tgc=0, noise=0, flip=0, reverse=0, jitter=0)
REGION = Region(rows=(64, 192), lines=(16, 80))


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dataset") / "press.h5"
    source = SimulatedScanner(ScannerConfig(shape=(256, 96), tilt=0.0, noise=0.0, period_frames=10), seed=7)
    frames = [source.frame(k) for k in range(4)]
    write_recording(path, frames, [source.truth(k, k + 1) for k in range(3)])
    return path


def pair(recording: Path, reference: int = 1, current: int = 2) -> ChosenPair:
    return ChosenPair(
        recording=recording, reference=reference, current=current, regions=(REGION, REGION), strain=0.01,
        correlation=0.9,
    )  # fmt: skip


def similarity(item: PairCrop) -> float:
    """Median correlation inside after the true motion."""
    assert item.truth is not None
    ncc = warped_ncc(item.first.numpy(), item.second.numpy(), item.truth.numpy())
    return float(np.median(ncc[16:-24, 8:-8]))


def test_an_item_is_the_region_of_its_frames(recording: Path) -> None:
    source = SimulatedScanner(ScannerConfig(shape=(256, 96), tilt=0.0, noise=0.0, period_frames=10), seed=7)
    data = PairDataset([pair(recording), pair(recording, 0, 2)], NOTHING)
    assert len(data) == 4
    item = data.item(0, seed=0, epoch=0)
    inside = slice(*REGION.rows), slice(*REGION.lines)
    assert np.array_equal(item.first.numpy(), source.frame(1).samples[inside].astype(np.float32))
    assert np.array_equal(item.second.numpy(), source.frame(2).samples[inside].astype(np.float32))
    assert item.truth is not None
    assert np.array_equal(item.truth.numpy(), source.truth(1, 2)[(slice(None), *inside)])
    assert (item.first.dtype, item.region) == (torch.float32, REGION)
    assert data.item(2, seed=0, epoch=0).truth is None  # truth is of neighbouring frames


def test_an_item_depends_on_seed_epoch_and_index_alone(recording: Path) -> None:
    data = PairDataset([pair(recording)], AugmentConfig())
    once, again = data.item(1, seed=3, epoch=2), data.item(1, seed=3, epoch=2)
    assert torch.equal(once.first, again.first)
    assert once.region == again.region
    for other in (
        data.item(0, seed=3, epoch=2),
        data.item(1, seed=4, epoch=2),
        data.item(1, seed=3, epoch=1),
    ):
        assert not torch.equal(once.first, other.first)


def test_regions_wander_but_stay_inside_the_frame(recording: Path) -> None:
    far = dataclasses.replace(NOTHING, jitter=5.0)
    data = PairDataset([pair(recording)], far)
    regions = [data.item(0, seed=k, epoch=0).region for k in range(30)]
    assert len(set(regions)) > 5
    for region in regions:
        assert 0 <= region.rows[0] <= region.rows[1] - 128 <= 256 - 128
        assert 0 <= region.lines[0] <= region.lines[1] - 64 <= 96 - 64


def test_regions_do_not_wander_into_the_near_field(recording: Path) -> None:
    deep = dataclasses.replace(pair(recording), near_rows=60)
    data = PairDataset([deep], dataclasses.replace(NOTHING, jitter=5.0))
    assert min(data.item(0, seed=k, epoch=0).region.rows[0] for k in range(30)) == 60


@pytest.mark.parametrize("change", [{}, {"flip": 1.0}, {"tgc": 1.5, "gain": 0.5}])
def test_truth_stays_true(recording: Path, change: dict[str, float]) -> None:
    data = PairDataset([pair(recording)], dataclasses.replace(NOTHING, **change))
    assert similarity(data.item(0, seed=5, epoch=0)) > 0.98


def test_a_flip_reverses_lines_and_the_lateral_sign() -> None:
    first, second = np.random.default_rng(0).standard_normal((2, 16, 8)).astype(np.float32)
    truth = np.random.default_rng(1).standard_normal((2, 16, 8)).astype(np.float32)
    config = dataclasses.replace(NOTHING, flip=1.0)
    a, b, t = augment(first, second, truth, np.random.default_rng(2), config)
    assert np.array_equal(a, first[:, ::-1])
    assert np.array_equal(b, second[:, ::-1])
    assert t is not None
    assert np.array_equal(t[0], truth[0, :, ::-1])
    assert np.array_equal(t[1], -truth[1, :, ::-1])


def test_frames_change_places_only_without_truth() -> None:
    first, second = np.random.default_rng(0).standard_normal((2, 16, 8)).astype(np.float32)
    config = dataclasses.replace(NOTHING, reverse=1.0)
    a, b, _ = augment(first, second, None, np.random.default_rng(2), config)
    assert np.array_equal(a, second)
    assert np.array_equal(b, first)
    a, _, _ = augment(first, second, np.zeros((2, 16, 8), np.float32), np.random.default_rng(2), config)
    assert np.array_equal(a, first)


def test_noise_has_the_strength_asked_for_and_leaves_the_input_alone() -> None:
    first = np.random.default_rng(0).standard_normal((256, 64)).astype(np.float32)
    before = first.copy()
    shares = []
    for seed in range(40):
        a, _, _ = augment(
            first, first, None, np.random.default_rng(seed), dataclasses.replace(NOTHING, noise=0.1)
        )
        shares.append(float((a - first).std() / first.std()))
    assert max(shares) <= 0.105
    assert 0.03 < np.mean(shares) < 0.07
    assert np.array_equal(first, before)


def test_samples_that_are_not_finite_become_zero(tmp_path: Path) -> None:
    source = SimulatedScanner(ScannerConfig(shape=(256, 96)), seed=1)
    frames = []
    for k in range(2):
        frame = source.frame(k)
        samples = frame.samples.astype(np.float32)
        samples[100, 30], samples[101, 30] = np.nan, np.inf
        frames.append(dataclasses.replace(frame, samples=samples))
    path = tmp_path / "nan.h5"
    write_recording(path, frames)
    item = PairDataset([pair(path, 0, 1)], AugmentConfig()).item(0, seed=0, epoch=0)
    assert torch.isfinite(item.first).all()
    assert torch.isfinite(item.second).all()


def test_a_recording_that_went_missing_is_named(recording: Path, tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"gone\.h5"):
        PairDataset([pair(tmp_path / "gone.h5")], NOTHING).item(0, seed=0, epoch=0)


@pytest.mark.parametrize("change", [{"gain": 1.0}, {"flip": 2.0}, {"noise": -0.1}])
def test_impossible_augmentations_are_refused(change: dict[str, float]) -> None:
    (name,) = change
    with pytest.raises(RecipeError, match=f"augment.{name}: got"):
        dataclasses.replace(NOTHING, **change)
