"""All that is wrong with one message of a sender, field by field, where a server stops at the first.

`docs/protocol.md` is the specification. Invariant: a message without a fault here is one that a server takes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from usert.frame import Scan
from usert.runtime.protocol.header import (
    Buffer,
    MalformedError,
    decode_header,
    read_array,
    read_fields,
    read_values,
)
from usert.runtime.protocol.rf_message import RFHeader, RFMessage
from usert.units import unit_fault

_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_REMEDIES = {
    "parts": "send two parts: the header, then the samples",
    "header": "the first part is one JSON object in UTF-8, without NaN or Infinity, of at most 16384 bytes, "
    "nested at most 8 deep",
    "version": 'put "usert": 1 into the header, an integer',
    "kind": 'put "kind": "rf" into the header; send other things, such as B-mode, over another endpoint',
    "stream": "name the scanner by a string of at most 256 characters, the same in every message",
    "sequence": "count the scanner's frames by an integer, written as 7, not as 7.0 or a string",
    "time_ns": "an integer: nanoseconds of a monotonic clock when the frame was complete; 0 if there is none",
    "acquired_ns": "an integer: nanoseconds since 1970 when the frame was complete; 0 if unknown",
    "clock": f"a string: on Linux the content of {_BOOT_ID} without its line's end, else a random one",
    "dtype": 'convert the samples: "int16", or "float32", complex ones to float32 pairs',
    "shape": "[N, M] of RF, [N, M, 2] of IQ: samples along depth, then scan lines, as integers",
    "byte_order": 'send the samples little-endian, and "byte_order": "little"',
}
_GEOMETRY = "the numbers of the scanner in the units that the names end in"
_SHAPE = "docs/protocol.md, Geometry: RF is [N, M]; IQ is [N, M, 2] and states demodulation_hz"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a message."""

    check: str
    """`message`, `header`, `geometry` or `samples`."""
    found: str
    """What, got, expected."""
    remedy: str


def message_faults(parts: Sequence[Buffer]) -> tuple[list[Fault], Mapping[str, Any]]:
    """The faults of a message, and its header, empty where it cannot be read; no faults: `RFMessage` takes it."""
    try:
        header = decode_header(parts, "rf")
    except MalformedError as error:
        return [Fault("message", str(error), _REMEDIES[error.fault])], {}
    found = [*_header_faults(header), *_geometry_faults(header)]
    if len(parts) != 2:
        found.append(Fault("message", f"rf message: got {len(parts)} parts, expected 2", _REMEDIES["parts"]))
    elif not any(fault.found.startswith(("header: dtype", "header: key dtype")) for fault in found):
        found += _sample_faults(parts[1], header)
    if not found:
        try:
            RFMessage.from_parts(parts)
        except MalformedError as error:
            found.append(Fault("message", str(error), "docs/protocol.md"))
    return found, header


def _header_faults(header: Mapping[str, Any]) -> Iterator[Fault]:
    names = [field.name for field in fields(RFHeader)]
    for name in names:
        try:
            read_values(RFHeader, header, without=[other for other in names if other != name])
        except MalformedError as error:
            yield Fault("header", str(error), _REMEDIES[name])
    if "shape" not in header:
        return
    shape = header["shape"]
    if not isinstance(shape, list) or any(type(size) is not int for size in shape):
        yield Fault("header", f"header: shape: got {shape!r:.40}, expected [N, M]", _REMEDIES["shape"])


def _geometry_faults(header: Mapping[str, Any]) -> Iterator[Fault]:
    names = [field.name for field in fields(Scan)]
    faults = []
    for name in names:
        try:
            values = read_values(Scan, header, without=[other for other in names if other != name])
            value = values.get(name)
            line = (
                unit_fault(name, value)
                if isinstance(value, float) and name in ("sound_speed_m_s", "line_pitch_mm", "fs_hz", "f0_hz")
                else None
            )
            if line:
                faults.append(f"header: {line}")
        except MalformedError as error:
            faults.append(str(error))
    if not faults:
        try:
            read_fields(Scan, header)
        except MalformedError as error:
            faults.append(str(error))
    yield from (Fault("geometry", fault, _GEOMETRY) for fault in faults)


def _sample_faults(part: Buffer, header: Mapping[str, Any]) -> Iterator[Fault]:
    shape, dtype, iq = header.get("shape"), header.get("dtype"), header.get("demodulation_hz") is not None
    if not isinstance(shape, list) or any(type(size) is not int for size in shape):
        return
    if len(shape) != 2 + iq or (iq and shape[2] != 2):
        told = "demodulation_hz" if iq else "no demodulation_hz"
        expected = "[N, M, 2]" if iq else "[N, M]"
        yield Fault("samples", f"header: shape: got {shape!r:.40} and {told}, expected {expected}", _SHAPE)
        return
    try:
        read_array(part, str(dtype), shape, "samples", trailing=(2,) if iq else ())
    except MalformedError as error:
        size = memoryview(part).nbytes
        yield Fault("samples", str(error), _size_remedy(size, str(dtype), shape))


def _size_remedy(size: int, dtype: str, shape: Sequence[int]) -> str:
    """What a wrong number of bytes is probably of."""
    due = math.prod(shape) * np.dtype(dtype).itemsize
    if due <= 0:
        return _SHAPE
    meant = {
        2 * due: "twice as many: float32 sent as int16, float64 as float32, or IQ without demodulation_hz?",
        4 * due: "four times as many: float64 sent as int16?",
        due / 2: "half as many: int16 sent as float32, or half of a message?",
        due / 4: "a quarter: bytes of a B-mode image?",
    }
    whole = "send N·M samples, IQ twice as many, row after row, without padding or compression"
    return meant.get(size, whole)
