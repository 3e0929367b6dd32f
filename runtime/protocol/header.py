"""The JSON header that opens every message of protocol version 1, its limits, and the arrays that follow it.

Knows neither sockets nor what the kinds of message mean. Invariant: a value that was read from a header has the type
and the range that were asked for, or a `MalformedError` was raised; nothing is allocated by a claimed size.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from usert.errors import FrameError, WireError
from usert.schema import PLAIN, Scalar, Schema, is_number

PROTOCOL_VERSION = 1
BYTE_ORDER: Literal["little"] = "little"
MAX_DEPTH = 8
"""Lists and objects inside each other in a header."""
MAX_HEADER_BYTES = 16_384
MAX_PARTS = 16
MAX_TEXT = 256
MAX_AXIAL = 32_768
MAX_LINES = 4_096
MAX_PIXELS = 1 << 24
LIMITS = f"N <= {MAX_AXIAL}, M <= {MAX_LINES}, N·M <= {MAX_PIXELS}"
"""Of samples N and lines M of a frame, in words."""

T = TypeVar("T")
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""Characters that would break a line of a log, a terminal or the name of a file."""
Buffer: TypeAlias = bytes | memoryview
Fault = Literal["parts", "header", "version", "kind", "field", "geometry", "size", "rows"]
"""Kinds of fault that malformed messages are counted by."""


class MalformedError(WireError):
    """A message that breaks the protocol, with the kind of its fault."""

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(message)
        self.fault: Fault = fault


def text(most: int, *, least: int = 0) -> Scalar:
    """A string of `least` to `most` characters, none of them in `UNPRINTABLE`."""
    length = f"{least} to {most}" if least else f"at most {most}"
    return Scalar(
        lambda value: type(value) is str and least <= len(value) <= most and not UNPRINTABLE.search(value),
        f"a string of {length} characters, no control characters",
    )


SCALARS: Mapping[type, Scalar] = {
    **PLAIN,
    float: Scalar(lambda value: is_number(value) and abs(value) <= 1e300, "a finite number"),
    int: Scalar(
        lambda value: type(value) is int and 0 <= value < 1 << 63,
        "an integer from 0 to 2^63 - 1",
    ),
    str: text(MAX_TEXT),
}
"""Limits of integers, numbers, strings and flags in every message."""
_SCHEMA = Schema(
    error=lambda line: MalformedError("field", f"header: {line}"), scalars=SCALARS, ignores_unknown=True
)


def encode_header(kind: str, fields: Mapping[str, Any]) -> bytes:
    """The header part: ASCII JSON, no spaces, keys in the order given; dataclasses as their fields."""
    header = {"usert": PROTOCOL_VERSION, "kind": kind, **{key: as_fields(fields[key]) for key in fields}}
    return json.dumps(header, separators=(",", ":"), allow_nan=False).encode("ascii")


def decode_header(parts: Sequence[Buffer], kind: str) -> dict[str, Any]:
    """The header of `parts`, whose version is ours and whose kind is `kind`; other values are not checked yet."""
    if not 1 <= len(parts) <= MAX_PARTS:
        raise MalformedError("parts", f"message: got {len(parts)} parts, expected 1 to {MAX_PARTS}")
    raw = bytes(parts[0][: MAX_HEADER_BYTES + 1])
    if len(raw) > MAX_HEADER_BYTES:
        joined = ", is it one part with the samples?" if len(parts) == 1 and kind == "rf" else ""
        raise MalformedError("header", f"header: got more than {MAX_HEADER_BYTES} bytes{joined}")
    try:
        header = json.loads(raw.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        hint = "" if len(parts) == 1 or raw.startswith(b"{") else "; is it a topic? There are none"
        line = f"header: got {raw[:32]!r}, expected JSON: {error}{hint}"
        raise MalformedError("header", line) from error
    if not isinstance(header, dict):
        raise MalformedError("header", f"header: got a JSON {type(header).__name__}, expected an object")
    if not _shallow(header, MAX_DEPTH):  # which `repr` could not print
        raise MalformedError(
            "header", f"header: got values nested deeper than {MAX_DEPTH}, expected at most that"
        )
    version = header.get("usert")
    if type(version) is not int or version != PROTOCOL_VERSION:
        raise MalformedError("version", f"protocol version: got {version!r:.40}, expected {PROTOCOL_VERSION}")
    if header.get("kind") != kind:
        raise MalformedError("kind", f"message kind: got {header.get('kind')!r:.40}, expected {kind!r}")
    return header


def _shallow(value: Any, depth: int) -> bool:
    """Whether lists and objects in `value` are nested at most `depth` deep."""
    if not isinstance(value, (dict, list)):
        return True
    inner = value.values() if isinstance(value, dict) else value
    return depth > 0 and all(_shallow(one, depth - 1) for one in inner)


def read_fields(kind: type[T], header: Mapping[str, Any]) -> T:
    """The dataclass `kind` from the keys of the same names; other keys are ignored. Errors: `MalformedError`."""
    try:
        return _SCHEMA.build(kind, header)
    except FrameError as error:  # of a `Scan`
        raise MalformedError("geometry", f"header: {error}") from error


def read_values(kind: type, header: Mapping[str, Any], *, without: Collection[str] = ()) -> dict[str, Any]:
    """The arguments for `kind` that are in the header, but for those of the names in `without`."""
    return _SCHEMA.values(kind, header, without=without)


def _read_shape(shape: Any, leading: tuple[int, ...], trailing: tuple[int, ...]) -> tuple[int, ...]:
    """`shape` as `leading` + (N, M) + `trailing` within the limits on samples, lines and pixels."""
    if isinstance(shape, list) and all(type(size) is int for size in shape):
        n, m = [*shape[len(leading) :], 0, 0][:2]
        if is_within_limits(n, m) and tuple(shape) == (*leading, n, m, *trailing):
            return tuple(shape)
    expected = shape_words(leading, trailing)
    raise MalformedError("size", f"header: shape: got {shape!r:.40}, expected {expected} with {LIMITS}")


def is_within_limits(n: int, m: int) -> bool:
    """Whether a frame of `n` samples by `m` lines may be sent."""
    return 0 < n <= MAX_AXIAL and 0 < m <= MAX_LINES and n * m <= MAX_PIXELS


def shape_words(leading: tuple[int, ...] = (), trailing: tuple[int, ...] = ()) -> str:
    """The shape `leading` + (N, M) + `trailing` as an error names it, such as `[N, M, 2]`."""
    return f"[{', '.join(map(str, (*leading, 'N', 'M', *trailing)))}]"


def as_fields(value: Any) -> Any:
    """A dataclass as header keys, in the order of its fields; other values as they are."""
    names: Mapping[str, Any] | None = getattr(value, "__dataclass_fields__", None)
    return value if names is None else {name: as_fields(getattr(value, name)) for name in names}


def read_array(
    part: Buffer,
    dtype: str,
    shape: Any,
    what: str,
    *,
    leading: tuple[int, ...] = (),
    trailing: tuple[int, ...] = (),
) -> NDArray[Any]:
    """`part` as an array of `leading` + (N, M) + `trailing`, without a copy, from little-endian bytes.

    `shape`: the value of the header, checked first. Errors: `MalformedError`.
    """
    shape = _read_shape(shape, leading, trailing)
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
