"""The simulated image against speckle theory and the beam it was asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from usert.analytic import analytic_signal, envelope
from usert.frame import Scan
from usert.phantom.beam import Beam, rf_image
from usert.phantom.field import Rigid
from usert.phantom.scatterers import Scatterers, random_scatterers

SCAN = Scan(fs_hz=40e6, f0_hz=6.5e6, sound_speed_m_s=1540, line_pitch_mm=0.12)
PITCH = SCAN.axial_pitch_mm, SCAN.line_pitch_mm


def tissue(shape: tuple[int, int], seed: int = 0, per_pixel: float = 1.0) -> Scatterers:
    """Scatterers under a frame and well beyond its edges."""
    return random_scatterers(
        np.random.default_rng(seed),
        z_mm=(-40 * PITCH[0], (shape[0] + 40) * PITCH[0]),
        x_mm=(-10 * PITCH[1], (shape[1] + 10) * PITCH[1]),
        per_mm2=per_pixel / (PITCH[0] * PITCH[1]),
    )


def points(rows: list[float], lines: list[float], amplitude: float = 1.0) -> Scatterers:
    return Scatterers(
        z_mm=np.array(rows) * PITCH[0],
        x_mm=np.array(lines) * PITCH[1],
        amplitude=np.full(len(rows), amplitude),
    )


@pytest.fixture(scope="module")
def speckle() -> NDArray[np.float64]:
    """A frame of dense scatterers: some 60 in a resolution cell, some 1500 cells."""
    return np.asarray(rf_image(tissue((1024, 128)), SCAN, (1024, 128), Beam()))


def test_dense_speckle_is_rayleigh(speckle: NDArray[np.float64]) -> None:
    """Mean over standard deviation √(π / (4 - π)) = 1.91, and the distribution 1 - exp(-a² / 2σ²)."""
    amplitude = envelope(speckle)[32:-32]
    assert amplitude.mean() / amplitude.std() == pytest.approx(1.91, rel=0.03)
    power = float(np.mean(amplitude.astype(np.float64) ** 2))
    for share in (0.1, 0.3, 0.5, 0.7, 0.9):
        level = np.sqrt(-power * np.log(1 - share))
        assert np.mean(amplitude < level) == pytest.approx(share, abs=0.02)


def test_sparse_scatterers_are_not_rayleigh() -> None:
    sparse = envelope(rf_image(tissue((1024, 128), per_pixel=0.01), SCAN, (1024, 128), Beam()))
    assert sparse.mean() / sparse.std() < 1.4


@pytest.mark.parametrize("f0_hz", [5e6, 9e6])
@pytest.mark.parametrize("bandwidth", [0.3, 0.6])
def test_spectrum_is_the_one_asked_for(f0_hz: float, bandwidth: float) -> None:
    scan = replace(SCAN, f0_hz=f0_hz)
    pulse = rf_image(points([256], [8]), scan, (512, 16), Beam(fractional_bandwidth=bandwidth))[:, 8]
    size = 1 << 16
    spectrum = np.abs(np.fft.rfft(pulse, size))
    frequency = np.arange(size // 2 + 1) * scan.fs_hz / size
    above = frequency[spectrum >= spectrum.max() / 2]
    assert (above[0] + above[-1]) / 2 == pytest.approx(f0_hz, rel=0.01)
    assert (above[-1] - above[0]) / f0_hz == pytest.approx(bandwidth, rel=0.01)


@pytest.mark.parametrize("sigma", [1.2, 2.0])
def test_lateral_width_is_the_one_asked_for(sigma: float) -> None:
    """Speckle of a Gaussian beam is correlated across lines as exp(-j² / 4σ²)."""
    rf = rf_image(tissue((2048, 96)), SCAN, (2048, 96), Beam(lateral_sigma_lines=sigma))
    power = np.mean(rf * rf)
    for lag in (1, 2, 3):
        # Linear weights on a grid of half a line add a variance of (1/2)² / 6 line² in the mean.
        expected = np.exp(-(lag**2) / (4 * (sigma**2 + 1 / 24)))
        assert np.mean(rf[:, :-lag] * rf[:, lag:]) / power == pytest.approx(expected, abs=0.05)


def test_the_image_is_linear_in_the_amplitudes() -> None:
    cloud, shape = tissue((128, 32)), (128, 32)
    other = replace(cloud, amplitude=np.random.default_rng(9).standard_normal(cloud.amplitude.shape))
    mixed = replace(cloud, amplitude=2 * cloud.amplitude - 0.3 * other.amplitude)
    expected = 2 * rf_image(cloud, SCAN, shape, Beam()) - 0.3 * rf_image(other, SCAN, shape, Beam())
    np.testing.assert_allclose(rf_image(mixed, SCAN, shape, Beam()), expected, atol=1e-11)


def test_whole_samples_and_lines_move_the_image_by_as_much() -> None:
    """But for the tails of the pulse, which are cut at four standard deviations beyond the frame's edges."""
    cloud, shape = tissue((160, 40)), (160, 40)
    still = rf_image(cloud, SCAN, shape, Beam())
    moved = rf_image(cloud.moved(Rigid(dz_mm=7 * PITCH[0], dx_mm=-3 * PITCH[1])), SCAN, shape, Beam())
    assert np.abs(moved[7:, :-3] - still[:-7, 3:]).max() < 1e-3 * np.std(still)


