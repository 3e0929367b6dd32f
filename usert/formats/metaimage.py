"""MetaImage: a text header of `Key = Value` lines, then samples in the same file or in one beside it.

After the public description, https://itk.org/Wiki/ITK/MetaIO/Documentation. DimSize names the fastest axis
first; RF images have depth there, so `DimSize = N M`, `N M F` or `N M 1 F`, unless PLUS states another orientation
(`usert.formats.plus`). Knows of uncompressed and zlib data in either byte order; lists of files and channels are
refused. Invariant: one frame is in memory at a time, and none that the file is too small for.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from ..recording.layout import DEFLATE_LIMIT
from .declared import About
from .files import check_count, file_beside
from .options import ImportOptions
from .plus import read_sequence

_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_DIGITS = 19
"""Of a number that is more than any file has bytes."""
_LINE_LIMIT = 1 << 20
_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What the header of one image states."""

    fields: dict[str, str]
    size: tuple[int, int, int]
    """Fastest axis first, then the second, then the frames."""
    dtype: np.dtype[Any]
    compressed: bool
    compressed_bytes: int | None
    source: Path
    """The file with the samples."""
    offset: int
    """Bytes before the samples; -1: they are the last bytes of the file."""

    @property
    def data_bytes(self) -> int:
        """Size of the samples in bytes."""
        return math.prod(self.size) * self.dtype.itemsize


def read_metaimage(path: Path, options: ImportOptions) -> Iterator[NDArray[Any]]:
    """Frames (N, M) of an image, row 0 nearest the probe; those that PLUS calls INVALID are left out."""
    header = read_header(path)
    sequence = read_sequence(path, header.fields, header.size[2], options)
    valid = frozenset(sequence.valid)
    frame_bytes = header.data_bytes // header.size[2]
    with header.source.open("rb") as file:
        _seek(file, header)
        blocks = _inflated(file, header, frame_bytes) if header.compressed else _plain(file, frame_bytes)
        for k in range(header.size[2]):
            block = next(blocks)
            if len(block) < frame_bytes:
                raise FormatError(
                    f"{header.source}: {k * frame_bytes + len(block)} bytes of samples, expected"
                    f" {header.data_bytes} for {header.size} {header.dtype}: the file is truncated"
                )
            if k in valid:
                yield sequence.upright(np.frombuffer(block, header.dtype).reshape(header.size[:2], order="F"))


def about_metaimage(path: Path, options: ImportOptions) -> About:
    """Spacing, where it is not left at 1, and what PLUS states: times, orientation, frames without an image."""
    header = read_header(path)
    sequence = read_sequence(path, header.fields, header.size[2], options)
    return About(
        kind=sequence.stated,
        geometry=sequence.geometry(path, *_spacing(path, header.fields)),
        acquired_ns=sequence.acquired_ns,
        notes=sequence.notes,
    )


