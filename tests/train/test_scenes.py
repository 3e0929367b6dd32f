"""Textured scenes: the truth is the layers' own motion, and a seed gives them again."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from torch import Tensor

from usert.train.pretrain import scenes
from usert.train.pretrain.scenes import Scene, random_scenes

SHAPE = (97, 131)
"""Odd on purpose."""
SPLINE = 5
"""Pixels by which a cubic spline feels an outline, to a thousandth."""


def draw(seed: int, *, batch: int = 1) -> Scene:
    return random_scenes(np.random.default_rng(seed), batch=batch, shape=SHAPE)


class Layers:
    """What the layers of a scene really were, background first, noted while it is drawn."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.motions: list[tuple[Tensor, Any, Any]] = []
        """(centre, matrix, shift) of each."""
        self.covered: list[Tensor] = []
        """Coverage of each shape in the first frame, in the second, and so on."""
        move, coverage = scenes._move, scenes._coverage

        def noted_move(grid: Tensor, centre: Tensor, matrix: Any, shift: Any) -> Tensor:
            self.motions.append((centre, matrix, shift))
            return move(grid, centre, matrix, shift)

        def noted_coverage(points: Tensor, outline: Any) -> Tensor:
            self.covered.append(coverage(points, outline))
            return self.covered[-1]

        monkeypatch.setattr(scenes, "_move", noted_move)
        monkeypatch.setattr(scenes, "_coverage", noted_coverage)

    def nearest(self, frame: int) -> Tensor:
        """(N, M): index of the layer that is seen in the first (0) or second (1) frame, -1 where two mix."""
        seen = torch.zeros(SHAPE, dtype=torch.long)
        for k, cover in enumerate(self.covered[frame::2], 1):
            seen = torch.where(cover > 0, torch.where(cover == 1, k, -1), seen)
        return seen


@pytest.fixture
def layers(monkeypatch: pytest.MonkeyPatch) -> Layers:
    return Layers(monkeypatch)


@pytest.fixture
def smooth(monkeypatch: pytest.MonkeyPatch) -> None:
    """Textures of one long wave a colour, in closed form, and no noise: interpolation is then no matter."""

    def wave_numbers_and_phase(rng: np.random.Generator, device: torch.device) -> Tensor:
        return torch.from_numpy(rng.uniform(0.05, 0.2, (3, 3))).float().to(device)

    def wave(texture: Tensor, points: Tensor) -> Tensor:
        row, column, phase = texture.T[:, :, None, None]
        return torch.cos(row * points[0] + column * points[1] + 30 * phase)

    monkeypatch.setattr(scenes, "_texture", wave_numbers_and_phase)
    monkeypatch.setattr(scenes, "_sample", wave)
    monkeypatch.setattr(scenes, "NOISE", 0.0)


