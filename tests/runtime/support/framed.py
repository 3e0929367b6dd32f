"""Messages without ZeroMQ: with their prefix, and written to the two slots of a file."""

from __future__ import annotations

import struct
from pathlib import Path

from usert.runtime.protocol.rf_message import RFMessage

SLOT_BYTES = 4096
MAGIC = b"USRTSHM1"


def framed(message: RFMessage) -> bytes:
    """Prefix, header and samples, by the specification alone."""
    header, samples = (bytes(part) for part in message.to_parts())
    return framed_parts(header, samples)


def framed_parts(header: bytes, samples: bytes) -> bytes:
    """The same of any bytes."""
    return b"USRF" + struct.pack("<II", len(header), len(samples)) + header + samples


class SlotWriter:
    """Writes frames as `docs/protocol.md` says, or stops on the way."""

    def __init__(self, path: Path, slot_bytes: int = SLOT_BYTES, counter: int = 0) -> None:
        self.path = path
        self.counter = counter
        self.slot_bytes = slot_bytes
        path.write_bytes(bytes(64 + 2 * slot_bytes))
        self._write(8, struct.pack("<Q", slot_bytes))
        self._write(0, MAGIC)

    def begin(self) -> int:
        """Begin the next frame; the offset of its slot."""
        self.counter += 1
        self._write(16 + 16 * (self.counter % 2), struct.pack("<Q", self.counter))
        return 64 + self.slot_bytes * (self.counter % 2)

    def end(self) -> None:
        self._write(24 + 16 * (self.counter % 2), struct.pack("<Q", self.counter))

    def write(self, raw: bytes) -> None:
        """One frame."""
        self._write(self.begin(), raw)
        self.end()

    def _write(self, at: int, raw: bytes) -> None:
        with self.path.open("r+b") as file:
            file.seek(at)
            file.write(raw)
