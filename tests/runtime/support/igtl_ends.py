"""The other ends of the OpenIGTLink bridges, for tests: `usert bridge` as a process, a client by pyigtl."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from live import TIMEOUT_S
from pyigtl.comm import OpenIGTLinkClient
from pyigtl.messages import MessageBase
from server_process import UsertProcess


class BridgeProcess(UsertProcess):
    """`usert bridge` with these words."""

    def __init__(self, *words: str) -> None:
        super().__init__("bridge", *words)

    def rest(self) -> tuple[int, str, str]:
        """Exit code, the last line, and what it said on stderr, when it has ended."""
        code, out, errors = super().rest()
        return code, out.rstrip().rpartition("\n")[2], errors

    def end(self) -> tuple[int, str, str]:
        """The same, after SIGTERM."""
        self.signal()
        return self.rest()


@contextmanager
def pyigtl_client(port: int) -> Iterator[OpenIGTLinkClient]:
    """A client of pyigtl, whose thread is gone at the end."""
    client = OpenIGTLinkClient("127.0.0.1", port)
    try:
        yield client
    finally:
        client.stop()
        client._client_thread.join(TIMEOUT_S)


def heard(client: OpenIGTLinkClient, device: str) -> Any:
    """The newest message of `device` that has not been taken yet."""
    message = client.wait_for_message(device, timeout=TIMEOUT_S)
    assert message is not None, f"nothing of {device}"
    return message


def told_by(slicer: Any) -> dict[str, Any]:
    """The newest status."""
    told: dict[str, Any] = json.loads(heard(slicer, "usert_status").string)
    return told


def raw_client(port: int, *, receive_bytes: int) -> socket.socket:
    """A client that takes no more than `receive_bytes` unless it reads."""
    client = socket.socket()
    client.settimeout(TIMEOUT_S)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    client.connect(("127.0.0.1", port))
    return client


def read_message(client: socket.socket) -> tuple[dict[str, Any], bytes]:
    """Header fields and body of the next message."""
    fields = MessageBase.parse_header(_read(client, MessageBase.IGTL_HEADER_SIZE))
    return fields, _read(client, fields["body_size"])


def _read(client: socket.socket, size: int) -> bytes:
    parts = bytearray()
    deadline = time.monotonic() + TIMEOUT_S
    while len(parts) < size:
        part = client.recv(size - len(parts))
        assert part, "closed in the middle of a message"
        assert time.monotonic() < deadline, "the message does not end"
        parts += part
    return bytes(parts)


class Talker:
    """A server on loopback that the test lets say anything."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(TIMEOUT_S)
        self.port = self.listener.getsockname()[1]

    def accept(self) -> socket.socket:
        return self.listener.accept()[0]


@contextmanager
def sender(dtype: str, shape: tuple[int, int], spacing: tuple[float, float], port: int = 0) -> Iterator[int]:
    """The port of a process that sends images of that pixel type, shape and spacing (`igtl_sender`); 0: any port."""
    words = [Path(__file__).with_name("igtl_sender.py"), port, dtype, *shape, *spacing]
    with subprocess.Popen(
        [sys.executable, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline().split()[1])
        finally:
            process.kill()
