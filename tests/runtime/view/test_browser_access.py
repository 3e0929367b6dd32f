"""Who cannot see well, or has no mouse: axe finds nothing, keys reach everything, a screen reader is told little."""

from __future__ import annotations

import json
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from browser import Open, Screen
from show import Show

pytestmark = pytest.mark.slow  # a browser and a clock: minutes, and where there is Chromium

DIALOGS = {"help": "?", "languages": "l", "case-dialog": "n"}
"""Each with the key that opens it."""
FOCUS = """() => {
  const element = document.activeElement;
  const { outlineStyle, outlineWidth } = getComputedStyle(element);
  const dialog = element.closest('dialog')?.id ?? '';
  const seen = outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2;
  const id = element.id || (element.querySelector('.label') ?? element).textContent;
  return { id, tag: element.tagName, dialog, seen };
}"""


def findings(screen: Screen) -> list[str]:
    """Of axe, one line each."""
    response = Axe().run(screen.page).response
    return [
        f"{one['id']}: {one['help']}: {json.dumps([node['html'] for node in one['nodes']])}"
        for one in response["violations"]
    ]


def tab_through(screen: Screen, most: int = 120) -> list[dict[str, Any]]:
    """What has the focus, one Tab after the other, until it comes round."""
    found: list[dict[str, Any]] = []
    for _ in range(most):
        screen.press("Tab")
        focus = screen.page.evaluate(FOCUS)
        if focus in found:
            break
        if focus["tag"] != "BODY":  # between the last and the first
            found.append(focus)
    return found


def tabs(screen: Screen) -> list[str]:
    """Ids of the tabs that are offered."""
    ids: list[str] = screen.page.evaluate(
        "[...document.querySelectorAll('[role=tab]:not([hidden])')].map((tab) => tab.id)"
    )
    return [one for one in ids if screen.page.locator(f"#{one}").is_visible()]


@pytest.mark.parametrize("size", [(1280, 720), (800, 1180)])
def test_axe_finds_nothing_in_any_state(screen: Screen, show: Show, size: tuple[int, int]) -> None:
    screen.page.set_viewport_size({"width": size[0], "height": size[1]})
    assert findings(screen) == []
    for tab in tabs(screen):
        screen.page.locator(f"#{tab}").click()
        assert (tab, findings(screen)) == (tab, [])
    show.changes = {"warnings": ("strain_low",)}
    screen.press("a", "b")
    screen.expect("#warnings", "press a little more")
    assert findings(screen) == []
    screen.press(" ")
    screen.wait_state("frozen")
    assert findings(screen) == []
    screen.press(" ")
    show.held = True
    screen.wait_state("held")
    assert findings(screen) == []
    show.silent = True
    screen.wait_state("stale")
    assert findings(screen) == []


@pytest.mark.parametrize("dialog", DIALOGS)
def test_axe_finds_nothing_in_a_dialog(screen: Screen, dialog: str) -> None:
    screen.press(DIALOGS[dialog])
    screen.page.locator(f"#{dialog}").wait_for()
    assert findings(screen) == []


def test_axe_finds_nothing_about_pedals_or_in_the_second_window(screen: Screen, url: str, look: Open) -> None:
    screen.page.locator("#tab-screen").click()
    screen.page.locator("#pedals-button").click()
    assert findings(screen) == []
    second = look(f"{url}?view=image", locale="zh-CN")
    second.wait_state("live")
    assert findings(second) == []


def test_every_button_is_reached_by_keys_and_seen_to_have_the_focus(screen: Screen) -> None:
    screen.press("a", "b")  # or there is nothing to clear
    wanted = set(
        screen.page.evaluate(
            "[...document.querySelectorAll('button, input, select, canvas[tabindex]')]"
            ".filter((one) => !one.closest('dialog') && !one.closest('[role=tablist][hidden]') && !one.hidden)"
            ".map((one) => one.id || (one.querySelector('.label') ?? one).textContent)"  # numbers change
        )
    )
    found: set[str] = set()
    for tab in tabs(screen):
        screen.page.locator(f"#{tab}").focus()
        screen.press("Home")
        while screen.page.evaluate(FOCUS)["id"] != tab:
            screen.press("ArrowRight")
        found.add(tab)
        for focus in tab_through(screen):
            assert focus["seen"], focus
            found.add(focus["id"])
    hidden = {one for one in wanted if one == "opacity"}  # there in one mode only
    screen.page.locator("#tab-view").click()
    screen.press("v")
    screen.page.locator("#opacity").wait_for()
    found |= {focus["id"] for focus in tab_through(screen)} & hidden
    assert wanted - found == set()


@pytest.mark.parametrize("dialog", DIALOGS)
def test_a_dialog_keeps_the_focus_and_gives_it_back(screen: Screen, dialog: str) -> None:
    screen.page.locator("#freeze").focus()
    screen.press(DIALOGS[dialog])
    screen.page.locator(f"#{dialog}").wait_for()
    inside = tab_through(screen)
    assert inside
    assert {focus["dialog"] for focus in inside} == {dialog}
    assert all(focus["seen"] for focus in inside)
    screen.press("Escape")
    assert screen.page.evaluate("document.activeElement.id") == "freeze"


def test_a_screen_reader_is_told_states_and_not_every_number(screen: Screen, show: Show) -> None:
    """Live regions: those by attribute, and elements that are one by nature."""
    screen.expect("#spoken", "LIVE")
    screen.page.evaluate(
        """() => {
          window.told = [];
          const live = '[aria-live=polite], [aria-live=assertive], [role=status], [role=log], [role=alert], '
            + 'output:not([aria-live=off])';
          for (const region of document.querySelectorAll(live)) {
            new MutationObserver(() => window.told.push(region.id + ': ' + region.textContent))
              .observe(region, { childList: true, characterData: true, subtree: true });
          }
        }"""
    )
    drawn = screen.drawn
    screen.until(lambda: screen.drawn > drawn + 20)
    assert screen.page.evaluate("window.told") == []
    show.changes = {"warnings": ("strain_low",)}
    screen.until(lambda: screen.page.evaluate("window.told.length") == 1)
    assert "press a little more" in screen.page.evaluate("window.told[0]")
    for at in range(12):  # a state that comes and goes is no news
        show.changes = {"warnings": ("strain_low",) if at % 2 else ()}
        screen.page.wait_for_timeout(250)
    assert screen.page.evaluate("window.told.length") <= 3
    show.silent = True
    screen.expect("#spoken", "STALE")


def test_space_freezes_whatever_was_pressed_before(screen: Screen) -> None:
    for pressed, state in (
        ("#map", "frozen"),
        ("#tab-regions", "live"),
        ("#tab-view", "frozen"),
        ("#time", "live"),
    ):
        screen.page.locator(pressed).click()
        screen.press(" ")
        screen.wait_state(state)
    screen.page.locator("#map").focus()
    before = screen.text("#map")
    screen.press(" ")  # by keys, it is the button's
    screen.until(lambda: screen.text("#map") != before)
