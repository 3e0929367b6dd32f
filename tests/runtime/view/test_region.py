"""Regions: their pixels against brute force, their areas against formulas, and what is not a region."""

from __future__ import annotations

import cmath
import json
import math
from typing import Any

import numpy as np
import pytest

from usert.beam_space import BeamSpace
from usert.errors import OptionError
from usert.runtime.view.region import MOST_POINTS, Region

PLANE = BeamSpace(shape=(512, 128), first=(0.0, 0.0), step=(0.02, 0.12))
FAN = BeamSpace(shape=(400, 160), first=(3.0, -0.7), step=(0.05, 1.4 / 159), radius_mm=12.0)
PHASED = BeamSpace(shape=(500, 120), first=(0.0, -0.75), step=(0.05, 1.5 / 119), radius_mm=0.0)
SPACES = {"parallel": (PLANE, (5.0, 7.5)), "curved": (FAN, (12.0, 2.0)), "phased": (PHASED, (15.0, -1.0))}


def star(centre: tuple[float, float], points: int, radii: tuple[float, float], turn: float = 0.1) -> Region:
    """A polygon with hollows, that does not cross itself."""
    angle = turn + np.linspace(0, 2 * math.pi, points, endpoint=False)
    radius = np.where(np.arange(points) % 2 == 0, *radii)
    corners = np.stack((centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle)), axis=1)
    return Region.parse({"kind": "polygon", "points": corners.tolist()})


def box(kind: str, centre: tuple[float, float], half: tuple[float, float], **more: float) -> Region:
    spans = [[at - by, at + by] for at, by in zip(centre, half, strict=True)]
    return Region.parse({"kind": kind, "depth": spans[0], "lateral": spans[1], **more})


def inside(region: Region, z: float, x: float) -> bool:
    """By the definition of each kind; of a polygon by the turns of its outline around the place."""
    (a, b), (c, d) = region.depth_mm, region.lateral_mm
    if region.kind == "rectangle":
        return a <= z <= b and c <= x <= d
    if region.kind == "ellipse":
        place = complex(z - (a + b) / 2, x - (c + d) / 2) * cmath.exp(-1j * math.radians(region.angle_deg))
        return (place.real / ((b - a) / 2)) ** 2 + (place.imag / ((d - c) / 2)) ** 2 <= 1
    towards = np.array(region.points) - (z, x)
    angles = np.unwrap(np.arctan2(*np.vstack((towards, towards[:1])).T))
    return abs(angles[-1] - angles[0]) > math.pi


def mask_of(region: Region, space: BeamSpace) -> np.ndarray:
    found = region.pixels(space)
    assert found is not None
    rows, lines, mask = found
    whole = np.zeros(space.shape, bool)
    whole[rows, lines] = True if mask is None else mask
    return whole


def area_of(mask: np.ndarray, space: BeamSpace) -> float:
    """Of its pixels in mm², those of a fan being larger the farther out they lie."""
    pixel = np.full(space.shape[0], math.prod(space.step))
    if space.radius_mm is not None:
        pixel *= space.radius_mm + space.first[0] + np.arange(space.shape[0]) * space.step[0]
    return float((mask * pixel[:, np.newaxis]).sum())


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("kind", ["rectangle", "ellipse", "turned", "triangle", "star", "many"])
def test_the_pixels_are_those_whose_centres_lie_inside(name: str, kind: str) -> None:
    space, centre = SPACES[name]
    region = {
        "turned": box("ellipse", centre, (1.2, 3.4), angle_deg=35),
        "triangle": star(centre, 3, (3.1, 3.1)),
        "star": star(centre, 10, (3.3, 1.2)),
        "many": star(centre, MOST_POINTS, (3.0, 2.0)),
    }.get(kind) or box(kind, centre, (2.3, 3.1))
    mask = mask_of(region, space)
    (a, c), (b, d) = region.outline.min(axis=0), region.outline.max(axis=0)
    z, x = np.broadcast_arrays(
        *space.place_mm(np.arange(space.shape[0])[:, np.newaxis], np.arange(space.shape[1]))
    )
    near = (z >= a - 0.2) & (z <= b + 0.2) & (x >= c - 0.3) & (x <= d + 0.3)
    assert not mask[~near].any()
    for at in np.flatnonzero(near)[::7]:
        row, line = divmod(int(at), space.shape[1])
        assert mask[row, line] == inside(region, z[row, line], x[row, line]), (row, line)


@pytest.mark.parametrize("name", SPACES)
def test_the_pixels_cover_the_area_of_the_formula(name: str) -> None:
    space, centre = SPACES[name]
    assert area_of(mask_of(box("rectangle", centre, (2, 3)), space), space) == pytest.approx(24, rel=0.03)
    ellipse = mask_of(box("ellipse", centre, (2, 3)), space)
    assert area_of(ellipse, space) == pytest.approx(6 * math.pi, rel=0.01)
    turned = mask_of(box("ellipse", centre, (1.2, 3.4), angle_deg=-50), space)
    assert area_of(turned, space) == pytest.approx(1.2 * 3.4 * math.pi, rel=0.01)
    hexagon = mask_of(star(centre, 6, (3, 3)), space)
    assert area_of(hexagon, space) == pytest.approx(1.5 * math.sqrt(3) * 9, rel=0.01)


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("kind", ["rectangle", "ellipse", "polygon"])
def test_one_that_is_not_wholly_inside_the_image_has_no_pixels(name: str, kind: str) -> None:
    space, (depth, lateral) = SPACES[name]
    (top, bottom), (left, right) = space.bounds_mm
    for place in (
        (depth, left),
        (depth, right),
        (top, lateral),
        (bottom, lateral),
        (-50.0, 0.0),
        (900.0, 0.0),
    ):
        region = star(place, 12, (2, 2)) if kind == "polygon" else box(kind, place, (2, 2))
        assert region.pixels(space) is None, place


