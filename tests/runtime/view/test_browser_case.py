"""The case and DICOM in a real browser: typed, scanned, asked, saved, and what is wrong said in a line."""

from __future__ import annotations

import gc
import re
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from browser import LIVE_S, MakePage, Open, Screen
from captures import TITLE, node
from show import Act, Show

from usert.runtime.view.dicom_node import DicomNode

pytestmark = pytest.mark.slow  # a browser and a clock: minutes, and where there is Chromium

SCAN = """(text) => {
  const target = document.activeElement ?? document.body;
  for (const key of [...text, 'Enter']) {
    target.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true }));
  }
}"""
"""As a scanner types: no person is as fast, and no test either, through another process."""


@pytest.fixture
def serve(show: Show, serve_page: MakePage) -> Any:
    return lambda **fields: serve_page(strain=show.strain, rf=show.rf, stale_ms=5000.0, **fields)


@pytest.fixture
def screen(serve: Any, look: Open) -> Screen:
    opened = look(serve().url, accept_downloads=True)
    opened.wait_state("live")
    return opened


def give(screen: Screen, identifier: str) -> None:
    screen.press("n")
    screen.page.locator("#case-dialog").wait_for()
    screen.page.keyboard.type(identifier)
    screen.press("Enter")
    screen.until(lambda: not is_open(screen, "#case-input"))
    screen.until(lambda: screen.page.evaluate("() => document.activeElement.id") != "case-input")


def forgive(screen: Screen) -> None:
    """A browser notes every refused request as an error of the page."""
    screen.faults = [fault for fault in screen.faults if "status of 400" not in fault]


def is_open(screen: Screen, dialog: str) -> bool:
    return screen.page.locator(dialog).is_visible()


def test_a_typed_case_is_shown_on_all_screens_and_after_a_reload(serve: Any, look: Open) -> None:
    page = serve()
    first, second = look(page.url), look(page.url)
    first.wait_state("live")
    second.wait_state("live")
    give(first, "MRN 00471")
    for one in (first, second):
        one.expect("#case-shown", "MRN 00471")
    assert not is_open(first, "#case-dialog")
    second.page.reload()
    second.expect("#case-shown", "MRN 00471")
    second.wait_state("live")


def test_a_scan_is_a_case_wherever_the_focus_is_and_presses_no_key(screen: Screen) -> None:
    screen.page.evaluate(SCAN, "raqs-4711")
    screen.expect("#case-shown", "raqs-4711")
    screen.page.locator("#freeze").focus()
    screen.page.evaluate(SCAN, "NEXT0815")
    screen.expect("#case-shown", "NEXT0815")
    screen.wait_state("live")
    assert screen.page.locator("#quality-map").get_attribute("aria-pressed") == "false"
    screen.press("?")
    screen.page.evaluate(SCAN, "THIRD-1")
    screen.expect("#case-shown", "THIRD-1")
    screen.press("n")
    screen.page.keyboard.type("FOURTH")  # a scanner types into the field like a person
    screen.press("Enter")
    screen.expect("#case-shown", "FOURTH")


def test_a_new_case_asks_about_what_is_not_saved_and_clears_it_everywhere(
    serve: Any, look: Open, act: Act
) -> None:
    page = serve()
    first, second = look(page.url), look(page.url, accept_downloads=True)
    first.wait_state("live")
    second.wait_state("live")
    give(first, "ONE")
    second.expect("#case-shown", "ONE")
    second.wait_state("live")
    for region in act.regions_mm():
        second.draw(region)
    second.expect("#ratio-more", "10 images")
    second.press("o")  # an average, of which nothing may be left
    second.until(lambda: second.page.locator("#average").get_attribute("aria-pressed") == "true")
    second.page.wait_for_timeout(500)
    first.page.evaluate(SCAN, "TWO-2")
    first.expect("#case-question", "TWO-2")
    first.expect("#case-question", "1 screen has")
    assert not first.page.locator("#case-keep").is_visible()
    first.page.locator("#case-cancel").click()
    first.expect("#case-shown", "ONE")
    assert second.page.locator("#average").get_attribute("aria-pressed") == "true"
    first.page.evaluate(SCAN, "TWO-2")
    first.page.locator("#case-clear").click()
    for one in (first, second):
        one.expect("#case-shown", "TWO-2")
        one.wait_state("live")
    second.expect("#ratio-words", "Draw A on the target")
    assert second.page.locator("#average").get_attribute("aria-pressed") == "false"


