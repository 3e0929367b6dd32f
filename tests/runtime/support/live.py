"""What the tests of the live path share: frames, a source, a service in a thread, a client that hears."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import zmq
from numpy.typing import NDArray

from usert.frame import RFFrame, Scan
from usert.runtime.clients.strain_client import StrainClient
from usert.runtime.engines.interface import Engine
from usert.runtime.imaging.estimate import Estimate
from usert.runtime.imaging.frames import ReceivedFrame
from usert.runtime.imaging.pairing import PairingRule
from usert.runtime.protocol.age import clock_id
from usert.runtime.protocol.rf_message import RFMessage
from usert.runtime.protocol.strain_message import StrainMessage
from usert.runtime.server.config import ServerConfig
from usert.runtime.server.server import StrainServer

SCAN = Scan(fs_hz=40e6, f0_hz=7e6, sound_speed_m_s=1540, line_pitch_mm=0.3)
SHAPE = (24, 8)
TIMEOUT_S = 20.0
_APART_NS = int(PairingRule().max_interval_ms * 1e6 / 32)
"""Most time between the stamps of two frames of `Feed`: thirty-two are in reach of a pair."""


def wait_until(condition: Callable[[], bool], timeout_s: float = TIMEOUT_S) -> None:
    """Look again and again until `condition()` holds; fails after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        threading.Event().wait(0.002)


def numbered_frame(sequence: int = 0, shape: tuple[int, int] = SHAPE, **changes: Any) -> RFFrame:
    """Noise that depends on `sequence` alone."""
    samples = np.random.default_rng(sequence).integers(-1000, 1000, shape).astype(np.int16)
    fields: dict[str, Any] = {"samples": samples, "scan": SCAN, "sequence": sequence, "time_ns": 0}
    return RFFrame(**(fields | changes))


def numbered_message(
    sequence: int = 0, *, stream: str = "test", clock: str = "", **changes: Any
) -> RFMessage:
    """A message of `numbered_frame`."""
    return RFMessage(frame=numbered_frame(sequence, **changes), stream=stream, clock=clock)


def received_frame(message: RFMessage, *, received_ns: int = 0, session: int = 1) -> ReceivedFrame:
    """What the server holds of a message."""
    return ReceivedFrame(
        frame=message.frame,
        stream=message.stream,
        clock=message.clock,
        received_ns=received_ns,
        session=session,
    )


class Source:
    """A PUSH socket that frames and garbage leave from."""

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._socket = socket
        self.endpoint = socket.get_string(zmq.LAST_ENDPOINT)
        self.frames = 0
        """Well-formed frames sent."""

    def send(self, *messages: RFMessage) -> None:
        """Frames in order."""
        for message in messages:
            self.send_parts(*message.to_parts())
            self.frames += 1

    def send_parts(self, *parts: bytes | memoryview) -> None:
        """Anything."""
        self._socket.send_multipart(parts)


@contextmanager
def running(service: Any) -> Iterator[Any]:
    """`service` open and its `run()` in a thread, which is stopped and joined; what it raised is raised."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            service.run()
        except BaseException as error:
            raised.append(error)

    with service:
        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield service
        finally:
            service.stop()
            thread.join(TIMEOUT_S)
            assert not thread.is_alive()
    if raised:
        raise raised[0]


def make_server(engine: Engine, source: Source, **changes: Any) -> StrainServer:
    """A server fed by `source`."""
    fields: dict[str, Any] = {
        "rf": source.endpoint,
        "rf_type": "pull",
        "publish": "tcp://127.0.0.1:0",
    }
    return StrainServer(engine=engine, config=ServerConfig(**(fields | changes)), weights_hash="abc")


class Feed:
    """Sends numbered frames to a server with one client, who is known to listen."""

    def __init__(self, source: Source, client: StrainClient) -> None:
        self.source = source
        self.client = client
        self.sequence = 0
        self._stamp_ns = 0

    def next(self, **changes: Any) -> RFMessage:
        """The next frame, stamped now by this machine's clock, but close enough to the one before to be paired with
        it, however long a busy machine takes between the two."""
        self.sequence += 1
        now_ns = time.monotonic_ns()
        self._stamp_ns = min(now_ns, self._stamp_ns + _APART_NS) if self._stamp_ns else now_ns
        stamp = {"time_ns": self._stamp_ns, "acquired_ns": time.time_ns()}
        message = numbered_message(self.sequence, clock=clock_id(), **(stamp | changes))
        self.source.send(message)
        return message

    def prime(self) -> None:
        """Send until the client hears, from now on: a subscription takes a moment to arrive."""
        self._stamp_ns = 0
        deadline = time.monotonic() + TIMEOUT_S
        while (heard := self.client.receive(0.05)) is None:
            assert time.monotonic() < deadline, "the client hears nothing"
            self.next()
        while heard is not None and heard.current.sequence != self.sequence:
            heard = self.client.receive(0.5)

    def image(self) -> StrainMessage:
        """The next image."""
        message = self.client.receive(TIMEOUT_S)
        assert message is not None
        return message


class WrappedEngine:
    """An engine in front of another one: as it is, but for what a derived class overrides."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def name(self) -> str:
        return self._engine.name

    def strain_window_at(self, scan: Scan) -> int:
        return self._engine.strain_window_at(scan)

    def warm_up(self, shape: tuple[int, int], scan: Scan | None = None) -> None:
        self._engine.warm_up(shape, scan)

    def run(self, reference: NDArray[Any], current: NDArray[Any], scan: Scan | None = None) -> Estimate:
        return self._engine.run(reference, current, scan)

    def close(self) -> None:
        self._engine.close()


class GatedEngine(WrappedEngine):
    """The real engine behind a gate that the test opens for one pair at a time."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.entered = threading.Semaphore(0)
        self.gate = threading.Semaphore(0)
        self.fault: Exception | None = None

    def run(self, reference: NDArray[Any], current: NDArray[Any], scan: Scan | None = None) -> Estimate:
        self.entered.release()
        assert self.gate.acquire(timeout=TIMEOUT_S)
        fault, self.fault = self.fault, None
        if fault is not None:
            raise fault
        return super().run(reference, current, scan)


def books_balance(server: StrainServer) -> bool:
    counts, frames = server.counts, server.counts.frames
    used = counts.unpaired + sum(counts.failed.values()) + counts.published
    return (
        frames.used == used
        and frames.received == frames.duplicates + frames.late + frames.rejected + frames.dropped + used
    )
