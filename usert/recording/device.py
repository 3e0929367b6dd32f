"""The bytes under an HDF5 file that is being written: HDF5 never sees one of its writes fail.

HDF5 does not get over a failed write, such as on a full disk: it cannot close the file, and the process dies when it
ends (seen with HDF5 1.14 and 2.0). So the first write that fails freezes the file as it is on disk; HDF5 is told that
all went well and goes on in memory, and its user asks `check()`.

Keeps other writers out by a lock that dies with the process. HDF5 takes none of its own here; it asks for an exclusive
one where it opens a file for writing by name, which is refused, and for a shared one to read, which is granted once
this is shared.

HDF5 writes through Python files do as well for single-writer-multiple-reader mode as any, except that they leave a mark
out of the superblock that readers look for. It is put in here.

Of HDF5 this knows the superblock alone. Invariant: the file on disk is at every moment what a process killed at that
moment would leave behind.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from pathlib import Path
from typing import Any

from ..errors import RecordingError

if sys.platform != "win32":  # where nothing keeps a second writer out
    import fcntl


_SIGNATURE = b"\x89HDF\r\n\x1a\n\x03\x08\x08"
"""Of a superblock of version 3 with addresses and lengths of eight bytes; a byte of marks follows."""
_MARKS, _CHECKSUM, _END = 11, 44, 48
_OPEN_TO_WRITE, _OPEN_TO_SWMR = 1, 4


class Device(io.RawIOBase):
    """A file to read and write, for `h5py.File(device, ...)`; close the HDF5 file first, then this."""

    def __init__(self, path: Path, *, new: bool = False) -> None:
        """`new`: make the file, or empty the one that is there. Errors: `OSError`; `RecordingError` if it is locked."""
        self._raw = io.FileIO(path, "w+" if new else "r+")
        try:
            self._lock(exclusive=True)
        except BlockingIOError as error:
            self._raw.close()
            raise RecordingError(
                f"{path}: another process has it open, expected to be alone to write"
            ) from error
        self._size = self._raw.seek(0, os.SEEK_END)
        self._at = 0
        self._failure: OSError | None = None
        self._unwritten: list[tuple[int, bytes]] = []

    def share(self) -> None:
        """Let readers in, and still no other writer."""
        self._lock(exclusive=False)

    def check(self) -> None:
        """Raise the `OSError` that froze the file, if anything did."""
        if self._failure is not None:
            raise self._failure

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def write(self, data: Any, /) -> int:
        """All of `data`, on disk or, once frozen, in memory."""
        view = memoryview(data).cast("B")
        if self._at == 0:
            view = memoryview(_marked(bytes(view)))
        if self._failure is None:
            try:
                self._raw.seek(self._at)
                _write_all(self._raw, view)
            except OSError as error:
                self._failure = error
        if self._failure is not None:
            self._unwritten.append((self._at, bytes(view)))
        self._at += len(view)
        self._size = max(self._size, self._at)
        return len(view)

    def readinto(self, buffer: Any, /) -> int:
        """What was written, on disk or not; short at the end of the file only."""
        view = memoryview(buffer).cast("B")
        count = min(len(view), max(self._size - self._at, 0))
        view = view[:count]
        self._raw.seek(self._at)
        done = 0
        while done < count and (got := self._raw.readinto(view[done:])):
            done += got
        view[done:] = bytes(count - done)
        for start, data in self._unwritten:
            low, high = max(start, self._at), min(start + len(data), self._at + count)
            if low < high:
                view[low - self._at : high - self._at] = data[low - start : high - start]
        self._at += count
        return count

    def truncate(self, size: int | None = None, /) -> int:
        size = self._at if size is None else size
        if self._failure is None:
            try:
                self._raw.truncate(size)
            except OSError as error:
                self._failure = error
        self._size = size
        return size

    def close(self) -> None:
        if hasattr(self, "_raw"):  # not where the file could not be opened, and the object goes away
            self._raw.close()
        super().close()

    def _lock(self, *, exclusive: bool) -> None:
        if sys.platform == "win32":
            return
        kind = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
        try:
            fcntl.flock(self._raw, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:  # a file system without locks
            return


def _write_all(raw: io.FileIO, view: memoryview) -> None:
    done = 0
    while done < len(view):
        count = raw.write(view[done:])
        if not count:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        done += count


def _marked(start: bytes) -> bytes:
    """The start of a file, marked as open for writing where it is marked as open for writing in SWMR mode."""
    if len(start) < _END or not start.startswith(_SIGNATURE) or not start[_MARKS] & _OPEN_TO_SWMR:
        return start
    block = bytearray(start[:_CHECKSUM])
    block[_MARKS] |= _OPEN_TO_WRITE
    return bytes(block) + _lookup3(block).to_bytes(4, "little") + start[_END:]


def _lookup3(data: bytes | bytearray) -> int:
    """Checksum of HDF5's superblock: `hashlittle` of Bob Jenkins, lookup3.c, 2006, public domain."""

    def rotated(x: int, bits: int) -> int:
        return (x << bits | x >> (32 - bits)) & 0xFFFFFFFF

    words = [int.from_bytes(data[k : k + 4], "little") for k in range(0, -(-len(data) // 12) * 12, 4)]
    v = [(0xDEADBEEF + len(data)) & 0xFFFFFFFF] * 3
    for k in range(0, len(words), 3):
        v = [(x + word) & 0xFFFFFFFF for x, word in zip(v, words[k : k + 3], strict=True)]
        if k + 3 < len(words):
            for i, bits in enumerate((4, 6, 8, 16, 19, 4)):
                # a -= c; a ^= rot(c, bits); c += b, and so round the three
                a, b, c = i % 3, (i + 1) % 3, (i + 2) % 3
                v[a] = (v[a] - v[c]) & 0xFFFFFFFF ^ rotated(v[c], bits)
                v[c] = (v[c] + v[b]) & 0xFFFFFFFF
        else:
            for i, bits in enumerate((14, 11, 25, 16, 4, 14, 24)):
                # c ^= b; c -= rot(b, bits), and so round the three
                c, b = (i + 2) % 3, (i + 1) % 3
                v[c] = ((v[c] ^ v[b]) - rotated(v[b], bits)) & 0xFFFFFFFF
    return v[2]
