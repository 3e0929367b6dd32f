"""Samples as the graph takes them."""

from __future__ import annotations

import numpy as np
import pytest

from usert.errors import FrameError
from usert.runtime.engines.int16 import to_int16

RAMP = np.arange(-6, 6).reshape(4, 3)


@pytest.mark.parametrize("dtype", [np.int16, np.int8, np.int32, np.int64])
def test_integers_that_fit_pass_unchanged(dtype: type) -> None:
    reference, current = to_int16(RAMP.astype(dtype), RAMP.astype(dtype)[::-1])
    assert reference.dtype == current.dtype == np.int16
    np.testing.assert_array_equal(reference, RAMP)
    np.testing.assert_array_equal(current, RAMP[::-1])


def test_int16_is_not_copied() -> None:
    samples = RAMP.astype(np.int16)
    assert to_int16(samples, samples)[0] is samples


def test_the_whole_range_of_int16_fits() -> None:
    samples = np.array([[-32768, 32767]], np.int32)
    np.testing.assert_array_equal(to_int16(samples, samples)[0], samples)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int32])
def test_others_are_scaled_by_one_factor(dtype: type) -> None:
    unit = 1e4 if dtype is np.int32 else 1
    reference, current = to_int16((8 * unit * RAMP).astype(dtype), (2 * unit * RAMP).astype(dtype))
    expected = np.rint(RAMP * (32767 / 6))
    np.testing.assert_array_equal(reference, expected)
    np.testing.assert_allclose(current, expected / 4, atol=1)


@pytest.mark.parametrize("amplitude", [1e-40, 1e-23, 1e30])
def test_amplitudes_of_simulators_neither_vanish_nor_overflow(amplitude: float) -> None:
    samples = (amplitude * RAMP).astype(np.float32)
    assert np.abs(to_int16(samples, samples)[0]).max() == 32767


def test_bad_samples_are_counted() -> None:
    bad = RAMP.astype(np.float32)
    bad[0, 0], bad[1, 1] = np.nan, np.inf
    with pytest.raises(FrameError, match=r"^current frame: 2 of 12 .*NaN"):
        to_int16(RAMP.astype(np.float32), bad)


@pytest.mark.parametrize("value", [0, 7, 2.5])
def test_constant_frame_is_refused(value: float) -> None:
    flat = np.full((4, 3), value)
    with pytest.raises(FrameError, match=r"^reference frame: .*same"):
        to_int16(flat, RAMP)


def test_frame_that_vanishes_beside_the_other_is_refused() -> None:
    with pytest.raises(FrameError, match=r"^current frame: .*same.*int16"):
        to_int16(RAMP * 1.0, RAMP * 1e-9)


def test_shapes_and_types_are_named() -> None:
    with pytest.raises(FrameError, match=r"\(4, 3\) and \(3, 3\), expected"):
        to_int16(RAMP, RAMP[1:])
    with pytest.raises(FrameError, match=r"\(12,\), expected"):
        to_int16(RAMP.ravel(), RAMP.ravel())
    with pytest.raises(FrameError, match="complex128, expected"):
        to_int16(RAMP, RAMP * 1j)
