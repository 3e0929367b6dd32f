"""Where two parts of the page meet, in a real browser: who gets pointer and keys, and what a new case leaves."""

from __future__ import annotations

import gc
from dataclasses import replace
from typing import Any

import pydicom
import pytest
from browser import MakePage, Open, Screen
from captures import TITLE, node
from show import Act, Show

from usert.runtime.view.dicom_node import DicomNode

pytestmark = pytest.mark.slow  # a browser and a clock: minutes, and where there is Chromium

SCAN = """(text) => {
  for (const key of [...text, 'Enter']) {
    document.body.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true }));
  }
}"""
_BOX = "() => JSON.parse(localStorage.getItem('usert-view')).box"
_BARS = """() => {
  const canvas = document.getElementById('histogram-bars');
  const row = canvas.getContext('2d').getImageData(0, Math.round(0.78 * canvas.height), canvas.width, 1).data;
  return Array.from(row);
}"""


def rows(screen: Screen, name: str = "region-list") -> int:
    return int(screen.page.locator(f"#{name} .row").count())


def box(screen: Screen) -> dict[str, Any]:
    found: dict[str, Any] = screen.page.evaluate(_BOX)
    return found


def test_a_tool_that_is_taken_after_the_box_draws_its_region(screen: Screen, act: Act) -> None:
    """Also on the edge of the box, which would else be moved."""
    screen.press("k")
    screen.expect("#box", "Full image")
    before = box(screen)
    screen.press("e")
    screen.draw(act.regions_mm()[0])
    screen.until(lambda: rows(screen) == 1)
    screen.press("e", "e")
    depth, lateral = before["depth"], before["lateral"]
    screen.draw((depth[0], depth[0] + 3, lateral[0] + 2, lateral[0] + 5))
    screen.until(lambda: rows(screen) == 2)
    assert box(screen) == before


def test_arrows_move_what_was_chosen_last(screen: Screen) -> None:
    screen.press("d", "d")  # a distance, in hand
    screen.until(lambda: rows(screen, "distance-list") == 1)
    screen.press("a")
    screen.until(lambda: rows(screen) == 1)
    assert screen.page.locator("#distance-list .row[aria-pressed=true]").count() == 0
    screen.press("k")
    screen.expect("#box", "Full image")
    before = box(screen)
    screen.page.locator("#tab-lists").click()
    screen.page.locator("#region-list .row").click()
    screen.press("ArrowDown", "ArrowDown")
    assert box(screen) == before


