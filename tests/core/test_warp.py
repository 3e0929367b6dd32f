"""The warp on images whose moved copies are known by formula."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from usert.warp import warp

ROWS, LINES = 64, 9
R, C = np.mgrid[0:ROWS, 0:LINES].astype(np.float64)


def field(axial: Any, lateral: Any) -> np.ndarray[Any, Any]:
    return np.stack(np.broadcast_arrays(axial + 0 * R, lateral + 0 * C))


def test_quintic_in_depth_and_linear_across_are_exact_to_the_borders() -> None:
    def image(r: Any, c: Any) -> Any:
        x = r / ROWS
        return (1 - 3 * x + 2 * x**2 - 5 * x**4 + 7 * x**5) * (2 + 0.5 * c)

    d = field(0.37 - 0.02 * R, 0.41 - 0.1 * C)
    moved, valid = warp(image(R, C), d)
    inside = (R + d[0] >= 0) & (R + d[0] <= ROWS - 1) & (C + d[1] >= 0) & (C + d[1] <= LINES - 1)
    np.testing.assert_array_equal(valid, inside)
    assert valid[0, 0]
    np.testing.assert_allclose(moved[valid], image(R + d[0], C + d[1])[valid], atol=1e-11)
    assert (moved[~valid] == 0).all()


@pytest.mark.parametrize(("order", "error"), [(1, 0.13), (3, 0.026), (5, 0.005)])
def test_order_and_error_at_the_centre_frequency_of_rf(order: int, error: float) -> None:
    worst = 0.0
    for shift in np.linspace(-1, 1, 21):
        moved, valid = warp(np.exp(2j * np.pi * 0.16 * R), field(shift, 0), order)
        difference = np.abs(moved - np.exp(2j * np.pi * 0.16 * (R + shift)))
        worst = max(worst, difference[valid][3 * LINES : -3 * LINES].max())
    assert 0.5 * error < worst < error


def test_whole_steps_copy_and_types_stay() -> None:
    image = np.random.default_rng(0).standard_normal((ROWS, LINES)).astype(np.float32)
    moved, valid = warp(image, field(3, -2).astype(np.float32))
    assert moved.dtype == np.float32
    np.testing.assert_allclose(moved[:-3, 2:], image[3:, :-2], atol=1e-6)
    assert valid.sum() == (ROWS - 3) * (LINES - 2)
    assert warp(image.astype(np.complex64), field(0, 0))[0].dtype == np.complex64
    assert warp((image * 100).astype(np.int16), field(0, 0))[0].dtype == np.float64


def test_displacements_that_are_no_number_are_invalid() -> None:
    d = field(0.0, 0.0).copy()
    d[0, 5, 5], d[1, 6, 6], d[0, 7, 7] = np.nan, np.inf, -1e30
    moved, valid = warp(np.ones((ROWS, LINES)), d)
    assert valid.sum() == ROWS * LINES - 3
    assert (moved[5, 5], moved[6, 6], moved[7, 7]) == (0, 0, 0)


@pytest.mark.parametrize("shape", [(1, 1), (2, 1), (4, 3)])
def test_small_images(shape: tuple[int, int]) -> None:
    image = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    moved, valid = warp(image, np.zeros((2, *shape)))
    np.testing.assert_allclose(moved, image, atol=1e-12)
    assert valid.all()


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match=r"got shape \(2, 3, 3\), expected \(2, 64, 9\)"):
        warp(R, np.zeros((2, 3, 3)))
    with pytest.raises(ValueError, match="order: got 2"):
        warp(R, field(0, 0), order=2)
