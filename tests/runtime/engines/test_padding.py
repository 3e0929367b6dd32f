"""A padded frame: what lies in the frame is the frame's, and the end of the strain is the graph's own."""

from __future__ import annotations

import numpy as np

from usert.runtime.engines.padding import cut, padded
from usert.strain import axial_strain


def test_the_frame_lies_at_the_top_left_and_the_rest_is_its_mean() -> None:
    frame = np.random.default_rng(0).integers(-300, 900, (70, 20), dtype=np.int16)
    larger = padded(frame, (96, 32))
    np.testing.assert_array_equal(larger[:70, :20], frame)
    assert set(larger[70:].ravel()) | set(larger[:, 20:].ravel()) == {round(float(frame.mean()))}
    assert larger.flags.c_contiguous


def test_a_frame_of_the_shape_is_left_alone() -> None:
    frame = np.zeros((8, 4), np.int16)
    assert padded(frame, (8, 4)) is frame


def test_the_strain_is_that_of_the_frame_alone() -> None:
    """Whatever the displacement does below the frame."""
    window, rows = 17, 60
    axial = np.random.default_rng(1).normal(size=(96, 8)).astype(np.float32)
    strain = axial_strain(axial, window).astype(np.float32)
    outputs = np.stack((axial, axial)), strain, strain
    found = cut(outputs, (rows, 6), strain_window=window, quality_window=(9, 5))
    np.testing.assert_allclose(found[1], axial_strain(axial[:rows, :6], window), atol=1e-6)
    assert found[0].shape == (2, rows, 6)
    assert found[2].shape == (rows, 6)


def test_quality_repeats_the_last_window_that_padding_does_not_reach() -> None:
    values = np.arange(96 * 32, dtype=np.float32).reshape(96, 32)
    quality = cut(
        (np.stack((values, values)), values, values), (70, 20), strain_window=3, quality_window=(9, 5)
    )[2]
    np.testing.assert_array_equal(quality[:66, :18], values[:66, :18])
    np.testing.assert_array_equal(quality[66:, :18], np.broadcast_to(values[65, :18], (4, 18)))
    np.testing.assert_array_equal(quality[:, 18:], np.repeat(quality[:, 17:18], 2, axis=1))


def test_what_is_cut_is_a_copy() -> None:
    whole = np.zeros((2, 8, 4), np.float32)
    for part in cut((whole, whole[0], whole[1]), (8, 3), strain_window=3, quality_window=(3, 3)):
        assert not np.shares_memory(part, whole)