def test_what_was_saved_is_not_asked_about(screen: Screen) -> None:
    give(screen, "ONE")
    screen.wait_state("live")
    screen.press(" ")
    screen.wait_state("frozen")
    with screen.page.expect_download(timeout=1e3 * LIVE_S):
        screen.press("s")
    screen.page.wait_for_timeout(500)
    screen.page.evaluate(SCAN, "TWO-2")
    screen.expect("#case-shown", "TWO-2")
    screen.wait_state("live")


def test_the_open_dialog_of_dicom_names_the_case_of_now(serve: Any, look: Open) -> None:
    page = serve()
    first, second = look(page.url), look(page.url)
    first.wait_state("live")
    second.wait_state("live")
    give(first, "ONE")
    second.expect("#case-shown", "ONE")
    second.page.locator("#tab-case").click()
    second.page.locator("#dicom-button").click()
    second.expect("#dicom-patient", "ONE")
    first.page.evaluate(SCAN, "TWO-2")
    second.expect("#dicom-patient", "TWO-2")


def test_what_is_drawn_while_an_object_is_made_is_not_saved(screen: Screen, act: Act) -> None:
    give(screen, "ONE")
    screen.wait_state("live")
    screen.draw(act.regions_mm()[0])
    screen.page.evaluate(
        """() => {
          const { fetch } = window;
          window.fetch = async (...all) => {
            if (all[0] === 'dicom') await new Promise((go) => { window.go = go; });
            return fetch(...all);
          };
        }"""
    )
    with screen.page.expect_download(timeout=1e3 * LIVE_S):
        screen.press("u")
        screen.until(lambda: screen.page.evaluate("() => Boolean(window.go)"))
        screen.draw(act.regions_mm()[1])
        screen.page.evaluate("() => window.go()")
    screen.page.wait_for_timeout(500)
    screen.page.evaluate(SCAN, "TWO-2")
    screen.expect("#case-question", "TWO-2")


def test_images_without_a_case_can_be_given_one(screen: Screen) -> None:
    screen.until(lambda: screen.drawn > 5)
    screen.press(" ")
    screen.wait_state("frozen")
    drawn = screen.drawn
    screen.page.wait_for_timeout(500)
    give(screen, "LATE")
    screen.expect("#case-question", "LATE")
    screen.page.locator("#case-keep").click()
    screen.expect("#case-shown", "LATE")
    assert (screen.state, screen.drawn) == ("frozen", drawn)


@pytest.mark.parametrize(
    ("identifier", "line"),
    [("7" * 10_000, "10,000 characters"), ("12\\34", "backslash"), ("12\u202e34", "cannot be seen")],
)
def test_what_cannot_be_an_identifier_is_said_in_a_line(screen: Screen, identifier: str, line: str) -> None:
    screen.press("n")
    screen.page.locator("#case-input").fill(identifier)
    screen.press("Enter")
    screen.expect("#case-error", line)
    screen.expect("#case-shown", "–")
    screen.press("Escape")
    screen.until(lambda: screen.page.evaluate("() => document.activeElement.id") != "case-input")
    screen.page.evaluate(SCAN, identifier[:500])
    screen.expect("#notices", line if len(identifier) < 500 else "500 characters")
    assert screen.state == "live"


@pytest.mark.parametrize(
    "identifier", ["<script>alert(1)</script>", "山田太郎 12", "\"'><img src=x>", "../../etc/x"]
)
def test_any_other_text_is_text(screen: Screen, identifier: str, tmp_path: Path) -> None:
    screen.press("n")
    screen.page.locator("#case-input").fill(identifier)
    screen.press("Enter")
    screen.expect("#case-shown", identifier)
    with screen.page.expect_download(timeout=1e3 * LIVE_S) as download:
        screen.press("u")
    assert re.fullmatch(r"usert-\d{8}-\d{6}-image-\d{8}\.dcm", download.value.suggested_filename)
    assert pydicom.dcmread(download.value.path()).PatientID == identifier
    assert (
        screen.page.evaluate(
            "() => JSON.stringify([{...localStorage}, {...sessionStorage}, location.href])"
        ).find(identifier)
        < 0
    )


