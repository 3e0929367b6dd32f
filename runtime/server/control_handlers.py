"""What a live server does on command.

A command comes in the control thread; what touches streams or the engine waits here for the serving thread, which
carries it out between two frames. Knows streams, engine and recorder; no messages but commands, no sockets. Invariants:
each command is answered once, at the latest when the server ends; a future that has not been begun can be cancelled,
and is not begun then; no record spans a change of bundle.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any

from usert.bundle import Bundle
from usert.errors import ControlError, OptionError

from ..engines.interface import Engine
from ..imaging.estimate import EstimatedPair
from ..imaging.forward_backward import consistency
from ..imaging.strain_ratio import Rectangle
from ..protocol.commands import Command
from ..record.switch import RecordSwitch
from .bundle_check import Trial
from .bundle_swap import BundleChange, Ready
from .engine_runner import Running
from .stream import Stream

Result = Mapping[str, Any]
OpenBundle = Callable[[Bundle, str, str], Engine]
"""A bundle by the engine and in the precision of these names; empty: as the server was told."""


class Orders:
    """`handle` from the control thread, all else from the one that serves."""

    def __init__(
        self,
        *,
        running: Running,
        streams: Callable[[], Mapping[str, Stream]],
        switch: RecordSwitch,
        status: Callable[[], Result],
        stop: Callable[[], None],
        change: BundleChange,
        open_bundle: OpenBundle | None,
        rectangles: tuple[Rectangle, Rectangle] | None,
    ) -> None:
        """`status` and `stop` are called in the control thread."""
        self._running = running
        self._streams = streams
        self._switch = switch
        self._status = status
        self._stop = stop
        self._change = change
        self._open_bundle = open_bundle
        self.rectangles = rectangles
        """Of streams to come."""
        self._waiting: queue.SimpleQueue[tuple[Command, Future[Result]]] = queue.SimpleQueue()
        self._loading: tuple[Future[Ready], Future[Result]] | None = None
        self._compare: list[tuple[str, Future[Result]]] = []
        self._changing: Future[Result] | None = None
        """The last change of bundle that was asked for; written by the control thread."""
        self._starting: Future[Result] | None = None
        """The last record that was asked for."""

    def handle(self, command: Command) -> Future[Result]:
        """Begin to carry out `command`. Errors, here or in the future: `UsertError`."""
        if command.name == "record":
            if self._changing is not None and not self._changing.done():
                raise OptionError(
                    "record: another bundle is being loaded, and a record has one: wait until that has ended"
                )
            self._starting = self._switch.start(
                command.path, displacement=command.displacement, bundle=self._running.bundle
            )
            return self._starting
        if command.name == "record-stop":
            return self._switch.stop()
        future: Future[Result] = Future()
        if command.name == "status":  # also of a server whose loop is stuck
            future.set_result(self._status())
        elif command.name == "quit":
            self._stop()
            future.set_result({})
        else:
            if command.name == "bundle":
                self._refuse_beside_a_record()
                if self._changing is None or self._changing.done():
                    self._changing = future
            self._waiting.put((command, future))
        return future

    def carry_out(self) -> None:
        """What has come since; between two frames."""
        while not self._waiting.empty():
            command, future = self._waiting.get()
            if command.name != "compare" and not future.set_running_or_notify_cancel():
                continue
            try:
                self._do(command, future)
            except Exception as error:  # told to who asked
                _fail(future, error)
        if self._loading is not None and self._loading[0].done():
            (_, asked), self._loading = self._loading, None
            self._take_over(asked)

    def pair(self, pair: EstimatedPair) -> None:
        """A pair went through the engine: go back over it, if somebody waits for that."""
        name = pair.current.stream
        here = [future for stream, future in self._compare if stream in ("", name)]
        self._compare = [item for item in self._compare if item[1] not in here and not item[1].cancelled()]
        wanted = [future for future in here if future.set_running_or_notify_cancel()]
        if not wanted:
            return
        try:
            found = consistency(
                pair.estimate,
                self._running.backward(pair),
                readable_quality=self._running.quality_rule.readable_quality,
            )
        except Exception as error:  # of the engine; told to who asked
            for future in wanted:
                future.set_exception(error)
            return
        stamps = {
            what: frame.frame.sequence
            for what, frame in (("reference", pair.reference), ("current", pair.current))
        }
        for future in wanted:
            future.set_result({"stream": name, **stamps, **found.fields()})

    def close(self) -> None:
        """Answer what waits: the server ends."""
        futures = [future for _, future in self._compare]
        while not self._waiting.empty():
            futures.append(self._waiting.get()[1])
        if self._loading is not None:
            futures.append(self._loading[1])
        for future in futures:
            _fail(future, ControlError("the server ends"))
        self._compare, self._loading = [], None

    def _do(self, command: Command, future: Future[Result]) -> None:
        name = command.name
        if name == "compare":
            list(self._named(command.stream))
            self._compare = [item for item in self._compare if not item[1].cancelled()]
            self._compare.append((command.stream, future))
        elif name == "bundle":
            self._begin_change(command, future)
        else:
            if name in ("freeze", "resume"):
                for stream in self._named(command.stream):
                    stream.frozen = name == "freeze"
            else:
                self._set_rectangles(command)
            future.set_result({"streams": [shortened(known) for known in self._names(command.stream)]})

    def _set_rectangles(self, command: Command) -> None:
        rectangles = None
        if command.name == "roi":
            rectangles = Rectangle.parse(command.target), Rectangle.parse(command.background)
        if command.stream:
            for stream in self._named(command.stream):
                stream.set_rectangles(rectangles)
            return
        self.rectangles = rectangles
        for stream in self._streams().values():
            stream.set_rectangles(rectangles)

    def _names(self, name: str) -> list[str]:
        return [known for known in self._streams() if name in ("", known)]

    def _named(self, name: str) -> Iterable[Stream]:
        """The stream `name`, or all. Errors: `OptionError` where there is none."""
        streams = self._streams()
        names = self._names(name)
        if not names:
            known = ", ".join(map(repr, map(shortened, streams))) or "no source, as none has sent a frame"
            raise OptionError(f"stream: got {name!r}, expected one of {known}")
        return [streams[known] for known in names]

    def _begin_change(self, command: Command, future: Future[Result]) -> None:
        opening = self._open_bundle
        if opening is None:
            raise OptionError("bundle: this server cannot change it")
        self._refuse_beside_a_record()
        good = [stream.good.of for stream in self._streams().values() if stream.good is not None]
        trial = None
        if good:
            newest = max(good, key=lambda pair: pair.ended_ns)
            trial = Trial(
                reference=newest.reference.frame.samples,
                current=newest.current.frame.samples,
                scan=newest.reference.frame.scan,
                estimate=newest.estimate,
            )
        change = self._change.start(
            command.path,
            opener=lambda bundle: opening(bundle, command.engine, command.precision),
            shapes=list(dict.fromkeys(stream.shape for stream in self._streams().values())),
            trial=trial,
        )
        self._loading = change, future

    def _refuse_beside_a_record(self) -> None:
        starting = self._starting is not None and not self._starting.done()
        if starting or self._switch.recorder is not None:
            raise OptionError(
                "bundle: a record is being written, and has one bundle: end it first (record-stop)"
            )

    def _take_over(self, asked: Future[Result]) -> None:
        try:
            ready = self._change.take()
        except Exception as error:  # told to who asked
            asked.set_exception(error)
            return
        if ready is None:
            asked.set_exception(ControlError("bundle: given up"))
            return
        try:
            self._refuse_beside_a_record()  # asked again, for it was allowed a while ago
        except OptionError as error:
            ready.engine.close()
            asked.set_exception(error)
            return
        self._running.change(ready)
        for stream in self._streams().values():
            stream.forget_images()
        asked.set_result(ready.fields())


def _fail(future: Future[Result], error: Exception) -> None:
    """Tell who asked, unless the control thread has given the command up."""
    with suppress(InvalidStateError):
        future.set_exception(error)


def shortened(name: str, most: int = 64) -> str:
    """The name of a stream, as a status shows it: eight of them must fit into a header."""
    return name if len(name) <= most else f"{name[: most - 1]}…"
