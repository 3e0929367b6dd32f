"""Timeline, best image and average on the page, in a real browser, against the pictures that it was sent."""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np
import pytest
from browser import MakePage, Open, Screen
from PIL import Image
from show import Act, Show

from usert.runtime.view.planes import unpack

pytestmark = pytest.mark.slow  # a browser and a clock: minutes, and where there is Chromium


class Watched(Screen):
    """A screen, and the headers of the pictures that its page was sent, by id."""

    def __init__(self, screen: Screen) -> None:
        super().__init__(screen.page)
        self.sent: dict[int, dict[str, Any]] = {}
        self.page.on("websocket", lambda socket: socket.on("framereceived", self._keep))
        self.page.reload()
        self.wait_state("live")

    def _keep(self, payload: bytes | str) -> None:
        if isinstance(payload, bytes):
            fields, _ = unpack(payload, ())
            self.sent[fields["id"]] = fields

    @property
    def marked(self) -> list[int]:
        """Ids of the images that the timeline marks."""
        return [int(one) for one in (self.page.locator("#time").get_attribute("data-best") or "").split()]

    def value(self) -> str:
        return (self.page.locator("#time").get_attribute("aria-valuetext") or "").replace("\xa0", " ")

    def at(self, share: float) -> tuple[float, float]:
        """A point of the timeline."""
        box = self.page.locator("#time").bounding_box()
        assert box is not None
        return box["x"] + 76 + share * (box["width"] - 90), box["y"] + box["height"] / 2


@pytest.fixture
def screen(show: Show, serve_page: MakePage, look: Open) -> Watched:
    page = serve_page(strain=show.strain, rf=show.rf, stale_ms=5000.0)
    return Watched(look(page.url))


def useful(fields: dict[str, Any]) -> bool:
    return fields["state"] == "live" and 0.003 <= abs(fields["readable_strain"]) <= 0.015


def brute_best(sent: dict[int, dict[str, Any]], newest: int) -> list[int]:
    """Of the pictures up to `newest`: the best of each run of one sign."""
    found: list[list[dict[str, Any]]] = []
    for id_ in sorted(sent):
        if id_ > newest:
            break
        one = sent[id_]
        sign = np.sign(one["compression"])
        if found and found[-1] and np.sign(found[-1][-1]["compression"]) == sign:
            found[-1].append(one)
        else:
            found.append([one])
    able = [[one for one in run if useful(one)] for run in found]
    return [max(run, key=lambda one: (one["score"], -one["id"]))["id"] for run in able if run]


def test_the_best_image_of_each_press_is_marked_and_one_key_away(screen: Watched) -> None:
    screen.until(lambda: screen.drawn > 40)
    screen.until(lambda: len(screen.marked) > 3)
    screen.press("t")
    screen.wait_state("frozen")
    screen.page.wait_for_timeout(200)
    first = screen.drawn
    screen.press("End")
    screen.page.wait_for_timeout(200)
    best = brute_best(screen.sent, screen.drawn)
    assert screen.marked == best
    assert first == best[-1]
    ahead = [*reversed(best)][screen.drawn == best[-1] :]
    screen.press("t")
    screen.until(lambda: screen.drawn == ahead[0])
    assert "best image of the press" in screen.value()
    screen.press("t")
    screen.until(lambda: screen.drawn == ahead[1])
    screen.page.locator("#best").click()
    screen.until(lambda: screen.drawn == ahead[2])


def test_the_timeline_is_a_slider(screen: Watched) -> None:
    """By pointer, by dragging and by keys; it says what it shows."""
    screen.until(lambda: screen.drawn > 30)
    assert screen.value().startswith("live")
    mouse = screen.page.mouse
    mouse.click(*screen.at(0.999))
    screen.wait_state("frozen")
    screen.press("End")
    screen.page.wait_for_timeout(200)
    newest = screen.drawn
    slider = screen.page.locator("#time")
    assert slider.get_attribute("aria-valuenow") == slider.get_attribute("aria-valuemax")
    mouse.move(*screen.at(0.99))
    mouse.down()
    mouse.move(*screen.at(0.9))
    mouse.move(*screen.at(0.8))
    screen.until(lambda: screen.drawn < newest - 3)
    mouse.up()
    chosen = screen.drawn
    mouse.move(*screen.at(0.2))
    screen.page.wait_for_timeout(200)
    assert screen.drawn == chosen
    fields = screen.sent[chosen]
    assert f"{100 * abs(fields['readable_strain']):.2f} %, quality {fields['score']:.2f}" in screen.value()
    slider.focus()
    screen.press("a")  # a region is chosen, but the arrows are the slider's
    slider.focus()
    screen.press("ArrowLeft", "ArrowLeft", "ArrowRight")
    screen.until(lambda: screen.drawn == chosen - 1)
    screen.press("Home")
    screen.until(lambda: slider.get_attribute("aria-valuenow") == "0")
    screen.press(" ")
    screen.wait_state("live")


