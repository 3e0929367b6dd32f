"""The probe behind the stand-in module of Clarius Cast: a TCP server that says what the module calls back."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import zmq
from live import TIMEOUT_S
from numpy.typing import NDArray

from usert.runtime.bridges.clarius_frames import ClariusReading
from usert.runtime.bridges.clarius_source import ClariusConfig, ClariusSource
from usert.runtime.protocol.rf_message import RFMessage

CAST = Path(__file__).with_name("clarius_cast")
"""Folder of the stand-in module, for `--cast`."""
AXIAL_UM = 38.5
"""Microns of a sample at 20 MHz, as a C3 sends them (clariusdev/cast issue 50)."""


class ClariusProbe:
    """A probe that a bridge connects to; `with ClariusProbe() as probe:`."""

    def __init__(self, port: int = 0) -> None:
        self._listener = socket.create_server(("127.0.0.1", port))
        self._listener.settimeout(TIMEOUT_S)
        self.port = self._listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self._connection: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.lose()
        self._listener.close()

    def accept(self) -> Self:
        """Wait until a bridge connects."""
        self._connection, _ = self._listener.accept()
        self._connection.settimeout(TIMEOUT_S)
        return self

    def lose(self) -> None:
        """Be gone for the bridge that is connected; another connection is accepted."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def call(self, name: str, *arguments: Any, memory: bytes = b"") -> None:
        """Call the callback `name` back, with `memory` before the arguments if it is one of images."""
        assert self._connection is not None
        event = {"call": name, "arguments": arguments, "bytes": len(memory)}
        self._connection.sendall(json.dumps(event).encode() + b"\n" + memory)

    def rf(
        self, samples: NDArray[Any], *, time_ns: int = 1, lateral_um: float = 300.0, **changes: Any
    ) -> None:
        """Stream RF (N, M) int16, line after line."""
        n, m = samples.shape
        fields = {
            "lines": m,
            "samples": n,
            "bps": 16,
            "axial": AXIAL_UM,
            "lateral": lateral_um,
            "timestamp": time_ns,
            "jpg": 0,
            "rf": 1,
            "angle": 0.0,
        }
        self.call("raw", *(fields | changes).values(), memory=samples.T.astype("<i2").tobytes())

    def b_mode(self) -> None:
        """Send a B-mode image, as it is before and after scan conversion."""
        self.call("raw", 4, 6, 8, 255.28, 300.0, 1, 0, 0, 0.0, memory=bytes(24))
        self.call("processed", 2, 2, 16, 100.0, 1, 0.0, [], memory=bytes(16))


def clarius_config(probe: ClariusProbe, **changes: Any) -> ClariusConfig:
    fields: dict[str, Any] = {
        "receive": probe.address,
        "publish": "tcp://127.0.0.1:0",
        "reading": ClariusReading(probe="L7"),
        "cast": CAST,
    }
    return ClariusConfig(**(fields | changes))


class Heard:
    """What a subscriber of the bridge receives."""

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._socket = socket

    def next(self) -> RFMessage:
        return RFMessage.from_parts(self._socket.recv_multipart())


@contextmanager
def subscriber(source: ClariusSource) -> Iterator[Heard]:
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.linger, socket.rcvtimeo = 0, round(1e3 * TIMEOUT_S)
        socket.subscribe(b"")
        socket.connect(source.endpoint)
        assert source._sender.wait_for_receiver(TIMEOUT_S)
        yield Heard(socket)