def test_an_edge_that_comes_nearer_to_a_curved_array_than_its_ends_is_outside() -> None:
    z, x = FAN.place_mm(2, np.array([5, 154]))
    corners = [[float(z[0]), float(x[0])], [float(z[1]), float(x[1])], [float(z[0]) + 8, 0.0]]
    assert Region.parse({"kind": "polygon", "points": corners}).pixels(FAN) is None


def test_an_ellipse_fits_into_the_corner_of_a_fan_where_its_rectangle_does_not() -> None:
    z, x = FAN.place_mm(364, 130)
    place = float(z), float(x)
    assert box("rectangle", place, (1.5, 1.5)).pixels(FAN) is None
    assert box("ellipse", place, (1.5, 1.5)).pixels(FAN) is not None


def test_one_that_is_turned_may_leave_the_image_or_come_into_it() -> None:
    """Down is turned towards larger lateral positions: by a right angle, what is wide is tall."""
    wide, tall = ((2.0, 7.5), (0.5, 3.0)), ((5.0, 1.0), (3.013, 0.507))
    assert box("ellipse", *wide).pixels(PLANE) is not None
    assert box("ellipse", *wide, angle_deg=90).pixels(PLANE) is None
    upright = box("ellipse", tall[0], tall[1][::-1], angle_deg=90)
    assert (mask_of(upright, PLANE) == mask_of(box("ellipse", *tall), PLANE)).all()
    low, high = (mask_of(box("ellipse", (5.0, 7.5), (3.0, 0.5), angle_deg=by), PLANE) for by in (30, -30))
    rows = slice(PLANE.shape[0] // 2, None)
    assert np.argwhere(low[rows])[:, 1].mean() > np.argwhere(high[rows])[:, 1].mean() + 5


def test_one_between_the_samples_is_empty_but_inside() -> None:
    for region in (box("ellipse", (5.01, 6.06), (1e-3, 1e-3)), star((5.01, 6.06), 4, (1e-3, 1e-3))):
        assert not mask_of(region, PLANE).any()


@pytest.mark.parametrize(
    "fields",
    [
        None,
        "rectangle",
        [],
        {},
        {"kind": "circle"},
        {"kind": ["polygon"]},
        {"kind": "rectangle"},
        {"kind": "rectangle", "depth": [1, 2]},
        {"kind": "rectangle", "depth": [2, 1], "lateral": [1, 2]},
        {"kind": "ellipse", "depth": [1, 2], "lateral": [3, 3]},
        {"kind": "ellipse", "depth": [1, 2], "lateral": [1, math.nan]},
        {"kind": "ellipse", "depth": [1, 2], "lateral": [1, math.inf]},
        {"kind": "ellipse", "depth": [1, 2], "lateral": [1, 10**400]},
        {"kind": "ellipse", "depth": [True, 2], "lateral": [1, 2]},
        {"kind": "ellipse", "depth": "12", "lateral": "12"},
        {"kind": "ellipse", "depth": {"1": 2}, "lateral": [1, 2]},
        {"kind": "ellipse", "depth": [1, 2], "lateral": [1, 2], "angle_deg": "30"},
        {"kind": "ellipse", "depth": [1, 2], "lateral": [1, 2], "angle_deg": True},
        {"kind": "ellipse", "depth": [1, 2], "lateral": [1, 2], "angle_deg": math.nan},
        {"kind": "ellipse", "depth": [1, 2], "lateral": [1, 2], "angle_deg": 10**400},
        {"kind": "polygon"},
        {"kind": "polygon", "points": "1234"},
        {"kind": "polygon", "points": [[1, 1], [2, 2]]},
        {"kind": "polygon", "points": [[1, 1], [2, 2], [3]]},
        {"kind": "polygon", "points": [[1, 1], [2, 2], ["3", 1]]},
        {"kind": "polygon", "points": [[1, 1], [1, 2], [1, 3]]},
        {"kind": "polygon", "points": [[k % 100, k // 100] for k in range(10_000)]},
        {"kind": "polygon", "points": [[0, 0], [2, 2], [2, 0], [0, 2]]},
        {"kind": "polygon", "points": [[0, 0], [4, 0], [4, 4], [1, -1]]},
    ],
)
def test_what_is_no_region_is_one_line(fields: Any) -> None:
    with pytest.raises(OptionError, match=r"region: got .* expected") as raised:
        Region.parse(fields)
    assert len(str(raised.value)) < 200


def test_what_json_calls_numbers_is_checked_too() -> None:
    with pytest.raises(OptionError):
        Region.parse(json.loads('{"kind": "ellipse", "depth": [1, NaN], "lateral": [1, 2]}'))
