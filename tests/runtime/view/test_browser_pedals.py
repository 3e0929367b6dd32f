"""Foot pedals, in a real browser: keys as they are at the start, keys that are taught, kept and forgotten."""

from __future__ import annotations

import pytest
from browser import Screen

pytestmark = pytest.mark.slow  # a browser and a clock: minutes, and where there is Chromium


def teach(screen: Screen, what: str, key: str) -> None:
    screen.page.locator("#tab-screen").click()
    screen.page.locator("#pedals-button").click()
    screen.page.get_by_role("button", name=f"Learn: {what}").click()
    screen.press(key)
    screen.page.get_by_role("button", name=f"Learn: {what}").wait_for()
    screen.page.locator("#pedals-close").click()


def test_the_keys_of_the_start_freeze(screen: Screen) -> None:
    screen.press("PageDown")
    screen.wait_state("frozen")
    screen.page.evaluate(
        "document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 'F13', bubbles: true}))"
    )
    screen.wait_state("live")


def test_a_pedal_shows_the_best_image_of_the_press(screen: Screen) -> None:
    screen.until(lambda: screen.drawn > 20)
    teach(screen, "best image of the press", "F2")
    screen.press("F2")
    screen.wait_state("frozen")


def test_page_up_saves_also_from_the_slider(screen: Screen) -> None:
    screen.page.locator("#time").focus()
    with screen.page.expect_download():
        screen.press("PageUp")


def test_a_pedal_that_is_held_down_acts_once(screen: Screen) -> None:
    for _ in range(6):  # as a keyboard does that repeats
        screen.page.keyboard.down("PageDown")
    screen.page.keyboard.up("PageDown")
    screen.wait_state("frozen")
    screen.page.wait_for_timeout(200)
    assert screen.state == "frozen"


def test_a_taught_pedal_goes_before_the_keyboard_and_is_kept(screen: Screen) -> None:
    """A three-pedal switch that sends a, b and c out of its box would draw and clear regions."""
    teach(screen, "freeze", "c")
    screen.press("a", "c")
    screen.wait_state("frozen")
    assert screen.page.locator("#region-a").get_attribute("aria-pressed") == "true"  # c cleared nothing
    screen.page.reload()
    screen.wait_state("live")
    screen.press("c")
    screen.wait_state("frozen")
    screen.press("PageDown")  # is not a pedal any more
    assert screen.state == "frozen"
    screen.page.locator("#tab-screen").click()
    screen.page.locator("#pedals-button").click()
    screen.page.locator("#pedals-reset").click()
    screen.press("Escape", "PageDown")
    screen.wait_state("live")


@pytest.mark.parametrize("key", ["?", "l", "n"])
def test_a_pedal_freezes_while_a_dialog_is_open(screen: Screen, key: str) -> None:
    """Of the keys, of languages, of the case, in whose field one writes."""
    screen.press(key)
    screen.page.locator("dialog[open]").wait_for()
    screen.press("PageDown")
    screen.wait_state("frozen")
    assert screen.page.locator("dialog[open]").count() == 1
    with screen.page.expect_download():
        screen.press("PageUp")


def test_a_pedal_freezes_while_a_name_is_written_but_its_letters_are_written(screen: Screen) -> None:
    teach(screen, "freeze", "c")
    teach(screen, "best image of the press", "Home")
    screen.press("a")
    screen.page.locator("#tab-lists").click()
    name = screen.page.locator("#region-list .editor input")
    name.click()
    screen.page.keyboard.type("cyst")
    screen.press("Home", "PageUp")
    screen.page.keyboard.type("a ")
    assert name.input_value() == "a cyst"
    assert screen.state == "live"
    teach(screen, "freeze", "F2")
    name.click()
    screen.press("PageDown")  # is no pedal any more
    assert screen.state == "live"
    screen.press("F2")
    screen.wait_state("frozen")


def test_the_open_dialog_of_dicom_knows_what_a_pedal_froze(screen: Screen) -> None:
    screen.page.locator("#tab-case").click()
    screen.page.locator("#dicom-button").click()
    assert screen.page.locator("#dicom-film").is_disabled()
    screen.press("PageDown")
    screen.wait_state("frozen")
    screen.until(lambda: screen.page.locator("#dicom-film").is_enabled())
    screen.press(" ")  # presses the button that has the focus, not the page's key
    assert screen.state == "frozen"


def test_one_key_does_one_thing(screen: Screen) -> None:
    teach(screen, "freeze", "PageUp")  # which saved until now
    screen.press("PageUp")
    screen.wait_state("frozen")
    screen.page.locator("#tab-screen").click()
    screen.page.locator("#pedals-button").click()
    assert screen.page.locator("#pedals-all kbd").all_inner_texts()[:2] == ["Page Up", "F14"]


def test_escape_teaches_nothing(screen: Screen) -> None:
    screen.page.locator("#tab-screen").click()
    screen.page.locator("#pedals-button").click()
    screen.page.get_by_role("button", name="Learn: freeze").click()
    screen.press("Control", "Escape")
    assert screen.page.locator("#pedals").is_visible()
    assert screen.page.locator("#pedals-all kbd").first.inner_text() == "Page Down, F13"


@pytest.mark.parametrize(
    "kept", ["nonsense", '{"freeze": 5, "tomorrow": ["x"]}', '{"freeze": [1, {}]}', "[]"]
)
def test_what_was_kept_and_cannot_be_read_is_forgotten(screen: Screen, kept: str) -> None:
    screen.page.evaluate("(kept) => localStorage.setItem('usert-pedals', kept)", kept)
    screen.page.reload()
    screen.wait_state("live")
    screen.press(" ")
    screen.wait_state("frozen")
