"""By finger, in gloves, on a tablet; and that everything has room at each size of screen, in each language."""

from __future__ import annotations

from typing import Any

import pytest
from browser import MakePage, Open, Screen
from show import Show
from test_words import LANGUAGES

pytestmark = pytest.mark.slow  # a browser and a clock: minutes, and where there is Chromium

TARGET_MM = 12
PX_PER_MM = 6.5
"""CSS pixels: more than any device has that the W3C's mobile task force measured (45 px were 7 mm or more)."""
TABLET = {"width": 800, "height": 1180}
SIZES = ((1280, 720), (1920, 1080), (800, 1180), (1180, 800))
TARGETS = """() => [...document.querySelectorAll('button, input, select, canvas[tabindex]')]
  .filter((one) => one.checkVisibility()).map((one) => {
    const { left, top, right, bottom, width, height } = one.getBoundingClientRect();
    return {
      id: one.id || one.textContent, left, top, right, bottom, width, height,
      cut: one.scrollWidth > one.clientWidth + 1, scrolls: Boolean(one.closest('#side')),
    };
  })"""


@pytest.fixture
def url(show: Show, serve_page: MakePage) -> str:
    return serve_page(strain=show.strain, rf=show.rf, stale_ms=5000.0).url


def tabs(screen: Screen) -> list[str]:
    ids: list[str] = screen.page.evaluate(
        "[...document.querySelectorAll('[role=tab]')].filter((one) => one.checkVisibility()).map((one) => one.id)"
    )
    return ids


def targets(screen: Screen) -> list[dict[str, Any]]:
    """Everything that can be pressed, tab after tab."""
    found: list[dict[str, Any]] = screen.page.evaluate(TARGETS)
    for tab in tabs(screen):
        screen.page.locator(f"#{tab}").click()
        found += screen.page.evaluate(TARGETS)
    return found


@pytest.mark.parametrize("size", [(800, 1180), (1180, 800)])
def test_by_finger_every_target_has_twelve_millimetres(url: str, look: Open, size: tuple[int, int]) -> None:
    screen = look(url, viewport={"width": size[0], "height": size[1]}, has_touch=True)
    screen.wait_state("live")
    screen.press("a", "b")
    least = TARGET_MM * PX_PER_MM - 0.5
    small = [one for one in targets(screen) if min(one["width"], one["height"]) < least]
    for key, dialog in (("?", "help"), ("l", "languages"), ("n", "case-dialog")):
        screen.press(key)
        screen.page.locator(f"#{dialog}").wait_for()
        inside = screen.page.evaluate(TARGETS)
        small += [one for one in inside if min(one["width"], one["height"]) < least]
        screen.press("Escape")
        screen.until(lambda dialog=dialog: not screen.page.locator(f"#{dialog}").is_visible())
    assert small == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_everything_has_room_at_each_size(url: str, look: Open, language: str) -> None:
    screen = look(f"{url}?lang={language}")
    screen.wait_state("live")
    screen.press("a", "b")
    for width, height in SIZES:
        screen.page.set_viewport_size({"width": width, "height": height})
        screen.page.wait_for_timeout(100)
        out = [
            one
            for one in targets(screen)
            if one["cut"]
            or one["left"] < 0
            or one["right"] > width
            or (not one["scrolls"] and (one["top"] < 0 or one["bottom"] > height))
        ]
        assert (width, height, out) == (width, height, [])
        assert screen.page.evaluate("document.documentElement.scrollWidth") <= width
        image = max(panel["width"] * panel["height"] for panel in screen.panels())
        assert image > 0.04 * width * height  # of each panel, and there are two


SCAN = """(text) => {
  for (const key of [...text, 'Enter']) {
    document.body.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true }));
  }
}"""


@pytest.mark.parametrize("size", [(1280, 720), (800, 1180), (1180, 800)])
def test_the_images_stay_where_they_are_whatever_the_state_says(
    show: Show, url: str, look: Open, size: tuple[int, int]
) -> None:
    """In the language with the longest words, and with an identifier of two lines."""
    screen = look(f"{url}?lang=de", viewport={"width": size[0], "height": size[1]})
    screen.wait_state("live")
    screen.page.evaluate(SCAN, "MRN 2026-11-30 4711")
    screen.wait_state("live")
    screen.page.wait_for_timeout(400)
    before = screen.panels()
    show.held = True
    screen.wait_state("held", "stale")
    screen.press(" ")
    screen.expect("#why", "gehaltenes Bild")
    screen.page.wait_for_timeout(400)
    assert [(one["x"], one["y"], one["width"]) for one in screen.panels()] == [
        (one["x"], one["y"], one["width"]) for one in before
    ]


@pytest.mark.parametrize("size", SIZES)
def test_an_identifier_is_seen_to_its_end(url: str, look: Open, size: tuple[int, int]) -> None:
    """Two patients may differ in the last of 64 characters."""
    screen = look(url, viewport={"width": size[0], "height": size[1]})
    screen.wait_state("live")
    shown = screen.page.locator("#case-shown")
    for identifier in ("4711", "X" * 19, "MRN-0815/" * 7 + "A"):
        screen.page.evaluate(SCAN, identifier)
        screen.expect("#case-shown", identifier)
        screen.until(lambda: shown.evaluate("(one) => one.scrollHeight - one.clientHeight") <= 1)


def pinch(screen: Screen, x: float, y: float) -> float:
    """Two fingers apart; the zoom of the page after it."""
    session = screen.page.context.new_cdp_session(screen.page)

    def touch(kind: str, *apart: int) -> None:
        points = [{"x": x + side * by, "y": y, "id": at} for by in apart for at, side in enumerate((-1, 1))]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", 40)
    for by in range(45, 160, 5):
        touch("touchMove", by)
    touch("touchEnd")
    screen.page.wait_for_timeout(200)
    return float(screen.page.evaluate("visualViewport.scale"))


def test_a_pinch_does_not_zoom_the_page_away(url: str, look: Open) -> None:
    screen = look(url, viewport=TABLET, has_touch=True)
    screen.wait_state("live")
    for y in (30, 300, 750, 1120):  # state, image, numbers, tools
        assert pinch(screen, 400, y) == 1
    screen.page.evaluate("document.body.style.touchAction = 'auto'")
    assert pinch(screen, 400, 750) > 1  # as it would be


def test_what_does_nothing_says_why_when_it_is_touched(url: str, look: Open) -> None:
    screen = look(url, viewport=TABLET, has_touch=True, locale="en-GB")
    screen.wait_state("live")
    screen.page.locator("#record").tap(force=True)  # Playwright waits for aria-disabled
    screen.expect("#notices", "start usert view with --control")
