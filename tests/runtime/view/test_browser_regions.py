"""Regions on the page, in a real browser: ellipses, free-hand lines, eight of them, by pointer, touch and keys."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import MakePage, Open, Screen
from lesion_truth import beside, circle, lesion, true_ratio
from show import Act, Show

from usert.runtime.view.region import Region

pytestmark = pytest.mark.slow  # a browser and a clock: minutes, and where there is Chromium

Line = list[tuple[float, float]]


@pytest.fixture
def watch(show: Show, serve_page: MakePage, look: Open) -> Callable[..., Screen]:
    """A page with regions and their tools in front."""

    def watch(**options: Any) -> Screen:
        page = serve_page(strain=show.strain, rf=show.rf, stale_ms=5000.0)
        screen = look(page.url, **options)
        begin(screen)
        return screen

    return watch


def begin(screen: Screen) -> None:
    screen.wait_state("live")
    for tab in ("#tab-lists", "#tab-regions"):
        screen.page.locator(tab).click()
    screen.page.locator("#canvas").focus()


@pytest.fixture
def screen(watch: Callable[..., Screen]) -> Screen:
    return watch(accept_downloads=True)


def spans(kind: str, region: tuple[float, float, float, float]) -> Region:
    return Region.parse({"kind": kind, "depth": region[:2], "lateral": region[2:]})


def around(centre: tuple[float, float], half: float) -> tuple[float, float, float, float]:
    return centre[0] - half, centre[0] + half, centre[1] - half, centre[1] + half


def ratio(screen: Screen) -> float:
    screen.expect("#ratio-more", "10 images")
    return float(screen.text("#ratio-value").split(" ± ")[0])


def rows(screen: Screen) -> list[str]:
    """What the list says, a line for each region."""
    return [" ".join(text.split()) for text in screen.page.locator("#region-list .row").all_inner_texts()]


def area(screen: Screen, at: int = 0) -> float:
    return float(screen.page.locator("#region-list .row .area").nth(at).inner_text())


def choose(screen: Screen, key: str, at: int) -> None:
    row = screen.page.locator("#region-list .row").nth(at)
    screen.press(key)
    screen.until(lambda: row.get_attribute("aria-pressed") == "true")


@pytest.mark.parametrize("by", ["pointer", "touch"])
def test_a_free_hand_line_and_an_ellipse_give_the_known_ratio_and_area(
    watch: Callable[..., Screen], act: Act, by: str
) -> None:
    screen = watch(viewport={"width": 800, "height": 1180}, has_touch=by == "touch")
    draw: Callable[[Line], None] = screen.touch if by == "touch" else screen.trace
    centre, radius = lesion(act)
    line = circle(centre, 0.6 * radius, turns=1.05)  # over its own beginning, as a hand does
    screen.page.locator("#draw-polygon").click()
    draw(line)
    screen.page.locator("#draw-ellipse").click()
    d0, d1, l0, l1 = beside(act)
    draw([(d0, l0), ((d0 + d1) / 2, l1), (d1, l1)])
    target = Region.parse({"kind": "polygon", "points": circle(centre, 0.6 * radius, 61)[:60]})
    assert ratio(screen) == pytest.approx(true_ratio(act, target, spans("ellipse", beside(act))), rel=0.05)
    assert area(screen, 0) == pytest.approx(math.pi * (0.6 * radius) ** 2, rel=0.05)
    assert area(screen, 1) == pytest.approx(math.pi * (d1 - d0) * (l1 - l0) / 4, rel=0.05)


def test_eight_regions_are_listed_each_with_its_ratio_and_a_ninth_is_refused(
    screen: Screen, act: Act
) -> None:
    for region in act.regions_mm():
        screen.draw(region)
    first = ratio(screen)
    screen.press(*"345678")
    screen.until(lambda: sum(" ± " in row for row in rows(screen)) >= 4)
    listed = rows(screen)
    assert [row.split()[0] for row in listed] == ["A", "B", *"345678"]
    assert float(listed[0].split()[3]) == pytest.approx(first, abs=0.02), listed
    assert "reference" in listed[1]
    screen.press("Escape")
    screen.page.mouse.move(*screen.place(3, 3))
    deep = act.scanner.size_mm[0]
    screen.trace([(deep - 3, 7), (deep - 2, 9)])
    screen.expect("#notices", "All 8 regions are drawn")
    screen.press("3", "Delete")
    screen.until(lambda: len(rows(screen)) == 7)
    assert ratio(screen) == pytest.approx(first, abs=0.02), "that of the others goes on"


def test_lesion_to_fat_is_the_ratio_whose_reference_is_called_fat(screen: Screen, act: Act) -> None:
    for region in act.regions_mm():
        screen.draw(region)
    before = ratio(screen)
    choose(screen, "b", 1)
    screen.page.locator("#region-list select").select_option("fat")
    screen.expect("#ratio-title", "Lesion-to-fat")
    assert ratio(screen) == pytest.approx(before, abs=0.02)
    choose(screen, "a", 0)
    screen.page.locator("#region-list select").select_option("reference")
    screen.until(lambda: rows(screen)[1].startswith("B") and "fat" not in rows(screen)[1])
    screen.expect("#ratio-title", "B / A")
    assert ratio(screen) == pytest.approx(1 / before, rel=0.1)


def test_everything_of_a_region_goes_by_keys(screen: Screen) -> None:
    screen.press("a", "b", "e", "3", "p", "4")
    screen.until(lambda: len(rows(screen)) == 4)
    assert area(screen, 2) == pytest.approx(math.pi / 4 * area(screen, 0), rel=0.02)
    assert area(screen, 3) == pytest.approx(3 / math.pi * area(screen, 2), rel=0.05)
    before = area(screen, 3)
    screen.press("Shift+ArrowDown", "Shift+ArrowRight")
    screen.until(lambda: area(screen, 3) > 1.1 * before)
    ratio(screen)
    for _ in range(60):
        screen.page.keyboard.press("Tab")
        if screen.page.evaluate("() => document.activeElement.matches('#region-list .editor input')"):
            break
    screen.page.keyboard.type("cyst e3")
    screen.until(lambda: rows(screen)[3].startswith("cyst e3"))
    screen.press("Tab", "ArrowDown")  # its role: from target to reference
    screen.expect("#ratio-title", "A / cyst e3")
    screen.press("Tab", "Enter")
    screen.until(lambda: len(rows(screen)) == 3)
    screen.press("e", "e")
    rectangle = screen.page.locator("#draw-rectangle")
    screen.until(lambda: rectangle.get_attribute("aria-pressed") == "true")


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("病变甲", "病变甲"),
        ("опухоль", "опухоль"),
        ("<b>&x", "<b>&x"),
        ("x" * 10_000, "x" * 24),
        (" \u202e\u0000 ", "A"),
    ],
)
def test_names_in_any_script_and_of_any_length(screen: Screen, typed: str, shown: str) -> None:
    screen.press("b", "a")
    ratio(screen)
    field = screen.page.locator("#region-list .editor input")
    field.evaluate("(field, text) => { field.value = text; field.dispatchEvent(new Event('input')); }", typed)
    screen.until(lambda: screen.page.locator("#region-list .label").first.inner_text() == shown)
    ratio(screen)
    with screen.page.expect_download():
        screen.page.locator("#snapshot").click()


def test_a_line_that_crosses_itself_is_refused_in_one_line(screen: Screen, act: Act) -> None:
    (z, x), _ = lesion(act)
    screen.press("p")
    eight = [(z + 3 * math.sin(2 * a), x + 4 * math.sin(a)) for a in np.linspace(0.3, 2 * math.pi + 0.3, 60)]
    screen.trace(eight)
    screen.expect("#notices", "crossing")
    assert rows(screen) == []
    screen.trace([(z, x), (z, x + 4)])  # without an area
    screen.until(lambda: screen.page.locator("#notices p").count() >= 1)
    assert rows(screen) == []


def test_a_line_of_ten_thousand_points_becomes_one_of_few(screen: Screen, act: Act) -> None:
    centre, radius = lesion(act)
    (x0, y0), (x1, y1) = screen.place(0, 0), screen.place(1, 1)
    line = circle(centre, 0.7 * radius, 10_000)
    places = [(x0 + lateral * (x1 - x0), y0 + depth * (y1 - y0)) for depth, lateral in line]
    wobbly = [(x + 3 * math.sin(k), y + 3 * math.cos(1.7 * k)) for k, (x, y) in enumerate(places)]
    screen.press("p")
    box = screen.page.locator("#canvas").bounding_box()
    assert box is not None
    screen.page.evaluate(
        """([points, left, top]) => {
          const canvas = document.getElementById('canvas');
          canvas.setPointerCapture = () => {};
          const send = (kind, [x, y]) => canvas.dispatchEvent(
            new PointerEvent(kind, { clientX: x, clientY: y, button: 0, pointerId: 1, bubbles: true }));
          send('pointerdown', points[0]);
          for (const point of points) send('pointermove', point);
          send('pointerup', points.at(-1));
        }""",
        [wobbly, box["x"], box["y"]],
    )
    notices = screen.text("#notices")
    if rows(screen) == [] and notices:  # too tangled for one inside is an answer, too
        assert "crossing" in notices
    else:
        screen.until(lambda: len(rows(screen)) == 1)
        assert area(screen) == pytest.approx(math.pi * (0.7 * radius) ** 2, rel=0.15)


def test_a_line_that_is_broken_off_leaves_nothing(screen: Screen, act: Act) -> None:
    """By the system's own gesture, by Escape, and by a page that goes away in the middle of it."""
    line = circle(*lesion(act))
    screen.press("p")
    for end in ("pointercancel", "Escape"):
        screen.page.mouse.move(*screen.place(*line[0]))
        screen.page.mouse.down()
        for place in line[1:40]:
            screen.page.mouse.move(*screen.place(*place))
        if end == "Escape":
            screen.press("Escape")
        else:
            screen.page.locator("#canvas").dispatch_event("pointercancel", {"pointerId": 1})
        screen.page.mouse.up()
        assert rows(screen) == [], end
    screen.page.mouse.move(*screen.place(*line[0]))
    screen.page.mouse.down()
    screen.page.mouse.move(*screen.place(*line[20]))
    screen.page.reload()
    begin(screen)
    assert rows(screen) == []
    screen.page.mouse.up()
    for region in act.regions_mm():
        screen.draw(region)
    ratio(screen)


