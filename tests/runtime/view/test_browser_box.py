"""The elastogram box, in a real browser: strain inside it only, in mm, with a range of its own."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from browser import MakePage, Open, Screen
from PIL import Image
from publishing import image
from show import Act, Made, Show

from usert.beam_space import BeamSpace
from usert.frame import RFFrame, Scan
from usert.runtime.protocol.age import Age
from usert.runtime.view.picture import Arrival, Painter
from usert.runtime.view.strain_range import LEAST, StrainRange

pytestmark = pytest.mark.slow  # a browser and a clock: minutes, and where there is Chromium

Region = tuple[float, float, float, float]
BOX: Region = (2.0, 7.5, 4.0, 12.0)
_READING = """async ([text, region]) => {
  const { Picture } = await import('/static/picture.js');
  const { Painter } = await import('/static/colours.js');
  const { BoxRange } = await import('/static/box-range.js');
  const picture = new Picture(Uint8Array.from(atob(text), (one) => one.charCodeAt(0)).buffer);
  const { soft, share } = new BoxRange().of(picture, new Painter({}), region, 1);
  return [soft, share];
}"""


def kept(screen: Screen) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(screen.page.evaluate("() => localStorage.getItem('usert-view')"))[
        "box"
    ]
    return found


def switch_on(screen: Screen) -> None:
    """And wait until the page is laid out again: another word may need more room."""
    screen.press("k")
    screen.expect("#box", "Full image")
    settle(screen)


def settle(screen: Screen) -> None:
    """Until pictures that come from now on are drawn."""
    screen.page.wait_for_timeout(200)
    drawn = screen.drawn
    screen.until(lambda: screen.drawn > drawn + 2)


def colourful(screen: Screen, kind: str = "strain") -> np.ndarray:
    """Where the panel of that kind has colour; a row a pixel of the screen."""
    screen.page.wait_for_timeout(400)
    panel = next(one for one in screen.panels() if one["kind"] == kind)
    with Image.open(io.BytesIO(screen.page.locator("#canvas").screenshot())) as shot:
        pixels = np.asarray(shot.convert("RGB")).astype(int)
    y, x, height, width = (round(panel[name]) for name in ("y", "x", "height", "width"))
    return np.ptp(pixels[y : y + height, x : x + width], axis=-1) > 40


def parts(screen: Screen, mask: np.ndarray, region: Region, kind: str = "strain") -> tuple[float, float]:
    """Share with colour inside the region, and outside it, without the lines between."""
    panel = next(one for one in screen.panels() if one["kind"] == kind)
    scale, (top, left) = panel["scale"], panel["origin"]
    rows, columns = np.indices(mask.shape)
    depth, lateral = top + rows / scale, left + columns / scale
    d0, d1, l0, l1 = region
    reach = 14 / scale

    def within(by: float) -> np.ndarray:
        return (depth > d0 - by) & (depth < d1 + by) & (lateral > l0 - by) & (lateral < l1 + by)

    return float(mask[within(-reach)].mean()), float(mask[~within(reach)].mean())


def test_strain_is_drawn_inside_the_box_only_and_back_on_the_full_image(screen: Screen) -> None:
    assert colourful(screen).mean() > 0.9
    switch_on(screen)
    screen.draw(BOX)
    screen.press("Escape")
    found = kept(screen)
    assert [*found["depth"], *found["lateral"]] == pytest.approx(BOX, abs=0.15)
    inside, outside = parts(screen, colourful(screen), BOX)
    assert inside > 0.95
    assert outside < 0.02
    assert colourful(screen, "bmode").mean() < 0.1, "its line alone"
    screen.press("v")
    inside, outside = parts(screen, colourful(screen, "overlay"), BOX, "overlay")
    assert inside > 0.5
    assert outside < 0.02
    screen.page.locator("#box").click()
    screen.expect("#box", re.compile("^Box$"))
    screen.press("v", "v")
    assert colourful(screen).mean() > 0.9
    screen.press("k")
    assert [*kept(screen)["depth"], *kept(screen)["lateral"]] == pytest.approx(BOX, abs=0.15), "where it was"


def test_the_box_is_moved_and_sized_by_pointer_and_by_keys(screen: Screen) -> None:
    switch_on(screen)
    screen.draw(BOX)
    screen.draw((2.0, 3.0, 8.0, 9.0))  # from its upper edge: down and across
    found = kept(screen)
    assert [*found["depth"], *found["lateral"]] == pytest.approx((3.0, 8.5, 5.0, 13.0), abs=0.2)
    screen.draw((8.5, 6.0, 13.0, 11.0))  # its lower right corner
    found = kept(screen)
    assert [*found["depth"], *found["lateral"]] == pytest.approx((3.0, 6.0, 5.0, 11.0), abs=0.2)
    screen.draw((4.0, 5.5, 6.5, 8.0))  # a region, not the box
    assert kept(screen) == found
    screen.expect("#ratio-words", "Now draw B")
    screen.press("k", "k", "ArrowDown", "ArrowRight", "Shift+ArrowRight")
    moved = kept(screen)
    assert moved["depth"][0] > found["depth"][0]
    assert moved["lateral"][0] > found["lateral"][0]
    assert moved["lateral"][1] - moved["lateral"][0] > found["lateral"][1] - found["lateral"][0]
    for _ in range(40):
        screen.press("ArrowDown")
    lowest = kept(screen)["depth"]
    assert lowest[1] - lowest[0] == pytest.approx(moved["depth"][1] - moved["depth"][0])
    assert lowest[1] < 10
    screen.press("Escape", "ArrowLeft")
    screen.wait_state("frozen")
    screen.press("k", "k", "Delete")
    screen.expect("#box", re.compile("^Box$"))


def draw_by_touch(screen: Screen, region: tuple[float, float, float, float]) -> None:
    """A finger from one corner of a region in mm (depth, depth, lateral, lateral) to the other, on the strain image."""
    box = screen.page.locator("#canvas").bounding_box()
    assert box is not None
    panel = next(one for one in screen.panels() if one["kind"] == "strain")
    session = screen.page.context.new_cdp_session(screen.page)
    d0, d1, l0, l1 = region
    for kind, depth, lateral in (
        ("touchStart", d0, l0),
        ("touchMove", (d0 + d1) / 2, (l0 + l1) / 2),
        ("touchMove", d1, l1),
        ("touchEnd", 0, 0),
    ):
        x, y = (
            box["x"] + panel["x"] + lateral * panel["scale"],
            box["y"] + panel["y"] + depth * panel["scale"],
        )
        session.send(
            "Input.dispatchTouchEvent",
            {"type": kind, "touchPoints": [] if kind == "touchEnd" else [{"x": x, "y": y}]},
        )
    screen.page.wait_for_timeout(200)


def test_the_box_is_drawn_by_touch(show: Show, serve_page: MakePage, look: Open) -> None:
    page = serve_page(strain=show.strain, rf=show.rf, stale_ms=5000.0)
    screen = look(page.url, viewport={"width": 800, "height": 1180}, has_touch=True)
    screen.wait_state("live")
    screen.page.locator("#box").tap()
    draw_by_touch(screen, BOX)
    assert [*kept(screen)["depth"], *kept(screen)["lateral"]] == pytest.approx(BOX, abs=0.3)
    scale = next(one for one in screen.panels() if one["kind"] == "strain")["scale"]
    reach = (
        0.8 * min(39, scale * (BOX[1] - BOX[0]) / 4) / scale
    )  # within its upper edge: 12 mm or a half of the inside
    draw_by_touch(screen, (BOX[0] + reach, BOX[0] + reach + 1.0, 7.0, 8.0))
    moved = kept(screen)
    expected = (BOX[0] + 1.0, BOX[1] + 1.0, BOX[2] + 1.0, BOX[3] + 1.0)
    assert [*moved["depth"], *moved["lateral"]] == pytest.approx(expected, abs=0.3)


def test_the_box_stays_and_lies_inside_whatever_the_image(screen: Screen, show: Show, act: Act) -> None:
    switch_on(screen)
    screen.draw((6.0, 9.0, 4.0, 12.0))
    screen.page.reload()
    screen.wait_state("live")
    screen.expect("#box", "Full image")
    rows = slice(0, act.images[0].reference.shape[0] // 2)

    def cut(made: Made) -> Made:
        grids = {
            name: getattr(made.estimate, name)[..., rows, :].copy()
            for name in ("displacement", "strain", "quality")
        }
        frames = (replace(one, samples=one.samples[rows].copy()) for one in (made.reference, made.current))
        reference, current = frames
        return Made(reference=reference, current=current, estimate=replace(made.estimate, **grids))

    show.act = replace(act, images=[cut(made) for made in act.images])
    show.session += 1
    screen.expect("#notices", "began anew")
    settle(screen)
    deep = act.images[0].reference.shape[0] * act.images[0].reference.scan.axial_pitch_mm / 2
    inside, outside = parts(screen, colourful(screen), (deep - 3, deep + 1, 4, 12))
    assert inside > 0.9
    assert outside < 0.03
    assert kept(screen)["depth"] == pytest.approx([6, 9], abs=0.2), "for the image that it was drawn on"


def test_nothing_readable_in_the_box_is_hatched_and_said(screen: Screen, show: Show, act: Act) -> None:
    images = []
    for made in act.images:
        quality = made.estimate.quality.copy()
        quality[:, 40:] = 0.1
        images.append(replace(made, estimate=replace(made.estimate, quality=quality)))
    show.act = replace(act, images=images)
    switch_on(screen)
    screen.draw((2.0, 7.5, 7.0, 14.0))
    screen.press("Escape")
    drawn = screen.drawn
    screen.until(lambda: screen.drawn > drawn + 4)
    inside, outside = parts(screen, colourful(screen), (2.0, 7.5, 7.0, 14.0))
    assert inside == pytest.approx(0, abs=0.01)
    assert outside < 0.08, "the words below it alone"


def test_on_a_curved_array_the_box_is_in_millimetres(screen: Screen, show: Show, act: Act) -> None:
    def bent(frame: RFFrame) -> RFFrame:
        scan = replace(frame.scan, radius_mm=12.0, line_angle_deg=0.5, first_depth_mm=3.0)
        return replace(frame, scan=scan)

    show.act = replace(
        act,
        images=[replace(one, reference=bent(one.reference), current=bent(one.current)) for one in act.images],
    )
    show.session += 1
    screen.expect("#notices", "began anew")
    settle(screen)
    frame = show.act.images[0].reference
    space = BeamSpace.of(frame.scan, frame.shape)
    depth, lateral = space.place_mm(frame.shape[0] / 2, frame.shape[1] / 2)
    region = (depth - 2, depth + 2, lateral - 2.5, lateral + 2.5)
    switch_on(screen)
    screen.draw(region)
    screen.press("Escape")
    inside, outside = parts(screen, colourful(screen), region)
    assert inside > 0.95
    assert outside < 0.02


def test_settings_that_are_no_box_are_forgotten(screen: Screen) -> None:
    for box in (
        '{"on": true}',
        '{"on": true, "depth": [1, 2, 3], "lateral": [1, 9]}',
        '{"on": 1}',
        '"all"',
        "[1]",
    ):
        screen.page.evaluate("(box) => localStorage.setItem('usert-view', `{\"box\": ${box}}`)", box)
        screen.page.reload()
        screen.wait_state("live")
        screen.expect("#box", re.compile("^Box$"))


SCAN = Scan(fs_hz=40e6, f0_hz=6.5e6, sound_speed_m_s=1540, line_pitch_mm=0.2)


@pytest.mark.parametrize("mean", [0.006, -0.006, 0.0001])
@pytest.mark.parametrize("radius_mm", [None, 15.0])
def test_the_range_is_that_of_the_pixels_inside(screen: Screen, mean: float, radius_mm: float | None) -> None:
    """By the rule of the full image, over readable pixels whose centres lie in the box."""
    shape = (256, 64)
    random = np.random.default_rng(2)
    scan = SCAN if radius_mm is None else replace(SCAN, radius_mm=radius_mm, line_angle_deg=0.6)
    rows, lines = np.indices(shape)
    strain = (mean * (0.5 + lines / shape[1] + 0.3 * rows / shape[0])).astype(np.float32)
    quality = np.where(rows < 200, 0.95, 0.3).astype(np.float32)
    if radius_mm is None:
        strain += random.normal(0, 1e-4, shape).astype(np.float32)
    grids = {"strain": strain, "quality": quality, "displacement": np.zeros((2, *shape), np.float32)}
    message = replace(image(), **{"scan": scan, "readable_quality": 0.7} | grids)
    sent = Painter().paint(message, Arrival(age=Age(ms=10, exact=True), at_ns=10**12), None).encoded
    space = BeamSpace.of(scan, shape)
    z, x = space.place_mm(rows, lines)
    d0, d1, l0, l1 = box = (1.0, 4.5, -2.0, 2.0) if radius_mm else (1.0, 4.5, 4.0, 10.0)
    found, share = screen.page.evaluate(
        _READING, [base64.b64encode(sent).decode(), {"depth": box[:2], "lateral": box[2:]}]
    )
    inside = (z > d0) & (z < d1) & (x > l0) & (x < l1)
    expected = StrainRange().soft_end(strain[inside], quality[inside], 0.7)
    assert found == pytest.approx(expected, rel=0.01 if radius_mm is None else 0.05)
    assert share == pytest.approx((quality[inside] >= 0.7).mean(), abs=0.03)
    if mean == 0.0001:
        assert found == LEAST
