"""Starts and stops recording at the strain server, from the page."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from usert.errors import UsertError

from ..clients.control_client import ControlClient
from ..protocol.commands import StartRecord, Status, StopRecord
from ..transport.lifecycle import POLL_MS, Worker
from .measure import one_line

OnError = Callable[[str], None]
_POLL_EVERY_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Press:
    start: bool
    case: str
    on_error: OnError
    on_done: Callable[[], None]


class RecordButton(Worker):
    """Sends record commands to the strain server, and polls its status, in a thread of its own."""

    def __init__(
        self,
        control: ControlClient,
        *,
        show: Callable[[Mapping[str, Any]], None],
        watched: Callable[[], bool],
    ) -> None:
        """`show` is called in the button's thread with `running`, `images`, `missing` and `error`."""
        super().__init__("view record")
        self._control = control
        self._show = show
        self._watched = watched
        self._requests: queue.SimpleQueue[_Press] = queue.SimpleQueue()
        self._presses = 0
        self._handled = 0
        self._recording = False

    def _open(self, stack: ExitStack) -> None:
        stack.enter_context(self._control)
        self._start(stack)

    def stop(self) -> None:
        """Make the thread end soon, though it may be waiting for an answer."""
        super().stop()
        self._control.stop()

    @property
    def recording(self) -> bool:
        """Whether something is recorded, as far as it is known, or about to be. Safe in any thread."""
        return self._recording or self._handled < self._presses

    def press(
        self, start: bool, on_error: OnError, *, case: str = "", on_done: Callable[[], None] = lambda: None
    ) -> None:
        """Start or stop recording; `case`: identifier for the record that starts. Call it from one thread.

        `on_error` gets the reason of a failure, or `on_done` is called, in the button's thread.
        """
        self._presses += 1
        self._requests.put(_Press(start=start, case=case, on_error=on_error, on_done=on_done))

    def _work(self) -> None:
        next_s = 0.0
        while not self.stopping:
            try:
                press = self._requests.get(timeout=POLL_MS / 1e3)
            except queue.Empty:
                if time.monotonic() < next_s or not self._watched():
                    continue
                self._poll_status()
            else:
                done = self._send(press)
                self._poll_status()
                self._handled += 1
                if done:
                    press.on_done()
            next_s = time.monotonic() + _POLL_EVERY_S

    def _send(self, press: _Press) -> bool:
        name = time.strftime("page-%Y%m%d-%H%M%S.h5")
        command = StartRecord(path=name, case=press.case) if press.start else StopRecord()
        try:
            self._control.ask(command)
        except UsertError as error:
            press.on_error(one_line(error))
            return False
        self._recording = press.start
        return True

    def _poll_status(self) -> None:
        try:
            status = self._control.ask(Status())
        except UsertError as error:  # what runs at a server that does not answer runs on
            self._show({"error": one_line(error), "running": False, "images": 0, "missing": 0})
        else:
            self._recording = bool(status.get("record"))
            self._show(record_fields(status))


def record_fields(status: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a server's status that the page shows; keys may be missing.

    A record may run without a file, as on a full disk; all of it is then missing.
    """
    record = status.get("record")
    running = bool(record)
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
    return {"error": "", "running": running, "images": int(images.get("recorded", 0)), "missing": missing}
