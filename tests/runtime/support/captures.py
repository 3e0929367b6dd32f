"""Uploads of pictures as the page sends them to be made DICOM objects, and a DICOM node that takes these."""

from __future__ import annotations

import http.client
import io
import json
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from live import TIMEOUT_S, wait_until
from numpy.typing import NDArray
from PIL import Image
from pydicom.uid import MultiFrameTrueColorSecondaryCaptureImageStorage, SecondaryCaptureImageStorage
from pynetdicom import AE, evt

from usert.runtime.view.live_page import LivePage

WALL_MS = 1_790_000_000_123.0
TITLE = "PACS"


def pixels(seed: int = 0, shape: tuple[int, int] = (60, 80)) -> NDArray[np.uint8]:
    """A picture that depends on `seed` alone."""
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3)).astype(np.uint8)


def png(picture: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, format="PNG")
    return file.getvalue()


def upload(
    *pictures: bytes,
    times_ms: tuple[float, ...] = (),
    change: Callable[[dict[str, Any]], object] = lambda header: None,
    **fields: Any,
) -> bytes:
    """The body of a request; `change` is called with the header before it is written."""
    times_ms = times_ms or tuple(WALL_MS + 50 * k for k in range(len(pictures)))
    header: dict[str, Any] = {
        "case": 1,
        "kind": "image" if len(pictures) == 1 else "cine",
        "send": False,
        "scale": 20.0,
        "sound_speed_m_s": 1540,
        "stream": "probe",
        "session": 1,
        "reference": 10,
        "current": 11,
        "weights": "abc",
        "state": "live",
        "frames": [
            {"bytes": len(one), "acquired_ms": time_ms, "born_ms": 1000.0 + 50 * k}
            for k, (one, time_ms) in enumerate(zip(pictures, times_ms, strict=True))
        ],
    } | fields
    change(header)
    text = json.dumps(header).encode()
    return struct.pack("<I", len(text)) + text + b"".join(pictures)


def post(page: LivePage, body: bytes, path: str = "/dicom") -> tuple[int, bytes, dict[str, str]]:
    """Status, content and headers of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=3 * TIMEOUT_S)
    try:
        connection.request("POST", path, body=body)
        answer = connection.getresponse()
        return answer.status, answer.read(), {name.lower(): text for name, text in answer.getheaders()}
    finally:
        connection.close()


def refused(page: LivePage, body: bytes, path: str = "/dicom") -> dict[str, Any]:
    """What a refused request is told."""
    status, content, _ = post(page, body, path)
    assert status == 400, content
    told: dict[str, Any] = json.loads(content)
    assert "\n" not in told["error"]
    return told


class Node:
    """A DICOM node by pynetdicom, and what it received."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.received: list[Any] = []
        self.closing = threading.Event()
        self.answer: Callable[[Any], int] = lambda event: 0
        """Makes the status of each object; may abort the association."""

    def take(self, event: Any) -> int:
        dataset = event.dataset
        dataset.file_meta = event.file_meta
        self.received.append(dataset)
        return self.answer(event)


@contextmanager
def node(*syntaxes: str, change: Callable[[AE], object] = lambda ae: None, **options: Any) -> Iterator[Node]:
    """A node that listens on loopback and takes these transfer syntaxes; none: those without compression."""
    ae = AE(ae_title=TITLE)
    ae.require_called_aet = True
    ae.network_timeout = 2  # so that its threads end soon after a test
    ae.add_supported_context("1.2.840.10008.1.1")
    for of in (SecondaryCaptureImageStorage, MultiFrameTrueColorSecondaryCaptureImageStorage):
        if syntaxes:
            ae.add_supported_context(of, list(syntaxes))
        else:
            ae.add_supported_context(of)
    change(ae)
    found = Node("")
    handlers = [(evt.EVT_C_STORE, lambda event: found.take(event))]
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers, **options)
    assert server is not None
    found.address = f"127.0.0.1:{server.socket.getsockname()[1]}"
    try:
        yield found
    finally:
        found.closing.set()
        server.shutdown()
        wait_until(
            lambda: not any(type(one).__module__.startswith("pynetdicom") for one in threading.enumerate())
        )
