"""Planes: the pixels of one image reduced for a screen, and the message that carries them to all browsers.

Strain and quality are decimated to every k-th sample and l-th line, not averaged: both are smooth over more than that,
and a readable pixel stays readable. Invariant: a pixel of the quality plane that passes the threshold of
`least_readable` has at least that quality.

A message is `usv1`, the length of the header (uint32, little-endian), a JSON header padded to 8 bytes, then the planes,
each padded to 8 bytes; `planes` in the header says where each begins.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from usert.errors import WireError

STRAIN_UNIT = 1e-5
"""Strain that the value 1 of a strain plane stands for."""
UNKNOWN = -32768
"""Value of a strain plane where strain is not a number."""
MOST_STRAIN = (512, 256)
"""Largest number of rows and lines of strain and quality, which are smooth."""
MOST_BMODE = (1024, 512)
"""Largest number of rows and lines of B-mode: as many as a screen shows."""

_MAGIC = b"usv1"
_DTYPES = ("int16", "uint8")
_MOST_HEADER = 65_536


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plane:
    """An array (n, m) of pixels; row i is sample `step[0]` · i of the frame, column j its line `step[1]` · j."""

    name: str
    values: NDArray[Any]
    step: tuple[int, int] = (1, 1)


def steps(shape: tuple[int, ...], most: tuple[int, int]) -> tuple[int, int]:
    """Step in samples and in lines with which at most `most` rows and columns are kept."""
    return math.ceil(shape[0] / most[0]), math.ceil(shape[1] / most[1])


def strain_plane(strain: NDArray[Any]) -> Plane:
    """Strain (N, M), a fraction, as int16 in units of `STRAIN_UNIT`, clipped at ±32 %."""
    step = steps(strain.shape, MOST_STRAIN)
    few = strain[:: step[0], :: step[1]]
    known = np.isfinite(few)
    units = np.clip(np.rint(np.where(known, few, 0) / STRAIN_UNIT), 1 + UNKNOWN, 32767)
    return Plane(name="strain", values=np.where(known, units, UNKNOWN).astype(np.int16), step=step)


def quality_plane(quality: NDArray[Any]) -> Plane:
    """Quality (N, M) from 0 to 1 as uint8, rounded down; 0 where it is unknown."""
    step = steps(quality.shape, MOST_STRAIN)
    few = np.nan_to_num(quality[:: step[0], :: step[1]])
    return Plane(name="quality", values=np.floor(np.clip(few, 0, 1) * 255).astype(np.uint8), step=step)


def least_readable(readable_quality: float) -> int:
    """The smallest value of a quality plane that stands for `readable_quality` or more."""
    return math.ceil(255 * readable_quality - 1e-9)


def strain_of(plane: Plane) -> NDArray[np.float32]:
    """Strain of a plane as fractions, NaN where unknown."""
    strain = plane.values.astype(np.float32) * np.float32(STRAIN_UNIT)
    return np.where(plane.values == UNKNOWN, np.float32(np.nan), strain)


def pack(fields: Mapping[str, Any], planes: Sequence[Plane]) -> bytes:
    """The message of a picture with the header `fields` and `planes`."""
    listed: list[dict[str, Any]] = []
    place = 0
    for plane in planes:
        listed.append(
            {
                "name": plane.name,
                "dtype": str(plane.values.dtype),
                "shape": list(plane.values.shape),
                "step": list(plane.step),
                "offset": place,
            }
        )
        place += _padded(plane.values.nbytes)
    header = json.dumps({**fields, "planes": listed}, separators=(",", ":"), allow_nan=False).encode("ascii")
    room = _padded(len(_MAGIC) + 4 + len(header)) - len(_MAGIC) - 4
    parts = [_MAGIC, struct.pack("<I", room), header.ljust(room)]
    for plane in planes:
        raw = np.ascontiguousarray(plane.values, plane.values.dtype.newbyteorder("<")).tobytes()
        parts.append(raw.ljust(_padded(len(raw)), b"\0"))
    return b"".join(parts)


def unpack(message: bytes | memoryview, wanted: Sequence[str]) -> tuple[dict[str, Any], dict[str, Plane]]:
    """Header and the `wanted` planes of a message; others may be missing at its end. Errors: `WireError`."""
    view = memoryview(message)
    if bytes(view[:4]) != _MAGIC or len(view) < 8:
        raise WireError(f"picture: got {bytes(view[:4])!r}, expected a message that begins with {_MAGIC!r}")
    (room,) = struct.unpack("<I", view[4:8])
    if not 0 < room <= min(_MOST_HEADER, len(view) - 8):
        most = min(_MOST_HEADER, len(view) - 8)
        raise WireError(f"picture: got a header of {room} bytes, expected 1 to {most}")
    try:
        fields = json.loads(bytes(view[8 : 8 + room]))
        listed = {entry["name"]: entry for entry in fields["planes"]}
        found = {name: _plane(view[8 + room :], listed[name]) for name in wanted}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise WireError(f"picture: got an invalid header ({error}), expected planes") from error
    return fields, found


def _plane(rest: memoryview, entry: Mapping[str, Any]) -> Plane:
    (n, m), (down, across), offset = entry["shape"], entry["step"], entry["offset"]
    numbers = (n, m, down, across, offset)
    if entry["dtype"] not in _DTYPES or not all(type(number) is int for number in numbers):
        raise ValueError("invalid dtype or number of a plane")
    if not (0 < n <= MOST_BMODE[0] and 0 < m <= MOST_BMODE[1] and min(down, across) > 0 <= offset):
        raise ValueError(f"a plane of {n} x {m}")
    dtype = np.dtype(entry["dtype"]).newbyteorder("<")
    values = np.frombuffer(rest, dtype, count=n * m, offset=offset).reshape(n, m)
    return Plane(name=entry["name"], values=values, step=(down, across))


def _padded(size: int) -> int:
    return -(-size // 8) * 8
