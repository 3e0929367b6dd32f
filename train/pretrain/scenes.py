"""Textured scenes with known flow, in the manner of the sets that optical-flow networks learn from.

A scene is a stack of layers: a background and some shapes, each with a texture of its own, each moved by its own affine
map, the nearer hiding the farther (the recipe of FlyingChairs; A. Dosovitskiy et al., "FlowNet", ICCV 2015, section
4.2; pictures replaced by generated textures, chairs by stars). Nothing in them knows of ultrasound: they stand for
"trained on computer-vision images" in the paper's comparison.

Invariant: both frames are drawn from the same layers, so `truth` is exact at every pixel of the first frame, those that
get hidden included; on an outline, where two layers mix, it is that of the layer that has the larger share.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor

TEXTURE = 256
"""Side of a generated texture in its own pixels; it repeats mirrored."""
NOISE = 0.02
"""Standard deviation of the pixel noise, the pair having 1 before it."""

Matrix = tuple[tuple[float, float], tuple[float, float]]
"""Acts on (row, column)."""
Outline = tuple[float, list[tuple[int, float, float]]]
"""Mean radius in pixels, and (order, share, phase) of the waves on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A batch of scenes."""

    first: Tensor
    """Reference frames (B, 3, N, M) float32, mean 0 and deviation 1 over the pair, up to the pixel noise."""
    second: Tensor
    """Current frames (B, 3, N, M) float32, likewise."""
    truth: Tensor
    """Flow (B, 2, N, M) float32: along rows first, then along columns, in pixels."""


def random_scenes(
    rng: np.random.Generator,
    *,
    batch: int,
    shape: tuple[int, int],
    diverse: float = 1.0,
    device: torch.device | str = "cpu",
) -> Scene:
    """Draw `batch` scenes of `shape` (N, M); a share `diverse` of them has shapes before the background."""
    drawn = [_random_scene(rng, shape, diverse, torch.device(device)) for _ in range(batch)]
    first, second, truth = (torch.stack(parts) for parts in zip(*drawn, strict=True))
    return Scene(first=first, second=second, truth=truth)


def _random_scene(
    rng: np.random.Generator, shape: tuple[int, int], diverse: float, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    rows, columns = (torch.arange(side, dtype=torch.float32, device=device) for side in shape)
    grid = torch.stack(torch.meshgrid(rows, columns, indexing="ij"))  # (2, N, M)
    middle = _point(shape[0] / 2, shape[1] / 2, device)

    texture = _texture(rng, device)
    matrix, shift = _motion(rng, largest=16.0)
    truth = _move(grid, middle, matrix, shift) - grid
    first = _sample(texture, grid - middle)
    second = _sample(texture, _unmove(grid, middle, matrix, shift) - middle)
    shapes = int(rng.integers(4, 12)) if rng.random() < diverse else 0
    for _ in range(shapes):
        centre = _point(rng.uniform(0, shape[0]), rng.uniform(0, shape[1]), device)
        outline = _outline(rng, size=min(shape) * rng.uniform(0.06, 0.3))
        texture = _texture(rng, device)
        matrix, shift = _motion(rng, largest=30.0)
        back = _unmove(grid, centre, matrix, shift) - centre
        here, there = _coverage(grid - centre, outline), _coverage(back, outline)
        first = first + here * (_sample(texture, grid - centre) - first)
        second = second + there * (_sample(texture, back) - second)
        truth = torch.where(here > 0.5, _move(grid, centre, matrix, shift) - grid, truth)
    pair = torch.stack((first, second))
    pair = (pair - pair.mean()) / (pair.std() + 1e-6)
    grain = torch.from_numpy(rng.standard_normal(tuple(pair.shape), dtype=np.float32)).to(device)
    pair = pair + NOISE * grain
    return pair[0], pair[1], truth


def _point(row: float, column: float, device: torch.device) -> Tensor:
    """(2, 1, 1)."""
    return torch.tensor([row, column], dtype=torch.float32, device=device)[:, None, None]


def _motion(rng: np.random.Generator, *, largest: float) -> tuple[Matrix, tuple[float, float]]:
    """A and t of an affine map: some turn, some zoom, and a shift that is seldom large."""
    angle, zoom = rng.normal(0, 0.02), math.exp(rng.normal(0, 0.015))
    cosine, sine = zoom * math.cos(angle), zoom * math.sin(angle)
    length, direction = largest * rng.random() ** 3, rng.uniform(0, 2 * math.pi)
    return ((cosine, -sine), (sine, cosine)), (length * math.cos(direction), length * math.sin(direction))


def _move(grid: Tensor, centre: Tensor, matrix: Matrix, shift: tuple[float, float]) -> Tensor:
    """Where the points of `grid` (2, N, M) go: A (r - c) + c + t."""
    row, column = grid - centre
    (a, b), (c, d) = matrix
    return torch.stack((a * row + b * column + shift[0], c * row + d * column + shift[1])) + centre


def _unmove(grid: Tensor, centre: Tensor, matrix: Matrix, shift: tuple[float, float]) -> Tensor:
    """Where the points of `grid` came from, the inverse of `_move`."""
    (a, b), (c, d) = matrix
    row, column = grid - centre
    row, column = row - shift[0], column - shift[1]
    scale = 1 / (a * d - b * c)
    return torch.stack((scale * (d * row - b * column), scale * (a * column - c * row))) + centre


def _texture(rng: np.random.Generator, device: torch.device) -> Tensor:
    """(3, T, T): coloured noise of a random slope, some of it cut into flat patches with edges."""
    side = TEXTURE
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :])
    slope = rng.uniform(0.0, 1.6)
    spectrum = np.maximum(frequency, 1 / side) ** -slope
    white = rng.standard_normal((3, side, side), dtype=np.float32)
    noise = np.fft.irfft2(np.fft.rfft2(white) * spectrum, s=(side, side))
    noise /= noise.std(axis=(1, 2), keepdims=True) + 1e-9
    if rng.random() < 0.4:
        steps = rng.uniform(0.7, 1.5)
        noise = np.round(noise * steps) / steps
    mixed = np.einsum("ij,jyx->iyx", np.eye(3) * 0.5 + rng.uniform(-0.5, 1.0, (3, 3)), noise)
    mixed = mixed / (mixed.std() + 1e-9) * rng.uniform(0.4, 1.2) + rng.normal(0, 0.8, (3, 1, 1))
    return torch.from_numpy(mixed.astype(np.float32)).to(device)


def _sample(texture: Tensor, points: Tensor) -> Tensor:
    """`texture` (3, T, T) at `points` (2, N, M) in its pixels from its middle → (3, N, M)."""
    grid = (points / (TEXTURE / 2)).flip(0).permute(1, 2, 0)[None]
    return functional.grid_sample(
        texture[None], grid, mode="bicubic", padding_mode="reflection", align_corners=False
    )[0]


def _outline(rng: np.random.Generator, *, size: float) -> Outline:
    """A star-shaped outline of mean radius `size`."""
    waves = [(order, rng.uniform(0, 0.5) / order, rng.uniform(0, 2 * math.pi)) for order in range(1, 6)]
    return size, waves


def _coverage(points: Tensor, outline: Outline) -> Tensor:
    """(N, M): 1 inside the outline, 0 outside, a ramp of one pixel between."""
    size, waves = outline
    angle = torch.atan2(points[0], points[1])
    radius = torch.ones_like(angle)
    for order, share, phase in waves:
        radius = radius + share * torch.cos(order * angle + phase)
    return (size * radius - torch.hypot(points[0], points[1]) + 0.5).clamp(0, 1)
