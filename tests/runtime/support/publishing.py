"""Images made by hand, and a socket that they leave from."""

from __future__ import annotations

from typing import Any

import numpy as np
import zmq
from live import SCAN, TIMEOUT_S

from usert.runtime.imaging.frames import FrameStamp
from usert.runtime.protocol.age import clock_id, now_ns
from usert.runtime.protocol.strain_message import Counters, StrainMessage


def image(published: int = 1, **changes: Any) -> StrainMessage:
    """An image whose current frame was complete now, on this machine."""
    now = now_ns()
    grid = np.zeros((3, 2), np.float32)
    stamp = FrameStamp(sequence=published, time_ns=now, acquired_ns=0)
    fields: dict[str, Any] = {
        "stream": "test",
        "session": 1,
        "reference": stamp,
        "current": stamp,
        "source_clock": clock_id(),
        "server_clock": clock_id(),
        "received_ns": now,
        "matched_ns": now,
        "started_ns": now,
        "published_ns": now,
        "state": "live",
        "scan": SCAN,
        "counters": Counters(received=published, dropped=0, malformed=0, published=published),
        "weights_hash": "",
        "mean_strain": 0.0,
        "mean_quality": 1.0,
        "displacement": np.zeros((2, 3, 2), np.float32),
        "strain": grid,
        "quality": grid,
    }
    return StrainMessage(**(fields | changes))


class Publisher:
    """A socket that images leave from, once the client is there."""

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self.socket = socket
        self.endpoint = socket.get_string(zmq.LAST_ENDPOINT)

    def wait(self) -> None:
        assert self.socket.poll(round(1e3 * TIMEOUT_S))
        assert self.socket.recv() == b"\1"

    def send(self, *messages: StrainMessage) -> None:
        for message in messages:
            self.socket.send_multipart(message.to_parts())
