"""What a browser sends to be made a DICOM object: a JSON header and the pictures that it drew, as PNGs.

The page's own drawing goes into the object, so that it holds what the person saw. Everything is checked before it is
decoded: a browser is not trusted. Layout: length of the header (uint32, little-endian), header, PNGs one after another.
"""

from __future__ import annotations

import io
import json
import struct
from dataclasses import dataclass
from typing import Annotated, Literal, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from usert.schema import PLAIN, Scalar, Schema, is_number

from ..protocol.header import text
from .case import Refusal

MOST_BODY = 96 << 20
"""Largest upload, in bytes."""
MOST_FRAMES = 256
MOST_SIDE = 2048
"""Largest width and height of a picture, in pixels."""
_MOST_HEADER = 1 << 16
_DAMAGED = (
    OSError,
    ValueError,
    SyntaxError,
    IndexError,
    TypeError,
    struct.error,
    Image.DecompressionBombError,
)
"""What Pillow raises for a damaged picture."""
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_WALL_FROM_MS = 1e11
"""1973: a wall clock that says less is not set."""

Name: TypeAlias = Annotated[str, text(256)]
Count: TypeAlias = Annotated[
    int, Scalar(lambda value: type(value) is int and abs(value) < 2**53, "an integer")
]
Size: TypeAlias = Annotated[
    int, Scalar(lambda value: type(value) is int and 0 < value <= MOST_BODY, f"1 to {MOST_BODY}")
]
Milliseconds: TypeAlias = Annotated[
    float, Scalar(lambda value: is_number(value) and abs(value) < 1e14, "a time in ms")
]
Scale: TypeAlias = Annotated[
    float, Scalar(lambda value: is_number(value) and 0.1 <= value <= 1000, "0.1 to 1000 pixels a millimetre")
]
Speed: TypeAlias = Annotated[
    float, Scalar(lambda value: is_number(value) and 100 <= value <= 10000, "100 to 10000 m/s")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One picture: the size of its PNG, and when its image was acquired."""

    bytes: Size
    acquired_ms: Milliseconds
    """Wall clock of the source; 0 where unknown."""
    born_ms: Milliseconds
    """Monotonic clock of this machine, as in the picture that the browser got."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What the browser says of its pictures."""

    case: Count
    """Number of the case that they belong to."""
    kind: Literal["image", "cine"]
    send: bool
    """Whether the object goes to the DICOM node."""
    scale: Scale
    """Pixels a millimetre inside the images."""
    sound_speed_m_s: Speed
    stream: Name
    session: Count
    reference: Count
    current: Count
    """Frames of the first picture, and of the last."""
    weights: Name
    state: Name
    frames: tuple[Frame, ...]


_SCHEMA = Schema(error=lambda line: Refusal("dicom.invalid", f"DICOM: {line}"), scalars=PLAIN)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Upload:
    """A whole upload, checked but for the pixels."""

    header: Header
    pngs: tuple[memoryview, ...]

    @classmethod
    def parse(cls, body: bytes | bytearray) -> Self:
        """Read an upload. Errors: `Refusal`."""
        view = memoryview(body)
        length = struct.unpack_from("<I", view)[0] if len(view) >= 4 else 0
        if not 0 < length <= min(_MOST_HEADER, len(view) - 4):
            raise Refusal("dicom.invalid", f"DICOM: got a header of {length} bytes in {len(view)}")
        try:
            tree = json.loads(bytes(view[4 : 4 + length]))
        except (ValueError, RecursionError) as error:
            raise Refusal("dicom.invalid", "DICOM: the header is not JSON") from error
        header = _SCHEMA.build(Header, tree)
        count = len(header.frames)
        if not 0 < count <= (MOST_FRAMES if header.kind == "cine" else 1):
            raise Refusal("dicom.invalid", f"DICOM: got {count} pictures, expected 1 to {MOST_FRAMES}")
        ends = np.cumsum([frame.bytes for frame in header.frames]) + 4 + length
        if ends[-1] != len(view):
            raise Refusal("dicom.invalid", f"DICOM: got {len(view)} bytes, expected {ends[-1]}")
        starts = (4 + length, *ends[:-1])
        return cls(header=header, pngs=tuple(view[a:b] for a, b in zip(starts, ends, strict=True)))

    def pixels(self, index: int) -> NDArray[np.uint8]:
        """One picture as RGB (rows, columns, 3), of the same size as the first. Errors: `Refusal`."""
        size = _size_of(self.pngs[index])
        if size != _size_of(self.pngs[0]):
            raise Refusal("dicom.invalid", f"DICOM: picture {index} has another size than the first")
        try:
            with Image.open(io.BytesIO(self.pngs[index]), formats=["PNG"]) as image:
                if image.size != size:  # a second size in the file
                    raise ValueError(image.size)
                return np.asarray(image.convert("RGB"))
        except _DAMAGED as error:
            raise Refusal("dicom.invalid", f"DICOM: picture {index} is damaged") from error

    @property
    def acquired_ms(self) -> list[float] | None:
        """Wall clock of each picture; None unless all are known and strictly increase."""
        times = [frame.acquired_ms for frame in self.header.frames]
        return times if times[0] > _WALL_FROM_MS and _increases(times) else None

    @property
    def steps_ms(self) -> list[float] | None:
        """Times between pictures; None unless they strictly increase."""
        times = self.acquired_ms or [frame.born_ms for frame in self.header.frames]
        return [float(step) for step in np.diff(times)] if _increases(times) else None


def _increases(times: list[float]) -> bool:
    return bool((np.diff(times) > 0).all())


def _size_of(png: memoryview) -> tuple[int, int]:
    """Width and height, from the first chunk. Errors: `Refusal`."""
    if len(png) < 33 or bytes(png[:8]) != _SIGNATURE or bytes(png[12:16]) != b"IHDR":
        raise Refusal("dicom.invalid", "DICOM: a picture is not a PNG")
    width, height = struct.unpack_from(">II", png, 16)
    if not (0 < width <= MOST_SIDE and 0 < height <= MOST_SIDE):
        line = f"DICOM: got a picture of {width} x {height}, expected at most {MOST_SIDE} x {MOST_SIDE}"
        raise Refusal("dicom.invalid", line)
    return width, height
