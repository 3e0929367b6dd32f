"""Generated pairs with known truth: random tissue, random motion, random scanner.

Every pair is drawn anew: the simulated scanner (`usert.phantom`) before and after a random displacement field, with the
faults of real frames added. Made by torch on the device that trains.

Invariant: `truth` is the field itself on the grid of the first frame, not an estimate of it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor

from usert.frame import Scan
from usert.phantom.beam import Beam, rf_image
from usert.phantom.field import Field, Rigid, Sum, Uniform, Waves, grid_mm
from usert.phantom.inclusion import Inclusion
from usert.phantom.scatterers import Scatterers, random_scatterers

from .ranges import PairRanges


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A batch of generated pairs."""

    first: Tensor
    """Frames (B, N, M), float32."""
    second: Tensor
    """Frames (B, N, M), float32."""
    truth: Tensor
    """Displacement (B, 2, N, M), float32: axial in samples, lateral in lines."""


def random_pairs(
    rng: np.random.Generator,
    ranges: PairRanges,
    *,
    batch: int,
    shape: tuple[int, int],
    diverse: float,
    device: torch.device | str = "cpu",
) -> Pair:
    """Draw `batch` pairs of frames of `shape` (N, M); a share `diverse` of them also moves in waves of many sizes."""
    drawn = [_random_pair(rng, ranges, shape, diverse, torch.device(device)) for _ in range(batch)]
    first, second, truth = (torch.stack(parts) for parts in zip(*drawn, strict=True))
    return Pair(first=first, second=second, truth=truth)


