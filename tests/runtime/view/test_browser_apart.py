"""The second window, with the image alone: it follows the first, and lives on without it."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress

import pytest
from browser import LIVE_S, Open, Screen
from playwright.sync_api import Error
from show import Show

pytestmark = pytest.mark.slow  # a browser and a clock: minutes, and where there is Chromium

_WRITTEN = """() => {
  const write = CanvasRenderingContext2D.prototype.fillText;
  window.written = [];
  CanvasRenderingContext2D.prototype.fillText = function (text, ...place) {
    window.written.push(text);
    write.call(this, text, ...place);
  };
}"""
"""Keeps what is written on canvases."""


@pytest.fixture
def first(url: str, look: Open) -> Screen:
    screen = look(url, locale="en-GB")
    screen.wait_state("live")
    return screen


def second_of(first: Screen) -> Screen:
    """The window that W opens."""
    with first.page.expect_popup() as popup:
        first.press("w")
    second = Screen(popup.value)
    second.wait_state("live", "frozen")
    return second


def kinds(screen: Screen) -> list[str]:
    return [panel["kind"] for panel in screen.panels()]


def settled(screen: Screen, what: Callable[[], bool]) -> None:
    screen.until(what)
    assert screen.faults == []


def test_the_image_alone_is_large_and_has_state_age_and_no_controls(first: Screen) -> None:
    second = second_of(first)
    assert second.page.locator("button, input, select").count() == 0
    assert second.text("#word") == "LIVE"
    assert second.text("#age").endswith("ms")
    drawn = second.drawn
    settled(second, lambda: second.drawn > drawn + 3)
    second.page.set_viewport_size({"width": 1280, "height": 720})
    larger, smaller = (one.page.locator("#canvas").bounding_box() for one in (second, first))
    assert larger is not None
    assert smaller is not None
    assert larger["width"] == 1280
    assert larger["height"] > 620 > smaller["height"]


def test_it_follows_what_the_first_window_shows(first: Screen) -> None:
    second = second_of(first)
    first.press("v")
    settled(second, lambda: kinds(second) == ["overlay"])
    first.press("q")
    settled(second, lambda: kinds(second) == ["overlay", "quality"])
    first.press("l")
    first.page.get_by_role("button", name="Deutsch").click()
    first.press(" ")
    second.wait_state("frozen")
    second.expect("#word", "STANDBILD")
    settled(second, lambda: second.drawn == first.drawn)
    frozen = first.drawn
    first.press(",", ",")
    settled(second, lambda: second.drawn == first.drawn == frozen - 2)
    age = second.age_ms
    settled(second, lambda: second.age_ms > age + 300)
    first.press(" ")
    second.wait_state("live")
    settled(second, lambda: second.drawn > frozen)


def test_one_that_is_opened_while_the_first_is_frozen_is_frozen_too(first: Screen) -> None:
    first.press(" ")
    first.wait_state("frozen")
    first.press(",")
    second = second_of(first)
    second.wait_state("frozen")
    settled(second, lambda: second.drawn == first.drawn)


@pytest.mark.parametrize("frozen", [False, True])
def test_it_lives_on_when_the_first_window_is_closed(first: Screen, frozen: bool) -> None:
    second = second_of(first)
    if frozen:
        first.press(" ")
        second.wait_state("frozen")
    first.page.close(run_before_unload=True)
    second.wait_state("live")
    drawn = second.drawn
    settled(second, lambda: second.drawn > drawn + 5)


def test_it_lives_on_when_the_first_window_crashes(first: Screen) -> None:
    """In a process of its own, and it hears the pulse of the first window end."""
    second = second_of(first)
    first.press(" ")
    second.wait_state("frozen")
    with suppress(Error):
        first.page.goto("chrome://crash", timeout=5000)
    second.wait_state("live", timeout_s=30)  # and not after a minute
    drawn = second.drawn
    settled(second, lambda: second.drawn > drawn + 3)


def test_a_first_window_that_was_thought_gone_is_followed_again(first: Screen) -> None:
    """A window in the background, or on a busy machine, may be silent for long."""
    second = second_of(first)
    first.press(" ")
    second.wait_state("frozen")
    second.page.evaluate(
        "(ms) => { const now = performance.now.bind(performance); performance.now = () => now() + ms; }", 9000
    )
    second.wait_state("frozen")  # whatever was between
    second.page.wait_for_timeout(1500)
    assert second.state == "frozen"
    assert second.drawn == first.drawn


def test_it_says_no_less_of_a_frozen_image_than_the_first_window(first: Screen, show: Show) -> None:
    second = second_of(first)
    show.held = True
    first.wait_state("held", "stale")
    first.press(" ")
    for one in (first, second):
        one.wait_state("frozen")
        one.expect("#why", re.compile(r"It was (held|stale) then\."))
    first.expect("#why", "Space: back to live")
    assert "Space" not in second.text("#why")
    assert second.faults == []
    first.page.evaluate(_WRITTEN)
    with first.page.expect_download():
        first.press("s")
    assert any("then." in text for text in first.page.evaluate("window.written")), "a snapshot says it, too"


def test_an_average_is_called_one_there_without_the_key_that_ends_it(first: Screen) -> None:
    second = second_of(first)
    first.until(lambda: first.drawn > 25)
    first.press("o")
    for one in (first, second):
        one.expect("#word", "AVERAGE OF")
        one.expect("#why", "Live images of")
    assert "O:" in first.text("#why")
    assert "O:" not in second.text("#why")


def test_there_is_one_second_window_however_often_it_is_asked_for(first: Screen) -> None:
    second = second_of(first)
    windows = len(first.page.context.pages)
    second.page.evaluate("() => { window.focus = () => { window.raised = true; }; }")
    first.press("w")
    first.expect("#notices", "The second window is open already")
    assert second.page.evaluate("window.raised")
    assert len(first.page.context.pages) == windows
    second.page.close()
    second = second_of(first)
    assert len(first.page.context.pages) == windows
    assert first.faults == second.faults == []


def test_a_second_press_while_the_window_opens_is_none(first: Screen) -> None:
    windows = len(first.page.context.pages)
    for _ in range(3):
        first.press("w")
        first.page.wait_for_timeout(150)
    first.page.wait_for_timeout(1500)
    assert len(first.page.context.pages) == windows + 1


def test_a_browser_that_opens_no_window_is_said(first: Screen) -> None:
    first.page.evaluate("() => { window.open = () => null; }")
    first.press("w")
    first.expect("#notices", "allow pop-ups")


def test_it_says_when_its_image_is_old(first: Screen, show: Show, url: str, look: Open) -> None:
    second = look(f"{url}?view=image", locale="en-GB")
    second.wait_state("live")
    show.silent = True
    second.wait_state("stale")
    assert second.text("#word") == "STALE"
    second.expect("#why", "No new image for")
    show.silent = False
    second.wait_state("live", timeout_s=LIVE_S)
    second.press("f")
    settled(second, lambda: bool(second.page.evaluate("Boolean(document.fullscreenElement)")))
