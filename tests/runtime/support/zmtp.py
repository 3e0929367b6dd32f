"""The bytes that a ZeroMQ socket sends, for peers that break its protocol: ZMTP 3.1 (ZeroMQ RFC 37), without security.

Knows no sockets and no messages of ours. Invariant: as they are, in their order, these bytes are a valid peer's.
"""

from __future__ import annotations

import struct


def greeting() -> bytes:
    """The first 64 bytes of a connection."""
    return b"\xff" + bytes(8) + b"\x7f" + bytes([3, 1]) + b"NULL".ljust(20, b"\0") + bytes(32)


def ready(kind: bytes) -> bytes:
    """The command that ends the handshake; `kind`: of the socket, such as `PUSH`."""
    return command(b"READY", b"\x0bSocket-Type" + struct.pack(">I", len(kind)) + kind)


def command(name: bytes, data: bytes) -> bytes:
    """Of at most 255 bytes in all."""
    body = bytes([len(name)]) + name + data
    return bytes([4, len(body)]) + body


def part(data: bytes, *, more: bool) -> bytes:
    """One part of a message; `more`: another one follows."""
    return bytes([2 + more]) + struct.pack(">Q", len(data)) + data
