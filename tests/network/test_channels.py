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
    t = np.arange(-16, 17)
    pulse = np.cos(2 * np.pi * 0.15 * t) * np.exp(-((t / 5.0) ** 2))
    noise = rng.standard_normal((rows + 32, lines))
    rf = np.apply_along_axis(np.convolve, 0, noise, pulse / np.linalg.norm(pulse), "valid")
    return torch.from_numpy(rf)[None].float()


def test_rf_envelope_and_imaginary_part_of_the_analytic_signal() -> None:
    first, second = speckle(0), speckle(1)
    for rf, stack in zip((first, second), Channels()(first, second), strict=True):
        analytic = hilbert(rf[0].numpy() - rf.mean().item(), axis=0)
        real, envelope, imaginary = stack[0].numpy()
        inside = slice(40, -40)
        level = np.hypot(real, imaginary)[inside] / np.abs(analytic)[inside]
        for got, wanted in ((real, analytic.real), (imaginary, analytic.imag), (envelope, np.abs(analytic))):
            np.testing.assert_allclose(got[inside], wanted[inside] * level, atol=0.02)
        # the level is smooth: it is a gain, not a shape
        assert np.abs(np.diff(np.log(level), axis=0)).max() < 0.05


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
    with pytest.raises(ValueError, match=r"got \(1, \d+, \d+\) and \(1, \d+, \d+\), expected one shape"):
        Channels()(torch.zeros(shapes[0]), torch.zeros(shapes[1]))
