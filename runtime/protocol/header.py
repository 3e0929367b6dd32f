"""The JSON header that opens every message of protocol version 1, and the limits it is held to.

Knows neither sockets nor what the kinds of message mean. Invariant: a value read through `Header` has the
type and the range it was asked for, or a `MalformedError` was raised; nothing is allocated by a claimed size.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from usert.errors import FrameError, WireError
from usert.frame import Scan

PROTOCOL_VERSION = 1
BYTE_ORDER = "little"
MAX_HEADER_BYTES = 16_384
MAX_PARTS = 16
MAX_TEXT = 256
MAX_AXIAL = 32_768
MAX_LINES = 4_096
MAX_PIXELS = 1 << 24

T = TypeVar("T")
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""What would break a line of a log or a terminal, or the name of a file."""
Buffer: TypeAlias = bytes | memoryview
Fault = Literal["parts", "header", "version", "kind", "field", "geometry", "size"]
"""What is wrong with a message: the kinds that malformed messages are counted by."""


class MalformedError(WireError):
    """A message that breaks the protocol, with the kind of fault it is counted under."""

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(message)
        self.fault: Fault = fault


def encode_header(kind: str, fields: Mapping[str, Any]) -> bytes:
    """The header part: ASCII JSON, no spaces, keys in the order given."""
    header = {"usert": PROTOCOL_VERSION, "kind": kind, **fields}
    return json.dumps(header, separators=(",", ":"), allow_nan=False).encode("ascii")


def scan_fields(scan: Scan) -> dict[str, float]:
    """The geometry as header keys."""
    return {
        "fs_hz": scan.fs_hz,
        "f0_hz": scan.f0_hz,
        "sound_speed_m_s": scan.sound_speed_m_s,
        "line_pitch_mm": scan.line_pitch_mm,
    }


