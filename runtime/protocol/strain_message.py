"""The message of a strain image on its way to the clients.

A message is a JSON header part, then raw little-endian buffers; `docs/protocol.md` is its specification. Knows no
sockets. Invariant: `from_parts` returns a message that is complete and consistent, or raises.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import fields as fields_of
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from usert.frame import Scan, Shape

from ..imaging.frames import FrameStamp
from ..imaging.live_or_held import State
from ..imaging.persistence import Averaging
from ..imaging.strain_ratio import RatioReading
from .header import (
    BYTE_ORDER,
    MAX_PIXELS,
    Buffer,
    MalformedError,
    decode_header,
    encode_header,
    read_array,
    read_fields,
    read_values,
    write_array,
)

SIGN = "compression positive"
"""The sign convention of strain, in every header."""
MAX_STRAIN_BYTES = 8 * MAX_PIXELS
"""Largest part of a strain message: what a socket needs to refuse before it allocates."""
_ARRAYS: dict[str, tuple[int, ...]] = {"displacement": (2,), "strain": (), "quality": ()}
"""The arrays of an image, with what comes before (N, M) in their shapes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """Counts of the server since it opened, this image included, over all its sources."""

    received: int
    """Well-formed RF frames."""
    dropped: int
    """Frames received that a newer one replaced before the engine was free."""
    malformed: int
    """Messages that broke the protocol."""
    published: int
    """Strain images."""
    lost: int = 0
    """Frames missing in the sequence numbers: they never arrived."""
    duplicates: int = 0
    """Frames that arrived twice; the second is not used."""
    late: int = 0
    """Frames that arrived after a newer one; they are not used."""
    failed: int = 0
    """Pairs that the engine refused or failed at."""
    missed_deadlines: int = 0
    """Images that were older than `deadline_ms` when they were published."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Array:
    """Entry of one buffer in the header key `arrays`; of arrays that are ignored only the name is checked."""

    name: str
    dtype: Any = None
    shape: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """Header keys that define the sign of strain, and name, type and shape of each buffer."""

    sign: Literal["compression positive"]
    byte_order: Literal["little"]
    arrays: tuple[_Array, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StrainMessage:
    """One strain image, and the frames, times and figures that belong to it.

    The fields up to `ratio` are header keys of the same names in the same order, but for `scan`, whose fields are.
    """

    stream: str
    session: int
    """Number of the session; it increases by one with each change of the stream that no pair may cross."""
    reference: FrameStamp
    current: FrameStamp
    source_clock: str
    """Name of the clock behind `reference.time_ns` and `current.time_ns`; empty when unknown."""
    server_clock: str
    """Name of the monotonic clock behind the four times below."""
    received_ns: int
    """Time when the current frame had arrived at the server."""
    matched_ns: int
    """Time when its reference was chosen."""
    started_ns: int
    """Time when the engine started."""
    published_ns: int
    """Time when the image was handed to the socket."""
    state: State
    scan: Scan
    counters: Counters
    weights_hash: str
    mean_strain: float
    """Mean over the image, as a fraction, compression positive."""
    mean_quality: float
    score: float = 0.0
    """Mean over the image of the quality of those pixels that may be read, 0 (none) to 1."""
    readable_strain: float = 0.0
    """Mean strain of those pixels, as a fraction, compression positive."""
    compression: float = 0.0
    """`readable_strain` over the top of the useful range, -1 to 1, releasing negative; 0 where nothing moves."""
    readable_quality: float = 0.0
    """Quality below which a pixel must not be read."""
    readable_share: float = 0.0
    """Share of the pixels that may be read, 0 to 1."""
    evident_strain: float = 0.0
    """|Compression| that the displacement as a whole shows beyond its scatter; 0 for a still probe."""
    precompression: float = 0.0
    """Compression of the current frame beyond the least of its session, a fraction: a lower bound."""
    deadline_ms: float = 0.0
    """Age at publication from which a live image has missed its deadline; 0: there is none."""
    strain_rate: float | None = None
    """`readable_strain` over the time between the two frames, in 1/s; None when that is unknown."""
    reason: str = ""
    """Why the state is not `live`: `quality`, `still` or `frozen`."""
    warnings: tuple[str, ...] = ()
    """Warnings about this image; the server's are `usert.runtime.imaging.image_quality.ImageWarning`."""
    persistence: Averaging | None = None
    """Share of earlier images in `strain`; None: `strain` is of this pair alone."""
    ratio: RatioReading | None = None
    """Strain of the two rectangles that the server measures, and their ratio; None where it measures none."""
    displacement: NDArray[np.float32]
    """(2, N, M): axial in samples, lateral in lines."""
    strain: NDArray[np.float32]
    """(N, M): axial strain as a fraction, compression positive."""
    quality: NDArray[np.float32]
    """(N, M): 0 (none) to 1."""

    def __post_init__(self) -> None:
        shapes = (self.displacement.shape, self.strain.shape, self.quality.shape)
        if shapes != ((2, *self.shape), self.shape, self.shape) or self.strain.ndim != 2:
            raise ValueError(f"strain message: got shapes {shapes}, expected (2, N, M), (N, M), (N, M)")

    @property
    def shape(self) -> Shape:
        """(N, M): axial samples, scan lines."""
        return self.strain.shape[0], self.strain.shape[-1]

    def to_parts(self) -> list[Buffer]:
        """The parts of the message: header, displacement, strain, quality."""
        header: dict[str, Any] = {}
        for name in _HEADER:
            if name == "scan":
                header |= {"sign": SIGN, **self.scan.stated}
            else:
                header[name] = getattr(self, name)
        header["byte_order"] = BYTE_ORDER
        header["arrays"] = [
            {"name": name, "dtype": "float32", "shape": [*leading, *self.shape]}
            for name, leading in _ARRAYS.items()
        ]
        arrays = [write_array(getattr(self, name), "float32") for name in _ARRAYS]
        return [encode_header("strain", header), *arrays]

    @classmethod
    def from_parts(cls, parts: Sequence[Buffer]) -> StrainMessage:
        """Check and read; the arrays stay in the buffers they came in, those of unknown name are ignored.

        Errors: `MalformedError`.
        """
        header = decode_header(parts, "strain")
        layout = read_fields(_Layout, header)
        if len(parts) != 1 + len(layout.arrays):
            raise MalformedError(
                "parts",
                f"strain message: got {len(parts)} parts, expected header and {len(layout.arrays)} arrays",
            )
        arrays: dict[str, Any] = {name: _read_array(name, layout, parts) for name in _ARRAYS}
        if not arrays["strain"].shape == arrays["quality"].shape == arrays["displacement"].shape[1:]:
            raise MalformedError("size", "arrays: got different grids, expected one (N, M) for all")
        values = read_values(cls, header, without=("scan", *_ARRAYS))
        return cls(**values, scan=read_fields(Scan, header), **arrays)


_HEADER = tuple(field.name for field in fields_of(StrainMessage) if field.name not in _ARRAYS)


def _read_array(name: str, layout: _Layout, parts: Sequence[Buffer]) -> NDArray[np.float32]:
    places = [place for place, entry in enumerate(layout.arrays, 1) if entry.name == name]
    if len(places) != 1:
        names = [entry.name for entry in layout.arrays]
        raise MalformedError(
            "field",
            f"arrays: got {names!r:.200}, expected {name!r} once; is the server newer than this client?",
        )
    entry = layout.arrays[places[0] - 1]
    if entry.dtype != "float32":
        raise MalformedError("field", f"arrays: {name}: got dtype {entry.dtype!r:.40}, expected 'float32'")
    return read_array(parts[places[0]], "float32", entry.shape, name, leading=_ARRAYS[name])
