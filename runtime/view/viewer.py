"""The connections of browsers: each, and all together.

A browser acknowledges pictures, and gets the next one only while fewer than `WINDOW` are unacknowledged. Invariant: the
queue of a slow browser is bounded: the newest picture, and a number of short texts.

Texts to the browser are JSON objects of one key: `about`, `pong`, `reading`, `record`, `refused`, `case` (`number`,
`identifier`, `began_ms`), `case_question`, `case_refused`. From it: `ping` (its clock, returned in `pong`),
`got` (the id of a picture), `regions` (the fields of `measure.Plan`; or null), `record` (true, false), `case`
(`identifier`, `answer`), `unsaved` (whether it holds something that was not saved). Measuring for one browser takes at
most its part of `SHARE`: images beyond that are left out of its ratios, so that nobody can draw regions that keep
others waiting.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from usert.errors import OptionError

from ..protocol.age import now_ns
from ..transport.fault_counter import FaultCounter
from .measure import Plan, Ruler, one_line
from .picture import Picture

MOST_VIEWERS = 32
WINDOW = 2
"""Unacknowledged pictures of one browser: two, so that a slow network does not halve the rate."""
SHARE = 0.5
"""Share of the event loop's time that measuring takes at most, on average, of all browsers together."""
_MOST_TEXTS = 32
_MOST_MESSAGE = 16_384
"""Characters of a text from a browser: eight regions of 64 points each are half of it."""

faults = FaultCounter(logging.getLogger(__name__), "browser disconnected")

RecordOrder = Callable[["Viewer", bool], None]
CaseOrder = Callable[["Viewer", Mapping[str, Any]], None]


class Viewer:
    """One connected browser. Use it in the event loop's thread only."""

    def __init__(
        self, socket: WebSocket, *, about: Mapping[str, Any], record: RecordOrder, case: CaseOrder
    ) -> None:
        self._socket = socket
        self._record = record
        self._case = case
        self.unsaved = False
        """Whether its page holds something that a new case would clear and that was not saved."""
        self._wake = asyncio.Event()
        self._newest: Picture | None = None
        self._last: Picture | None = None
        self._under_way = 0
        self._ruler: Ruler | None = None
        self._asked: tuple[Any] | None = None
        self._measures_at = 0.0
        self.share = SHARE
        """This browser's part of the time for measuring."""
        self._texts: deque[str] = deque(maxlen=_MOST_TEXTS)
        self.say("about", about)

    def offer(self, picture: Picture) -> None:
        """Send `picture`, unless a newer one comes before the browser is ready."""
        self._newest = picture
        self._wake.set()

    def say(self, key: str, value: Any) -> None:
        """Send a text, a JSON object with one key."""
        self._texts.append(json.dumps({key: value}, separators=(",", ":")))
        self._wake.set()

    async def run(self) -> None:
        """Serve until the browser disconnects; one that sends an invalid message is disconnected."""
        writer = asyncio.ensure_future(self._write())
        try:
            await self._read()
        except WebSocketDisconnect:
            pass
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            with suppress(RuntimeError):  # closed already
                await self._socket.close(code=1008, reason="invalid message")
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)

    async def _write(self) -> None:
        try:
            await self._send()
        except WebSocketDisconnect:
            pass
        except Exception as error:  # the page connects again; without this it would wait for a picture
            if self._socket.client_state == WebSocketState.CONNECTED:
                faults.add(type(error).__name__, str(error))
        with suppress(RuntimeError):  # closed already
            await self._socket.close(code=1011)

    async def _send(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._texts:
                await self._socket.send_text(self._texts.popleft())
            if self._newest is not None and self._under_way < WINDOW:
                picture, self._newest = self._newest, None
                self._under_way += 1
                self._last = picture
                await self._socket.send_bytes(picture.encoded)
                self._measure(picture)

    async def _read(self) -> None:
        while True:
            message = await self._socket.receive_text()
            if len(message) > _MOST_MESSAGE:
                raise ValueError("too long")
            for key, value in json.loads(message).items():
                self._take(key, value)

    def _take(self, key: str, value: Any) -> None:
        if key == "ping":
            self.say("pong", {"ping": float(value), "now_ms": now_ns() / 1e6})
        elif key == "got":
            self._under_way = max(0, self._under_way - 1)
            self._wake.set()
        elif key == "regions":
            self._asked = (value,)
            self._measure(self._last)
        elif key == "record":
            self._record(self, bool(value))
        elif key == "case":
            self._case(self, dict(value))
        elif key == "unsaved":
            self.unsaved = bool(value)
        else:
            raise KeyError(key)

    def _measure(self, picture: Picture | None) -> None:
        """Measure `picture` by the newest plan; left out while this browser's share is used up."""
        if time.monotonic() < self._measures_at or (self._asked or self._ruler) is None:
            return
        measured = None if picture is None else picture.measured
        begin = time.thread_time()
        try:
            if self._asked is not None:
                (plan,), self._asked = self._asked, None
                self._ruler = None if plan is None else Ruler(Plan.parse(plan), self._ruler)
            if self._ruler is not None and picture is not None and measured is not None:
                reading = self._ruler.read(measured)
                if reading is not None:
                    self.say("reading", {"of": picture.id, **reading.fields})
        except OptionError as error:
            self._ruler = None
            self.say("refused", one_line(error))
        self._measures_at = time.monotonic() + (time.thread_time() - begin) / self.share


class Viewers:
    """The connected browsers; use it in the event loop's thread only, except `watched`."""

    def __init__(self) -> None:
        self._all: set[Viewer] = set()
        self._newest: Picture | None = None
        self._said: dict[str, Any] = {}

    @property
    def full(self) -> bool:
        """Whether no further browser can connect."""
        return len(self._all) >= MOST_VIEWERS

    @property
    def unsaved(self) -> int:
        """Number of browsers that hold something that was not saved."""
        return sum(viewer.unsaved for viewer in self._all)

    def watched(self) -> bool:
        """Whether any browser is connected. Safe in any thread."""
        return bool(self._all)

    def offer(self, picture: Picture) -> None:
        """Offer a new picture to all browsers."""
        self._newest = picture
        for viewer in self._all:
            viewer.offer(picture)

    def say(self, key: str, value: Any) -> None:
        """Send a text to all browsers, and to each that connects later."""
        if self._said.get(key) != value:
            self._said[key] = value
            for viewer in self._all:
                viewer.say(key, value)

    @contextmanager
    def joined(self, viewer: Viewer) -> Iterator[None]:
        """Count `viewer` among the connected browsers inside the `with` block."""
        self._all.add(viewer)
        self._divide()
        for key, value in self._said.items():
            viewer.say(key, value)
        if self._newest is not None:
            viewer.offer(self._newest)
        try:
            yield
        finally:
            self._all.discard(viewer)
            self._divide()

    def _divide(self) -> None:
        for viewer in self._all:
            viewer.share = SHARE / len(self._all)
