"""What a person does with the page, in a real browser: regions, freezing, scrolling back, keys, touch, saving."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from browser import MakePage, Open, Screen
from PIL import Image
from show import Act, Made, Show

pytestmark = pytest.mark.slow  # a browser and a clock: minutes, and where there is Chromium


def ratio(screen: Screen) -> tuple[float, float]:
    """And its spread."""
    screen.expect("#ratio-value", re.compile(r"\d ± \d"))
    value, spread = screen.text("#ratio-value").split(" ± ")
    return float(value), float(spread)


def true_ratio(act: Act) -> float:
    (d0, d1, a, b), (_, _, c, d) = act.regions_mm()
    return act.true_ratio_of(f"{d0}:{d1},{a}:{b}", f"{d0}:{d1},{c}:{d}")


def test_two_regions_give_the_known_ratio(screen: Screen, act: Act) -> None:
    for region in act.regions_mm():
        screen.draw(region)
    screen.expect("#ratio-more", "10 images")
    value, spread = ratio(screen)
    assert value == pytest.approx(true_ratio(act), rel=0.05)
    assert 0 < spread < 0.1
    screen.expect("#ratio-words", "harder")
    assert f"B / A {1 / value:.1f}" in screen.text("#ratio-more")


def test_regions_by_touch_on_a_tablet(show: Show, serve_page: MakePage, look: Open, act: Act) -> None:
    page = serve_page(strain=show.strain, rf=show.rf, stale_ms=5000.0)
    screen = look(page.url, viewport={"width": 800, "height": 1180}, has_touch=True)
    screen.wait_state("live")
    for d0, d1, l0, l1 in act.regions_mm():
        screen.touch([(d0, l0), (d1, l1)])
    assert ratio(screen)[0] == pytest.approx(true_ratio(act), rel=0.05)


def test_frozen_it_measures_what_it_kept(screen: Screen, act: Act) -> None:
    """As live: the same pixels, by the same rule; also regions that are drawn now."""
    screen.until(lambda: screen.drawn > 15)
    screen.press(" ")
    screen.wait_state("frozen")
    drawn = screen.drawn
    for region in act.regions_mm():
        screen.draw(region)
    screen.expect("#ratio-more", "10 images")
    assert ratio(screen)[0] == pytest.approx(true_ratio(act), rel=0.05)
    screen.press("Escape", "Home")
    screen.until(lambda: screen.drawn < drawn)
    screen.expect("#ratio-more", "1 image,")
    screen.press("End")
    screen.until(lambda: screen.drawn == drawn)
    screen.expect("#ratio-more", "10 images")


def test_scrolling_back_shows_the_images_that_were_seen(screen: Screen) -> None:
    screen.until(lambda: screen.drawn > 10)
    screen.press(" ")
    screen.wait_state("frozen")
    newest = screen.drawn
    age = screen.age_ms
    screen.press(",", ",", ",")
    screen.until(lambda: screen.drawn == newest - 3)
    screen.press(".")
    screen.until(lambda: screen.drawn == newest - 2)
    screen.press("ArrowLeft")
    screen.until(lambda: screen.drawn == newest - 3)
    screen.expect("#time-words", re.compile(r"^−\d"))
    screen.until(lambda: screen.age_ms > age + 200)
    screen.press("Home")
    screen.until(lambda: screen.drawn < newest - 3)
    screen.page.locator("#time").press("End")
    screen.until(lambda: screen.drawn == newest)
    screen.page.locator("#freeze").click()
    screen.wait_state("live")
    screen.until(lambda: screen.drawn > newest + 3)


def test_everything_goes_by_keys_alone(screen: Screen) -> None:
    page = screen.page
    screen.press("a", "b")
    first = ratio(screen)[0]
    assert 0.2 < first < 0.8
    screen.press("a", "ArrowDown", "ArrowRight", "Shift+ArrowRight", "Shift+ArrowDown")
    screen.until(lambda: page.locator("#region-a").get_attribute("aria-pressed") == "true")
    ratio(screen)
    screen.press("Delete")
    screen.expect("#ratio-words", "Now draw A")
    screen.press("c")
    screen.expect("#ratio-words", "Draw A on the target")
    screen.press("v")
    screen.expect("#mode", "Overlaid")
    screen.press("+", "+", "-")
    screen.until(lambda: page.locator("#opacity").input_value() == "65")
    screen.press("v", "v", "m")
    screen.expect("#map", "Cividis")
    screen.press("g")
    screen.expect("#range", "0.5 %")
    screen.press("q")
    screen.until(lambda: [one["kind"] for one in screen.panels()] == ["bmode", "strain", "quality"])
    screen.press("x")
    screen.until(lambda: page.locator("#blank").get_attribute("aria-pressed") == "false")
    screen.press("?")
    page.locator("#help").wait_for()
    screen.press(" ")  # of the dialog, not of the page
    screen.press("Escape")
    assert screen.state == "live"
    for _ in range(99):
        page.keyboard.press("Tab")
        if page.evaluate("() => document.activeElement.id") == "freeze":
            break
    screen.press("Enter")
    screen.wait_state("frozen")
    screen.press(" ")
    screen.wait_state("live")


def test_settings_are_kept_but_hiding_the_unreadable_is_always_on(screen: Screen) -> None:
    screen.press("m", "x", "v")
    screen.page.wait_for_timeout(300)
    screen.page.reload()
    screen.wait_state("live")
    screen.expect("#map", "Cividis")
    screen.expect("#mode", "Overlaid")
    assert screen.page.locator("#blank").get_attribute("aria-pressed") == "true"


def test_a_region_outside_is_said(screen: Screen, show: Show, act: Act) -> None:
    """Outside when it is drawn, and when the image has become smaller since."""
    box = screen.page.locator("#canvas").bounding_box()
    assert box is not None
    screen.page.mouse.click(box["x"] + 5, box["y"] + 5)
    screen.expect("#notices", "inside the image")
    for region in act.regions_mm():
        screen.draw(region)
    ratio(screen)
    rows = slice(0, act.images[0].reference.shape[0] // 2)
    show.act = replace(act, images=[_cut(made, rows) for made in act.images])
    show.session += 1
    screen.expect("#ratio-words", re.compile("A and B are outside the image"))
    screen.expect("#ratio-value", "none")
    screen.expect("#notices", "began anew")


def _cut(made: Made, rows: slice) -> Made:
    estimate = made.estimate
    return Made(
        reference=replace(made.reference, samples=made.reference.samples[rows].copy()),
        current=replace(made.current, samples=made.current.samples[rows].copy()),
        estimate=replace(
            estimate,
            displacement=estimate.displacement[:, rows].copy(),
            strain=estimate.strain[rows].copy(),
            quality=estimate.quality[rows].copy(),
        ),
    )


def test_a_region_on_masked_pixels_is_said(screen: Screen, show: Show, act: Act) -> None:
    for region in act.regions_mm():
        screen.draw(region)
    ratio(screen)
    poor = []
    from_line = round(act.regions_mm()[0][2] / act.images[0].reference.scan.line_pitch_mm)
    for made in act.images:
        quality = made.estimate.quality.copy()
        quality[:, from_line:] = 0.5
        poor.append(replace(made, estimate=replace(made.estimate, quality=quality)))
    show.act = replace(act, images=poor)
    screen.expect("#ratio-words", re.compile(r"Too little of A \(\d+\s%\) may be read"))
    screen.expect("#ratio-value", "none")


def test_a_snapshot_is_a_picture_with_its_numbers(screen: Screen, act: Act, tmp_path: Path) -> None:
    for region in act.regions_mm():
        screen.draw(region)
    ratio(screen)
    with screen.page.expect_download() as download:
        screen.press("s")
    assert re.fullmatch(r"usert-show-\d{8}-\d{6}-\d+\.png", download.value.suggested_filename)
    with Image.open(io.BytesIO(Path(download.value.path()).read_bytes())) as image:
        assert image.size[0] >= 1280
        pixels = np.asarray(image.convert("RGB")).astype(int)
    foot = pixels[-150:]
    assert (foot.max(axis=-1) > 200).mean() > 0.005  # writing
    middle = pixels[200:900]
    assert (np.ptp(middle, axis=-1) > 60).mean() > 0.1  # colours of strain


def test_the_strain_on_the_screen_has_the_colours_of_the_bar(screen: Screen, show: Show, act: Act) -> None:
    """The lesion is darker than the tissue beside it, and what must not be read has no colour."""
    (d0, d1, a, b), (_, _, c, d) = act.regions_mm()
    poor = []
    for made in act.images:
        quality = made.estimate.quality.copy()
        quality[-100:] = 0.1
        poor.append(replace(made, estimate=replace(made.estimate, quality=quality)))
    show.act = replace(act, images=poor)
    drawn = screen.drawn
    screen.until(lambda: screen.drawn > drawn + 4)
    panel = next(one for one in screen.panels() if one["kind"] == "strain")
    box = screen.page.locator("#canvas").bounding_box()
    assert box is not None
    with Image.open(io.BytesIO(screen.page.screenshot())) as image:
        pixels = np.asarray(image.convert("RGB")).astype(float)

    def part(depth: tuple[float, float], lateral: tuple[float, float]) -> np.ndarray:
        rows = [round(box["y"] + panel["y"] + mm * panel["scale"]) for mm in depth]
        columns = [round(box["x"] + panel["x"] + mm * panel["scale"]) for mm in lateral]
        return pixels[slice(*rows), slice(*columns)].reshape(-1, 3)

    inside, beside = part((d0, d1), (a, b)), part((d0, d1), (c, d))
    assert inside.mean() + 20 < beside.mean()
    deep = act.images[0].reference.shape[0] * act.images[0].reference.scan.axial_pitch_mm
    hidden = part((deep * 0.85, deep * 0.97), (1, 14))
    assert np.ptp(hidden, axis=-1).max() < 40  # grey
