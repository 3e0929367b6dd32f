"""A curved array on the page, in a real browser: what lies at a place in mm is seen and measured there."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import numpy as np
import pytest
from browser import MakePage, Open, Screen
from PIL import Image
from show import FRAMES, LAG, Act, Made, Show

from usert.beam_space import BeamSpace
from usert.frame import RFFrame
from usert.runtime.imaging.strain_ratio import RatioMeter, Rectangle
from usert.strain import axial_strain

pytestmark = pytest.mark.slow  # a browser and a clock: minutes, and where there is Chromium

Region = tuple[float, float, float, float]
RADIUS_MM, ANGLE_DEG, FIRST_MM = 12.0, 0.5, 3.0


@pytest.fixture(scope="session")
def curved(act: Act) -> Act:
    """The same lines as those of a curved array, their lower rows too poor to be read."""

    def bent(frame: RFFrame) -> RFFrame:
        scan = replace(frame.scan, radius_mm=RADIUS_MM, line_angle_deg=ANGLE_DEG, first_depth_mm=FIRST_MM)
        return replace(frame, scan=scan)

    images = []
    for made in act.images:
        quality = made.estimate.quality.copy()
        quality[-60:] = 0.1
        estimate = replace(made.estimate, quality=quality)
        images.append(Made(reference=bent(made.reference), current=bent(made.current), estimate=estimate))
    return replace(act, images=images)


def space_of(act: Act) -> BeamSpace:
    frame = act.images[0].reference
    return BeamSpace.of(frame.scan, frame.shape)


def regions(act: Act) -> tuple[Region, Region]:
    """In mm: in the middle of the lesion, and beside it on the other side of the centre line."""
    lesion, scan, space = act.scanner.lesion, act.scanner.scan, space_of(act)
    row, line = lesion.centre_z_mm / scan.axial_pitch_mm, lesion.centre_x_mm / scan.line_pitch_mm
    z, x = space.place_mm(row, line)
    _, beside = space.place_mm(row, line - 1.6 * lesion.radius_mm / scan.line_pitch_mm)
    return (z - 1, z + 1, x - 1, x + 1), (z - 1, z + 1, beside - 0.6, beside + 0.6)


def true_ratio(act: Act) -> float:
    space = space_of(act)
    meter = RatioMeter(*(Rectangle(depth_mm=(a, b), lateral_mm=(c, d)) for a, b, c, d in regions(act)))
    for first in FRAMES:
        strain = axial_strain(act.scanner.truth(first, first + LAG)[0], 3)
        reading = meter.read(strain, np.ones_like(strain), space)
    assert reading.ratio is not None
    return reading.ratio


@pytest.fixture
def screen(show: Show, curved: Act, serve_page: MakePage, look: Open) -> Screen:
    show.act = curved
    page = serve_page(strain=show.strain, rf=show.rf, stale_ms=5000.0)
    opened = look(page.url)
    opened.wait_state("live")
    drawn = opened.drawn
    opened.until(lambda: opened.drawn > drawn + 4)
    return opened


def test_what_is_drawn_lies_where_it_is(screen: Screen, curved: Act) -> None:
    """The lesion is dark at its place in mm; below rows that may be read grey; beyond the fan nothing."""
    space, panel = space_of(curved), next(one for one in screen.panels() if one["kind"] == "strain")
    box = screen.page.locator("#canvas").bounding_box()
    assert box is not None
    (top, bottom), (left, right) = space.bounds_mm
    assert panel["origin"] == pytest.approx([top, left])
    assert panel["width"] / panel["scale"] == pytest.approx(right - left)
    assert panel["height"] / panel["scale"] == pytest.approx(bottom - top)
    with Image.open(io.BytesIO(screen.page.screenshot())) as image:
        pixels = np.asarray(image.convert("RGB")).astype(float)

    def at(z: float, x: float, reach: int = 4) -> np.ndarray:
        row = round(box["y"] + panel["y"] + (z - top) * panel["scale"])
        column = round(box["x"] + panel["x"] + (x - left) * panel["scale"])
        return pixels[row - reach : row + reach + 1, column - reach : column + reach + 1].reshape(-1, 3)

    (a, b, c, d), (_, _, e, f) = regions(curved)
    inside, beside = at((a + b) / 2, (c + d) / 2), at((a + b) / 2, (e + f) / 2)
    assert inside.mean() + 20 < beside.mean()
    rows = space.shape[0]
    for line in (20, 64, 107):
        assert np.ptp(at(*space.place_mm(rows - 20, line)), axis=-1).max() < 40, "hatched"
        assert np.ptp(at(*space.place_mm(rows - 100, line)), axis=-1).max() > 40, "strain"
        for row in (-15, rows + 14):
            z, x = space.place_mm(row, line)
            if top < z < bottom:
                np.testing.assert_array_equal(at(z, x, 1), np.broadcast_to((11, 14, 18), (9, 3)))


def test_regions_in_mm_give_the_known_ratio(screen: Screen, curved: Act) -> None:
    for region in regions(curved):
        screen.draw(region)
    screen.expect("#ratio-more", "10 images")
    value, _ = screen.text("#ratio-value").split(" ± ")
    assert float(value) == pytest.approx(true_ratio(curved), rel=0.05)
    screen.press(" ")
    screen.wait_state("frozen")
    screen.expect("#ratio-more", "10 images")
    assert float(screen.text("#ratio-value").split(" ± ")[0]) == pytest.approx(true_ratio(curved), rel=0.05)


def test_regions_by_keys_lie_inside_and_one_in_a_corner_is_said(screen: Screen, curved: Act) -> None:
    screen.press("a", "b")
    screen.expect("#ratio-value", re.compile(r"\d ± \d"))
    screen.press("c")
    (top, _), (left, _) = space_of(curved).bounds_mm
    screen.draw(regions(curved)[0])
    screen.draw((top + 0.2, top + 1.5, left + 0.2, left + 1.5))
    screen.expect("#ratio-words", "B is outside the image")
