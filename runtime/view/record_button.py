"""Starting and stopping a record at the strain server, from the page.

Knows the control channel and one thread of its own; no browser. Invariant: one command at a time, each with its answer
or a line that says why there is none.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

from usert.errors import UsertError

from ..clients.control_client import ControlClient
from ..protocol.commands import StartRecord, Status, StopRecord
from ..transport.lifecycle import POLL_MS
from ..transport.worker import Worker
from .measure import checked

Answer = Callable[[str], None]
_ASK_EVERY_S = 1.0


class RecordButton(Worker):
    """`press` from any thread; `show` gets what is recorded, whenever it was asked for."""

    def __init__(
        self,
        control: ControlClient,
        *,
        show: Callable[[Mapping[str, Any]], None],
        watched: Callable[[], bool],
    ) -> None:
        """`show` is called in this thread, with `files`, `images`, `missing`, `error`."""
        super().__init__("view record")
        self._control = control
        self._show = show
        self._watched = watched
        self._orders: queue.SimpleQueue[tuple[bool, Answer]] = queue.SimpleQueue()

    def _open(self, stack: ExitStack) -> None:
        stack.enter_context(self._control)
        self._start(stack)

    def stop(self) -> None:
        """Make the thread end soon, though it may be waiting for an answer."""
        super().stop()
        self._control.stop()

    def press(self, start: bool, refuse: Answer) -> None:
        """Begin or end a record; `refuse` gets the line that says why not, in this button's thread."""
        self._orders.put((start, refuse))

    def _work(self) -> None:
        next_s = 0.0
        while not self.stopping:
            try:
                start, refuse = self._orders.get(timeout=POLL_MS / 1e3)
            except queue.Empty:
                if time.monotonic() < next_s or not self._watched():
                    continue
            else:
                self._carry_out(start, refuse)
            self._look()
            next_s = time.monotonic() + _ASK_EVERY_S

    def _carry_out(self, start: bool, refuse: Answer) -> None:
        name = time.strftime("page-%Y%m%d-%H%M%S.h5")
        command = StartRecord(path=name) if start else StopRecord()
        try:
            self._control.ask(command)
        except UsertError as error:
            refuse(checked(error))

    def _look(self) -> None:
        try:
            self._show(told(self._control.ask(Status())))
        except UsertError as error:
            self._show({"error": checked(error), "files": [], "images": 0, "missing": 0})


def told(status: Mapping[str, Any]) -> dict[str, Any]:
    """What of a status the page shows; a server may say less than we expect."""
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
