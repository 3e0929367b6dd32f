"""What the network sees of a pair of RF frames."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.signal import hilbert
from torch import Tensor

from usert.network.channels import Channels


def speckle(seed: int, rows: int = 256, lines: int = 32) -> Tensor:
    """(1, rows, lines): band-limited noise about .15 cycles a sample, rms about 1."""
    rng = np.random.default_rng(seed)
    t = np.arange(-24, 25)
    pulse = np.cos(2 * np.pi * 0.15 * t) * np.exp(-((t / 9.0) ** 2))
    noise = rng.standard_normal((rows + 48, lines))
    rf = np.apply_along_axis(np.convolve, 0, noise, pulse / np.linalg.norm(pulse), "valid")
    return torch.from_numpy(rf)[None].float()


def test_rf_envelope_and_imaginary_part_of_the_analytic_signal() -> None:
    # the FFT's Hilbert transform joins the ends of a line: take the middle of long ones
    middle, inside = slice(1792, 2304), slice(64, -64)
    long = speckle(0, 4096), speckle(1, 4096)
    short = [rf[:, middle] for rf in long]
    for rf, stack in zip(long, Channels()(*short), strict=True):
        analytic = hilbert(rf[0].double().numpy() - rf[0, middle].double().mean().item(), axis=0)[middle][
            inside
        ]
        real, envelope, imaginary = stack[0, :, inside].double().numpy()
        use = np.abs(analytic.real) > 0.05
        gain = real[use] / analytic.real[use]
        assert gain.min() > 0
        np.testing.assert_allclose(imaginary[use] / gain, analytic.imag[use], atol=0.004)
        np.testing.assert_allclose(envelope[use] / gain, np.abs(analytic)[use], atol=0.004)
        steps = np.diff(np.log(np.where(use, real / analytic.real, np.nan)), axis=0)
        assert np.nanmax(np.abs(steps)) < 0.05  # the gain is smooth: it changes no pulse


@pytest.mark.parametrize("gain", [1e-3, 250.0])
@pytest.mark.parametrize("offset", [0.0, 40.0])
def test_gain_and_offset_change_nothing(gain: float, offset: float) -> None:
    channels = Channels()
    first, second = speckle(0), speckle(1)
    plain = channels(first, second)
    changed = channels(first * gain + offset * gain, second * gain + offset * gain)
    for a, b in zip(plain, changed, strict=True):
        assert torch.allclose(a, b, atol=2e-3)


def test_a_gain_between_the_frames_stays_visible() -> None:
    first = speckle(0)
    a, b = Channels()(first, 0.5 * first)
    assert torch.allclose(0.5 * a, b, atol=1e-5)


def test_depth_gain_is_taken_out() -> None:
    ramp = torch.linspace(0, 3, 256).exp()[None, :, None]
    a, _ = Channels()(speckle(0) * ramp, speckle(1) * ramp)
    top, bottom = a[0, 0, :64].std(), a[0, 0, -64:].std()
    assert 0.7 < top / bottom < 1.4


@pytest.mark.parametrize("value", [0, 1000, -32768])
def test_a_constant_pair_is_finite(value: int) -> None:
    frame = torch.full((1, 64, 32), value, dtype=torch.int16)
    for stack in Channels()(frame, frame):
        assert torch.isfinite(stack).all()


def test_int16_and_float_agree() -> None:
    first, second = ((speckle(i) * 1000).round() for i in range(2))
    whole = Channels()(first.short(), second.short())
    for a, b in zip(whole, Channels()(first, second), strict=True):
        assert a.dtype == torch.float32
        assert torch.equal(a, b)


def test_each_pair_of_a_batch_has_its_own_level() -> None:
    first = torch.cat((speckle(0), 100 * speckle(2)))
    second = torch.cat((speckle(1), 100 * speckle(3)))
    channels = Channels()
    both = channels(first, second)
    for i in range(2):
        alone = channels(first[i : i + 1], second[i : i + 1])
        for a, b in zip(both, alone, strict=True):
            assert a.shape == (2, 3, 256, 32)
            assert torch.allclose(a[i : i + 1], b, atol=1e-5)


@pytest.mark.parametrize(
    "shapes", [((1, 60, 32), (1, 60, 32)), ((1, 64, 40), (1, 64, 40)), ((1, 64, 32), (1, 64, 64))]
)
def test_shapes_that_do_not_fit_are_both_named(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match=r"got \(1, \d+, \d+\) and \(1, \d+, \d+\)"):
        Channels()(torch.zeros(shapes[0]), torch.zeros(shapes[1]))
