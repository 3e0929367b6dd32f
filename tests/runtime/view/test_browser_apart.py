"""The second window, with the image alone: it follows the first, and lives on without it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from browser import LIVE_S, Open, Screen
from show import Show

pytestmark = pytest.mark.slow  # a browser and a clock: minutes, and where there is Chromium

Two = tuple[Screen, Screen]


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