def test_escape_leaves_a_drawing_tool_once_nothing_is_under_way(screen: Screen, act: Act) -> None:
    def in_hand(tool: str) -> bool:
        return screen.page.locator(f"#draw-{tool}").get_attribute("aria-pressed") == "true"

    line = circle(*lesion(act))
    for tool, key in (("polygon", "p"), ("ellipse", "e"), ("calliper", "d")):
        screen.press(key)
        screen.until(lambda tool=tool: in_hand(tool))
        screen.page.mouse.move(*screen.place(*line[0]))
        screen.page.mouse.down()
        screen.page.mouse.move(*screen.place(*line[9]))
        screen.press("Escape")
        screen.page.mouse.up()
        assert in_hand(tool)  # a line was broken off, to be drawn again
        screen.press("Escape")
        screen.until(lambda: in_hand("rectangle"))
        screen.press("c")


def test_the_snapshot_grows_by_the_lines_of_the_regions(screen: Screen, act: Act) -> None:
    sizes = []
    for many in (0, 2):
        for region in act.regions_mm()[:many]:
            screen.draw(region)
        if many:
            ratio(screen)
        with screen.page.expect_download() as download:
            screen.press("s")
        head = Path(download.value.path()).read_bytes()
        sizes.append(int.from_bytes(head[20:24], "big"))
    assert sizes[1] == sizes[0] + 42


def test_what_a_browser_sends_is_a_plan(screen: Screen, act: Act) -> None:
    """Few points, in mm, and short: as the server reads them."""
    frames: list[str] = []
    screen.page.on("websocket", lambda socket: socket.on("framesent", lambda data: frames.append(str(data))))
    screen.page.reload()
    begin(screen)
    screen.press("p")
    screen.trace(circle(*lesion(act), points=300))
    screen.expect("#region-list", re.compile(r"\d"))
    screen.until(lambda: any("polygon" in frame for frame in frames))
    shape = json.loads(next(frame for frame in frames if "polygon" in frame))["regions"]["shapes"][0]
    assert 12 <= len(shape["points"]) <= 64
    assert Region.parse(shape).kind == "polygon"
