"""Histogram, distances, areas and the ratio of sizes on the page, in a real browser, of the simulated lesion."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import MakePage, Open, Screen
from lesion_truth import beside, lesion, true_ratio
from numpy.typing import NDArray
from show import FRAMES, LAG, Act, Made, Show

from usert.beam_space import BeamSpace
from usert.runtime.view.histogram import BINS
from usert.runtime.view.region import Region
from usert.strain import axial_strain

pytestmark = pytest.mark.slow  # a browser and a clock: minutes, and where there is Chromium

FINE = {"width": 1600, "height": 1000}
Ends = list[tuple[float, float]]


@pytest.fixture
def screen(show: Show, serve_page: MakePage, look: Open) -> Screen:
    page = serve_page(strain=show.strain, rf=show.rf, stale_ms=5000.0)
    opened = look(page.url, accept_downloads=True, viewport=FINE)
    opened.wait_state("live")
    for tab in ("#tab-lists", "#tab-regions"):
        opened.page.locator(tab).click()
    opened.page.locator("#canvas").focus()
    return opened


def lesion_line(act: Act, share: float = 1.0, points: int = 80) -> list[tuple[float, float]]:
    """Around the true lesion, closed."""
    lesion = act.scanner.lesion
    return [
        (
            lesion.centre_z_mm + share * lesion.radius_mm * math.sin(turn),
            lesion.centre_x_mm + share * lesion.radius_mm * math.cos(turn),
        )
        for turn in np.linspace(0, 2 * math.pi, points)
    ]


def seen_line(act: Act, strain: NDArray[Any] | None = None) -> list[tuple[float, float]]:
    """Around the lesion where strain, by default that of the images, is half way from inside to what surrounds it."""
    if strain is None:
        strain = np.mean([np.abs(made.estimate.strain) for made in act.images], axis=0)
    disc, scan = act.scanner.lesion, act.scanner.scan
    inside = np.median(strain[act.scanner.lesion_mask(-0.5)])
    reach = np.linspace(0.3, 1.6, 260)
    line = []
    for turn in np.linspace(0, 2 * math.pi, 41)[:-1]:
        z = disc.centre_z_mm + reach * disc.radius_mm * math.sin(turn)
        x = disc.centre_x_mm + reach * disc.radius_mm * math.cos(turn)
        rows = np.rint(z / scan.axial_pitch_mm).astype(int).clip(0, strain.shape[0] - 1)
        lines = np.rint(x / scan.line_pitch_mm).astype(int).clip(0, strain.shape[1] - 1)
        along = np.convolve(np.pad(strain[rows, lines], 10, "edge"), np.ones(21) / 21, "valid")
        at = int(np.argmax(along > (inside + along.max()) / 2))
        line.append((float(z[at]), float(x[at])))
    return [*line, line[0]]


def number(text: str) -> float:
    found = re.search(r"[-−]?\d+(\.\d+)?", text)
    assert found is not None, text
    return float(found.group().replace("−", "-"))


def role(screen: Screen, at: int, role: str) -> None:
    row = screen.page.locator("#region-list .row").nth(at)
    if row.get_attribute("aria-pressed") != "true":
        row.click()
        screen.until(lambda: row.get_attribute("aria-pressed") == "true")
    screen.page.locator("#region-list select").select_option(role)


def test_the_histogram_is_that_of_the_lesion(screen: Screen, act: Act) -> None:
    """Mean, median and deviation against the true strain of one frozen image."""
    screen.press("p")
    screen.trace(lesion_line(act, 0.7))
    screen.press("h", " ")
    screen.wait_state("frozen")
    screen.expect("#histogram-figures", "median")
    mean, median, spread, share = [
        number(part) for part in re.split(r"[,\n]", screen.text("#histogram-figures"))
    ]
    region = Region.parse({"kind": "polygon", "points": lesion_line(act, 0.7, 61)[:-1]})
    found = region.pixels(BeamSpace.of(act.scanner.scan, act.images[0].reference.shape))
    assert found is not None
    rows, lines, mask = found
    truths = []
    for first, made in zip((5, 6, 7, 8, 9, 10, 25, 26, 27, 28), act.images, strict=True):
        true = 100 * axial_strain(act.scanner.truth(first, first + 4)[0], 3)[rows, lines][mask]
        truths.append((abs(mean - true.mean()), true, made))
    _, true, made = min(truths, key=lambda one: one[0])
    assert mean == pytest.approx(true.mean(), rel=0.05)
    assert median == pytest.approx(np.median(true), rel=0.05)
    seen = 100 * made.estimate.strain[rows, lines][mask]
    assert spread == pytest.approx(seen.std(), rel=0.05, abs=0.006)
    assert share == 100
    drawn = screen.page.evaluate(
        """() => {
          const canvas = document.getElementById('histogram-bars');
          const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height - 24);
          let columns = 0;
          for (let x = 0; x < canvas.width; x++) {
            for (let y = 0; y < canvas.height - 24; y++) if (data[4 * (y * canvas.width + x) + 3]) { columns++; break; }
          }
          return columns / canvas.width;
        }"""
    )
    assert drawn > 0.5 / BINS * 8
    screen.press("h")
    screen.until(lambda: not screen.page.locator("#histogram").is_visible())


def test_where_nothing_may_be_read_the_histogram_says_so(screen: Screen, show: Show, act: Act) -> None:
    def unreadable(made: Made) -> Made:
        return replace(
            made, estimate=replace(made.estimate, quality=np.full_like(made.estimate.quality, 0.2))
        )

    screen.press("a", "b", "h")
    screen.expect("#histogram-figures", "median")
    show.act = replace(act, images=[unreadable(made) for made in act.images])
    screen.expect("#histogram-figures", "Nothing in it may be read")
    screen.expect("#ratio-words", "Too little of A (0 %), B (0 %)")
    screen.until(lambda: screen.page.locator("#region-list .strain").first.inner_text() == "–")


def test_the_lesion_is_as_large_on_strain_as_it_is(screen: Screen, act: Act) -> None:
    """Outlined where strain changes, and where the lesion truly lies: E/B of area and of height is 1 within 5 %."""
    lesion, seen = act.scanner.lesion, seen_line(act)
    screen.press("p")
    screen.trace(seen, "strain")
    screen.page.locator("#draw-polygon").click()
    screen.trace(lesion_line(act), "bmode")
    screen.until(lambda: screen.page.locator("#region-list .row").count() == 2)
    role(screen, 0, "strain")
    role(screen, 1, "bmode")
    screen.expect("#region-sizes", "area")
    height = [(lesion.centre_z_mm + end * lesion.radius_mm, lesion.centre_x_mm) for end in (-1, 1)]
    measure(screen, act, [seen[30], seen[10]], height)
    outlined = area_of(seen) / (math.pi * lesion.radius_mm**2)
    tall = math.dist(seen[30], seen[10]) / (2 * lesion.radius_mm)
    screen.until(lambda: abs(sizes(screen)[1] - tall) < 0.02)
    assert sizes(screen) == pytest.approx((outlined, tall), abs=0.02)
    assert sizes(screen) == pytest.approx((1, 1), abs=0.05)
    areas = screen.page.locator("#region-list .area").all_inner_texts()
    assert [number(text) for text in areas] == pytest.approx(
        [area_of(seen), area_of(lesion_line(act))], rel=0.02
    )


def measure(screen: Screen, act: Act, on_strain: Ends, on_bmode: Ends) -> None:
    """Two distances, through the middle of the lesion."""
    before = screen.page.locator("#distance-list .row").count()
    for kind, ends in (("strain", on_strain), ("bmode", on_bmode)):
        screen.page.locator("#draw-calliper").click()
        screen.trace(
            [ends[0], (act.scanner.lesion.centre_z_mm, act.scanner.lesion.centre_x_mm), ends[1]], kind
        )
    screen.until(lambda: screen.page.locator("#distance-list .row").count() == before + 2)


def test_what_is_too_wide_on_strain_is_wider_still_in_the_true_strain(screen: Screen, act: Act) -> None:
    """The page is right on the width of its image; the image shows what the tissue does: beside a stiff lesion, which
    bears the load, it is hardly compressed, so that strain climbs over a third of the radius beyond its border."""
    lesion = act.scanner.lesion
    width = [(lesion.centre_z_mm, lesion.centre_x_mm + end * lesion.radius_mm) for end in (-1, 1)]
    seen = seen_line(act)
    measure(screen, act, [seen[20], seen[0]], width)
    wide = math.dist(seen[20], seen[0]) / (2 * lesion.radius_mm)
    screen.until(
        lambda: number(screen.text("#region-sizes").split("length")[1]) == pytest.approx(wide, abs=0.02)
    )
    true = seen_line(
        act, np.mean([np.abs(axial_strain(act.scanner.truth(k, k + LAG)[0], 3)) for k in FRAMES], axis=0)
    )
    assert 1.02 < wide < math.dist(true[20], true[0]) / (2 * lesion.radius_mm)


def test_an_ellipse_is_turned_by_its_ring_and_by_keys(screen: Screen, act: Act) -> None:
    """Its area stays, and what is measured lies in it: the known ratio."""
    plans: list[dict[str, Any]] = []

    def listen(data: str | bytes) -> None:
        plans.extend([json.loads(data)["regions"]] if isinstance(data, str) and '"regions":{' in data else [])

    screen.page.on("websocket", lambda socket: socket.on("framesent", listen))
    screen.page.reload()
    screen.wait_state("live")
    for tab in ("#tab-lists", "#tab-regions"):
        screen.page.locator(tab).click()
    (z, x), radius = lesion(act)
    half, narrow = 0.9 * radius, 0.35 * radius
    screen.page.locator("#draw-ellipse").click()
    screen.draw((z - half, z + half, x - narrow, x + narrow))
    area = number(screen.text("#region-list .area"))
    assert area == pytest.approx(math.pi * half * narrow, rel=0.05)
    screen.trace([(z - half, x), (z - half, x - 0.6), (z - half, x - half)])
    screen.until(lambda: plans[-1]["shapes"][0].get("angle_deg") == pytest.approx(45, abs=3))
    screen.page.locator("#canvas").focus()
    screen.press("j", "j", "Shift+J")
    screen.until(lambda: plans[-1]["shapes"][0]["angle_deg"] == pytest.approx(50, abs=3))
    assert number(screen.text("#region-list .area")) == pytest.approx(area, rel=0.01)
    screen.page.locator("#draw-rectangle").click()
    screen.draw(beside(act))
    screen.expect("#ratio-more", "10 images")
    target, reference = [Region.parse(shape) for shape in plans[-1]["shapes"]]
    ratio = number(screen.text("#ratio-value"))
    assert ratio == pytest.approx(true_ratio(act, target, reference), rel=0.05)
    screen.press("a", *["ArrowUp"] * 30)  # against the upper border, which it does not cross
    screen.until(lambda: plans[-1]["shapes"][0]["depth"][0] < target.depth_mm[0] - 1)
    screen.page.wait_for_timeout(300)
    at_border = Region.parse(plans[-1]["shapes"][0])
    assert at_border.outline[:, 0].min() == pytest.approx(0, abs=0.05)
    assert at_border.pixels(BeamSpace.of(act.scanner.scan, act.images[0].reference.shape)) is not None


def sizes(screen: Screen) -> tuple[float, float]:
    """E/B of area and of length."""
    area, length = [number(part) for part in screen.text("#region-sizes").split(":")[1].split(",")]
    return area, length


def area_of(line: list[tuple[float, float]]) -> float:
    z, x = np.array(line).T
    return abs(float((z * np.roll(x, -1) - np.roll(z, -1) * x).sum())) / 2


def test_distances_are_in_mm_each_on_its_image(screen: Screen, act: Act) -> None:
    lesion = act.scanner.lesion
    z, x, radius = lesion.centre_z_mm, lesion.centre_x_mm, lesion.radius_mm
    lengths = screen.page.locator("#distance-list .row")
    for kind, half in (("strain", 1.2 * radius), ("bmode", radius)):
        screen.page.locator("#draw-calliper").click()
        screen.trace([(z - half, x), (z, x), (z + half, x)], kind)
    screen.until(lambda: lengths.count() == 2)
    texts = lengths.all_inner_texts()
    assert number(texts[0].split("\n")[-1]) == pytest.approx(2.4 * radius, rel=0.02)
    assert number(texts[1].split("\n")[-1]) == pytest.approx(2 * radius, rel=0.02)
    assert ["strain" in texts[0], "B-mode" in texts[1]] == [True, True]
    screen.expect("#region-sizes", "length 1.2")
    screen.trace(
        [(z + radius, x), (z, x + radius), (z - radius, x + radius)], "bmode"
    )  # one end, around a corner
    expected = 2.4 * radius / radius
    screen.until(
        lambda: number(screen.text("#region-sizes").split("length")[1]) == pytest.approx(expected, rel=0.02)
    )
    screen.press("Delete")
    screen.until(lambda: lengths.count() == 1)
    assert screen.text("#region-sizes") == ""


def test_distances_go_by_keys_and_end_at_four(screen: Screen) -> None:
    lengths = screen.page.locator("#distance-list .row")
    screen.press("d", "d")
    screen.until(lambda: lengths.count() == 1)
    before = number(lengths.first.inner_text().split("\n")[-1])
    screen.press("ArrowDown", "ArrowRight")
    screen.press(*["Shift+ArrowRight"] * 5)
    screen.until(lambda: number(lengths.first.inner_text().split("\n")[-1]) > before)
    lengths.first.focus()
    screen.press("Tab", "ArrowUp")
    screen.until(lambda: "B-mode" in lengths.first.inner_text())
    screen.page.locator("#canvas").focus()
    screen.press("d", "d", "d", "d")
    screen.expect("#notices", "All 4 distances are drawn")
    screen.press("c")
    screen.until(lambda: not screen.page.locator("#distances").is_visible())


def test_the_snapshot_has_regions_distances_and_histogram(screen: Screen, act: Act) -> None:
    for region in act.regions_mm():
        screen.draw(region)
    screen.press("d", "d", "h")
    screen.expect("#histogram-figures", "median")
    screen.expect("#ratio-more", "10 images")
    with screen.page.expect_download() as download:
        screen.press("s")
    head = Path(download.value.path()).read_bytes()[:24]
    assert int.from_bytes(head[20:24], "big") == 84 + 900 + 150 + 2 * 42, "regions and distance, histogram"
