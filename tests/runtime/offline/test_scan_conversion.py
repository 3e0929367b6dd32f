"""The fan: a disc stays a disc, and every pixel is where geometry puts it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from usert.errors import OptionError
from usert.runtime.offline.scan_conversion import Fan

CONVEX, PHASED = Fan(radius_mm=60, degrees=58), Fan(radius_mm=0, degrees=90)
DEPTH_MM, SHAPE = 80.0, (400, 128)


def places(fan: Fan) -> tuple[np.ndarray, np.ndarray]:
    """(x, z) in mm of each sample in beam space, z from the centre of the arc."""
    radius = fan.radius_mm + np.linspace(0, DEPTH_MM, SHAPE[0])[:, np.newaxis]
    angle = np.radians(np.linspace(-fan.degrees / 2, fan.degrees / 2, SHAPE[1]))
    return radius * np.sin(angle), radius * np.cos(angle)


@pytest.mark.parametrize("fan", [CONVEX, PHASED])
def test_a_disc_in_tissue_is_a_disc_on_the_screen(fan: Fan) -> None:
    x, z = places(fan)
    centre, radius_mm = (12.0, fan.radius_mm + 45.0), 10.0
    disc = (np.hypot(x - centre[0], z - centre[1]) < radius_mm).astype(float)
    height_mm, width_mm = fan.extent_mm(DEPTH_MM)
    size = round(4 * height_mm), round(4 * width_mm)  # a quarter of a millimetre
    laid = fan.lay_out(disc, depth_mm=DEPTH_MM, size=size) > 0.5
    rows, columns = np.nonzero(laid)
    assert np.ptp(rows) / 4 == pytest.approx(2 * radius_mm, abs=0.7)
    assert np.ptp(columns) / 4 == pytest.approx(2 * radius_mm, abs=1.2)  # lines are .8 to 1.4 mm apart there
    assert laid.sum() / 16 == pytest.approx(math.pi * radius_mm**2, rel=0.03)
    top_mm = fan.radius_mm * math.cos(math.radians(fan.degrees / 2))
    assert rows.mean() / 4 + top_mm == pytest.approx(centre[1], abs=0.3)
    assert columns.mean() / 4 - width_mm / 2 == pytest.approx(centre[0], abs=0.3)


@pytest.mark.parametrize("fan", [CONVEX, PHASED])
def test_every_pixel_is_that_of_brute_force(fan: Fan) -> None:
    image = np.random.default_rng(0).random((9, 6))
    size = 23, 31
    laid = fan.lay_out(image, depth_mm=DEPTH_MM, size=size)
    height_mm, width_mm = fan.extent_mm(DEPTH_MM)
    half = math.radians(fan.degrees / 2)
    for i in range(size[0]):
        for j in range(size[1]):
            down = fan.radius_mm * math.cos(half) + (i + 0.5) * height_mm / size[0]
            across = (j + 0.5) * width_mm / size[1] - width_mm / 2
            row = (math.hypot(across, down) - fan.radius_mm) / DEPTH_MM * 8
            line = (math.atan2(across, down) + half) / (2 * half) * 5
            if not (0 <= row <= 8 and 0 <= line <= 5):
                assert math.isnan(laid[i, j])
                continue
            expected = sum(
                image[k, m] * max(0, 1 - abs(row - k)) * max(0, 1 - abs(line - m))
                for k in range(9)
                for m in range(6)
            )
            assert laid[i, j] == pytest.approx(expected, abs=1e-6)


def test_one_line_and_one_row_are_images_too() -> None:
    assert np.nanmax(CONVEX.lay_out(np.ones((1, 5)), depth_mm=DEPTH_MM, size=(20, 20))) == 1
    assert np.nanmax(CONVEX.lay_out(np.ones((5, 1)), depth_mm=DEPTH_MM, size=(20, 20))) == 1


@pytest.mark.parametrize("text", ["", "60", "60:", "-1:50", "60:180", "60:0", "501:50", "a:b", "60:50:40"])
def test_what_is_no_fan_is_one_line(text: str) -> None:
    with pytest.raises(OptionError, match=r"^fan: got "):
        Fan.parse(text)


def test_a_fan_as_a_person_writes_it() -> None:
    assert Fan.parse("60:58") == CONVEX
    assert Fan.parse(" 0:90.0 ") == PHASED