def test_what_was_not_live_is_hatched_each_its_own_way(show: Show, serve_page: MakePage, look: Open) -> None:
    page = serve_page(strain=show.strain, stale_ms=800.0)
    screen = look(page.url)
    screen.wait_state("live")
    screen.page.wait_for_timeout(1500)
    show.held = True
    screen.page.wait_for_timeout(2500)
    show.held, show.still = False, True
    screen.page.wait_for_timeout(2500)
    show.still, show.silent = False, True
    screen.page.wait_for_timeout(3000)
    show.silent = False
    screen.wait_state("live")
    screen.page.wait_for_timeout(500)
    with Image.open(io.BytesIO(screen.page.locator("#time").screenshot())) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    tall = pixels[8:-8]
    shares = {}
    for name, colour in {"held": (230, 159, 0), "idle": (86, 180, 233), "stale": (213, 94, 0)}.items():
        hit = (abs(tall - colour) < 24).all(axis=-1)
        columns = np.flatnonzero(hit.sum(axis=0) > 3)
        part = hit[:, columns.min() + 3 : columns.max() - 3]
        shares[name] = part
        assert len(columns) > 40, name
        assert 0.03 < part.mean() < 0.5, name
    # Lines that lie are rows, those that lean are not, and those that cross are more than those that lean.
    assert shares["idle"].mean(axis=1).max() > 0.9
    assert shares["held"].mean(axis=1).max() < 0.5
    assert shares["stale"].mean() > 1.3 * shares["held"].mean()


def test_an_average_is_named_and_never_live(screen: Watched, act: Act) -> None:
    screen.until(lambda: screen.drawn > 30)
    for region in act.regions_mm():
        screen.draw(region)
    screen.press("Escape", "o")
    screen.expect("#word", re.compile(r"AVERAGE OF \d"))
    assert screen.state == "frozen"
    assert re.search(r"Live images of \d\.\d s", screen.text("#why"))
    assert screen.page.locator("#average").get_attribute("aria-pressed") == "true"
    screen.expect("#ratio-more", "1 image")
    (d0, d1, a, b), (_, _, c, d) = act.regions_mm()
    true = act.true_ratio_of(f"{d0}:{d1},{a}:{b}", f"{d0}:{d1},{c}:{d}")
    assert float(screen.text("#ratio-value").split(" ± ")[0]) == pytest.approx(true, rel=0.05)
    screen.press("o")
    screen.expect("#word", re.compile("^FROZEN$"))
    screen.press("o", "ArrowLeft")
    screen.expect("#word", re.compile("^FROZEN$"))
    screen.press("o", " ")
    screen.wait_state("live")
    assert screen.text("#word") == "LIVE"


def test_a_span_is_chosen_by_pointer_and_by_keys(screen: Watched) -> None:
    screen.until(lambda: screen.drawn > 40)
    screen.press(" ")
    screen.wait_state("frozen")
    mouse = screen.page.mouse
    screen.page.keyboard.down("Shift")
    mouse.move(*screen.at(0.99))
    mouse.down()
    mouse.move(*screen.at(0.9))
    mouse.move(*screen.at(0.75))
    mouse.up()
    screen.page.keyboard.up("Shift")
    screen.expect("#word", re.compile(r"AVERAGE OF \d\d"))
    many = int(screen.text("#word").split()[-1])
    mouse.move(*screen.at(0.75))  # its end, without Shift
    mouse.down()
    mouse.move(*screen.at(0.85))
    mouse.move(*screen.at(0.9))
    mouse.up()
    averaged = re.compile(r"AVERAGE OF (\d+)")
    screen.until(lambda: (found := averaged.match(screen.text("#word"))) and 2 <= int(found[1]) < many)
    screen.page.locator("#time").focus()
    screen.press("Home", "Shift+ArrowRight", "Shift+ArrowRight", "Shift+ArrowRight", "o")
    screen.expect("#word", "AVERAGE OF 4")
    screen.press("Shift+ArrowLeft", "o")
    screen.expect("#word", "AVERAGE OF 3")


def test_without_a_press_there_is_nothing_to_mark_or_average(
    show: Show, serve_page: MakePage, look: Open
) -> None:
    show.silent = True
    page = serve_page(strain=show.strain, stale_ms=60_000.0)
    screen = look(page.url)
    screen.expect("#why", "Waiting for the first image")
    screen.press("t", "o", "Home", ".")
    screen.expect("#notices", "No image at useful compression")
    screen.expect("#notices", "nothing to average")
    screen.page.locator("#time").click()
    show.still, show.silent = True, False
    screen.wait_state("idle")
    screen.until(lambda: screen.text("#notices") == "")
    screen.press("t", "o")
    screen.expect("#notices", "No image at useful compression")
    screen.expect("#notices", "nothing to average")
    assert screen.state == "idle"
