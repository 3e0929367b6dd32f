"""The container of `lzop`: a header, then blocks that are packed by LZO1X or kept as they are, each with checksums.

After lzop 1.04 (www.lzop.org) and its reader in Linux, lib/decompress_unlzo.c. All numbers are big-endian: signature,
version, library, version needed, method, level, flags, filter if flagged, mode, time, name, and a checksum of these;
then for each block its size plain (0 ends the file) and packed, the checksums that are flagged, and its bytes. They are
unpacked by `lzallright` (extra `clarius`).

Invariant: one block is in memory at a time, none larger than lzop writes or than its packed bytes can hold.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeAlias

from ..errors import FormatError, require
from ..recording.layout import one_line

_Checksum: TypeAlias = Callable[..., int]

SIGNATURE = b"\x89LZO\x00\r\n\x1a\n"
_VERSION_OF_LEVELS = 0x0940
_METHODS = (1, 2, 3)
"""LZO1X-1, LZO1X-1(15) and LZO1X-999, which unpack alike."""
_EXTRA, _SEVERAL, _FILTERED, _CRC_HEADER = 0x40, 0x400, 0x800, 0x1000
_OF_PLAIN = {0x1: zlib.adler32, 0x100: zlib.crc32}
_OF_PACKED = {0x2: zlib.adler32, 0x200: zlib.crc32}
_MOST_PLAIN = 64 << 20
_RATIO = 256
"""A byte of LZO1X becomes 255 at most."""


def open_lzop(path: Path, file: IO[bytes]) -> tuple[IO[bytes], int]:
    """What is packed in `file`, to be read from first to last, and its size. `path` is for messages.

    Raises `FormatError` for a damaged file, also while the result is read; `MissingExtraError` without `lzallright`.
    """
    blocks = Blocks(path, file, require("lzallright", "clarius").LZOCompressor.decompress)
    return io.BufferedReader(blocks), blocks.size


@dataclass(frozen=True, slots=True)
class _Block:
    """Bytes of a block, plain and packed, and the checksums stated of either."""

    plain: int
    packed: int
    of_plain: dict[_Checksum, int]
    of_packed: dict[_Checksum, int]


class Blocks(io.RawIOBase):
    """The blocks of a file, one after the other."""

    def __init__(self, path: Path, file: IO[bytes], unpack: Callable[..., bytes]) -> None:
        self._path = path
        self._file = file
        self._unpack = unpack
        self._left = memoryview(b"")
        end = file.seek(0, io.SEEK_END)
        file.seek(0)
        self._flags = self._header()
        first = file.tell()
        self.size = 0
        """Of all that is unpacked, in bytes."""
        while block := self._next():
            self.size += block.plain
            if file.seek(block.packed, io.SEEK_CUR) > end:
                raise self._damaged("cut")
        if file.tell() != end:
            raise self._damaged("more than one file in it, or bytes after its end")
        file.seek(first)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._left and (block := self._next()):
            self._left = memoryview(self._unpacked(block))
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count

    def _header(self) -> int:
        """Its flags; the file stands at the first block then."""
        head = bytearray()

        def number(kind: str) -> int:
            raw = self._read(struct.calcsize(kind))
            head.extend(raw)
            return int(struct.unpack(f">{kind}", raw)[0])

        if self._read(len(SIGNATURE)) != SIGNATURE:
            raise self._damaged("no signature of lzop")
        levels = number("H") >= _VERSION_OF_LEVELS
        number("H")
        if levels:
            number("H")
        method = number("B")
        if levels:
            number("B")
        flags = number("I")
        if method not in _METHODS or flags & (_SEVERAL | _FILTERED):
            raise self._damaged(f"method {method}, flags {flags:#x}")
        for kind in "III" if levels else "II":  # mode and time
            number(kind)
        head += self._read(number("B"))
        check = zlib.crc32 if flags & _CRC_HEADER else zlib.adler32
        if check(head) != self._number():
            raise self._damaged("checksum of its header")
        if flags & _EXTRA:
            self._file.seek(self._number() + 4, io.SEEK_CUR)
        return flags

    def _next(self) -> _Block | None:
        """What stands before the bytes of the next block; None at the end."""
        plain = self._number()
        if plain == 0:
            return None
        packed = self._number()
        if not 0 < packed <= plain <= min(_MOST_PLAIN, _RATIO * packed):
            raise self._damaged(f"a block of {plain} bytes in {packed}")
        of_plain = {check: self._number() for flag, check in _OF_PLAIN.items() if self._flags & flag}
        of_packed = {
            check: self._number()
            for flag, check in _OF_PACKED.items()
            if self._flags & flag and packed < plain
        }
        return _Block(plain, packed, of_plain, of_packed)

    def _unpacked(self, block: _Block) -> bytes:
        content = self._read(block.packed)
        self._check(content, block.of_packed)
        if block.packed < block.plain:
            try:
                content = self._unpack(content, block.plain)
            except Exception as error:  # LZOError and its kinds
                raise self._damaged(one_line(error)) from error
        if len(content) != block.plain:
            raise self._damaged(f"a block of {len(content)} bytes, expected {block.plain}")
        self._check(content, block.of_plain)
        return content

    def _check(self, content: bytes, stated: dict[_Checksum, int]) -> None:
        if any(checksum(content) != value for checksum, value in stated.items()):
            raise self._damaged("checksum of a block")

    def _number(self) -> int:
        return int.from_bytes(self._read(4), "big")

    def _read(self, count: int) -> bytes:
        raw = self._file.read(count)
        if len(raw) < count:
            raise self._damaged("cut")
        return raw

    def _damaged(self, what: str) -> FormatError:
        return FormatError(
            f"{self._path}: not a sound .lzo file ({what}), expected one of lzop: copy it again"
        )
