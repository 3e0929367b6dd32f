"""The routes of the live page: its files, the WebSocket of pictures, and measuring.

Authentication happens before (`authentication`). Invariant: only files that were read from the package when the page
opened are served.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import PurePosixPath

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from usert.errors import UsertError

from .colour_maps import MAPS, is_safe, table
from .measure import measure, one_line
from .viewer import Viewer, Viewers

MOST_BODY = 1 << 24
"""Largest body, in bytes, of a request to measure pictures."""
_MEASURING = 2
"""Requests to measure that are handled at the same time."""
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}


def pages(
    viewers: Viewers, make_viewer: Callable[[WebSocket], Viewer], more: Sequence[Route] = ()
) -> Starlette:
    """The application without authentication; `more`: further routes."""
    static = _static_files()
    measuring = asyncio.Semaphore(_MEASURING)

    async def index(request: Request) -> Response:
        return static["image.html" if request.query_params.get("view") == "image" else "index.html"]

    async def file(request: Request) -> Response:
        found = static.get(request.path_params["name"])
        return found or PlainTextResponse("usert view: there is no such file\n", 404)

    async def alive(request: Request) -> Response:
        return Response(status_code=204)

    async def measured(request: Request) -> Response:
        try:
            body = await _body(request)
            async with measuring:
                reading = await asyncio.to_thread(measure, body)
        except ClientDisconnect:
            return Response(status_code=400)
        except UsertError as error:
            return JSONResponse({"error": one_line(error)}, 400)
        return JSONResponse({"reading": reading and reading.fields})

    async def stream(socket: WebSocket) -> None:
        await socket.accept()
        if viewers.full:
            await socket.close(code=1013, reason="too many browsers watch")
            return
        viewer = make_viewer(socket)
        with viewers.joined(viewer):
            await viewer.run()

    return Starlette(
        routes=[
            Route("/", index),
            Route("/static/{name}", file),
            Route("/alive", alive),
            Route("/measure", measured, methods=["POST"]),
            WebSocketRoute("/stream", stream),
            *more,
        ]
    )


async def _body(request: Request) -> bytes:
    """The body of `request`. Errors: `UsertError` for one that is too large."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MOST_BODY:
            raise UsertError(f"measure: got more than {MOST_BODY} bytes")
        parts.append(part)
    return b"".join(parts)


def _static_files() -> dict[str, Response]:
    found = {
        entry.name: Response(
            entry.read_bytes(), headers={"content-type": _TYPES[PurePosixPath(entry.name).suffix]}
        )
        for entry in files(__package__).joinpath("static").iterdir()
        if PurePosixPath(entry.name).suffix in _TYPES
    }
    tables = {name: table(name) for name in MAPS}
    found["colours.json"] = JSONResponse(
        {name: {"table": rgb.tolist(), "safe": is_safe(rgb)} for name, rgb in tables.items()}
    )
    return found
