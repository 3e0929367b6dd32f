"""PLUS' own OpenIGTLink message TRACKEDFRAME: the one that states what its samples are and which way its axes run.

After PLUS' source, github.com/PlusToolkit/PlusLib, `igtlPlusTrackedFrameMessage`, and IGSIO, `igsioVideoFrame.h`: a
header of 86 bytes, XML with the fields of the frame, the samples. The header is big-endian, but its matrix and the
samples are as they lie in the memory of the sender, which on all platforms of PLUS is little-endian. PLUS' IMAGE states
neither type nor orientation: its metadata has the frame's own fields alone.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from usert.formats.plus import IMAGE_TYPES, Orientation

from ..protocol.header import MalformedError

MESSAGE_TYPE = "TRACKEDFRAME"
_HEADER = struct.Struct(">HHH3HIIH")
_MATRIX_BYTES = 64
_EXTENDED = struct.Struct(">HHI")
_DTYPES = {2: "i1", 3: "u1", 4: "<i2", 5: "<u2", 6: "<i4", 7: "<u4", 10: "<f4", 11: "<f8"}
"""Samples by OpenIGTLink's numbers of scalar types."""
_TYPES = ("", "BRIGHTNESS", *IMAGE_TYPES, "RGB_COLOR")
"""PLUS' image types in the order of `US_IMAGE_TYPE`."""
_ORIENTATIONS = ("", "UF", "UFA", "UN", "UND", "MF", "MFD", "AMF", "MN", "MNA", "FU", "NU", "FM", "NM")
"""PLUS' orientations in the order of `US_IMAGE_ORIENTATION`; those of equal value by one name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackedFrame:
    """One image with what PLUS states of it; the first three fields as in the IMAGE message of pyigtl."""

    image: NDArray[Any]
    """(k, j, i) or (k, j, i, components), i being the fastest axis."""
    ijk_to_world_matrix: NDArray[Any]
    """4 x 4; the lengths of its columns are the spacing in mm."""
    timestamp: float
    """Unix time in seconds, by the clock of the computer that runs PLUS."""
    image_type: str
    """PLUS' name of the image type, such as RF_REAL; empty where none is stated."""
    orientation: Orientation | None
    """None where none is stated."""


def read_tracked_frame(fields: dict[str, Any], body: bytes) -> TrackedFrame:
    """The frame in the body of a message; `fields` are those of its header, named as in pyigtl.

    Errors: `MalformedError`.
    """
    content = memoryview(_content(fields["header_version"], body))
    start = _HEADER.size + _MATRIX_BYTES
    if len(content) < start:
        raise MalformedError("size", f"{MESSAGE_TYPE}: got {len(content)} bytes, expected {start} or more")
    scalar, components, kind, i, j, k, image_bytes, xml_bytes, turn = _HEADER.unpack_from(content)
    dtype = _DTYPES.get(scalar)
    if dtype is None:
        raise MalformedError(
            "field", f"{MESSAGE_TYPE}: got scalar type {scalar}, expected one of {[*_DTYPES]}"
        )
    shape = (k, j, i) if components == 1 else (k, j, i, components)
    expected = math.prod(shape) * np.dtype(dtype).itemsize
    if image_bytes != expected or len(content) != start + xml_bytes + image_bytes:
        raise MalformedError(
            "size",
            f"{MESSAGE_TYPE}: got {len(content)} bytes with {image_bytes} of samples, expected "
            f"{start + xml_bytes + expected} with {expected} for {shape} of {np.dtype(dtype)}",
        )
    if kind >= len(_TYPES) or turn >= len(_ORIENTATIONS):
        raise MalformedError(
            "field",
            f"{MESSAGE_TYPE}: got image type {kind} and orientation {turn}, expected less than {len(_TYPES)} and "
            f"{len(_ORIENTATIONS)}",
        )
    return TrackedFrame(
        image=np.frombuffer(content[start + xml_bytes :], dtype).reshape(shape),
        ijk_to_world_matrix=np.frombuffer(content[_HEADER.size : start], "<f4").reshape(4, 4),
        timestamp=fields["timestamp"],
        image_type=_TYPES[kind],
        orientation=Orientation.parse(_ORIENTATIONS[turn]),
    )


def _content(version: int, body: bytes) -> bytes:
    """The body without what header version 2 puts before and after it."""
    if version < 2:
        return body
    if len(body) < _EXTENDED.size:
        raise MalformedError("size", f"{MESSAGE_TYPE}: got {len(body)} bytes, expected an extended header")
    before, *after = _EXTENDED.unpack_from(body)
    return body[before : max(len(body) - sum(after), 0)]
