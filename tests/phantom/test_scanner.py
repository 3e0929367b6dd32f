"""The simulated scanner: its frames repeat, its truth is true, its numbers mean what they say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from usert.errors import OptionError
from usert.phantom.field import Uniform
from usert.phantom.scanner import FULL_SCALE, ScannerConfig, SimulatedScanner
from usert.quality import warped_ncc
from usert.strain import axial_strain

CONFIG = ScannerConfig(shape=(256, 64))
CLEAN = replace(CONFIG, noise=0.0, tilt=0.0)
INNER = np.s_[40:-40, 8:-8]


@pytest.fixture(scope="module")
def clean() -> SimulatedScanner:
    """No noise and no tilt: every difference between frames is motion."""
    return SimulatedScanner(CLEAN, seed=3)


def correlation(a: SimulatedScanner, i: int, b: SimulatedScanner, j: int) -> float:
    return float(np.corrcoef(a.frame(i).samples.ravel(), b.frame(j).samples.ravel())[0, 1])


def test_a_frame_is_the_same_whenever_and_by_whomever_it_is_asked_for() -> None:
    scanner = SimulatedScanner(CONFIG, seed=5)
    first = scanner.frame(7)
    scanner.frame(2)
    np.testing.assert_array_equal(scanner.frame(7).samples, first.samples)
    np.testing.assert_array_equal(SimulatedScanner(CONFIG, seed=5).frame(7).samples, first.samples)
    assert abs(correlation(scanner, 7, SimulatedScanner(CONFIG, seed=6), 7)) < 0.1


def test_a_period_later_only_the_noise_is_new(clean: SimulatedScanner) -> None:
    np.testing.assert_array_equal(clean.frame(43).samples, clean.frame(3).samples)
    np.testing.assert_array_equal(clean.truth(3, 45), clean.truth(43, 5))
    np.testing.assert_array_equal(clean.truth(1, 41), 0)
    noisy = SimulatedScanner(replace(CLEAN, noise=0.2), seed=3)
    first, later = (noisy.frame(k).samples.astype(float) for k in (3, 43))
    assert np.std(first - later) / FULL_SCALE == pytest.approx(0.2 * np.sqrt(2), rel=0.03)


def test_frames_carry_number_and_time() -> None:
    frame = SimulatedScanner(replace(CONFIG, rate_hz=50.0)).frame(6)
    assert (frame.sequence, frame.time_ns, frame.shape) == (6, 120_000_000, (256, 64))


@pytest.mark.parametrize(("i", "j"), [(0, 10), (5, 13), (20, 8), (35, 19)])
def test_truth_undoes_the_motion(clean: SimulatedScanner, i: int, j: int) -> None:
    pre, post = clean.frame(i).samples, clean.frame(j).samples
    truth = clean.truth(i, j)
    assert truth.dtype == np.float32
    assert float(warped_ncc(pre, post, truth)[INNER].mean()) > 0.97
    assert float(warped_ncc(pre, post, np.zeros_like(truth))[INNER].mean()) < 0.6
    assert float(warped_ncc(pre, post, -truth)[INNER].mean()) < 0.6


def test_pressing_is_positive_strain_and_the_hand_slides(clean: SimulatedScanner) -> None:
    """With a stiff lesion the frame strains less than the peak; a quarter and three quarters of a period lie a whole
    slide apart."""
    assert 0.02 < axial_strain(clean.truth(0, 20)[0], 3).mean() < 0.03
    assert axial_strain(clean.truth(20, 0)[0], 3).mean() < -0.02
    centre = clean.truth(10, 30)[1][128, 32]
    assert centre == pytest.approx(-0.5, abs=0.02)


@pytest.mark.parametrize("modulus_ratio", [0.5, 3.0, 10.0])
def test_strain_ratio_is_that_of_the_truth(modulus_ratio: float) -> None:
    """A truth is taken on the grid of its first frame: here that of the released tissue."""
    scanner = SimulatedScanner(replace(CLEAN, modulus_ratio=modulus_ratio, slide_lines=0.0))
    strain = axial_strain(scanner.truth(0, 20)[0], 3)
    inside = strain[scanner.lesion_mask(-0.1)]
    np.testing.assert_allclose(inside / 0.03, scanner.strain_ratio, rtol=0.01)
    assert scanner.strain_ratio == pytest.approx(2 / (1 + modulus_ratio), rel=0.02)


def test_the_field_may_be_another() -> None:
    uniform = Uniform(strain=1.0, centre_x_mm=3.0)
    config = replace(CLEAN, unit_field=uniform, slide_lines=0.0)
    scanner = SimulatedScanner(config, seed=1)
    truth = scanner.truth(0, 20)
    rows, lines = np.meshgrid(np.arange(256), np.arange(64), indexing="ij")
    np.testing.assert_allclose(truth[0], -0.03 * rows, atol=1e-5)
    np.testing.assert_allclose(truth[1], 0.03 * (lines - 25.0), atol=1e-5)
    assert scanner.strain_ratio == pytest.approx(1)
    assert (
        warped_ncc(scanner.frame(0).samples, scanner.frame(8).samples, scanner.truth(0, 8))[INNER].mean()
        > 0.97
    )
    analytic = SimulatedScanner(CLEAN)
    same = SimulatedScanner(replace(CLEAN, unit_field=analytic.lesion))
    assert same.strain_ratio == pytest.approx(analytic.strain_ratio)
    np.testing.assert_array_equal(same.frame(9).samples, analytic.frame(9).samples)


def test_out_of_plane_tilt_decorrelates_by_the_cosine() -> None:
    still = replace(CLEAN, peak_strain=0.0, slide_lines=0.0, tilt=1.0, shape=(512, 128))
    scanner = SimulatedScanner(still, seed=2)
    angles = [np.sin(2 * np.pi * k / 40 + 1.0) for k in (2, 8, 14, 22)]
    for k, angle in zip((8, 14, 22), angles[1:], strict=True):
        assert correlation(scanner, 2, scanner, k) == pytest.approx(np.cos(angles[0] - angle), abs=0.1)


def test_no_peak_is_cut_and_the_range_is_used() -> None:
    for seed in (0, 1):
        samples = SimulatedScanner(ScannerConfig(), seed).frame(12).samples
        assert samples.dtype == np.int16
        assert FULL_SCALE * 3 < np.abs(samples.astype(int)).max() < 32767
        assert samples.std() == pytest.approx(FULL_SCALE, rel=0.1)


def test_speckle_fills_the_frame_to_its_edges_at_the_deepest_press(clean: SimulatedScanner) -> None:
    samples = clean.frame(20).samples.astype(float)
    for edge in (samples[:16], samples[-16:], samples[:, :4], samples[:, -4:]):
        assert edge.std() > 0.5 * samples.std()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": (16, 64)}, "shape: got 16x64, expected at least 32"),
        ({"shape": (1 << 13, 1 << 12)}, "expected at most 16777216 samples in all"),
        ({"period_frames": 1}, "period: got 1 frames"),
        ({"peak_strain": 0.2}, "peak strain: got 0.2, expected 0 to 0.1"),
        ({"peak_strain": float("nan")}, "peak strain: got nan"),
        ({"modulus_ratio": -1.0}, "modulus ratio: got -1, expected 0.001 to 1000"),
        ({"rate_hz": float("inf")}, "rate: got inf"),
        ({"radius": 0.5}, "radius: got 0.5"),
        ({"noise": -0.1}, "noise: got -0.1, expected 0 or more"),
        ({"tilt": float("nan")}, "tilt: got nan"),
    ],
)
def test_impossible_settings_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        replace(CONFIG, **change)  # type: ignore[arg-type]
