"""A browser without a screen, and what it is shown."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from live import SCAN, TIMEOUT_S
from publishing import image
from websockets.sync.client import ClientConnection, connect

from usert.runtime.protocol.strain_message import StrainMessage
from usert.runtime.view.live_page import LivePage
from usert.runtime.view.planes import unpack

SHAPE = (64, 32)


def shown(number: int, **changes: Any) -> StrainMessage:
    grids = {
        "strain": np.full(SHAPE, 0.01, np.float32),
        "quality": np.ones(SHAPE, np.float32),
        "displacement": np.zeros((2, *SHAPE), np.float32),
    }
    return image(number, scan=SCAN, readable_quality=0.7, readable_strain=0.01, **(grids | changes))


class Eyes:
    """A browser without a screen: takes what comes, acknowledges only when told to."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.texts: list[dict[str, Any]] = []

    def say(self, key: str, value: Any) -> None:
        self.socket.send(json.dumps({key: value}))

    def picture(self, timeout_s: float = TIMEOUT_S) -> dict[str, Any] | None:
        """Header of the next picture, texts put aside; None when none comes in time."""
        end = time.monotonic() + timeout_s
        while (left := end - time.monotonic()) > 0:
            try:
                message = self.socket.recv(timeout=left)
            except TimeoutError:
                return None
            if isinstance(message, bytes):
                return unpack(message, ["strain", "quality"])[0]
            self.texts.append(json.loads(message))
        return None

    def text(self, key: str) -> Any:
        """The next text of that key."""
        end = time.monotonic() + TIMEOUT_S
        while time.monotonic() < end:
            for text in self.texts:
                if key in text:
                    self.texts.remove(text)
                    return text[key]
            self.picture(0.05)
        raise AssertionError(f"no text {key}")


@contextmanager
def eyes(page: LivePage) -> Iterator[Eyes]:
    with connect(
        f"ws://127.0.0.1:{page.port}/stream", compression=None, max_size=None, close_timeout=2
    ) as socket:
        yield Eyes(socket)