def test_far_from_the_edges_it_moves_exactly() -> None:
    rng, shape = np.random.default_rng(2), (160, 40)
    first = points(list(rng.uniform(60, 90, 50)), list(rng.uniform(15, 25, 50)))
    second = first.moved(Rigid(dz_mm=7 * PITCH[0], dx_mm=-3 * PITCH[1]))
    still, moved = (rf_image(cloud, SCAN, shape, Beam()) for cloud in (first, second))
    np.testing.assert_allclose(moved[7:, :-3], still[:-7, 3:], atol=1e-9)


@pytest.mark.parametrize("shift", [0.05, 0.125, 0.37, 0.5])
@pytest.mark.parametrize("f0_hz", [5e6, 10e6])
def test_parts_of_a_sample_move_the_phase_by_as_much(shift: float, f0_hz: float) -> None:
    scan = replace(SCAN, f0_hz=f0_hz)
    for start in (250.0, 250.1, 250.2):
        first, second = (
            rf_image(points([row], [8]), scan, (512, 16), Beam())[:, 8:9] for row in (start, start + shift)
        )
        lag = np.vdot(analytic_signal(second), analytic_signal(first))
        measured = np.angle(lag) / (2 * np.pi * f0_hz / scan.fs_hz)
        assert measured == pytest.approx(shift, abs=0.003)


def test_a_scatterer_is_seen_where_it_is() -> None:
    image = envelope(rf_image(points([100], [11]), SCAN, (256, 24), Beam()))
    assert divmod(int(image.argmax()), 24) == (100, 11)


def test_what_lies_outside_adds_nothing_and_does_not_wrap_round() -> None:
    far = points([-60, 316, 128, 128], [8, 8, -12, 28])
    assert np.abs(rf_image(far, SCAN, (256, 16), Beam())).max() < 1e-3
    near_top = rf_image(points([-8], [8]), SCAN, (256, 16), Beam())
    assert np.abs(near_top[:8]).max() > 20 * np.abs(near_top[-64:]).max()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-4)])
def test_torch_makes_the_same_image(dtype: torch.dtype, tolerance: float) -> None:
    cloud, shape = tissue((200, 33)), (200, 33)

    def tensor(values: Any) -> torch.Tensor:
        return torch.from_numpy(values).to(dtype)

    expected = rf_image(cloud, SCAN, shape, Beam())
    theirs = Scatterers(z_mm=tensor(cloud.z_mm), x_mm=tensor(cloud.x_mm), amplitude=tensor(cloud.amplitude))
    image = rf_image(theirs, SCAN, shape, Beam())
    assert image.dtype == dtype
    assert np.abs(image.numpy() - expected).max() < tolerance * np.abs(expected).max()