class Header:
    """A JSON object whose values are checked as they are read; keys that nobody asks for are ignored."""

    def __init__(self, fields: Mapping[str, Any], where: str = "") -> None:
        self._fields = fields
        self._where = where

    @classmethod
    def parse(cls, parts: Sequence[Buffer], kind: str) -> Header:
        """The header of `parts`, whose version is ours and whose kind is `kind`."""
        if not 1 <= len(parts) <= MAX_PARTS:
            raise MalformedError("parts", f"message: got {len(parts)} parts, expected 1 to {MAX_PARTS}")
        raw = bytes(parts[0][: MAX_HEADER_BYTES + 1])
        if len(raw) > MAX_HEADER_BYTES:
            raise MalformedError("header", f"header: got more than {MAX_HEADER_BYTES} bytes")
        try:
            fields = json.loads(raw.decode("utf-8"), parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise MalformedError("header", f"header: got {raw[:32]!r}, expected JSON: {error}") from error
        if not isinstance(fields, dict):
            raise MalformedError("header", f"header: got a JSON {type(fields).__name__}, expected an object")
        header = cls(fields)
        version = fields.get("usert")
        if type(version) is not int or version != PROTOCOL_VERSION:
            raise MalformedError(
                "version", f"protocol version: got {version!r:.40}, expected {PROTOCOL_VERSION}"
            )
        if fields.get("kind") != kind:
            raise MalformedError("kind", f"message kind: got {fields.get('kind')!r:.40}, expected {kind!r}")
        return header

    def _get(self, key: str, expected: str) -> Any:
        if key not in self._fields:
            raise MalformedError("field", f"header key {self._where}{key}: missing, expected {expected}")
        return self._fields[key]

    def _wrong(self, key: str, value: Any, expected: str, fault: Fault = "field") -> MalformedError:
        return MalformedError(fault, f"header key {self._where}{key}: got {value!r:.40}, expected {expected}")

    def __contains__(self, key: str) -> bool:
        """Whether `key` is there, for those that came with a later server of the same version."""
        return key in self._fields

    def optional(self, key: str, read: Callable[[str], T]) -> T | None:
        """What `read`, a method of this header, gives; None where the value is null or the key is missing."""
        return None if self._fields.get(key) is None else read(key)

    def __iter__(self) -> Iterator[str]:
        """The keys, for those who refuse what they do not know."""
        return iter(self._fields)

    def text(self, key: str, most: int = MAX_TEXT) -> str:
        """A string of at most `most` characters, none of them in `UNPRINTABLE`."""
        expected = f"a string of at most {most} characters, no control characters"
        value = self._get(key, expected)
        if not isinstance(value, str) or len(value) > most or UNPRINTABLE.search(value):
            raise self._wrong(key, value, expected)
        return value

    def flag(self, key: str) -> bool:
        """True or false."""
        value = self._get(key, "true or false")
        if not isinstance(value, bool):
            raise self._wrong(key, value, "true or false")
        return value

    def choice(self, key: str, allowed: Sequence[str]) -> str:
        """One of `allowed`."""
        expected = "one of " + ", ".join(map(repr, allowed))
        value = self._get(key, expected)
        if not isinstance(value, str) or value not in allowed:
            raise self._wrong(key, value, expected)
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of at most `MAX_PARTS` strings."""
        expected = f"a list of at most {MAX_PARTS} strings"
        value = self._get(key, expected)
        if not isinstance(value, list) or len(value) > MAX_PARTS:
            raise self._wrong(key, value, expected)
        if not all(isinstance(item, str) and len(item) <= MAX_TEXT for item in value):
            raise self._wrong(key, value, expected)
        return tuple(value)

    def integer(self, key: str) -> int:
        """An integer from 0 to 2^63 - 1."""
        expected = "an integer from 0 to 2^63 - 1"
        value = self._get(key, expected)
        if type(value) is not int or not 0 <= value < 1 << 63:
            raise self._wrong(key, value, expected)
        return value

    def number(self, key: str) -> float:
        """A finite number."""
        value = self._get(key, "a finite number")
        if type(value) not in (int, float) or abs(value) > 1e300 or not math.isfinite(value):
            raise self._wrong(key, value, "a finite number")
        return float(value)

    def mapping(self, key: str) -> dict[str, Any]:
        """A nested object as it is, its values not checked."""
        value = self._get(key, "an object")
        if not isinstance(value, dict):
            raise self._wrong(key, value, "an object")
        return value

    def section(self, key: str) -> Header:
        """A nested object."""
        return Header(self.mapping(key), f"{self._where}{key}.")

    def sections(self, key: str) -> list[Header]:
        """A list of at most `MAX_PARTS` objects."""
        expected = f"a list of at most {MAX_PARTS} objects"
        value = self._get(key, expected)
        if not isinstance(value, list) or len(value) > MAX_PARTS:
            raise self._wrong(key, value, expected)
        if not all(isinstance(item, dict) for item in value):
            raise self._wrong(key, value, expected)
        return [Header(item, f"{self._where}{key}[{index}].") for index, item in enumerate(value)]

    def shape(self, key: str, leading: tuple[int, ...] = ()) -> tuple[int, ...]:
        """A shape `leading` + (N, M) within the limits on samples, lines and pixels."""
        expected = f"{[*leading, 'N', 'M']} with N <= {MAX_AXIAL}, M <= {MAX_LINES}, N·M <= {MAX_PIXELS}"
        value = self._get(key, expected)
        if not isinstance(value, list) or not all(type(size) is int for size in value):
            raise self._wrong(key, value, expected, "size")
        if len(value) != len(leading) + 2 or tuple(value[:-2]) != leading:
            raise self._wrong(key, value, expected, "size")
        n, m = value[-2:]
        if not (0 < n <= MAX_AXIAL and 0 < m <= MAX_LINES and n * m <= MAX_PIXELS):
            raise self._wrong(key, value, expected, "size")
        return tuple(value)

    def scan(self) -> Scan:
        """The geometry."""
        fields = ("fs_hz", "f0_hz", "sound_speed_m_s", "line_pitch_mm")
        try:
            return Scan(**{key: self.number(key) for key in fields})
        except FrameError as error:
            raise MalformedError("geometry", f"header geometry: {error}") from error


def read_array(part: Buffer, dtype: str, shape: tuple[int, ...], what: str) -> NDArray[Any]:
    """`part` as an array without a copy, its size checked first; `dtype` is taken little-endian."""
    wire_dtype = np.dtype(dtype).newbyteorder("<")
    expected = math.prod(shape) * wire_dtype.itemsize
    size = memoryview(part).nbytes
    if size != expected:
        raise MalformedError("size", f"{what}: got {size} bytes, expected {expected} for {dtype} {shape}")
    array = np.frombuffer(part, dtype=wire_dtype).reshape(shape).astype(dtype, copy=False)
    return array if array.flags.aligned else array.copy()


def write_array(array: NDArray[Any], dtype: str) -> memoryview:
    """The bytes of `array`, row after row, little-endian; no copy where it already lies so."""
    return np.ascontiguousarray(array, dtype=np.dtype(dtype).newbyteorder("<")).data.cast("B")


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")