def targets(truth: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and columns where the pixels of the first frame go."""
    rows, columns = torch.meshgrid(*(torch.arange(side) for side in SHAPE), indexing="ij")
    return rows + truth[0], columns + truth[1]


def moved_back(image: Tensor, truth: Tensor) -> Tensor:
    """(3, N, M): `image` at r + truth(r), by cubic splines."""
    at = torch.stack(targets(truth)).numpy()
    return torch.from_numpy(
        np.stack([map_coordinates(colour, at, mode="nearest") for colour in image.numpy()])
    )


def visible(layers: Layers, truth: Tensor) -> Tensor:
    """(N, M): whether the layer of a pixel is seen in the second frame, too, and all around where it goes."""
    rows, columns = (part.floor().long() for part in targets(truth))
    inside = (rows >= 1) & (rows < SHAPE[0] - 2) & (columns >= 1) & (columns < SHAPE[1] - 2)
    layer, second = layers.nearest(0), layers.nearest(1)
    seen = inside & (layer >= 0)
    for row in range(-SPLINE, SPLINE + 2):
        for column in range(-SPLINE, SPLINE + 2):
            at = (rows + row).clamp(0, SHAPE[0] - 1), (columns + column).clamp(0, SHAPE[1] - 1)
            seen &= second[at] == layer
    return seen


@pytest.mark.usefixtures("smooth")
@pytest.mark.parametrize("seed", range(6))
def test_the_second_frame_moved_back_by_the_truth_is_the_first_where_nothing_is_hidden(
    seed: int, layers: Layers
) -> None:
    scene = draw(seed)
    first, second, truth = scene.first[0], scene.second[0], scene.truth[0]
    seen = visible(layers, truth)
    assert seen.float().mean() > 0.2
    assert len(torch.unique(layers.nearest(0)[seen])) > 2  # layers, not the background alone
    error = (moved_back(second, truth) - first).abs().amax(dim=0)
    assert error[seen].max() < 0.01
    assert error[seen].median() < 1e-3
    assert (moved_back(second, 0 * truth) - first).abs().amax(dim=0)[seen].max() > 0.5


@pytest.mark.parametrize("seed", range(4))
def test_with_real_textures_nothing_fits_better_than_the_truth(seed: int, layers: Layers) -> None:
    scene = draw(seed)
    first, second, truth = scene.first[0], scene.second[0], scene.truth[0]
    seen = visible(layers, truth)

    def error(flow: Tensor) -> float:
        return float((moved_back(second, flow) - first).abs()[:, seen].mean())

    for by in ((1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0)):
        assert error(truth) < error(truth + torch.tensor(by)[:, None, None])


@pytest.mark.parametrize("seed", range(3))
def test_truth_is_the_affine_map_of_the_nearest_layer(seed: int, layers: Layers) -> None:
    truth = draw(seed).truth[0].double().numpy()
    nearest = layers.nearest(0).numpy()
    assert len(layers.motions) == len(layers.covered) // 2 + 1 > 4
    for row, column in np.ndindex(*SHAPE):
        if nearest[row, column] >= 0:
            centre, matrix, shift = layers.motions[nearest[row, column]]
            c = centre[:, 0, 0].double().numpy()
            goes = np.array(matrix) @ (np.array([row, column]) - c) + c + np.array(shift)
            np.testing.assert_allclose(truth[:, row, column], goes - [row, column], atol=2e-4)


def test_unmove_is_the_inverse_of_move() -> None:
    rng = np.random.default_rng(3)
    grid = torch.from_numpy(rng.uniform(0, 300, (2, 9, 7)))
    centre = torch.tensor([120.0, 40.0])[:, None, None]
    for _ in range(10):
        matrix, shift = scenes._motion(rng, largest=30.0)
        there = scenes._move(grid, centre, matrix, shift)
        torch.testing.assert_close(scenes._unmove(there, centre, matrix, shift), grid)
        assert math.hypot(*shift) <= 30


def test_an_outline_without_waves_is_a_disc_with_a_ramp_of_one_pixel() -> None:
    points = torch.stack(torch.meshgrid(*2 * (torch.arange(-20.0, 21.0),), indexing="ij"))
    cover = scenes._coverage(points, (12.0, []))
    distance = torch.hypot(points[0], points[1])
    assert (cover[distance <= 11.5] == 1).all()
    assert (cover[distance >= 12.5] == 0).all()
    assert cover[20, 32] == 0.5


@pytest.mark.parametrize("batch", [1, 2])
def test_shapes_types_and_levels(batch: int) -> None:
    scene = draw(0, batch=batch)
    assert scene.first.shape == scene.second.shape == (batch, 3, *SHAPE)
    assert scene.truth.shape == (batch, 2, *SHAPE)
    for part in (scene.first, scene.second, scene.truth):
        assert part.dtype == torch.float32
        assert torch.isfinite(part).all()
    pair = torch.stack((scene.first, scene.second))
    for item in range(batch):
        assert float(pair[:, item].mean()) == pytest.approx(0, abs=0.01)
        assert float(pair[:, item].std()) == pytest.approx(1, abs=0.01)


def test_flow_has_the_sizes_of_flying_chairs() -> None:
    """Mostly some pixels, now and then tens."""
    size = torch.cat([torch.linalg.vector_norm(draw(seed).truth, dim=1).flatten() for seed in range(12)])
    assert 2 < float(size.median()) < 15
    assert 20 < float(size.max()) < 80


def test_a_seed_gives_the_same_scenes_again() -> None:
    one, again, other = (draw(seed, batch=2) for seed in (5, 5, 6))
    for part in ("first", "second", "truth"):
        assert torch.equal(getattr(one, part), getattr(again, part))
        assert not torch.equal(getattr(one, part), getattr(other, part))
        assert not torch.allclose(getattr(one, part)[0], getattr(one, part)[1], atol=1e-3)


def test_a_batch_is_what_single_draws_would_be() -> None:
    rng = np.random.default_rng(8)
    single = [random_scenes(rng, batch=1, shape=SHAPE) for _ in range(2)]
    both = draw(8, batch=2)
    for part in ("first", "second", "truth"):
        assert torch.equal(getattr(both, part), torch.cat([getattr(scene, part) for scene in single]))


def test_a_texture_is_sampled_at_its_pixels_from_its_middle_and_repeats_mirrored() -> None:
    texture = scenes._texture(np.random.default_rng(0), torch.device("cpu"))
    assert texture.shape == (3, scenes.TEXTURE, scenes.TEXTURE)
    rows, columns = torch.tensor([3, 250, 40]), torch.tensor([100, 7, 41])
    points = torch.stack((rows, columns))[:, None] - (scenes.TEXTURE - 1) / 2
    expected = texture[:, rows, columns][:, None]
    torch.testing.assert_close(scenes._sample(texture, points), expected, atol=1e-3, rtol=0)
    mirrored = torch.stack((-1 - rows, columns))[:, None] - (scenes.TEXTURE - 1) / 2
    torch.testing.assert_close(scenes._sample(texture, mirrored), expected, atol=1e-3, rtol=0)


def test_without_shapes_the_whole_scene_moves_as_one_affine_map() -> None:
    scene = random_scenes(np.random.default_rng(6), batch=2, shape=(40, 56), diverse=0.0)
    rows, columns = np.meshgrid(np.arange(40.0), np.arange(56.0), indexing="ij")
    design = np.stack((np.ones(rows.size), rows.ravel(), columns.ravel()), axis=1)
    for truth in scene.truth.numpy().astype(np.float64):
        for component in truth:
            fit = np.linalg.lstsq(design, component.ravel(), rcond=None)[0]
            assert np.abs(design @ fit - component.ravel()).max() < 1e-4
