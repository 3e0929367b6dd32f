"""The bridge of Clarius beside the stand-ins of the maker's module and of a probe: its options, and what it sends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import zmq
from clarius_probe import ClariusProbe
from live import TIMEOUT_S

from usert.runtime.bridges.clarius_frames import ClariusReading
from usert.runtime.bridges.clarius_source import ClariusConfig, ClariusSource
from usert.runtime.protocol.rf_message import RFMessage

CAST = Path(__file__).parents[3] / "examples" / "stand_ins" / "clarius_cast"
"""Folder of the stand-in module, for `--cast`."""


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
