"""Images by the real engine, a page, and a real browser; skipped, in so many words, where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from browser import MakePage, Open, Screen, chromium, opened
from live import running
from playwright.sync_api import Browser
from show import Act, Show, make_default_act

from usert.runtime.view.address import Address
from usert.runtime.view.live_page import LivePage, PageConfig


@pytest.fixture(scope="session")
def act() -> Act:
    """Images of the simulated scanner, its lesion in their middle."""
    return make_default_act()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = chromium()
    if path is None:
        pytest.skip("no browser: install chromium to run the tests of the page in it")
    with opened(path) as found:
        yield found


@pytest.fixture
def show(act: Act) -> Iterator[Show]:
    with Show(act) as playing:
        yield playing


@pytest.fixture
def serve_page() -> Iterator[MakePage]:
    """A page of any `PageConfig`, served until the end of the test."""
    with ExitStack() as stack:

        def serve(**fields: Any) -> LivePage:
            config = PageConfig(**({"http": Address.parse("127.0.0.1:0")} | fields))
            page: LivePage = stack.enter_context(running(LivePage(config)))
            return page

        yield serve


@pytest.fixture
def look(browser: Browser) -> Iterator[Open]:
    """A screen with the page at an address; nothing it did went wrong."""
    with ExitStack() as stack:
        screens: list[Screen] = []

        def open_(url: str, **options: Any) -> Screen:
            context = browser.new_context(**({"viewport": {"width": 1280, "height": 720}} | options))
            stack.callback(context.close)
            screen = Screen(context.new_page())
            screens.append(screen)
            screen.page.goto(url)
            return screen

        yield open_
        assert [screen.faults for screen in screens if screen.faults] == []


@pytest.fixture
def url(show: Show, serve_page: MakePage) -> str:
    """Address of a page with B-mode, which calls an image stale late: the machine may be busy."""
    return serve_page(strain=show.strain, rf=show.rf, stale_ms=5000.0).url


@pytest.fixture
def screen(url: str, look: Open) -> Screen:
    """A screen that shows live images."""
    opened = look(url, locale="en-GB", accept_downloads=True)
    opened.wait_state("live")
    return opened
