"""Reads OpenIGTLink messages from a TCP connection.

The client of `pyigtl` loops for ever once the sender has gone, loses its place when a header comes in two pieces, and
checks no checksum. Invariant: a message that is returned is complete and its checksum is right; data that is not a
message ends the connection.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Generator, Iterator
from typing import Any

from usert.errors import WireError

from ..protocol.header import MAX_PIXELS
from ..transport.lifecycle import POLL_MS

HEADER_BYTES = 58
MOST_BODY_BYTES = 4 * MAX_PIXELS + (1 << 16)
"""The largest RF frame with its metadata."""
_CONNECT_S = 2.0
_VERSIONS = (1, 2)
"""Versions of the header; OpenIGTLink 3 has 2."""


def connect(host: str, port: int) -> socket.socket:
    """Connect to a sender. Errors: `OSError`."""
    try:
        connection = socket.create_connection((host, port), timeout=_CONNECT_S)
    except UnicodeError as error:
        raise OSError(f"{host!r} is not a host name") from error
    connection.settimeout(POLL_MS / 1e3)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return connection


def messages(connection: socket.socket) -> Iterator[tuple[dict[str, Any], bytes] | None]:
    """Messages as header fields, named as in pyigtl, and body; None after each interval in which nothing came.

    Errors: `OSError` when the connection is over, `WireError` when what comes is not OpenIGTLink.
    """
    from pyigtl.messages import MessageBase

    while True:
        raw = yield from _exactly(connection, HEADER_BYTES)
        try:
            fields = MessageBase.parse_header(raw)
        except ValueError as error:
            raise WireError("sender: got an invalid header, expected OpenIGTLink") from error
        version, size = fields["header_version"], fields["body_size"]
        if version not in _VERSIONS:
            raise WireError(f"sender: got header version {version}, expected OpenIGTLink with 1 or 2")
        if size > MOST_BODY_BYTES:
            raise WireError(
                f"sender: got a message of {size} bytes, expected {MOST_BODY_BYTES} at most; is it OpenIGTLink?"
            )
        body = yield from _exactly(connection, size)
        _check(raw, body)
        yield fields, body


def _check(raw: bytes, body: bytes) -> None:
    """Compare the checksum; 0 means that the sender computed none. Errors: `WireError`."""
    from pyigtl.messages import CRC64

    (expected,) = struct.unpack(">Q", raw[-8:])
    if expected and CRC64(body) != expected:
        raise WireError("sender: got a message with a wrong checksum, expected CRC-64 of the body or 0")


def _exactly(connection: socket.socket, size: int) -> Generator[None, None, bytes]:
    buffer = bytearray(size)
    left = memoryview(buffer)
    while left:
        try:
            count = connection.recv_into(left)
        except TimeoutError:
            yield None
            continue
        if count == 0:
            raise ConnectionError("the sender closed the connection")
        left = left[count:]
    return bytes(buffer)
