"""A viewer that takes every image that ZeroMQ brings, and keeps when each arrived and what its header says.

Knows the client's receiver. Invariant: keeps figures only, never an image: its memory does not grow with their size.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import zmq

from usert.runtime.imaging.live_or_held import State
from usert.runtime.protocol.strain_message import MAX_STRAIN_BYTES, StrainMessage
from usert.runtime.transport.receiver import Receiver

_ENDING_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenImage:
    """What the header of one image says, and when it arrived."""

    stream: str
    session: int
    reference: int
    current: int
    time_ns: int
    """Of the current frame, by the source."""
    received_ns: int
    started_ns: int
    published_ns: int
    arrived_ns: int
    state: State
    shape: tuple[int, int]
    counters: dict[str, int]

    @classmethod
    def of(cls, image: StrainMessage, arrived_ns: int) -> SeenImage:
        """What is kept of `image`."""
        return cls(
            stream=image.stream,
            session=image.session,
            reference=image.reference.sequence,
            current=image.current.sequence,
            time_ns=image.current.time_ns,
            received_ns=image.received_ns,
            started_ns=image.started_ns,
            published_ns=image.published_ns,
            arrived_ns=arrived_ns,
            state=image.state,
            shape=image.shape,
            counters={key: getattr(image.counters, key) for key in type(image.counters).__slots__},
        )

    @property
    def age_ms(self) -> float:
        """On arrival."""
        return (self.arrived_ns - self.time_ns) / 1e6

    @property
    def published_age_ms(self) -> float:
        return (self.published_ns - self.time_ns) / 1e6

    @property
    def worked_ms(self) -> float:
        """From the start of the engine to publication."""
        return (self.published_ns - self.started_ns) / 1e6


class Observer:
    """`with Observer(endpoint) as observer:` in a thread of its own; `seen` grows."""

    def __init__(self, endpoint: str) -> None:
        self.seen: list[SeenImage] = []
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._receiver: Receiver[StrainMessage] = Receiver(
            context=self._context,
            endpoint=endpoint,
            socket_type="sub",
            bind=False,
            max_bytes=MAX_STRAIN_BYTES,
            decode=StrainMessage.from_parts,
            accept=lambda image, arrived_ns: self.seen.append(SeenImage.of(image, arrived_ns)),
        )

    def __enter__(self) -> Observer:
        self._receiver.__enter__()
        return self

    def __exit__(self, *_: Any) -> None:
        self._receiver.__exit__(None, None, None)
        self._context.term()
        self._receiver.check()

    @property
    def malformed(self) -> dict[str, int]:
        """Images that broke the protocol, by fault."""
        return self._receiver.malformed.counts

    def rest(self, quiet_s: float = 3.0) -> list[SeenImage]:
        """All that was seen, once no image has come for `quiet_s`."""
        count = -1
        while count < len(self.seen):
            count = len(self.seen)
            time.sleep(quiet_s)
        return self.seen[:]

    def wait(
        self, wanted: Callable[[SeenImage], bool], *, since: int = 0, timeout_s: float = 60.0
    ) -> SeenImage:
        """The first image from number `since` on that is `wanted`."""
        deadline = time.monotonic() + timeout_s
        while True:
            for image in self.seen[since:]:
                if wanted(image):
                    return image
                since += 1
            if time.monotonic() > deadline:
                raise AssertionError(f"observer: waited {timeout_s:g} s in vain after image {since}")
            time.sleep(1e-3)


class ObserverProcess:
    """`with ObserverProcess(endpoint) as observer:` in a process of its own; `end()` returns all that it has seen."""

    def __init__(self, endpoint: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, self._theirs = context.Pipe()
        self._process = context.Process(target=_watch, args=(self._theirs, endpoint), daemon=True)

    def __enter__(self) -> ObserverProcess:
        self._process.start()
        self._theirs.close()
        self._answer()
        return self

    def __exit__(self, *_: Any) -> None:
        self._pipe.close()
        self._process.join(_ENDING_S)
        self._process.kill()

    @property
    def pid(self) -> int:
        return self._process.pid or 0

    def end(self) -> list[SeenImage]:
        self._pipe.send(None)
        seen: list[SeenImage] = self._answer()
        return seen

    def _answer(self) -> Any:
        if not self._pipe.poll(_ENDING_S):
            raise AssertionError("observer: no answer")
        return self._pipe.recv()


def _watch(pipe: Connection, endpoint: str) -> None:
    with Observer(endpoint) as observer:
        pipe.send(None)
        try:
            pipe.recv()
            pipe.send(observer.seen)
        except EOFError:
            return
