"""The analytic signal against scipy's, and the FIR Hilbert transformer against both theory and FFT."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import signal

from usert.analytic import analytic_signal, b_mode, envelope, hilbert_taps
from usert.frame import RFFrame


@pytest.mark.parametrize("shape", [(128, 5), (129, 5), (1, 3), (2, 3), (2, 64, 3)])
def test_analytic_signal_is_scipys(shape: tuple[int, ...]) -> None:
    rf = np.random.default_rng(0).standard_normal(shape)
    ours = analytic_signal(rf)
    assert ours.dtype == np.complex64
    np.testing.assert_allclose(ours, signal.hilbert(rf, axis=-2), atol=1e-6)


def test_envelope_of_a_modulated_cosine_is_its_modulation() -> None:
    t = np.arange(512)
    modulation = 1 + 0.5 * np.cos(2 * np.pi * t * 4 / 512)
    rf = (1000 * modulation * np.cos(2 * np.pi * t * 80 / 512)).astype(np.int16)[:, np.newaxis]
    np.testing.assert_allclose(envelope(rf)[:, 0], 1000 * modulation, atol=2)


def test_b_mode_is_decibels_below_the_brightest(make_frame: Callable[..., RFFrame]) -> None:
    image = b_mode(make_frame().samples, 40)
    assert image.dtype == np.float32
    assert (image.max(), image.min()) == (0, -40)
    t = np.arange(400)[:, np.newaxis]
    two_lines = np.cos(2 * np.pi * t * 0.2) * [1, 0.1]
    np.testing.assert_allclose(b_mode(two_lines), [[0, -20]] * 400, atol=1e-4)
    assert (b_mode(np.full((64, 4), 7, np.int16)) == -60).all()
    with pytest.raises(ValueError, match="dynamic_range_db: got 0"):
        b_mode(two_lines, 0)


@pytest.mark.parametrize("length", [31, 63])
def test_hilbert_taps_are_antisymmetric_and_every_second_is_zero(length: int) -> None:
    taps = hilbert_taps(length)
    assert taps.shape == (length,)
    np.testing.assert_array_equal(taps, -taps[::-1])
    assert (taps[length // 2 :: 2] == 0).all()
    assert (taps[length // 2 + 1 :: 2] > 0).all()


def test_hilbert_taps_have_unit_gain_in_the_band() -> None:
    n = np.arange(63) - 31
    f = np.linspace(0.05, 0.45, 200)[:, np.newaxis]
    response = np.sum(hilbert_taps() * np.exp(-2j * np.pi * f * n), axis=1)
    np.testing.assert_allclose(response, -1j, atol=2e-4)


def test_hilbert_taps_agree_with_the_fft_on_band_limited_rf() -> None:
    noise = np.random.default_rng(1).standard_normal(4096)
    spectrum = np.fft.rfft(noise)
    f = np.fft.rfftfreq(4096)
    rf = np.fft.irfft(np.where((f > 0.08) & (f < 0.35), spectrum, 0))
    fir = np.convolve(rf, hilbert_taps(), mode="same")
    fft = signal.hilbert(rf).imag
    inner = slice(64, -64)
    assert np.abs(fir - fft)[inner].max() < 1e-3 * rf.std()


def test_hilbert_taps_refuse_lengths_that_waste_their_ends() -> None:
    for length in (1, 5, 64, 65):
        with pytest.raises(ValueError, match=r"4 k \+ 3"):
            hilbert_taps(length)
