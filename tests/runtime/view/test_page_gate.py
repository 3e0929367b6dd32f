"""Who is let in, over real HTTP: the token, the cookie, the name of the host, the origin."""

from __future__ import annotations

import http.client
import os
from pathlib import Path
from typing import Any

import pytest
from browser import MakePage
from publishing import Publisher
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from usert.errors import OptionError
from usert.runtime.transport.address import is_loopback
from usert.runtime.view.address import Address
from usert.runtime.view.authentication import random_token, read_token
from usert.runtime.view.live_page import LivePage, PageConfig

TOKEN = "a-token-that-is-long-enough"


def get(page: LivePage, path: str, method: str = "GET", **headers: str) -> tuple[int, str, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=10)
    try:
        connection.request(
            method, path, headers={name.replace("_", "-"): text for name, text in headers.items()}
        )
        answer = connection.getresponse()
        found = {name.lower(): text for name, text in answer.getheaders()}
        return answer.status, answer.read().decode(), found
    finally:
        connection.close()


def stream(page: LivePage, query: str = "", **headers: str) -> int:
    """Status of a WebSocket's handshake; 101 when it is let in."""
    url = f"ws://127.0.0.1:{page.port}/stream{query}"
    more = {name.replace("_", "-"): text for name, text in headers.items()}
    try:
        with connect(url, additional_headers=more, compression=None, close_timeout=2):
            return 101
    except InvalidStatus as error:
        return error.response.status_code


@pytest.fixture
def closed_page(serve_page: MakePage, publisher: Publisher) -> LivePage:
    return serve_page(strain=publisher.endpoint, token=TOKEN)


@pytest.fixture
def free_page(serve_page: MakePage, publisher: Publisher) -> LivePage:
    return serve_page(strain=publisher.endpoint)


@pytest.mark.parametrize("path", ["/", "/static/main.js", "/alive", "/measure", "/nowhere", "/stream"])
@pytest.mark.parametrize("query", ["", "?token=", "?token=a-token-that-is-long-enougH", "?token=%ff%00"])
def test_without_the_token_nothing_is_told_but_one_line(closed_page: LivePage, path: str, query: str) -> None:
    status, text, headers = get(closed_page, path + query)
    assert status == 403
    assert text.startswith("usert view: ")
    assert text.count("\n") == 1
    assert TOKEN not in text
    assert "set-cookie" not in headers
    assert stream(closed_page, query) == 403


def test_the_token_in_the_address_becomes_a_cookie(closed_page: LivePage) -> None:
    status, text, headers = get(closed_page, f"/?token={TOKEN}")
    assert (status, "<title>usert" in text) == (200, True)
    cookie, *attributes = headers["set-cookie"].split("; ")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(attributes)
    assert get(closed_page, "/static/main.js", Cookie=cookie)[0] == 200
    assert stream(closed_page, Cookie=cookie) == 101
    assert get(closed_page, "/", Cookie=cookie[:-1])[0] == 403
    assert get(closed_page, "/", Cookie='usert-view="')[0] == 403


def test_on_this_machine_it_answers_to_its_own_names_only(free_page: LivePage) -> None:
    for host in ("127.0.0.1", "localhost", "[::1]", "127.0.0.1:80"):
        assert get(free_page, "/", Host=host)[0] == 200
    for host in ("evil.example", "127.0.0.1.evil.example", "", "[", "10.0.0.1"):
        assert get(free_page, "/", Host=host)[0] == 403


def test_a_page_of_another_origin_hears_nothing(free_page: LivePage) -> None:
    own = f"http://127.0.0.1:{free_page.port}"
    assert stream(free_page, Origin=own) == 101
    assert stream(free_page) == 101  # no browser
    for origin in ("http://evil.example", "null", f"http://127.0.0.1:{free_page.port + 1}", ""):
        assert stream(free_page, Origin=origin) == 403
        assert get(free_page, "/measure", "POST", Origin=origin)[0] == 403


def test_every_answer_keeps_the_page_to_itself(free_page: LivePage) -> None:
    for path in ("/", "/static/main.js", "/static/colours.json", "/static/absent.js", "/measure"):
        headers = get(free_page, path)[2]
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(
    "path", ["/static/../live_page.py", "/static/%2e%2e/live_page.py", "/static/__init__.py", "/etc/passwd"]
)
def test_no_other_file_is_served(free_page: LivePage, path: str) -> None:
    assert get(free_page, path)[0] == 404


def test_nothing_of_the_page_asks_elsewhere() -> None:
    folder = Path(__file__).parents[3] / "runtime" / "view" / "static"
    files = list(folder.iterdir())
    assert files
    for file in files:
        text = file.read_text(encoding="utf-8").replace('xmlns="http://www.w3.org/2000/svg"', "")
        assert "http://" not in text, file
        assert "https://" not in text, file


@pytest.mark.parametrize(
    ("text", "is_open"),
    [
        ("127.0.0.1:0", False),
        ("[::1]:80", False),
        ("localhost:1", False),
        ("0.0.0.0:80", True),
        ("[::]:80", True),
        ("10.1.2.3:80", True),
        ("or-2:80", True),
    ],
)
def test_an_address_says_whether_others_reach_it(text: str, is_open: bool) -> None:
    assert Address.parse(text).open is is_open
    assert is_loopback("127.1.2.3")


@pytest.mark.parametrize("text", ["", "8080", "a:b", "127.0.0.1:70000", "http://127.0.0.1:80", "::1:80"])
def test_what_is_no_address_is_one_line(text: str) -> None:
    with pytest.raises(OptionError, match="HOST:PORT"):
        Address.parse(text)


def test_an_open_page_without_a_token_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="token"):
        PageConfig(strain="tcp://127.0.0.1:1", http=Address.parse("0.0.0.0:0"))


def test_an_address_in_use_is_one_line(free_page: LivePage) -> None:
    taken = PageConfig(strain="tcp://127.0.0.1:1", http=Address.parse(f"127.0.0.1:{free_page.port}"))
    with pytest.raises(OptionError, match=f"127.0.0.1:{free_page.port}: .* in use"), LivePage(taken):
        pass


def test_tokens_are_long_and_their_files_are_the_owners(tmp_path: Path) -> None:
    assert len({random_token() for _ in range(8)}) == 8
    assert all(len(random_token()) >= 43 for _ in range(8))
    path = tmp_path / "token"

    def write(text: str, mode: int = 0o600) -> Any:
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)
        return path

    assert read_token(write(f"{TOKEN}\n")) == TOKEN
    if os.name == "posix":
        with pytest.raises(OptionError, match="chmod 600"):
            read_token(write(TOKEN, 0o644))
    for text in ("", "short", "with a blank in the middle of it", "ü" * 30):
        with pytest.raises(OptionError, match="22 to 256"):
            read_token(write(text))
    with pytest.raises(OptionError, match="cannot read"):
        read_token(tmp_path / "absent")
