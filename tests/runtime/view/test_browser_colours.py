"""Colours of strain on the page, in a real browser: hard is where the bar says, whichever map and way round."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from browser import Screen
from PIL import Image
from show import Act

from usert.runtime.view.colour_maps import MAPS, table

pytestmark = pytest.mark.slow  # a browser and a clock: minutes, and where there is Chromium


def pixels_of(screen: Screen) -> np.ndarray:
    screen.page.wait_for_timeout(300)
    with Image.open(io.BytesIO(screen.page.locator("#canvas").screenshot())) as image:
        return np.asarray(image.convert("RGB")).astype(float)


def bar_of(screen: Screen, pixels: np.ndarray) -> np.ndarray:
    """Colours of the bar of strain, from HARD to SOFT."""
    panel = next(one for one in screen.panels() if one["kind"] == "strain")
    x = round(panel["x"] + panel["width"] + 22 + 9)
    return pixels[round(panel["y"] + 31) : round(panel["y"] + panel["height"] - 31), x][::-1]


def on_the_bar(colour: np.ndarray, bar: np.ndarray) -> float:
    """Where on the bar a colour is, 0 hard to 1 soft."""
    return float(np.argmin(((bar - colour) ** 2).sum(axis=1))) / (len(bar) - 1)


def places(screen: Screen, act: Act, pixels: np.ndarray) -> tuple[float, float]:
    """Where on the bar the lesion is, and the tissue beside it."""
    panel, bar = next(one for one in screen.panels() if one["kind"] == "strain"), bar_of(screen, pixels)
    found = []
    for d0, d1, l0, l1 in act.regions_mm():
        rows = [round(panel["y"] + mm * panel["scale"]) for mm in (d0, d1)]
        columns = [round(panel["x"] + mm * panel["scale"]) for mm in (l0, l1)]
        found.append(on_the_bar(np.median(pixels[slice(*rows), slice(*columns)], axis=(0, 1)), bar))
    return found[0], found[1]


@pytest.mark.parametrize("inverted", [False, True])
def test_the_lesion_is_nearer_to_hard_by_any_map(screen: Screen, act: Act, inverted: bool) -> None:
    if inverted:
        screen.press("i")
        screen.until(lambda: screen.page.locator("#invert").get_attribute("aria-pressed") == "true")
    for name in MAPS:
        pixels = pixels_of(screen)
        hard, soft = table(name)[[0, -1]][:: -1 if inverted else 1].astype(float)
        bar = bar_of(screen, pixels)
        assert abs(bar[0] - hard).max() < 12, name
        assert abs(bar[-1] - soft).max() < 12, name
        lesion, beside = places(screen, act, pixels)
        assert lesion < 0.6 < beside, name
        assert screen.page.locator("#map-unsafe").is_visible() == name.startswith("blue"), name
        screen.press("m")


def test_colours_are_kept_and_on_the_snapshot(screen: Screen, act: Act) -> None:
    screen.press("m", "m", "m", "i", " ")
    screen.wait_state("frozen")
    screen.page.reload()
    screen.wait_state("live")
    screen.expect("#map", "Blue–green–red")
    assert screen.page.locator("#invert").get_attribute("aria-pressed") == "true"
    assert screen.page.locator("#map-unsafe").is_visible()
    with screen.page.expect_download() as download:
        screen.press("s")
    with Image.open(io.BytesIO(Path(download.value.path()).read_bytes())) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)[84:984, 900:]
    red = (pixels[..., 0] > 150) & (pixels[..., 1] < 60)
    blue = (pixels[..., 2] > 150) & (pixels[..., 0] < 60) & (pixels[..., 1] < 90)
    rows = [np.flatnonzero(one[:, 560:].any(axis=1)) for one in (red, blue)]  # of the bar
    assert red.any()
    assert rows[0].mean() > rows[1].mean(), "hard, below, is red"


def test_settings_that_are_nonsense_are_forgotten(screen: Screen) -> None:
    screen.page.evaluate(
        """() => localStorage.setItem('usert-view', JSON.stringify({
          map: '__proto__', invert: 'yes', range: 7, box: { depth: 'x' },
        }))"""
    )
    screen.page.reload()
    screen.wait_state("live")
    screen.expect("#map", "Viridis")
    assert screen.page.locator("#invert").get_attribute("aria-pressed") == "false"
