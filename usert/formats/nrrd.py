"""NRRD: a text header of `field: value` and `key:=value` lines up to an empty one, then samples, or a file of them.

After the public description, https://teem.sourceforge.net/nrrd/format.html. Sizes name the fastest axis first; the axis
whose kind is `list` counts frames wherever it stands, as PLUS (`.igs.nrrd`) and 3D Slicer (`.seq.nrrd`) write it; that
of kind `complex` holds I and Q; the keys of PLUS are honoured as in MetaImage (`usert.formats.plus`). Knows of raw and
gzip encoding. Invariant: no more is inflated than the header announced, and nothing that the file is too small for.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from ..recording.layout import DEFLATE_LIMIT
from .declared import About
from .files import check_count, file_beside
from .options import ImportOptions
from .plus import read_sequence

_TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "f4": ("float",),
    "f8": ("double",),
}
_CODES = {name: code for code, names in _TYPES.items() for name in names}
_MAGIC = re.compile(rb"NRRD000[1-5]\r?\n")
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_GZIP = 31
"""zlib's number for a stream in gzip's own wrapping."""
_FRAMES = ("list", "time")
_OF_SAMPLES = (*_FRAMES, "complex", "domain", "space", "scalar", "stub", "none", "unknown", "???")
"""Kinds of axes that frames of samples may have; the others are colours, vectors and matrices."""
_LINE_LIMIT = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What the header of one image states."""

    fields: dict[str, str]
    """Of the format itself, in small letters without spaces."""
    keys: dict[str, str]
    """Of whoever wrote the file."""
    sizes: tuple[int, ...]
    axes: tuple[int, int, int | None]
    """Which of the sizes are the image's fastest axis, its second, and the frames."""
    pairs: int | None
    """Which of the sizes is that of real and imaginary part."""
    dtype: np.dtype[Any]
    source: Path
    offset: int
    """Bytes before the samples; -1: they are the last bytes of the file."""

    @property
    def frames(self) -> int:
        """Number of frames."""
        return 1 if self.axes[2] is None else self.sizes[self.axes[2]]

    @property
    def packed(self) -> bool:
        """Whether the samples are compressed."""
        return self.fields["encoding"].lower() in ("gzip", "gz")

    @property
    def data_bytes(self) -> int:
        """Size of the samples in bytes."""
        return math.prod(self.sizes) * self.dtype.itemsize


def read_nrrd(path: Path, options: ImportOptions) -> Iterator[NDArray[Any]]:
    """Frames (N, M) of an image, of IQ (N, M, 2), row 0 nearest the probe; without those that PLUS calls INVALID."""
    header = read_header(path)
    sequence = read_sequence(path, header.keys, header.frames, options)
    stored = _samples(header).reshape(header.sizes[::-1]).T  # axes as the header names them
    last = [] if header.pairs is None else [header.pairs]
    shown = [axis for axis in header.axes if axis is not None]
    others = [axis for axis in range(stored.ndim) if axis not in shown + last]
    stack = stored.transpose(*shown, *others, *last).reshape(
        *(stored.shape[axis] for axis in shown[:2]), -1, *[2 for _ in last]
    )
    for k in sequence.valid:
        yield sequence.upright(stack[:, :, k])


def about_nrrd(path: Path, options: ImportOptions) -> About:
    """Spacing, where it is not left at 1, and what PLUS states: times, orientation, frames without an image."""
    header = read_header(path)
    sequence = read_sequence(path, header.keys, header.frames, options)
    spacings = _spacings(path, header.fields)
    first, second = (
        spacings[axis] if axis < len(spacings) else 1.0 for axis in header.axes[:2] if axis is not None
    )
    return About(
        kind=sequence.stated if header.pairs is None else None,
        geometry=sequence.geometry(path, first, second),
        acquired_ns=sequence.acquired_ns,
        notes=sequence.notes,
    )


