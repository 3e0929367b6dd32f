"""The page in each language, in a browser: chosen by address, by the browser, by hand; kept; on the snapshot, too."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from browser import MakePage, Open
from show import Act, Show
from test_words import LANGUAGES, STATIC

pytestmark = pytest.mark.slow  # a browser and a clock: minutes, and where there is Chromium

WRITTEN = """
  const fill = CanvasRenderingContext2D.prototype.fillText;
  window.written = [];
  CanvasRenderingContext2D.prototype.fillText = function (text, ...rest) {
    window.written.push(text);
    return fill.call(this, text, ...rest);
  };
"""
"""Notes every text that is drawn."""


def words(language: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((STATIC / f"words-{language}.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture
def url(show: Show, serve_page: MakePage) -> str:
    return serve_page(strain=show.strain, rf=show.rf, stale_ms=5000.0).url


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_state_and_the_snapshot_are_in_the_language(
    language: str, url: str, look: Open, show: Show, act: Act
) -> None:
    said = words(language)
    screen = look(url, locale="en-GB", accept_downloads=True)
    screen.page.add_init_script(WRITTEN)
    screen.page.goto(f"{url}?lang={language}")
    screen.wait_state("live")
    assert screen.page.evaluate("document.documentElement.lang").startswith(language)
    assert screen.text("#word") == said["state"]["live"]
    for region in act.regions_mm():
        screen.draw(region)
    screen.expect("#ratio-words", said["ratio"]["harder"].format(target="A", reference="B"))
    point = "," if language in ("fr", "de", "es") else "."
    assert re.fullmatch(rf"\d{re.escape(point)}\d\d ± \d{re.escape(point)}\d\d", screen.text("#ratio-value"))
    screen.page.evaluate("() => { window.written = []; }")
    with screen.page.expect_download():
        screen.press("s")
    written = "\n".join(screen.page.evaluate("() => window.written"))
    for text in (
        said["state"]["live"],
        said["stage"]["hard"],
        said["stage"]["soft"],
        said["help"]["research"],
    ):
        assert text in written
    assert said["snapshot"]["age"].split("{")[0] in written
    show.changes = {"warnings": ("strain_low",)}
    screen.expect("#warnings", said["warnings"]["strain_low"])
    screen.press(" ")
    screen.wait_state("frozen")
    screen.expect("#word", said["state"]["frozen"])
    screen.press(" ")
    show.still = True
    screen.wait_state("idle")
    screen.expect("#word", said["state"]["idle"])


@pytest.mark.parametrize(("locale", "language"), [("de-AT", "de"), ("zh-CN", "zh"), ("pl-PL", "en")])
def test_the_first_language_is_the_browsers(locale: str, language: str, url: str, look: Open) -> None:
    screen = look(url, locale=locale)
    screen.wait_state("live")
    screen.expect("#word", words(language)["state"]["live"])


def test_the_language_is_chosen_by_key_or_button_and_kept(url: str, look: Open) -> None:
    screen = look(url, locale="en-GB")
    screen.wait_state("live")
    screen.press("l")
    screen.until(lambda: screen.page.evaluate("document.activeElement.value") == "en")
    screen.press("Tab", "Tab", "Enter")  # the third: English, French, German
    screen.expect("#freeze", words("de")["cine"]["freeze"])
    assert not screen.page.locator("#languages").is_visible()
    screen.page.reload()
    screen.wait_state("live")
    screen.expect("#freeze", words("de")["cine"]["freeze"])
    screen.page.locator("#tab-screen").click()
    screen.page.locator("#language").click()
    screen.page.get_by_role("button", name="Français").click()
    screen.expect("#freeze", words("fr")["cine"]["freeze"])
    screen.press("?")
    screen.expect("#keys", words("fr")["keys"]["freeze"])


def test_a_language_that_cannot_be_loaded_leaves_the_words_as_they_are(url: str, look: Open) -> None:
    screen = look(url, locale="en-GB")
    screen.wait_state("live")
    screen.page.route("**/words-es.json", lambda route: route.abort())
    screen.press("l")
    screen.page.get_by_role("button", name="Español").click()
    screen.page.wait_for_timeout(300)
    screen.expect("#freeze", "Freeze")
    screen.faults = [fault for fault in screen.faults if "ERR_FAILED" not in fault]