def _random_pair(
    rng: np.random.Generator, ranges: PairRanges, shape: tuple[int, int], diverse: float, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    scan = _random_scan(rng, ranges)
    field = random_field(rng, ranges, scan, shape, diverse)
    beam = Beam(
        fractional_bandwidth=rng.uniform(*ranges.fractional_bandwidth),
        lateral_sigma_lines=rng.uniform(*ranges.lateral_sigma_lines),
    )
    z, x = (
        torch.from_numpy(axis).float().to(device)
        for axis in grid_mm(shape, scan.axial_pitch_mm, scan.line_pitch_mm)
    )
    dz, dx = field(z, x)
    truth = torch.stack((dz / scan.axial_pitch_mm, dx / scan.line_pitch_mm)).float()

    tissue = _random_tissue(rng, scan, shape, beam, device, reach=truth.abs().amax(dim=(1, 2)).tolist())
    moved = tissue.moved(field)
    fresh = _log_uniform(rng, ranges.decorrelation)
    renewed = torch.from_numpy(rng.standard_normal(tissue.amplitude.shape[0], dtype=np.float32)).to(device)
    renewed = renewed * tissue.amplitude.abs()  # as strong as what it replaces, at the same places
    moved = Scatterers(
        z_mm=moved.z_mm,
        x_mm=moved.x_mm,
        amplitude=math.sqrt(1 - fresh) * moved.amplitude + math.sqrt(fresh) * renewed,
    )
    fall = rng.uniform(0, 0.25) if rng.random() < ranges.downshifts else 0.0
    first, second = (_image(cloud, scan, shape, beam, fall) for cloud in (tissue, moved))
    depth = torch.linspace(0, 1, shape[0], device=device)[:, None]
    level = torch.exp(rng.uniform(*ranges.decay) * (depth - 0.5)) / (first.std() + 1e-12)
    if rng.random() < ranges.clutter:
        still = _random_tissue(rng, scan, shape, beam, device, reach=(0.0, 0.0))
        echo = _image(still, scan, shape, beam, 0.0) * torch.exp(-depth / rng.uniform(0.03, 0.3))
        echo = echo * (rng.uniform(0.1, 1.0) * first.std() / (echo[: max(1, shape[0] // 20)].std() + 1e-12))
        first, second = first + echo, second + echo
    if rng.random() < ranges.fades:
        level = level * 10 ** (-rng.uniform(0.5, 4.0) * (depth - rng.uniform(0, 0.8)).clamp_min(0))
    if rng.random() < ranges.shadows:
        level = level * _shadow(rng, shape, device)
    gain = math.exp(rng.uniform(-1, 1) * math.log1p(ranges.gain))
    noise = _log_uniform(rng, ranges.noise)
    first, second = first * level, second * level
    first, second = first + _noise(rng, first, noise), gain * (second + _noise(rng, second, noise))
    return first.float(), second.float(), truth


def _image(cloud: Scatterers, scan: Scan, shape: tuple[int, int], beam: Beam, fall: float) -> Tensor:
    """The RF image (N, M) of scatterers; `fall`: share by which the centre frequency drops from top to bottom."""
    if fall == 0:
        return _rf(cloud, scan, shape, beam)
    high, low = (
        _rf(cloud, dataclasses.replace(scan, f0_hz=scan.f0_hz * factor), shape, beam)
        for factor in (1 + fall / 2, 1 - fall / 2)
    )
    depth = torch.linspace(0, 1, shape[0], device=high.device)[:, None]
    return (1 - depth) * high + depth * low


def _rf(cloud: Scatterers, scan: Scan, shape: tuple[int, int], beam: Beam) -> Tensor:
    image: Tensor = rf_image(cloud, scan, shape, beam)
    return image


def _shadow(rng: np.random.Generator, shape: tuple[int, int], device: torch.device) -> Tensor:
    """Factors (N, M) of a shadow: 1, and less below some depth on some lines."""
    row = torch.arange(shape[0], device=device)[:, None] / shape[0]
    line = torch.arange(shape[1], device=device)[None, :]
    half = rng.uniform(5, max(6.0, shape[1] / 4))
    aside = ((line - rng.uniform(0, shape[1])).abs() / half).clamp_max(1.0)
    below = ((row - rng.uniform(0, 0.8)) / 0.03).clamp(0, 1)
    return 1 - (1 - 10 ** -rng.uniform(0.3, 2.0)) * below * 0.5 * (1 + torch.cos(math.pi * aside))


def _random_scan(rng: np.random.Generator, ranges: PairRanges) -> Scan:
    fs_hz, speed = 40e6, 1540.0
    axial_pitch_mm = 1e3 * speed / (2 * fs_hz)
    cycles = rng.uniform(*ranges.cycles_per_sample)
    return Scan(
        fs_hz=fs_hz,
        f0_hz=fs_hz * cycles,
        sound_speed_m_s=speed,
        line_pitch_mm=axial_pitch_mm / cycles * _log_uniform(rng, ranges.pitch_wavelengths),
    )


def random_field(
    rng: np.random.Generator, ranges: PairRanges, scan: Scan, shape: tuple[int, int], diverse: float
) -> Field:
    """Draw a motion of the tissue, in mm: compression, inclusions, shift, and in a share `diverse` of cases waves."""
    height, width = shape[0] * scan.axial_pitch_mm, shape[1] * scan.line_pitch_mm
    strain = _log_uniform(rng, ranges.strain) * (-1.0 if rng.random() < 0.25 else 1.0)
    # the crop may lie anywhere below the probe: the shift stands for the compression above it
    fields: list[Field] = [
        Uniform(
            strain=strain,
            lateral_ratio=rng.uniform(0.2, 1.0),
            centre_x_mm=rng.uniform(-0.2, 1.2) * width,
        ),
        Rigid(
            dz_mm=rng.uniform(-1, 1) * ranges.offset_wavelengths * _wavelength_mm(scan) * rng.random()
            + strain * rng.uniform(0, 1) * height,
            dx_mm=rng.uniform(-1, 1) * ranges.offset_lines * scan.line_pitch_mm,
        ),
    ]
    for _ in range(int(rng.integers(ranges.inclusions[0], ranges.inclusions[1] + 1))):
        inclusion = Inclusion(
            strain=strain,
            centre_z_mm=rng.uniform(0, 1) * height,
            centre_x_mm=rng.uniform(0, 1) * width,
            radius_mm=min(height, width) * rng.uniform(0.08, 0.45) * (1 if rng.random() < 0.7 else 2),
            modulus_ratio=_log_uniform(rng, ranges.modulus_ratio),
        )
        alone = Uniform(strain=-strain, lateral_ratio=_far_ratio(inclusion))
        fields += [inclusion, alone]  # what the disc adds to uniform compression
    if rng.random() < diverse:
        fields.append(_random_waves(rng, scan, shape))
    return Sum(fields=tuple(fields))


def _far_ratio(inclusion: Inclusion) -> float:
    kappa = 3 - 4 * inclusion.poisson
    return (3 - kappa) / (kappa + 1)


def _random_waves(rng: np.random.Generator, scan: Scan, shape: tuple[int, int]) -> Waves:
    """One to six waves, of 14 wavelengths to three frames long, none steeper than some percent."""
    rows = []
    for _ in range(int(rng.integers(1, 7))):
        height_mm = shape[0] * scan.axial_pitch_mm
        long_mm = _log_uniform(
            rng, (14.0 * _wavelength_mm(scan), max(3.0 * height_mm, 15.0 * _wavelength_mm(scan)))
        )
        wide_lines = _log_uniform(rng, (24.0, 6.0 * shape[1]))
        slope = _log_uniform(rng, (2e-3, 6e-2))
        axial = min(slope * long_mm / (2 * math.pi), 2.0 * _wavelength_mm(scan))
        lateral = rng.uniform(0, 0.5) * scan.line_pitch_mm
        kz = rng.choice((-1.0, 1.0)) * 2 * math.pi / long_mm
        kx = 2 * math.pi / (wide_lines * scan.line_pitch_mm)
        rows.append((axial, lateral, kz, kx, rng.uniform(0, 2 * math.pi)))
    return Waves(rows=tuple(rows))


def _wavelength_mm(scan: Scan) -> float:
    """One cycle of the echo along depth."""
    return scan.axial_pitch_mm * scan.fs_hz / scan.f0_hz


def _random_tissue(
    rng: np.random.Generator,
    scan: Scan,
    shape: tuple[int, int],
    beam: Beam,
    device: torch.device,
    *,
    reach: Sequence[float],
) -> Scatterers:
    """Speckle with patches of other brightness; goes past the frame by `reach`, samples and lines that may move in."""
    above = reach[0] * scan.axial_pitch_mm + 4 * _wavelength_mm(scan)
    aside = (4 * beam.lateral_sigma_lines + 1 + reach[1]) * scan.line_pitch_mm
    height, width = shape[0] * scan.axial_pitch_mm, shape[1] * scan.line_pitch_mm
    cloud = random_scatterers(
        rng,
        z_mm=(-above, height + above),
        x_mm=(-aside, width + aside),
        per_mm2=1.5 / (_wavelength_mm(scan) * scan.line_pitch_mm),
    )
    z, x, amplitude = (
        torch.from_numpy(part).float().to(device) for part in (cloud.z_mm, cloud.x_mm, cloud.amplitude)
    )
    coarse = torch.from_numpy(rng.standard_normal((1, 1, 8, 5), dtype=np.float32)).to(device)
    grid = torch.stack((2 * x / width - 1, 2 * z / height - 1), dim=-1)[None, None]
    patches = functional.grid_sample(coarse, grid, padding_mode="border", align_corners=False)[0, 0, 0]
    return Scatterers(z_mm=z, x_mm=x, amplitude=amplitude * torch.exp(rng.uniform(0, 0.8) * patches))


def _noise(rng: np.random.Generator, like: Tensor, level: float) -> Tensor:
    return level * torch.from_numpy(rng.standard_normal(like.shape, dtype=np.float32)).to(like.device)


def _log_uniform(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    return float(math.exp(rng.uniform(math.log(bounds[0]), math.log(bounds[1]))))