def read_header(path: Path) -> Header:
    """Parse the header, up to its empty line. Raises `FormatError`."""
    fields: dict[str, str] = {}
    keys: dict[str, str] = {}
    with path.open("rb") as file:
        if not _MAGIC.fullmatch(file.readline(16)):
            raise FormatError(f"{path}: does not begin with NRRD0001 to NRRD0005, expected a NRRD file")
        for line in iter(lambda: file.readline(_LINE_LIMIT).decode("latin-1").rstrip("\r\n"), ""):
            if line.startswith("#"):
                continue
            field, colon, value = line.partition(":")
            if not colon:
                raise FormatError(
                    f"{path}: line {line[:40]!r} in the header, expected field: value or key:=value"
                )
            if value.startswith("="):
                keys[field] = value[1:].strip()
            else:
                fields[field.lower().replace(" ", "")] = value.strip()
        end = file.tell()
    sizes = tuple(_whole(path, fields, "sizes", part) for part in _value(path, fields, "sizes").split())
    kind = _value(path, fields, "type").lower()
    if kind not in _CODES:
        raise FormatError(f"{path}: type {kind}, expected real numbers of 8 to 32 bits, or float or double")
    encoding = _value(path, fields, "encoding").lower()
    if encoding not in ("raw", "gzip", "gz"):
        raise FormatError(f"{path}: encoding {encoding}, expected raw or gzip: save it so")
    if _whole(path, fields, "lineskip", fields.get("lineskip", "0")):
        raise FormatError(f"{path}: skips lines of its data, expected samples from a byte on")
    name = fields.get("datafile", "")
    if "%" in name or name.split()[:1] == ["LIST"]:
        raise FormatError(f"{path}: data file {name!r}, expected one file")
    source = file_beside(path, name, "data file") if name else path
    skip = _whole(path, fields, "byteskip", fields.get("byteskip", "0"))
    pairs = _pairs(path, fields, sizes)
    header = Header(
        fields=fields,
        keys=keys,
        sizes=sizes,
        axes=_axes(path, fields, sizes, pairs),
        pairs=pairs,
        dtype=np.dtype((">" if fields.get("endian", "").lower() == "big" else "<") + _CODES[kind]),
        source=source,
        offset=skip if skip < 0 else skip + (0 if name else end),
    )
    there = source.stat().st_size - max(header.offset, 0)
    if there * (DEFLATE_LIMIT if header.packed else 1) < header.data_bytes:
        raise FormatError(
            f"{source}: {max(there, 0)} bytes of {'compressed ' * header.packed}samples, expected"
            f" {header.data_bytes} for {sizes} {header.dtype}: the file is truncated"
        )
    check_count(path, header.frames, math.prod(sizes) // header.frames)
    return header


def _pairs(path: Path, fields: dict[str, str], sizes: tuple[int, ...]) -> int | None:
    """The axis of real and imaginary part, if there is one."""
    kinds = fields.get("kinds", "").lower().split()[: len(sizes)]
    if "complex" not in kinds:
        return None
    axis = kinds.index("complex")
    if sizes[axis] != 2:
        raise FormatError(f"{path}: {sizes[axis]} numbers along the axis of kind complex, expected 2")
    return axis


def _axes(
    path: Path, fields: dict[str, str], sizes: tuple[int, ...], pairs: int | None
) -> tuple[int, int, int | None]:
    kinds = fields.get("kinds", "").lower().split()
    if foreign := [kind for kind in kinds if kind not in _OF_SAMPLES]:
        raise FormatError(
            f"{path}: an axis of kind {foreign[0]}, expected domain, list, time or complex: no RF or IQ"
        )
    listed = [axis for axis, kind in enumerate(kinds[: len(sizes)]) if kind in _FRAMES]
    others = [axis for axis in range(len(sizes)) if axis != pairs]
    if not listed and len(others) > 2:
        listed = others[-1:]
    image = [axis for axis in others if axis not in listed]
    named = fields.get("dimension", str(len(sizes)))
    if (
        named != str(len(sizes))
        or len(listed) > 1
        or len(image) < 2
        or min(sizes) < 1
        or any(sizes[axis] > 1 for axis in image[2:])
    ):
        raise FormatError(
            f"{path}: sizes {fields['sizes']!r} of kinds {fields.get('kinds', 'unknown')!r}, expected N M, N M F,"
            f" or N M 1 F, as many as dimension, with frames last or of kind list"
        )
    return image[0], image[1], listed[0] if listed else None


def _samples(header: Header) -> NDArray[Any]:
    """All samples in the order of the file: mapped, or inflated as far as the header announced."""
    size = header.source.stat().st_size
    count = math.prod(header.sizes)
    if not header.packed:
        offset = header.offset if header.offset >= 0 else size - header.data_bytes
        return np.memmap(header.source, header.dtype, "r", offset, (count,))
    with header.source.open("rb") as file:
        file.seek(max(header.offset, 0))
        try:
            data = zlib.decompressobj(_GZIP).decompress(file.read(), header.data_bytes)
        except zlib.error as error:
            raise FormatError(f"{header.source}: compressed samples are damaged ({error})") from error
    if len(data) < header.data_bytes:
        raise FormatError(
            f"{header.source}: {len(data)} bytes of samples, expected {header.data_bytes} for {header.sizes}"
            f" {header.dtype}: the file is truncated"
        )
    return np.frombuffer(data, header.dtype)


def _spacings(path: Path, fields: dict[str, str]) -> list[float]:
    """Of each axis in mm, 1 where none is stated."""
    if "spacings" in fields:
        parts = fields["spacings"].split()
        return [1.0 if part.lower() == "nan" else _number(path, part) for part in parts]
    found = re.findall(r"none|\([^()]*\)", fields.get("spacedirections", ""))
    vectors = ("1" if text == "none" else text.strip("()") for text in found)
    return [math.hypot(*(_number(path, part) for part in vector.split(","))) for vector in vectors]


def _number(path: Path, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise FormatError(f"{path}: spacing {text!r}, expected a number") from error


def _value(path: Path, fields: dict[str, str], key: str) -> str:
    if key not in fields:
        raise FormatError(f"{path}: no {key} in the header, expected one: is it a NRRD file?")
    return fields[key]


def _whole(path: Path, fields: dict[str, str], key: str, text: str) -> int:
    if not _WHOLE.fullmatch(text):
        raise FormatError(f"{path}: {key} is {fields[key]!r}, expected whole numbers")
    return int(text)
