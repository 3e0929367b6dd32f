"""What the page says, in a real browser: live, held, idle, stale, lost; and what it says when things go wrong."""

from __future__ import annotations

import re

import pytest
from browser import LIVE_S, MakePage, Open, Screen
from live import running
from show import Act, Show

from usert.runtime.view.address import Address
from usert.runtime.view.live_page import LivePage, PageConfig

pytestmark = pytest.mark.slow  # a browser and a clock: minutes, and where there is Chromium


@pytest.fixture
def screen(show: Show, serve_page: MakePage, look: Open) -> Screen:
    page = serve_page(strain=show.strain, rf=show.rf)
    opened = look(page.url)
    opened.wait_state("live")
    return opened


def test_images_follow_one_another_with_their_age_and_rate(screen: Screen) -> None:
    first = screen.drawn
    screen.until(lambda: screen.drawn > first + 5)
    assert screen.text("#word") == "LIVE"
    assert re.fullmatch(r"\d+ ms", screen.text("#age"))
    screen.until(lambda: float(screen.text("#rate")) > 2)
    assert re.fullmatch(r"[+−]0\.\d\d %", screen.text("#compression-percent"))
    assert screen.text("#compression-word").startswith(("pressing", "releasing"))
    assert [panel["kind"] for panel in screen.panels()] == ["bmode", "strain"]


def test_millimetres_are_the_same_size_down_and_across(screen: Screen, show: Show) -> None:
    made = show.act.images[0].reference
    deep, wide = made.shape[0] * made.scan.axial_pitch_mm, made.shape[1] * made.scan.line_pitch_mm
    for size in ((1280, 720), (800, 1180), (1920, 1080)):
        screen.page.set_viewport_size({"width": size[0], "height": size[1]})
        screen.page.wait_for_timeout(300)
        for panel in screen.panels():
            assert panel["height"] / panel["width"] == pytest.approx(deep / wide, rel=1e-3)
            assert panel["scale"] == pytest.approx(panel["width"] / wide, rel=1e-3)


def test_an_old_image_is_stale_as_soon_as_it_is_too_old(screen: Screen, show: Show) -> None:
    """Measured in the page, at every frame of the screen: no image was live beyond the limit."""
    screen.watch_ages()
    screen.page.wait_for_timeout(1000)
    show.silent = True
    screen.wait_state("stale")
    assert 0 < screen.oldest_live_ms <= 500
    assert screen.text("#word") == "STALE"
    screen.expect("#why", "No new image for")
    age = screen.age_ms
    screen.until(lambda: screen.age_ms > age + 500)
    screen.expect("#rate", "0.0")
    show.silent = False
    screen.wait_state("live")


def test_held_idle_and_frozen_at_the_server_say_why(show: Show, serve_page: MakePage, look: Open) -> None:
    page = serve_page(strain=show.strain, rf=show.rf, stale_ms=60_000.0)
    screen = look(page.url)
    screen.wait_state("live")
    show.held = True
    screen.wait_state("held")
    assert screen.text("#word") == "HELD"
    assert "last good image" in screen.text("#why")
    age = screen.age_ms
    screen.until(lambda: screen.age_ms > age + 300)  # that of the good image
    show.changes = {"reason": "frozen"}
    screen.expect("#why", "Frozen at the server")
    show.held, show.still, show.changes = False, True, {}
    screen.wait_state("idle")
    assert "no strain" in screen.text("#why")
    screen.expect("#compression-word", "at rest")
    show.still = False
    screen.wait_state("live")


def test_a_held_image_that_is_too_old_is_stale_and_says_both(screen: Screen, show: Show) -> None:
    show.held = True
    screen.wait_state("stale")
    assert "last good image" in screen.text("#why")


def test_warnings_are_advice(screen: Screen, show: Show) -> None:
    show.changes = {"warnings": ("strain_high", "low_quality", "one_of_tomorrow")}
    screen.expect("#warnings", "press less")
    text = screen.text("#warnings")
    assert "hold the probe steadier" in text
    assert "one_of_tomorrow" in text