def test_a_second_finger_moves_nothing(screen: Screen, act: Act) -> None:
    session = screen.page.context.new_cdp_session(screen.page)
    d0, d1, l0, l1 = act.regions_mm()[0]
    first, last, palm = screen.place(d0, l0), screen.place(d1, l1), screen.place(1, 1)

    def touch(kind: str, *places: tuple[float, float]) -> None:
        points = [{"x": x, "y": y, "id": at} for at, (x, y) in enumerate(places)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", first)
    touch("touchMove", last)
    touch("touchStart", last, palm)
    touch("touchMove", last, (palm[0] + 9, palm[1] + 9))
    touch("touchEnd")
    screen.until(lambda: rows(screen) == 1)
    screen.page.locator("#tab-lists").click()
    area = float(screen.text("#region-list .area"))
    assert area == pytest.approx((d1 - d0) * (l1 - l0), rel=0.05)


def test_a_span_that_is_being_chosen_as_the_page_goes_live_is_dropped(screen: Screen) -> None:
    screen.until(lambda: screen.drawn > 10)
    where = screen.page.locator("#time").bounding_box()
    assert where is not None
    x, y = where["x"] + where["width"] - 20, where["y"] + 20
    screen.page.keyboard.down("Shift")
    screen.page.mouse.move(x, y)
    screen.page.mouse.down()
    screen.page.mouse.move(x - 20, y)
    screen.page.keyboard.up("Shift")
    screen.press(" ")
    screen.page.mouse.up()
    screen.wait_state("live")
    assert screen.faults == []


def test_the_histogram_has_the_colours_of_the_image_when_they_are_exchanged(screen: Screen, act: Act) -> None:
    screen.draw(act.regions_mm()[0])
    screen.press("h", " ")
    screen.wait_state("frozen")
    screen.expect("#histogram-figures", "median")
    screen.page.wait_for_timeout(300)
    before = screen.page.evaluate(_BARS)
    screen.press("i")
    screen.until(lambda: screen.page.evaluate(_BARS) != before)
    screen.press("i")
    screen.until(lambda: screen.page.evaluate(_BARS) == before)


@pytest.mark.parametrize("frozen", [False, True])
def test_a_new_case_leaves_nothing_on_the_second_window(screen: Screen, show: Show, frozen: bool) -> None:
    with screen.page.expect_popup() as popup:
        screen.press("w")
    second = Screen(popup.value)
    second.wait_state("live")
    if frozen:
        screen.press(" ")
        second.wait_state("frozen")
    show.silent = True
    screen.page.evaluate(SCAN, "TWO-2")
    if frozen:
        screen.page.locator("#case-clear").click()
    second.wait_state("waiting")
    assert second.page.locator("#canvas").get_attribute("data-drawn") == ""
    show.silent = False
    second.wait_state("live")


def test_distances_that_were_not_saved_are_asked_about(screen: Screen) -> None:
    screen.press("d", "d")
    screen.until(lambda: rows(screen, "distance-list") == 1)
    screen.page.wait_for_timeout(500)
    screen.page.evaluate(SCAN, "TWO-2")
    screen.expect("#case-question", "1 screen has")


def test_a_film_is_of_one_depth(screen: Screen, show: Show) -> None:
    """Its one pixel spacing would be false for images of another."""
    screen.until(lambda: screen.drawn > 5)
    shallow = screen.panels()[0]["height"] / screen.panels()[0]["scale"]
    scan = show.act.images[0].reference.scan
    show.session += 1
    show.frames = False
    show.changes = {"scan": replace(scan, fs_hz=scan.fs_hz / 2)}
    screen.until(lambda: screen.panels()[0]["height"] / screen.panels()[0]["scale"] > 1.5 * shallow)
    drawn = screen.drawn
    screen.until(lambda: screen.drawn > drawn + 5)
    screen.press(" ")
    screen.wait_state("frozen")
    screen.page.locator("#tab-case").click()
    screen.page.locator("#dicom-button").click()
    label = screen.text("#dicom-film")
    with screen.page.expect_download() as download:
        screen.page.locator("#dicom-film").click()
    film = pydicom.dcmread(download.value.path())
    assert f"({film.NumberOfFrames} image" in label
    kept = int(screen.page.locator("#time").get_attribute("aria-valuemax") or 0) + 1
    assert 5 <= film.NumberOfFrames < kept


@pytest.mark.filterwarnings("ignore:.*<socket.socket fd:pytest.PytestUnraisableExceptionWarning")
def test_one_key_sends_nothing_without_a_case(show: Show, serve_page: MakePage, look: Open) -> None:
    """An archive refuses or puts aside what has no Patient ID: Y opens the dialog that says so, Enter sends."""
    with node() as pacs:
        to = DicomNode.parse(f"{TITLE}@{pacs.address}", "USERT")
        screen = look(serve_page(strain=show.strain, rf=show.rf, stale_ms=5000.0, dicom_node=to).url)
        screen.wait_state("live")
        screen.press("y")
        screen.expect("#dicom-patient", "No case: the Patient ID will be empty.")
        assert pacs.received == []
        screen.press("Enter")
        screen.expect("#dicom-line", "Sent to PACS")
    assert [one.PatientID for one in pacs.received] == [""]
    gc.collect()
