"""B-mode: the envelope of the core, fewer samples of it, and a brightness that does not flicker."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from show import Act

from usert.analytic import envelope
from usert.frame import RFFrame, Scan
from usert.runtime.view.bmode import RANGE_DB, BMode, reduced_envelope
from usert.runtime.view.planes import MOST_BMODE

SCAN = Scan(fs_hz=40e6, f0_hz=6.5e6, sound_speed_m_s=1540, line_pitch_mm=0.12)


def _frame(rows: int, lines: int = 6, gain: float = 1.0) -> RFFrame:
    t = np.arange(rows)
    pulses = np.exp(-(((t[:, None] - rows * np.linspace(0.2, 0.8, lines)) / 30) ** 2))
    rf = 8000 * gain * pulses * np.cos(2 * np.pi * 6.5 / 40 * t)[:, None] + 100
    return RFFrame(samples=rf.astype(np.int16), scan=SCAN)


@pytest.mark.parametrize("rows", [512, 513, 1024, 1920, 1921, 3000])
def test_it_is_the_envelope_of_the_core_at_fewer_samples(rows: int) -> None:
    samples = _frame(rows).samples
    expected = envelope(samples - samples.mean(axis=0))
    found, down = reduced_envelope(samples)
    assert found.shape[0] <= MOST_BMODE[0]
    assert found.shape[0] == rows // down
    at = np.arange(found.shape[0]) * down + (0 if down <= 2 and rows % 2 == 0 else down // 2)
    assert np.abs(found - expected[at]).max() < 0.06 * expected.max()


@pytest.mark.parametrize("rows", [171, 2500])
def test_iq_is_as_bright_as_its_magnitude(rows: int) -> None:
    samples = np.random.default_rng(0).integers(-999, 999, (rows, 6, 2)).astype(np.int16)
    scan = replace(SCAN, fs_hz=10e6, demodulation_hz=6.5e6)
    frame = RFFrame(samples=samples, scan=scan)
    plane = BMode().plane(frame)
    magnitude = np.hypot(samples[..., 0].astype(float), samples[..., 1])
    down = -(-rows // MOST_BMODE[0])
    means = magnitude[: rows // down * down].reshape(-1, down, 6).mean(axis=1)
    assert plane.step == (down, 1)
    assert plane.values.shape == means.shape
    decibels = 20 * np.log10(means / means.max())
    shades = plane.values.astype(float) / 255 * RANGE_DB
    apart = (shades - shades.max() - decibels)[(plane.values > 0) & (plane.values < 255)]
    assert np.ptp(apart) < 2 * RANGE_DB / 255


def test_a_real_frame_agrees_everywhere(act: Act) -> None:
    samples = act.images[0].reference.samples
    found, down = reduced_envelope(samples)
    assert down == 1
    expected = envelope(samples - samples.mean(axis=0))
    np.testing.assert_allclose(found, expected, atol=1e-2 * expected.max())


def test_half_of_the_samples_are_exact() -> None:
    samples = _frame(2048).samples
    found, down = reduced_envelope(samples)
    assert down == 2
    expected = envelope(samples - samples.mean(axis=0))[::2]
    np.testing.assert_allclose(found, expected, atol=1e-3 * expected.max())


def test_brightness_follows_slowly_and_starts_anew_with_other_frames() -> None:
    bmode = BMode()
    first = bmode.plane(_frame(512)).values.astype(int)
    doubled = bmode.plane(_frame(512, gain=2.0)).values.astype(int)
    assert doubled.mean() > first.mean()  # brighter, not levelled at once
    for _ in range(100):
        settled = bmode.plane(_frame(512, gain=2.0)).values.astype(int)
    assert np.abs(settled - first).max() <= 2
    assert bmode.plane(_frame(640)).values.shape[0] == 640


def test_a_frame_of_zeros_is_no_fault() -> None:
    zeros = RFFrame(samples=np.zeros((512, 8), np.int16), scan=SCAN)
    assert np.isfinite(BMode().plane(zeros).values).all()