def read_header(path: Path) -> Header:
    """Parse the header; `ElementDataFile` is its last line. Raises `FormatError`."""
    fields: dict[str, str] = {}
    with path.open("rb") as file:
        while "ElementDataFile" not in fields:
            line = file.readline(_LINE_LIMIT)
            key, equals, value = line.decode("latin-1").partition("=")
            if not equals or (not line.endswith(b"\n") and len(line) == _LINE_LIMIT):
                raise FormatError(
                    f"{path}: not a MetaImage header, expected lines Key = Value up to ElementDataFile"
                )
            fields[key.strip()] = value.strip()
        end = file.tell()
    size = _size(path, fields)
    kind = _value(path, fields, "ElementType")
    if kind not in _TYPES:
        raise FormatError(f"{path}: ElementType {kind}, expected one of {', '.join(_TYPES)}")
    if _integer(path, fields, "ElementNumberOfChannels", 1) != 1:
        raise FormatError(f"{path}: more than one channel, expected RF samples: one number each")
    name = fields["ElementDataFile"]
    if name.split()[:1] == ["LIST"] or "%" in name or not name:
        raise FormatError(f"{path}: ElementDataFile {name!r}, expected LOCAL or one file")
    big = _flag(fields, "BinaryDataByteOrderMSB") or _flag(fields, "ElementByteOrderMSB")
    if not _flag(fields, "BinaryData", default=True):
        raise FormatError(f"{path}: samples written as text, expected BinaryData = True")
    local = name.upper() == "LOCAL"
    source = path if local else file_beside(path, name, "ElementDataFile")
    header = Header(
        fields=fields,
        size=size,
        dtype=np.dtype((">" if big else "<") + _TYPES[kind]),
        compressed=_flag(fields, "CompressedData"),
        compressed_bytes=_integer(path, fields, "CompressedDataSize", 0) or None,
        source=source,
        offset=end if local else _integer(path, fields, "HeaderSize", 0),
    )
    there = source.stat().st_size - max(header.offset, 0)
    if there * (DEFLATE_LIMIT if header.compressed else 1) < header.data_bytes:
        raise FormatError(
            f"{source}: {max(there, 0)} bytes of {'compressed ' * header.compressed}samples, expected"
            f" {header.data_bytes} for {size} {header.dtype}: the file is truncated"
        )
    check_count(path, size[2], size[0] * size[1])
    return header


def _seek(file: BinaryIO, header: Header) -> None:
    size = header.source.stat().st_size
    last = header.compressed_bytes if header.compressed else header.data_bytes
    file.seek(header.offset if header.offset >= 0 else max(size - (last or size), 0))


def _plain(file: BinaryIO, frame_bytes: int) -> Iterator[bytes]:
    while True:
        yield file.read(frame_bytes)


def _inflated(file: BinaryIO, header: Header, frame_bytes: int) -> Iterator[bytes]:
    """Blocks of a frame each, the last one shorter where the file ends too early."""
    inflate = zlib.decompressobj()
    block = bytearray()
    while True:
        try:
            while len(block) < frame_bytes and not inflate.eof:
                packed = inflate.unconsumed_tail or file.read(_CHUNK)
                if not packed:
                    break
                block += inflate.decompress(packed, frame_bytes - len(block))
        except zlib.error as error:
            raise FormatError(f"{header.source}: compressed samples are damaged ({error})") from error
        yield bytes(block)
        block.clear()


def _spacing(path: Path, fields: dict[str, str]) -> tuple[float, float]:
    text = fields.get("ElementSpacing", "1 1")
    try:
        first, second = (float(part) for part in text.split()[:2])
    except ValueError as error:
        raise FormatError(f"{path}: ElementSpacing {text!r}, expected a number for each axis") from error
    return first, second


def _size(path: Path, fields: dict[str, str]) -> tuple[int, int, int]:
    text = _value(path, fields, "DimSize")
    size = [int(part) for part in text.split() if part.isascii() and part.isdecimal() and len(part) < _DIGITS]
    named = _integer(path, fields, "NDims", len(size))
    if len(size) == 4 and size[2] == 1:
        del size[2]
        named -= 1
    if len(size) != named or len(size) not in (2, 3) or min(size) < 1:
        raise FormatError(f"{path}: DimSize {text!r}, expected N M, N M F or N M 1 F, as many as NDims")
    return size[0], size[1], size[2] if len(size) == 3 else 1


def _value(path: Path, fields: dict[str, str], key: str) -> str:
    if key not in fields:
        raise FormatError(f"{path}: no {key} in the header, expected one: is it a MetaImage?")
    return fields[key]


def _integer(path: Path, fields: dict[str, str], key: str, default: int) -> int:
    try:
        return int(fields.get(key, default))
    except ValueError as error:
        raise FormatError(f"{path}: {key} is {fields[key]!r}, expected a whole number") from error


def _flag(fields: dict[str, str], key: str, *, default: bool = False) -> bool:
    return fields[key][:1].upper() in ("T", "1", "Y") if key in fields else default
