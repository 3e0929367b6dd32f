"""MetaImage: a text header of `Key = Value` lines, then samples in the same file or in one beside it.

After the public description, https://itk.org/Wiki/ITK/MetaIO/Documentation. DimSize names the fastest axis
first; RF images have depth there, so `DimSize = N M` or `N M F`. Knows of uncompressed and zlib data in
either byte order; lists of files and channels are refused. Invariant: no more is inflated than the header
announced.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from .options import ImportOptions

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
_HEADER_LIMIT = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What the header of one image says."""

    size: tuple[int, ...]
    """Fastest axis first: (N, M) or (N, M, F)."""
    dtype: np.dtype[Any]
    compressed: bool
    compressed_bytes: int | None
    file: str
    """`LOCAL`, or the name of the file with the samples."""
    offset: int
    """Bytes before the samples; -1: they are the last bytes of the file."""

    @property
    def data_bytes(self) -> int:
        return math.prod(self.size) * self.dtype.itemsize


def read_metaimage(path: Path, options: ImportOptions) -> Iterator[NDArray[Any]]:
    """Frames (N, M) of a two- or three-dimensional image."""
    header = read_header(path)
    source = path if header.file == "LOCAL" else path.parent / header.file
    if not source.is_file():
        raise FormatError(f"{path}: its ElementDataFile {source} is missing, expected it beside the header")
    with source.open("rb") as file:
        if header.offset >= 0:
            file.seek(header.offset)
        else:
            file.seek(max(source.stat().st_size - (header.compressed_bytes or header.data_bytes), 0))
        data = file.read(header.compressed_bytes or -1) if header.compressed else file.read(header.data_bytes)
    if header.compressed:
        data = _inflate(data, header.data_bytes, source)
    if len(data) < header.data_bytes:
        raise FormatError(
            f"{source}: {len(data)} bytes of samples, expected {header.data_bytes} for {header.size}"
            f" {header.dtype}: the file is truncated"
        )
    stack = np.frombuffer(data, header.dtype).reshape((*header.size, 1)[:3], order="F")
    for k in range(stack.shape[2]):
        yield stack[:, :, k].T if options.transpose else stack[:, :, k]


def read_header(path: Path) -> Header:
    """Parse the header; `ElementDataFile` is its last line. Raises `FormatError`."""
    values: dict[str, str] = {}
    with path.open("rb") as file:
        while "ElementDataFile" not in values:
            line = file.readline(_HEADER_LIMIT)
            key, equals, value = line.decode("latin-1").partition("=")
            if not equals or file.tell() > _HEADER_LIMIT:
                raise FormatError(
                    f"{path}: not a MetaImage header, expected lines Key = Value up to ElementDataFile"
                )
            values[key.strip()] = value.strip()
        end = file.tell()
    size = _size(path, values)
    kind = _value(path, values, "ElementType")
    if kind not in _TYPES:
        raise FormatError(f"{path}: ElementType {kind}, expected one of {', '.join(_TYPES)}")
    if _integer(path, values, "ElementNumberOfChannels", 1) != 1:
        raise FormatError(f"{path}: more than one channel, expected RF samples: one number each")
    name = values["ElementDataFile"]
    if name.split()[:1] == ["LIST"] or "%" in name or not name:
        raise FormatError(f"{path}: ElementDataFile {name!r}, expected LOCAL or one file")
    big = _flag(values, "BinaryDataByteOrderMSB") or _flag(values, "ElementByteOrderMSB")
    if not _flag(values, "BinaryData", default=True):
        raise FormatError(f"{path}: samples written as text, expected BinaryData = True")
    local = name.upper() == "LOCAL"
    return Header(
        size=size,
        dtype=np.dtype((">" if big else "<") + _TYPES[kind]),
        compressed=_flag(values, "CompressedData"),
        compressed_bytes=_integer(path, values, "CompressedDataSize", 0) or None,
        file="LOCAL" if local else name,
        offset=end if local else _integer(path, values, "HeaderSize", 0),
    )


def _size(path: Path, values: dict[str, str]) -> tuple[int, ...]:
    text = _value(path, values, "DimSize")
    size = tuple(int(part) for part in text.split() if part.isdecimal())
    if len(size) != _integer(path, values, "NDims", len(size)) or len(size) not in (2, 3) or min(size) < 1:
        raise FormatError(f"{path}: DimSize {text!r}, expected N M or N M F, as many as NDims")
    return size


def _value(path: Path, values: dict[str, str], key: str) -> str:
    if key not in values:
        raise FormatError(f"{path}: no {key} in the header, expected one: is it a MetaImage?")
    return values[key]


def _integer(path: Path, values: dict[str, str], key: str, default: int) -> int:
    try:
        return int(values.get(key, default))
    except ValueError as error:
        raise FormatError(f"{path}: {key} is {values[key]!r}, expected a whole number") from error


def _flag(values: dict[str, str], key: str, *, default: bool = False) -> bool:
    return values[key][:1].upper() in ("T", "1", "Y") if key in values else default


def _inflate(data: bytes, limit: int, path: Path) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, limit)
    except zlib.error as error:
        raise FormatError(f"{path}: compressed samples are damaged ({error})") from error
