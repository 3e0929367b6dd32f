"""Rows and lines in millimetres: places by trigonometry, shapes of known size, rectangles against every sample."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from usert.beam_space import BeamSpace, half_way_pitch_mm
from usert.frame import Scan

LINEAR = Scan(fs_hz=40e6, f0_hz=6.5e6, sound_speed_m_s=1540, line_pitch_mm=0.3, first_depth_mm=2.0)
CONVEX = replace(LINEAR, fs_hz=4e6, f0_hz=1.5e6, radius_mm=60.0, line_angle_deg=0.5)
PHASED = replace(CONVEX, radius_mm=0.0, line_angle_deg=0.7, first_depth_mm=0.0)
SHAPES = [(400, 128), (401, 127), (3, 2), (1, 9), (9, 1)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("scan", [LINEAR, CONVEX, PHASED])
def test_the_inverse_is_the_inverse(scan: Scan, shape: tuple[int, int]) -> None:
    space = BeamSpace.of(scan, shape)
    row, line = np.mgrid[1 : shape[0] + 1, : shape[1]]  # in the apex, above row 1, lines meet
    found = space.position(*space.place_mm(row, line))
    for got, put in zip(found, (row, line), strict=True):
        np.testing.assert_allclose(got, put, atol=1e-9)


def test_places_are_those_of_trigonometry() -> None:
    assert BeamSpace.of(LINEAR, (400, 128)).place_mm(10, 20) == pytest.approx((2 + 10 * 0.01925, 6.0))
    space = BeamSpace.of(CONVEX, (400, 121))  # line 60 in the middle, line 120 at 30 degrees
    depth = 2 + 100 * 0.1925
    assert space.place_mm(100, 60) == pytest.approx((depth, 0))
    far = 60 + depth
    assert space.place_mm(100, 120) == pytest.approx((far * math.sqrt(3) / 2 - 60, far / 2))
    assert space.place_mm(100, 0) == pytest.approx((far * math.sqrt(3) / 2 - 60, -far / 2))


def test_the_bounds_hold_every_sample_and_half_a_step_more() -> None:
    space = BeamSpace.of(CONVEX, (400, 121))
    half = math.radians(0.5 * 121 / 2)
    (top, bottom), (left, right) = space.bounds_mm
    assert bottom == pytest.approx(2 + 399.5 * 0.1925)
    assert top == pytest.approx((62 - 0.1925 / 2) * math.cos(half) - 60)
    assert (-left, right) == pytest.approx(2 * ((60 + bottom) * math.sin(half),))
    assert BeamSpace.of(LINEAR, (400, 128)).bounds_mm == (
        (2.0, pytest.approx(9.7)),
        (0.0, pytest.approx(38.4)),
    )


def test_a_fan_wider_than_half_a_turn_has_bounds() -> None:
    wide = BeamSpace.of(replace(PHASED, line_angle_deg=20.0), (100, 13))  # 260 degrees with both borders
    (top, bottom), (left, right) = wide.bounds_mm
    assert (-left, right, bottom) == pytest.approx(3 * (99.5 * 0.1925,))
    assert top == pytest.approx(bottom * math.cos(math.radians(130)))


@pytest.mark.parametrize("scan", [CONVEX, PHASED])
@pytest.mark.parametrize("shape", [(400, 128), (397, 113)])
def test_a_disc_in_tissue_is_a_disc_in_the_picture(scan: Scan, shape: tuple[int, int]) -> None:
    space = BeamSpace.of(scan, shape)
    z, x = space.place_mm(np.arange(shape[0])[:, np.newaxis], np.arange(shape[1]))
    disc = (np.hypot(z - 45.0, x - 12.0) < 10.0).astype(float)
    height_mm, width_mm = space.extent_mm
    size = round(4 * height_mm), round(4 * width_mm)  # a quarter of a millimetre
    rows, columns = np.nonzero(space.laid_out(disc, size) > 0.5)
    assert len(rows) / 16 == pytest.approx(math.pi * 100, rel=0.03)
    assert np.ptp(rows) / 4 == pytest.approx(20, abs=0.7)
    assert np.ptp(columns) / 4 == pytest.approx(20, abs=1.3)  # lines are .6 to 1.1 mm apart there
    assert space.bounds_mm[0][0] + rows.mean() / 4 == pytest.approx(45, abs=0.3)
    assert space.bounds_mm[1][0] + columns.mean() / 4 == pytest.approx(12, abs=0.3)


@pytest.mark.parametrize("scan", [CONVEX, PHASED])
@pytest.mark.parametrize("shape", [(9, 6), (1, 5), (5, 1)])
def test_every_pixel_is_that_of_brute_force(scan: Scan, shape: tuple[int, int]) -> None:
    scan = replace(scan, line_angle_deg=9.0)
    space, image, size = BeamSpace.of(scan, shape), np.random.default_rng(0).random(shape), (23, 31)
    laid = space.laid_out(image, size)
    (top, bottom), (left, right) = space.bounds_mm
    assert np.isfinite(laid).any()
    for i, j in np.ndindex(size):
        z = top + (i + 0.5) * (bottom - top) / size[0] + scan.radius_mm
        x = left + (j + 0.5) * (right - left) / size[1]
        row = (math.hypot(x, z) - scan.radius_mm - scan.first_depth_mm) / scan.axial_pitch_mm
        line = math.degrees(math.atan2(x, z)) / 9.0 + (shape[1] - 1) / 2
        if not (-0.5 <= row <= shape[0] - 0.5 and -0.5 <= line <= shape[1] - 0.5):
            assert math.isnan(laid[i, j])
            continue
        row, line = min(max(row, 0), shape[0] - 1), min(max(line, 0), shape[1] - 1)
        expected = sum(
            image[k, m] * max(0, 1 - abs(row - k)) * max(0, 1 - abs(line - m)) for k, m in np.ndindex(shape)
        )
        assert laid[i, j] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("scan", [LINEAR, CONVEX])
def test_fewer_rows_and_lines_lie_where_they_lay(scan: Scan) -> None:
    space = BeamSpace.of(scan, (401, 127))
    few = space.every((4, 3))
    assert few.shape == (101, 43)
    assert few.place_mm(5, 7) == pytest.approx(space.place_mm(20, 21))
    half = BeamSpace.of(scan, (400, 128)).resampled((200, 64))
    assert half.place_mm(0, 0) == pytest.approx(BeamSpace.of(scan, (400, 128)).place_mm(0.5, 0.5))
    if scan.radius_mm is not None:
        assert half.bounds_mm[0] == pytest.approx(BeamSpace.of(scan, (400, 128)).bounds_mm[0])


@pytest.mark.parametrize("scan", [LINEAR, CONVEX, PHASED])
def test_a_rectangle_holds_the_samples_whose_centres_lie_in_it(scan: Scan) -> None:
    """At any depth; one that is refused reaches beyond the outermost samples."""
    rng, shape, edge = np.random.default_rng(0), (300, 101), np.linspace(0, 1, 101)
    space = BeamSpace.of(scan, shape)
    z, x = space.place_mm(*np.mgrid[: shape[0], : shape[1]])
    (top, bottom), (left, right) = space.bounds_mm
    inside = 0
    for _ in range(100):
        a, b = np.sort(rng.uniform(top, bottom, 2))
        c, d = np.sort(rng.uniform(left, right, 2))
        found = space.pixels_in((a, b), (c, d))
        if found is None:
            down, across = a + edge * (b - a), c + edge * (d - c)
            border = [space.position(down, at) for at in (c, d)] + [
                space.position(at, across) for at in (a, b)
            ]
            rows, lines = (np.concatenate([np.broadcast_to(one[k], 101) for one in border]) for k in (0, 1))
            assert min(rows.min(), lines.min()) < 0 or rows.max() > 299 or lines.max() > 100
            continue
        rows, lines, mask = found
        got = np.zeros(shape, bool)
        got[rows, lines] = True if mask is None else mask
        np.testing.assert_array_equal(got, (z >= a) & (z <= b) & (x >= c) & (x <= d))
        inside += 1
    assert inside >= 10


def test_a_border_on_a_sample_includes_it() -> None:
    space = BeamSpace.of(LINEAR, (400, 128))
    found = space.pixels_in((2.0, 3.0), (0.9, 2.1))
    assert found is not None
    assert (found[0].start, found[1]) == (0, slice(3, 8))
    assert space.pixels_in((1.9, 3.0), (0.9, 2.1)) is None, "above the first row"


def test_the_pitch_half_way_down() -> None:
    """Of a phased array of 80 mm at half a degree: that of lines 40 mm long."""
    assert half_way_pitch_mm(0, 0.5, 0, 80) == pytest.approx(40 * math.pi / 360)
    assert half_way_pitch_mm(60, 0.5, 2, 76) == pytest.approx(100 * math.pi / 360)


@pytest.mark.parametrize("radius_mm", [None, 0.0, 60.0])
def test_the_pitch_of_rows_that_are_kept_is_that_half_way_down_them(radius_mm: float | None) -> None:
    whole = Scan(
        fs_hz=40e6,
        f0_hz=6.5e6,
        sound_speed_m_s=1540,
        line_pitch_mm=0.3,
        radius_mm=radius_mm,
        line_angle_deg=None if radius_mm is None else 0.5,
        first_depth_mm=2.0,
    )
    kept = whole.of_rows(200, 600)
    assert kept.first_depth_mm == pytest.approx(2 + 200 * whole.axial_pitch_mm)
    if radius_mm is None:
        assert kept.line_pitch_mm == 0.3
    else:
        expected = half_way_pitch_mm(radius_mm, 0.5, kept.first_depth_mm, 400 * whole.axial_pitch_mm)
        assert kept.line_pitch_mm == pytest.approx(expected)
