"""A real browser for the tests of the page: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from live import TIMEOUT_S
from playwright.sync_api import Browser, Page, expect, sync_playwright

from usert.runtime.view.live_page import LivePage

NAMES = ("chromium", "chromium-browser", "google-chrome")
LIVE_S = 120.0
"""A busy machine may take long until images are young enough."""


def chromium() -> str | None:
    """Where a browser is; None without one."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@contextmanager
def opened(path: str) -> Iterator[Browser]:
    """The browser, without a window."""
    arguments = ["--no-sandbox"] if os.name == "posix" and os.getuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


class Screen:
    """The page as a person sees it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.faults: list[str] = []
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", self._listen)

    def _listen(self, message: Any) -> None:
        if message.type == "error" and "ERR_CONNECTION_REFUSED" not in message.text:
            self.faults.append(message.text)

    @property
    def state(self) -> str:
        return str(self.page.locator("body").get_attribute("data-state"))

    @property
    def drawn(self) -> int:
        """Id of the picture on the canvas, 0 for none."""
        return int(self.page.locator("#canvas").get_attribute("data-drawn") or 0)

    @property
    def age_ms(self) -> float:
        return float(self.page.locator("#canvas").get_attribute("data-age-ms") or "nan")

    def watch_ages(self) -> None:
        """Note at every frame of the screen how old what is called live is, by the page's own clock."""
        self.page.evaluate(
            """() => {
              window.oldestLive = 0;
              const look = () => {
                requestAnimationFrame(look);
                const age = Number(document.getElementById('canvas').dataset.ageMs);
                if (document.body.dataset.state === 'live') window.oldestLive = Math.max(window.oldestLive, age);
              };
              look();
            }"""
        )

    @property
    def oldest_live_ms(self) -> float:
        """Since `watch_ages`."""
        return float(self.page.evaluate("() => window.oldestLive"))

    def text(self, selector: str) -> str:
        """As it is read: a space that holds number and unit together is a space."""
        return self.page.locator(selector).inner_text().replace("\xa0", " ")

    def wait_state(self, *states: str, timeout_s: float = LIVE_S) -> None:
        wanted = ", ".join(f"body[data-state={state}]" for state in states)
        self.page.wait_for_selector(wanted, timeout=1e3 * timeout_s)

    def expect(self, selector: str, pattern: Any, timeout_s: float = TIMEOUT_S) -> None:
        """Until the element holds the text, or matches the pattern."""
        expect(self.page.locator(selector)).to_contain_text(pattern, timeout=1e3 * timeout_s)

    def until(self, condition: Callable[[], bool], timeout_s: float = TIMEOUT_S) -> None:
        """Look until it holds, while the page goes on."""
        left = round(timeout_s / 0.02)
        while not condition():
            left -= 1
            assert left > 0, "waited in vain"
            self.page.wait_for_timeout(20)

    def press(self, *keys: str) -> None:
        """One key after the other, each until the page has acted on it: the mouse does not wait for the keyboard, and
        the page waits 60 ms whether a barcode scanner types."""
        for key in keys:
            self.page.evaluate(
                """() => {
                  window.taken = new Promise((done) => {
                    addEventListener('keyup', done, { once: true, capture: true });
                    setTimeout(done, 500);
                  });
                }"""
            )
            self.page.keyboard.press(key)
            self.page.evaluate(
                "async () => { await window.taken; await new Promise((go) => setTimeout(go, 80)); }"
            )

    def panels(self) -> list[dict[str, Any]]:
        """Where images are on the page, and how large a millimetre is."""
        found: list[dict[str, Any]] = self.page.evaluate(
            "() => JSON.parse(document.getElementById('canvas').dataset.panels || '[]')"
        )
        return found

    def place(self, depth: float, lateral: float, kind: str = "strain") -> tuple[float, float]:
        """Where a place in mm on the panel of that kind is on the page."""
        panel = next(one for one in self.panels() if one["kind"] == kind)
        box = self.page.locator("#canvas").bounding_box()
        assert box is not None
        top, left = panel["origin"]
        x = box["x"] + panel["x"] + (lateral - left) * panel["scale"]
        return x, box["y"] + panel["y"] + (depth - top) * panel["scale"]

    def trace(self, places_mm: Sequence[tuple[float, float]], kind: str = "strain") -> None:
        """Drag along places of depth and lateral on the panel of that kind."""
        mouse = self.page.mouse
        for at, (depth, lateral) in enumerate(places_mm):
            mouse.move(*self.place(depth, lateral, kind))
            if at == 0:
                mouse.down()
        mouse.up()

    def touch(self, places_mm: Sequence[tuple[float, float]], kind: str = "strain") -> None:
        """Draw a finger along places of depth and lateral on the panel of that kind."""
        session = self.page.context.new_cdp_session(self.page)
        places = [self.place(depth, lateral, kind) for depth, lateral in places_mm]
        events = [("touchStart", places[:1]), *(("touchMove", [one]) for one in places[1:]), ("touchEnd", [])]
        for name, points in events:
            touched = [{"x": x, "y": y} for x, y in points]
            session.send("Input.dispatchTouchEvent", {"type": name, "touchPoints": touched})
        session.detach()

    def draw(self, region_mm: tuple[float, float, float, float], kind: str = "strain") -> None:
        """Drag a rectangle of depth and lateral over the panel of that kind."""
        d0, d1, l0, l1 = region_mm
        self.trace([(d0, l0), ((d0 + d1) / 2, (l0 + l1) / 2), (d1, l1)], kind)


MakePage = Callable[..., LivePage]
Open = Callable[..., Screen]
