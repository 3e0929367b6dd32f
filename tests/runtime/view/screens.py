"""The screenshots of `docs/live-page.md`, made anew:
`PYTHONPATH=tests/runtime/support python tests/runtime/view/screens.py docs/images`.

A real `usert view` and a real browser; images by the default bundle, sent at a steady rate (`show`), so that a busy
machine makes the same pictures as an idle one.
"""

from __future__ import annotations

import math
import sys
from contextlib import closing
from io import BytesIO
from pathlib import Path

from browser import Screen, chromium, opened
from live import running
from PIL import Image
from playwright.sync_api import Browser
from show import Act, Show, make_default_act

from usert.runtime.view.address import Address
from usert.runtime.view.live_page import LivePage, PageConfig

SHAPE = (1280, 192)
HAZE = 2.0
PATIENT_MS = 5000.0
"""Limit of the page for the picture of what is held."""
_WIDEST = 1280
OTHERS = (
    ("tablet", 800, 1180, True, ""),
    ("tablet-landscape", 1180, 800, True, ""),
    ("large", 1920, 1080, False, ""),
    ("german", 1280, 720, False, "?lang=de"),
    ("second", 1920, 1080, False, "?view=image"),
)
"""Pages beside the first: name, size, whether by touch, and what stands behind the address."""


def main(folder: Path, act: Act) -> None:
    """All of them into `folder`."""
    path = chromium()
    assert path is not None, "no Chromium"
    with opened(path) as browser, Show(act, rate_hz=12) as show:
        with running(LivePage(config(show, 500.0))) as page:
            moments(show, act, page.url, browser, folder)
        with running(LivePage(config(show, PATIENT_MS))) as page:
            tab = browser.new_page(viewport={"width": 1280, "height": 720})
            screen = Screen(tab)
            tab.goto(page.url)
            screen.wait_state("live")
            for region in act.regions_mm():
                screen.draw(region)
            screen.expect("#ratio-more", "10 images")
            show.held = True
            screen.wait_state("held")
            tab.wait_for_timeout(200)
            save_small(tab.screenshot(), folder / "page-held.png")


def config(show: Show, stale_ms: float) -> PageConfig:
    return PageConfig(strain=show.strain, rf=show.rf, http=Address.parse("127.0.0.1:0"), stale_ms=stale_ms)


def moments(show: Show, act: Act, url: str, browser: Browser, folder: Path) -> None:
    """One after the other, on one page."""
    tab = browser.new_page(viewport={"width": 1280, "height": 720})
    screen = Screen(tab)
    tab.goto(url)

    def save(name: str) -> None:
        tab.wait_for_timeout(250)
        save_small(tab.screenshot(), folder / f"page-{name}.png")

    screen.wait_state("live")
    tab.wait_for_timeout(2500)
    save("live")
    screen.press("q")
    save("quality")
    screen.press("q", "v")
    save("overlay")
    screen.press("v", "v")
    tab.wait_for_timeout(250)
    for region in act.regions_mm():
        screen.draw(region)
    screen.expect("#ratio-more", "10 images")
    screen.press("Escape")
    save("ratio")
    measures(screen, act)
    save("regions")
    screen.press("h", "c")
    for name in ("#draw-rectangle", "#tab-figures", "#tab-view"):
        tab.locator(name).click()
    for region in act.regions_mm():
        screen.draw(region)
    screen.expect("#ratio-more", "10 images")
    screen.press("Escape")
    screen.press(" ", ",", ",", ",")
    tab.wait_for_timeout(3000)
    save("frozen")
    screen.press("t")
    save("best")
    screen.press("o")
    screen.expect("#word", "AVERAGE")
    save("average")
    screen.press("o", "k")
    tab.wait_for_timeout(250)
    screen.draw((4.0, 20.0, 3.0, 20.0))
    tab.wait_for_timeout(8500)  # until the notices are gone
    save("box")
    screen.press("Delete", "m", "m", "m")
    save("colours")
    screen.press("m", "m", " ", "c")
    show.still = True
    screen.wait_state("idle")
    save("idle")
    show.still = False
    screen.wait_state("live")
    show.silent = True
    screen.wait_state("stale")
    tab.wait_for_timeout(1900)
    save("stale")
    show.silent = False
    screen.wait_state("live")
    show.changes = {"warnings": ("strain_low", "low_quality", "precompressed")}
    screen.press("m", "m")
    screen.expect("#warnings", "press a little more")
    save("warnings")
    show.changes = {}
    screen.press("m", "m", "m")
    for name, width, height, touch, query in OTHERS:
        with closing(
            browser.new_context(viewport={"width": width, "height": height}, has_touch=touch)
        ) as other:
            beside = Screen(other.new_page())
            beside.page.goto(url + query)
            beside.wait_state("live")
            beside.page.wait_for_timeout(2500)
            save_small(beside.page.screenshot(), folder / f"page-{name}.png")
            assert beside.faults == [], beside.faults
    screen.press("?")
    save("help")
    screen.press("Escape")
    with tab.expect_download() as download:
        screen.press("s")
    save_small(Path(download.value.path()).read_bytes(), folder / "page-snapshot.png")
    assert screen.faults == [], screen.faults


def measures(screen: Screen, act: Act) -> None:
    """An outline of the lesion on each image, a distance on each, and a histogram."""
    for name in ("#tab-lists", "#tab-regions"):
        screen.page.locator(name).click()
    lesion = act.scanner.lesion
    z, x, radius = lesion.centre_z_mm, lesion.centre_x_mm, lesion.radius_mm
    turns = [k * math.pi / 30 for k in range(61)]
    for at, (kind, grown) in enumerate((("strain", 1.03), ("bmode", 1.0))):
        screen.page.locator("#draw-polygon").click()
        screen.trace(
            [(z + grown * radius * math.sin(a), x + grown * radius * math.cos(a)) for a in turns], kind
        )
        row = screen.page.locator("#region-list .row").nth(2 + at)
        screen.until(lambda row=row: row.get_attribute("aria-pressed") == "true")
        screen.page.locator("#region-list select").select_option(kind)
    for kind, grown in (("strain", 1.03), ("bmode", 1.0)):
        screen.page.locator("#draw-calliper").click()
        screen.trace([(z - grown * radius, x), (z, x), (z + grown * radius, x)], kind)
    screen.press("Escape", "h")
    screen.expect("#histogram-figures", "median")


def save_small(png: bytes, path: Path) -> None:
    """In 256 colours, which is a fifth of the size."""
    image = Image.open(BytesIO(png)).convert("RGB")
    image.thumbnail((_WIDEST, _WIDEST), Image.Resampling.LANCZOS)
    image.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), make_default_act(shape=SHAPE, haze=HAZE))
