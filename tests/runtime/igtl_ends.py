"""The other ends of the OpenIGTLink bridges, for tests: `usert bridge` as a process, a client by pyigtl."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from live import TIMEOUT_S
from pyigtl.comm import OpenIGTLinkClient
from pyigtl.messages import MessageBase


class BridgeProcess:
    """`with BridgeProcess("igtl", "--strain", ...) as bridge:`; killed at the end if it has not ended by then."""

    def __init__(self, *words: str) -> None:
        self._command = [sys.executable, "-m", "usert", "bridge", *words]

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.communicate()

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def wait_for(self, pattern: str) -> str:
        """The first group of `pattern` in the first line that holds it."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if match := re.search(pattern, line):
                return match[1]
        _, errors = self.process.communicate()
        raise AssertionError(f"no line with {pattern!r}; it said {errors}")

    def end(self) -> tuple[int, str, str]:
        """Exit code, the last line, and what it said on stderr, after SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        return self.rest()

    def rest(self) -> tuple[int, str, str]:
        """The same, when it ends by itself."""
        out, errors = self.process.communicate(timeout=TIMEOUT_S)
        return self.process.returncode, out.rstrip().rpartition("\n")[2], errors


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
