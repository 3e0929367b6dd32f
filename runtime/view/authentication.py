"""Authentication: ASGI middleware around the page that every request and every WebSocket passes.

With a token, a request carries it in its cookie, or once in the address. Without a token the page is on loopback, and a
request's Host header must name this machine, against DNS rebinding. Requests of another origin are rejected. Invariant:
the application never sees a rejected request, and every response carries the security headers.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from usert.errors import OptionError

from ..transport.address import is_loopback
from ..transport.keys import check_owner_only

_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
_KEPT_S = 7 * 86_400
_TOKEN = re.compile(r"[A-Za-z0-9_-]{22,256}")
_RANDOM_BYTES = 32


def random_token() -> str:
    """A new random token."""
    return secrets.token_urlsafe(_RANDOM_BYTES)


def read_token(path: Path) -> str:
    """The token in the file at `path`. Errors: `OptionError`, also for a file that other users may read."""
    try:
        with path.open("rb") as file:
            check_owner_only(file, path, "--token-file")
            text = file.read(1024).decode("ascii", "replace").strip()
    except OSError as error:
        raise OptionError(f"--token-file: cannot read {path}: {error.strerror}") from error
    if not _TOKEN.fullmatch(text):
        raise OptionError(
            f"--token-file: got {path}, which is not a token, expected one line of 22 to 256 letters, digits, - and _"
        )
    return text


class Authentication:
    """Middleware that passes authenticated requests on to `app`."""

    def __init__(self, app: ASGIApp, *, token: str | None, port: int, encrypted: bool) -> None:
        """`token`: None where the page is on loopback. `port`: part of the cookie's name, so that two pages on one
        machine do not share a cookie. `encrypted`: whether the page is served over TLS."""
        self._app = app
        self._token = token
        self._cookie = f"usert-view-{port}"
        self._encrypted = encrypted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        asked = connection.query_params.get("token", "")
        if rejection := self._rejection(connection, asked):
            await _reject(scope, receive, send, rejection)
            return
        extra = dict(_HEADERS)
        if self._token is not None and asked:
            secure = "; Secure" if self._encrypted else ""
            extra["set-cookie"] = (
                f"{self._cookie}={self._token}; Path=/; Max-Age={_KEPT_S}; HttpOnly; SameSite=Strict{secure}"
            )
        await self._app(scope, receive, _with_headers(send, extra))

    def _rejection(self, connection: HTTPConnection, asked: str) -> str:
        """Why the request is rejected, in one line; empty for one that is accepted."""
        host = connection.headers.get("host", "")
        origin = connection.headers.get("origin")
        if self._token is None and not is_loopback(_name_of(host)):
            return "this page is served on its own machine only, under the name localhost or 127.0.0.1"
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return "requests from other pages are rejected"
        if self._token is not None:
            given = asked or connection.cookies.get(self._cookie)
            if not given:
                return "this page needs an access token: open the full address that usert view printed"
            if not secrets.compare_digest(given.encode(), self._token.encode()):
                return "wrong token: open the address that usert view printed last"
        return ""


def _name_of(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _with_headers(send: Send, extra: Mapping[str, str]) -> Send:
    async def send_more(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(extra)
        await send(message)

    return send_more


async def _reject(scope: Scope, receive: Receive, send: Send, line: str) -> None:
    if scope["type"] == "websocket":
        await receive()  # the request to connect
        await WebSocketClose(code=1008, reason=line)(scope, receive, send)
    else:
        await PlainTextResponse(f"usert view: {line}\n", 403, headers=_HEADERS)(scope, receive, send)
