"""A stand-in for the maker's module of Clarius Cast: the interface of `examples/python/pycaster.py`, in Python.

The probe is a TCP server (`clarius_probe.py`), which tells what to call back; calls come from a thread of this module,
as from the maker's library. As there, `isConnected` stays true when the probe is gone, and the memory of an image is
overwritten after the callback.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

ARGUMENTS = {"processed": 8, "raw": 10, "spectrum": 8, "imu": 1, "freeze": 1, "button": 2}


class Caster:
    def __init__(
        self,
        new_processed_image: Callable[..., None],
        new_raw_image: Callable[..., None],
        new_spectrum_image: Callable[..., None],
        new_imu_data: Callable[..., None],
        freeze: Callable[..., None],
        buttons: Callable[..., None],
    ) -> None:
        self._callbacks = dict(
            zip(
                ARGUMENTS,
                (new_processed_image, new_raw_image, new_spectrum_image, new_imu_data, freeze, buttons),
                strict=True,
            )
        )
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None

    def init(self, path: str, width: int, height: int) -> bool:
        self._initialized = bool(path) and width > 0 < height
        return self._initialized

    def connect(self, address: str, port: int, certificate: str) -> bool:
        if not self._initialized or self._socket is not None or certificate != "research":
            return False
        try:
            self._socket = socket.create_connection((address, port))
        except OSError:
            return False
        self._thread = threading.Thread(target=self._serve, args=(self._socket,), name="clarius stand-in")
        self._thread.start()
        return True

    def isConnected(self) -> bool:
        return self._socket is not None

    def disconnect(self) -> bool:
        if self._socket is None or self._thread is None:
            return False
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()
        self._socket = self._thread = None
        return True

    def destroy(self) -> bool:
        return self.disconnect() or True

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection.makefile("rb") as stream:
            for line in stream:
                event = json.loads(line)
                arguments: list[Any] = event["arguments"]
                memory = bytearray(stream.read(event["bytes"]))
                if event["call"] in ("processed", "raw", "spectrum"):
                    arguments = [memoryview(memory), *arguments]
                self._callbacks[event["call"]](*arguments)
                memory[:] = bytes(len(memory))
