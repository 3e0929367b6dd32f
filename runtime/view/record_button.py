"""Starts and stops recording at the strain server, from the page."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

from usert.errors import UsertError

from ..clients.control_client import ControlClient
from ..protocol.commands import StartRecord, Status, StopRecord
from ..transport.lifecycle import POLL_MS, Worker
from .measure import one_line

OnError = Callable[[str], None]
_POLL_EVERY_S = 1.0


class RecordButton(Worker):
    """Sends record commands to the strain server, and polls its status, in a thread of its own."""

    def __init__(
        self,
        control: ControlClient,
        *,
        show: Callable[[Mapping[str, Any]], None],
        watched: Callable[[], bool],
    ) -> None:
        """`show` is called in the button's thread with `files`, `images`, `missing` and `error`."""
        super().__init__("view record")
        self._control = control
        self._show = show
        self._watched = watched
        self._requests: queue.SimpleQueue[tuple[bool, OnError]] = queue.SimpleQueue()

    def _open(self, stack: ExitStack) -> None:
        stack.enter_context(self._control)
        self._start(stack)

    def stop(self) -> None:
        """Make the thread end soon, though it may be waiting for an answer."""
        super().stop()
        self._control.stop()

    def press(self, start: bool, on_error: OnError) -> None:
        """Start or stop recording, from any thread; `on_error` gets the reason of a failure, in the button's thread."""
        self._requests.put((start, on_error))

    def _work(self) -> None:
        next_s = 0.0
        while not self.stopping:
            try:
                start, on_error = self._requests.get(timeout=POLL_MS / 1e3)
            except queue.Empty:
                if time.monotonic() < next_s or not self._watched():
                    continue
            else:
                self._send(start, on_error)
            self._poll_status()
            next_s = time.monotonic() + _POLL_EVERY_S

    def _send(self, start: bool, on_error: OnError) -> None:
        name = time.strftime("page-%Y%m%d-%H%M%S.h5")
        command = StartRecord(path=name) if start else StopRecord()
        try:
            self._control.ask(command)
        except UsertError as error:
            on_error(one_line(error))

    def _poll_status(self) -> None:
        try:
            self._show(record_fields(self._control.ask(Status())))
        except UsertError as error:
            self._show({"error": one_line(error), "files": [], "images": 0, "missing": 0})


def record_fields(status: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a server's status that the page shows; keys may be missing."""
    record = status.get("record")
    record = record if isinstance(record, dict) else {}
    images, frames = (
        part if isinstance(part, dict) else {} for part in (record.get("images"), record.get("frames"))
    )
    missing = sum(
        count
        for part in (images, frames)
        for count in (part.get("missing") or {}).values()
        if isinstance(count, int)
    )
    files = [str(file) for file in record.get("files", [])]
    return {"error": "", "files": files, "images": int(images.get("recorded", 0)), "missing": missing}