def test_the_image_and_the_film_are_saved_as_dicom(screen: Screen) -> None:
    give(screen, "ONE")
    screen.until(lambda: screen.drawn > 20)
    screen.press(" ")
    screen.wait_state("frozen")
    with screen.page.expect_download(timeout=1e3 * LIVE_S) as download:
        screen.press("u")
    image = pydicom.dcmread(download.value.path())
    assert image.SOPClassUID.name == "Secondary Capture Image Storage"
    assert (image.PatientID, image.PatientName, image.BurnedInAnnotation) == ("ONE", "", "NO")
    assert image.pixel_array.shape == (1134, 1600, 3)
    assert (np.ptp(image.pixel_array[200:900].astype(int), axis=-1) > 60).mean() > 0.1  # colours of strain
    screen.press("Escape")
    screen.page.locator("#tab-case").click()
    screen.page.locator("#dicom-button").click()
    screen.expect("#dicom-patient", "ONE")
    with screen.page.expect_download(timeout=1e3 * LIVE_S) as download:
        screen.page.locator("#dicom-film").click()
    film = pydicom.dcmread(download.value.path())
    assert film.SOPClassUID.name == "Multi-frame True Color Secondary Capture Image Storage"
    assert film.NumberOfFrames > 10
    assert film.pixel_array.shape == (film.NumberOfFrames, 680, 960, 3)
    assert film.StudyInstanceUID == image.StudyInstanceUID
    assert film.SeriesInstanceUID != image.SeriesInstanceUID
    screen.expect("#dicom-line", "Saved")


@pytest.mark.filterwarnings("ignore:.*<socket.socket fd:pytest.PytestUnraisableExceptionWarning")
def test_an_image_is_sent_to_the_node_and_the_page_goes_on(serve: Any, look: Open) -> None:
    with node() as pacs:
        screen = look(serve(dicom_node=DicomNode.parse(f"{TITLE}@{pacs.address}", "USERT")).url)
        screen.wait_state("live")
        give(screen, "ONE")
        screen.wait_state("live")
        screen.press("y")
        screen.expect("#notices", f"Sent to PACS@{pacs.address}")
        screen.page.locator("#tab-case").click()
        screen.page.locator("#dicom-button").click()
        screen.page.locator("#dicom-check").click()
        screen.expect("#dicom-line", "is there")
        screen.page.locator("#dicom-send-image").click()
        screen.expect("#dicom-line", "Sent")
        pacs.answer = lambda event: 0xA700
        screen.page.locator("#dicom-send-image").click()
        screen.expect("#dicom-line", "refused the image, status 0xA700")
    screen.page.locator("#dicom-send-image").click()
    screen.expect("#dicom-line", "cannot be reached: Connection refused")
    drawn = screen.drawn
    screen.until(lambda: screen.drawn > drawn + 3)
    assert screen.state == "live"
    assert [one.PatientID for one in pacs.received] == ["ONE"] * 3
    assert pacs.received[0].pixel_array.shape == (1134, 1600, 3)
    forgive(screen)
    gc.collect()


def test_a_node_that_never_answers_leaves_the_page_live(serve: Any, look: Open) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        screen = look(serve(dicom_node=DicomNode.parse(f"{TITLE}@{address}", "USERT")).url)
        screen.wait_state("live")
        give(screen, "ONE")
        screen.press("y")
        drawn = screen.drawn
        screen.until(lambda: screen.drawn > drawn + 3)
        screen.page.reload()  # in the middle
        screen.wait_state("live")
        screen.press("y")
        screen.expect("#notices", "does not agree")
        forgive(screen)


def test_a_film_needs_a_freeze(screen: Screen) -> None:
    screen.press("Shift+U")
    screen.expect("#notices", "Freeze first")
    screen.press("y")
    screen.expect("#notices", "No node")
