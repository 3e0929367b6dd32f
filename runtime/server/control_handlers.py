"""The handlers of the control commands of a live server.

Commands arrive in the control thread; those that touch streams or the engine wait here for the serving thread, which
handles them between two frames. Invariants: every command is answered once, at the latest when the server closes; a
command whose future was cancelled before it began is not handled; no record spans a change of bundle.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from usert.bundle import Bundle
from usert.errors import ControlError, OptionError
from usert.iq import common_sample

from ..engines.interface import Engine, FrameFormat
from ..imaging.estimate import EstimatedPair
from ..imaging.forward_backward import LIMIT_SAMPLES, consistency
from ..imaging.strain_ratio import Rectangle
from ..protocol.commands import (
    ChangeBundle,
    ClearRegions,
    Command,
    Compare,
    Freeze,
    Quit,
    Resume,
    SetRegions,
    StartRecord,
    Status,
    StopRecord,
    StreamCommand,
)
from ..record.switch import RecordSwitch, RunningBundle
from .bundle_swap import BundleSwap, PreparedBundle
from .engine_runner import EngineRunner
from .stream import Stream

_MOST_ROUNDS = 4
"""How often a change of bundle waits for the graphs of sessions that began meanwhile: a source may begin one after the
other."""
Result = Mapping[str, Any]
_Queued = StreamCommand | ChangeBundle | Compare
"""Commands that are carried out between two frames."""
OpenBundle = Callable[[Bundle, str, str], Engine]
"""Opens a bundle with the engine and the precision of these names; empty means the server's own."""


