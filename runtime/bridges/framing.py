"""The prefix of an RF message where no ZeroMQ cuts it into parts: on a TCP connection, and in a file in memory.

`docs/protocol.md`, "Without ZeroMQ", is the specification. Invariant: sizes that were read are within the limits of the
protocol.
"""

from __future__ import annotations

import struct
from typing import Literal, TypeAlias

from usert.errors import WireError

from ..protocol.header import MAX_HEADER_BYTES
from ..protocol.rf_message import MAX_RF_BYTES

_PREFIX = struct.Struct("<4sII")
_MAGIC = b"USRF"
PREFIX_BYTES = _PREFIX.size
Sizes: TypeAlias = tuple[int, int]
"""Bytes of the header and of the samples."""
FramingFault: TypeAlias = Literal["framing", "half", "torn"]
"""Kinds of fault that are counted beside those of malformed messages: `framing`, bytes that are no prefix; `half`, a
message that was begun and not ended; `torn`, one that was written over while it was read."""


def read_prefix(prefix: bytes | bytearray) -> Sizes:
    """Sizes of header and samples from the first `PREFIX_BYTES` of a message. Errors: `WireError`."""
    magic, header_bytes, samples_bytes = _PREFIX.unpack(prefix)
    if magic != _MAGIC:
        raise WireError(f"message: got {bytes(magic)!r}, expected {_MAGIC!r} at its beginning")
    if header_bytes > MAX_HEADER_BYTES or samples_bytes > MAX_RF_BYTES:
        raise WireError(
            f"message: got sizes {header_bytes} and {samples_bytes}, expected at most {MAX_HEADER_BYTES} bytes of "
            f"header and {MAX_RF_BYTES} of samples"
        )
    return header_bytes, samples_bytes


def write_prefix(header_bytes: int, samples_bytes: int) -> bytes:
    """The prefix of a message with these sizes."""
    return _PREFIX.pack(_MAGIC, header_bytes, samples_bytes)