def test_without_rf_there_is_no_b_mode_and_the_page_says_so(
    show: Show, serve_page: MakePage, look: Open
) -> None:
    page = serve_page(strain=show.strain)
    screen = look(page.url)
    screen.wait_state("live")
    screen.press("v")
    screen.page.wait_for_timeout(200)
    assert [panel["kind"] for panel in screen.panels()] == ["strain"]
    screen.press("?")
    screen.expect("#about", "without --rf")


def test_a_b_mode_that_did_not_come_is_not_replaced_by_another(screen: Screen, show: Show) -> None:
    show.frames = False
    drawn = screen.drawn
    screen.until(lambda: screen.drawn > drawn + 3)
    assert [panel["kind"] for panel in screen.panels()] == ["bmode", "strain"]


def test_a_server_that_starts_again_is_told(act: Act, serve_page: MakePage, look: Open) -> None:
    with Show(act) as show:
        strain, rf = show.strain, show.rf
        page = serve_page(strain=strain, rf=rf)
        screen = look(page.url)
        screen.wait_state("live")
        screen.until(lambda: screen.drawn > 5)
    screen.wait_state("stale")
    with Show(act, strain=strain, rf=rf):
        screen.expect("#notices", "strain server was started again", LIVE_S)
        screen.wait_state("live")


def test_the_page_finds_its_server_again(show: Show, look: Open) -> None:
    config = PageConfig(strain=show.strain, rf=show.rf, http=Address.parse("127.0.0.1:0"))
    with running(LivePage(config)) as page:
        port = page.port
        screen = look(page.url)
        screen.wait_state("live")
    screen.wait_state("lost")
    assert screen.text("#word") == "NO CONNECTION"
    again = PageConfig(strain=show.strain, rf=show.rf, http=Address.parse(f"127.0.0.1:{port}"))
    with running(LivePage(again)):
        screen.expect("#notices", "usert view was started again", LIVE_S)
        screen.wait_state("live")


def test_a_token_that_is_no_longer_right_is_said(show: Show, look: Open) -> None:
    def config(token: str, port: int = 0) -> PageConfig:
        return PageConfig(strain=show.strain, http=Address.parse(f"127.0.0.1:{port}"), token=token)

    with running(LivePage(config("the-first-token-of-this-page"))) as page:
        port = page.port
        screen = look(page.url)
        screen.wait_state("live")
        assert "token" not in screen.page.url
    with running(LivePage(config("the-second-token-of-this-page", port))):
        screen.wait_state("refused")
        screen.expect("#why", "wrong token")
        assert screen.text("#word") == "ACCESS DENIED"
    screen.faults = [fault for fault in screen.faults if "403" not in fault]


def test_a_browser_without_the_token_sees_one_line(show: Show, serve_page: MakePage, look: Open) -> None:
    page = serve_page(strain=show.strain, token="a-token-that-is-long-enough")
    screen = look(page.url.split("?", maxsplit=1)[0])
    assert screen.text("body").startswith("usert view: this page needs an access token")
    screen.faults = [fault for fault in screen.faults if "403" not in fault]


def test_a_browser_that_slept_connects_again(screen: Screen) -> None:
    """Its wall clock went on while the other stood still."""
    screen.page.evaluate("() => { const now = Date.now; Date.now = () => now() + 3600000; }")
    screen.expect("#notices", "slept")
    screen.wait_state("live")
    first = screen.drawn
    screen.until(lambda: screen.drawn > first + 3)
    assert screen.age_ms < 60_000


def test_a_silent_connection_is_given_up(screen: Screen) -> None:
    """Such as a network that swallows everything: the page may not trust it."""
    screen.page.context.set_offline(True)
    screen.wait_state("lost", "stale")
    screen.wait_state("lost")
    screen.page.context.set_offline(False)
    screen.wait_state("live")
    screen.faults = [fault for fault in screen.faults if "ERR_INTERNET_DISCONNECTED" not in fault]
