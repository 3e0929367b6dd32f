"""Authentication: ASGI middleware around the page that every request and every WebSocket passes.

With a token, a request carries it in its cookie, or once in the address. Without a token the page is on loopback, and a
request's Host header must name this machine, against DNS rebinding. Requests of another origin are rejected. Invariant:
the application never sees a rejected request, and every response carries the security headers.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..transport.address import is_loopback

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
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        asked = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        rejection = self._rejection(scope, headers, asked)
        if rejection:
            await _reject(scope, receive, send, rejection)
            return
        extra = dict(_HEADERS)
        if self._token is not None and asked:
            secure = "; Secure" if self._encrypted else ""
            extra["set-cookie"] = (
                f"{self._cookie}={self._token}; Path=/; Max-Age={_KEPT_S}; HttpOnly; SameSite=Strict{secure}"
            )
        await self._app(scope, receive, _with_headers(send, extra))

    def _rejection(self, scope: Scope, headers: Mapping[str, str], asked: str) -> str:
        """Why the request is rejected, in one line; empty for one that is accepted."""
        host = headers.get("host", "")
        origin = headers.get("origin")
        if self._token is None and not is_loopback(_name_of(host)):
            return "this page is served on its own machine only, under the name localhost or 127.0.0.1"
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return "requests from other pages are rejected"
        if self._token is not None:
            given = asked or self._cookie_of(headers)
            if not given:
                return "this page needs an access token: open the full address that usert view printed"
            if not secrets.compare_digest(given.encode(), self._token.encode()):
                return "wrong token: open the address that usert view printed last"
        return ""

    def _cookie_of(self, headers: Mapping[str, str]) -> str:
        cookie = SimpleCookie()
        try:
            cookie.load(headers.get("cookie", ""))
        except CookieError:
            return ""
        found = cookie.get(self._cookie)
        return "" if found is None else found.value


def _name_of(host: str) -> str:
    """The name in a Host header, without port and brackets."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _with_headers(send: Send, extra: Mapping[str, str]) -> Send:
    async def send_more(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *_raw(extra.items())]
        await send(message)

    return send_more


def _raw(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]


async def _reject(scope: Scope, receive: Receive, send: Send, line: str) -> None:
    if scope["type"] == "websocket":
        await receive()  # the request to connect
        await send({"type": "websocket.close", "code": 1008, "reason": line})
        return
    body = f"usert view: {line}\n".encode()
    headers = {"content-type": "text/plain; charset=utf-8", "content-length": str(len(body)), **_HEADERS}
    await send({"type": "http.response.start", "status": 403, "headers": _raw(headers.items())})
    await send({"type": "http.response.body", "body": body})
