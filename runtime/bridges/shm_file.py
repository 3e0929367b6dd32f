"""A file in memory that one program writes frames to, and another reads them from: two slots, used in turn.

`docs/protocol.md`, "Without ZeroMQ", is the specification. The file is read, not mapped: a writer that cuts a mapped
file off kills its reader. Invariant: a message that is returned was complete and did not change while it was read; the
file is never written to.
"""

from __future__ import annotations

import os
import stat
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from usert.errors import WireError

from .framing import PREFIX_BYTES, FramingFault, read_prefix

SLOTS = 2
SLOTS_AT = 64
"""Offset of the first slot."""
_HEAD = struct.Struct(f"<8sQ{2 * SLOTS}Q")
_COUNTERS_AT = 16
_COUNTERS = struct.Struct("<QQ")
_MAGIC = b"USRTSHM1"
_HALF_S = 1.0
"""Time after which a frame that was begun will not be ended any more."""
_LOOK_S = 0.05
"""Time between two looks whether another file has the name."""


@dataclass(frozen=True, slots=True)
class _Head:
    slot_bytes: int
    begun: tuple[int, ...]
    done: tuple[int, ...]


class ShmFile:
    """Reads the frames of a writer, which may come and go and make the file anew; close it when done."""

    def __init__(self, path: Path, fault: Callable[[FramingFault, str], None]) -> None:
        """`fault` is called with kind and detail of each frame that could not be read."""
        self._path = path
        self._fault = fault
        self._file = -1
        self._look_s: float | None = None
        self._seen = [0] * SLOTS
        """Counters of the frames that were read, or found at fault."""
        self._half: dict[int, tuple[int, float]] = {}
        """By slot the counter of a frame that was begun and not ended, and since when."""
        self.state = ""
        """Why nothing can be read; empty where there is a file of frames."""

    def close(self) -> None:
        """Close the file. Idempotent."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def messages(self) -> Iterator[tuple[memoryview, memoryview]]:
        """Header and samples of each new frame, in order; both are the caller's own."""
        self._look()
        head = self._head()
        if head is None:
            return
        new = [
            (counter, slot)
            for slot, counter in enumerate(head.done)
            if counter == head.begun[slot] and counter not in (0, self._seen[slot])
        ]
        for counter, slot in sorted(new):
            parts = self._read(head, slot, counter)
            if parts is not None:
                yield parts
        if head.begun != head.done or self._half:
            self._look_for_half(head)

    def _look(self) -> None:
        """Open the file that has the name now, if it is another."""
        now_s, first = time.monotonic(), self._look_s is None
        if self._look_s is not None and now_s < self._look_s:
            return
        self._look_s = now_s + _LOOK_S
        try:
            told = os.stat(self._path)
            if not stat.S_ISREG(told.st_mode):
                raise OSError(0, "not a regular file")
            if self._file < 0 or not os.path.samestat(told, os.fstat(self._file)):
                self.close()
                self._file = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                head = self._head() if first else None  # what is in it by then is not live
                self._seen = [0] * SLOTS if head is None else list(head.done)
        except OSError as error:
            self.close()
            self.state = error.strerror or str(error)

    def _head(self) -> _Head | None:
        if self._file < 0:
            return None
        try:
            raw = os.pread(self._file, _HEAD.size, 0)
        except OSError:
            raw = b""
        if len(raw) < _HEAD.size or not raw.startswith(_MAGIC):
            self._seen = [0] * SLOTS  # the writer has begun anew
            self.state = f"not a file of frames, or not yet: got {raw[:8]!r}, expected {_MAGIC!r}"
            return None
        self.state = ""
        _, slot_bytes, *counters = _HEAD.unpack(raw)
        return _Head(slot_bytes, tuple(counters[::2]), tuple(counters[1::2]))

    def _read(self, head: _Head, slot: int, counter: int) -> tuple[memoryview, memoryview] | None:
        at = SLOTS_AT + slot * head.slot_bytes
        parts, fault = None, ""
        try:
            header_bytes, samples_bytes = read_prefix(os.pread(self._file, PREFIX_BYTES, at))
            if PREFIX_BYTES + header_bytes + samples_bytes > head.slot_bytes:
                raise WireError(
                    f"message: got sizes {header_bytes} and {samples_bytes}, expected at most the {head.slot_bytes} "
                    "bytes of a slot"
                )
            parts = memoryview(bytearray(header_bytes)), np.empty(samples_bytes, np.uint8).data
            if os.preadv(self._file, parts, at + PREFIX_BYTES) != header_bytes + samples_bytes:
                raise WireError("message: got the end of the file in a slot")
        except (WireError, OSError, OverflowError, struct.error) as error:
            fault = str(error)
        try:
            now = os.pread(self._file, _COUNTERS.size, _COUNTERS_AT + slot * _COUNTERS.size)
        except OSError:
            now = b""
        if now != _COUNTERS.pack(counter, counter):
            self._fault("torn", "frame: it was written over while it was read")
            return None
        self._seen[slot] = counter
        if fault:
            self._fault("framing", fault)
            return None
        return parts

    def _look_for_half(self, head: _Head) -> None:
        now_s = time.monotonic()
        for slot, begun in enumerate(head.begun):
            if begun == head.done[slot]:
                self._half.pop(slot, None)
                continue
            counter, since_s = self._half.setdefault(slot, (begun, now_s))
            if counter != begun:
                self._half[slot] = begun, now_s
                if head.done[slot] < counter and since_s != float("inf"):
                    self._fault("half", "frame: it was begun and not ended")
            elif now_s - since_s > _HALF_S:
                self._half[slot] = begun, float("inf")
                self._fault("half", "frame: it was begun and not ended")