class ControlHandlers:
    """Carries out commands: `handle` is for the control thread, all else for the serving thread."""

    def __init__(
        self,
        *,
        engine: EngineRunner,
        streams: Callable[[], Mapping[str, Stream]],
        switch: RecordSwitch,
        status: Callable[[], Result],
        stop: Callable[[], None],
        swap: BundleSwap,
        open_bundle: OpenBundle | None,
        rectangles: tuple[Rectangle, Rectangle] | None,
    ) -> None:
        """`status` and `stop` are called in the control thread; `swap` is closed here."""
        self._engine = engine
        self._streams = streams
        self._switch = switch
        self._status = status
        self._stop = stop
        self._swap = swap
        self._open_bundle = open_bundle
        self.rectangles = rectangles
        """Target and background of streams that begin later."""
        self._waiting: queue.SimpleQueue[tuple[_Queued, Future[Result]]] = queue.SimpleQueue()
        self._loading: tuple[Future[PreparedBundle], Future[Result]] | None = None
        self._running = RunningBundle(folder=engine.bundle)
        self._next = self._running
        """What runs if the bundle that is loading takes over."""
        self._rounds = 0
        """How often the bundle that is loading was sent back for sessions that had begun."""
        self._compare: list[tuple[str, Future[Result]]] = []
        self._changing: Future[Result] | None = None
        """The last change of bundle that was requested; written by the control thread."""
        self._starting: Future[Result] | None = None
        """The last record that was requested."""

    def handle(self, command: Command) -> Future[Result]:
        """Begin to handle `command`. Errors, here or in the future: `UsertError`."""
        if isinstance(command, StartRecord):
            if self._changing is not None and not self._changing.done():
                raise OptionError(
                    "record: another bundle is being loaded, and a record has one: wait until that has ended"
                )
            self._starting = self._switch.start(
                command.path, displacement=command.displacement, bundle=self._running, case=command.case
            )
            return self._starting
        if isinstance(command, StopRecord):
            return self._switch.stop()
        future: Future[Result] = Future()
        if isinstance(command, Status):  # also of a server whose loop is stuck
            future.set_result(self._status())
        elif isinstance(command, Quit):
            self._stop()
            future.set_result({})
        else:
            if isinstance(command, ChangeBundle):
                self._refuse_beside_a_record()
                if self._changing is None or self._changing.done():
                    self._changing = future
            self._waiting.put((command, future))
        return future

    @property
    def waiting(self) -> bool:
        """Whether anything waits for `run_waiting`."""
        return not self._waiting.empty() or (self._loading is not None and self._loading[0].done())

    def run_waiting(self) -> None:
        """Handle the commands that wait for the serving thread; between two frames."""
        while not self._waiting.empty():
            command, future = self._waiting.get()
            if not isinstance(command, Compare) and not future.set_running_or_notify_cancel():
                continue
            try:
                self._do(command, future)
            except Exception as error:  # reported to the client
                _fail(future, error)
        if self._loading is not None and self._loading[0].done():
            (_, asked), self._loading = self._loading, None
            self._take_over(asked)

    def on_pair(self, pair: EstimatedPair) -> None:
        """Handle the `compare` commands that wait for a pair of this stream."""
        name = pair.current.stream
        here = [future for stream, future in self._compare if stream in ("", name)]
        self._compare = [item for item in self._compare if item[1] not in here and not item[1].cancelled()]
        wanted = [future for future in here if future.set_running_or_notify_cancel()]
        if not wanted:
            return
        try:
            found = consistency(
                pair.estimate,
                self._engine.backward(pair),
                readable_quality=self._engine.quality_rule.readable_quality,
                limit_samples=LIMIT_SAMPLES * common_sample(pair.current.frame.scan),
            )
        except Exception as error:  # of the engine; reported to the clients
            for future in wanted:
                future.set_exception(error)
            return
        numbers = {"reference": pair.reference.frame.sequence, "current": pair.current.frame.sequence}
        for future in wanted:
            future.set_result({"stream": name, **numbers, **asdict(found)})

    def close(self) -> None:
        """Answer all waiting commands, and give up a bundle that is loading; idempotent."""
        futures = [future for _, future in self._compare]
        while not self._waiting.empty():
            futures.append(self._waiting.get()[1])
        if self._loading is not None:
            futures.append(self._loading[1])
        for future in futures:
            _fail(future, ControlError("the server is closing"))
        self._compare, self._loading = [], None
        self._swap.close()

    def _do(self, command: _Queued, future: Future[Result]) -> None:
        if isinstance(command, Compare):
            list(self._named(command.stream))
            self._compare = [item for item in self._compare if not item[1].cancelled()]
            self._compare.append((command.stream, future))
        elif isinstance(command, ChangeBundle):
            self._begin_change(command, future)
        else:
            if isinstance(command, Freeze | Resume):
                for stream in self._named(command.stream):
                    stream.frozen = isinstance(command, Freeze)
            else:
                self._set_rectangles(command)
            future.set_result({"streams": [shortened(known) for known in self._names(command.stream)]})

    def _set_rectangles(self, command: SetRegions | ClearRegions) -> None:
        rectangles = command.rectangles if isinstance(command, SetRegions) else None
        if not command.stream:
            self.rectangles = rectangles
        for stream in self._named(command.stream) if command.stream else self._streams().values():
            stream.set_rectangles(rectangles)

    def _names(self, name: str) -> list[str]:
        return [known for known in self._streams() if name in ("", known)]

    def _named(self, name: str) -> Iterable[Stream]:
        """The stream `name`, or all for an empty name. Errors: `OptionError` where there is none."""
        streams = self._streams()
        names = self._names(name)
        if not names:
            known = ", ".join(map(repr, map(shortened, streams))) or "no source, as none has sent a frame"
            raise OptionError(f"stream: got {name!r}, expected one of {known}")
        return [streams[known] for known in names]

    def _begin_change(self, command: ChangeBundle, future: Future[Result]) -> None:
        opening = self._open_bundle
        if opening is None:
            raise OptionError("bundle: this server cannot change it")
        self._refuse_beside_a_record()
        good = [stream.good.pair for stream in self._streams().values() if stream.good is not None]
        change = self._swap.start(
            command.path,
            opener=lambda bundle: opening(bundle, command.engine, command.precision),
            frames=self._frames_served(),
            trial=max(good, key=lambda pair: pair.ended_ns, default=None),
        )
        self._loading, self._rounds = (change, future), 0
        self._next = RunningBundle(
            folder=Path(command.path), engine=command.engine, precision=command.precision
        )

    def _frames_served(self) -> list[FrameFormat]:
        """The frames of all sessions."""
        return list(dict.fromkeys(stream.frames for stream in self._streams().values()))

    def _refuse_beside_a_record(self) -> None:
        starting = self._starting is not None and not self._starting.done()
        if starting or self._switch.recorder is not None:
            raise OptionError(
                "bundle: a record is being written, and has one bundle: end it first (record-stop)"
            )

    def _take_over(self, asked: Future[Result]) -> None:
        try:
            prepared = self._swap.take()
        except Exception as error:  # reported to the client
            asked.set_exception(error)
            return
        if prepared is None:
            asked.set_exception(ControlError("bundle: cancelled"))
            return
        try:
            self._refuse_beside_a_record()  # checked again: a record may have begun since
        except OptionError as error:
            prepared.engine.close()
            asked.set_exception(error)
            return
        new = [frames for frames in self._frames_served() if frames not in prepared.frames]
        if new and self._rounds < _MOST_ROUNDS:  # a session has begun since, and its graph is opened first
            self._rounds += 1
            self._loading = self._swap.warm_further(prepared, new), asked
            return
        self._engine.swap(prepared)
        self._running = self._next
        for stream in self._streams().values():
            stream.forget_images()
        asked.set_result(prepared.fields())


def _fail(future: Future[Result], error: Exception) -> None:
    """Report an error to the client, unless the control thread has cancelled the command."""
    with suppress(InvalidStateError):
        future.set_exception(error)


def shortened(name: str, most: int = 64) -> str:
    """The name of a stream as a status shows it: eight of them must fit into a header."""
    return name if len(name) <= most else f"{name[: most - 1]}…"
