"""The messages of protocol version 1: an RF frame towards the server, a strain image away from it.

A message is a JSON header part, then raw little-endian buffers; `docs/protocol.md` is its specification.
Knows no sockets. Invariant: `from_parts` gives a message that is complete and consistent, or raises.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast, get_args

import numpy as np
from numpy.typing import NDArray

from usert.errors import FrameError
from usert.frame import RFFrame, Scan

from ..imaging.display_state import State
from ..imaging.persistence import Averaging
from ..imaging.strain_ratio import RatioReading
from .header import (
    BYTE_ORDER,
    MAX_PIXELS,
    Buffer,
    Header,
    MalformedError,
    encode_header,
    read_array,
    scan_fields,
    write_array,
)
from .stamp import Counters, FrameStamp

SIGN = "compression positive"
"""The sign convention of strain, in every header."""

MAX_RF_BYTES = 4 * MAX_PIXELS
MAX_STRAIN_BYTES = 8 * MAX_PIXELS
"""The largest part of each message: what a socket needs to refuse before it allocates."""

_RF_DTYPES = ("int16", "float32")
_LATER = (
    "score",
    "readable_strain",
    "compression",
    "readable_quality",
    "readable_share",
    "evident_strain",
    "precompression",
    "deadline_ms",
)
"""Numbers that came to protocol 1 later than the others: 0 where they are missing."""
_ARRAYS: tuple[tuple[str, tuple[int, ...]], ...] = (("displacement", (2,)), ("strain", ()), ("quality", ()))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RFMessage:
    """One RF frame of one stream."""

    frame: RFFrame
    stream: str
    """Names the source; one source has one name."""
    clock: str = ""
    """Name of the monotonic clock behind `frame.time_ns`; empty when unknown."""

    def to_parts(self) -> list[Buffer]:
        """Header, samples."""
        frame = self.frame
        dtype = str(frame.samples.dtype)
        fields = {
            "stream": self.stream,
            "sequence": frame.sequence,
            "time_ns": frame.time_ns,
            "acquired_ns": frame.acquired_ns,
            "clock": self.clock,
            "dtype": dtype,
            "shape": list(frame.shape),
            "byte_order": BYTE_ORDER,
            **scan_fields(frame.scan),
        }
        return [encode_header("rf", fields), write_array(frame.samples, dtype)]

    @classmethod
    def from_parts(cls, parts: Sequence[Buffer]) -> RFMessage:
        """Check and read; the samples stay in the buffer they came in."""
        header = Header.parse(parts, "rf")
        if len(parts) != 2:
            raise MalformedError("parts", f"rf message: got {len(parts)} parts, expected 2 (header, samples)")
        dtype = header.choice("dtype", _RF_DTYPES)
        header.choice("byte_order", (BYTE_ORDER,))
        shape = header.shape("shape")
        stamp = FrameStamp.from_header(header)
        scan = header.scan()
        samples = read_array(parts[1], dtype, shape, "samples")
        try:
            frame = RFFrame(
                samples=samples,
                scan=scan,
                sequence=stamp.sequence,
                time_ns=stamp.time_ns,
                acquired_ns=stamp.acquired_ns,
            )
        except FrameError as error:
            raise MalformedError("geometry", str(error)) from error
        return cls(frame=frame, stream=header.text("stream"), clock=header.text("clock"))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StrainMessage:
    """One strain image, with where and when it came from."""

    stream: str
    session: int
    """Counts up by one whenever the stream changes so that no pair may cross the change."""
    reference: FrameStamp
    current: FrameStamp
    source_clock: str
    """Name of the clock behind `reference.time_ns` and `current.time_ns`; empty when unknown."""
    server_clock: str
    """Name of the monotonic clock behind the four times below."""
    received_ns: int
    """The current frame had arrived at the server."""
    matched_ns: int
    """Its reference was chosen."""
    started_ns: int
    """The engine started."""
    published_ns: int
    """The image was handed to the socket."""
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
    """Mean over those pixels, as a fraction, compression positive."""
    compression: float = 0.0
    """`readable_strain` over the top of the useful range, -1 to 1, releasing negative; 0 where nothing moves."""
    readable_quality: float = 0.0
    """Quality below which a pixel must not be read."""
    readable_share: float = 0.0
    """Of the pixels."""
    evident_strain: float = 0.0
    """|Compression| that the displacement as a whole shows beyond its scatter; 0 for a still probe."""
    precompression: float = 0.0
    """Compression of the current frame beyond the least of its session, a fraction: a lower bound."""
    strain_rate: float | None = None
    """`readable_strain` over the time between the two frames, in 1/s; None when that is unknown."""
    deadline_ms: float = 0.0
    """An image older than this at publication has missed its deadline; 0: there is none."""
    reason: str = ""
    """Why the state is not `live`: `quality`, `still` or `frozen`."""
    warnings: tuple[str, ...] = ()
    """See `usert.runtime.imaging.image_quality.ImageWarning`."""
    persistence: Averaging | None = None
    """How much of earlier images is in `strain`; None: nothing."""
    ratio: RatioReading | None = None
    """The two rectangles that the server was told to read; None without them."""
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
    def shape(self) -> tuple[int, int]:
        """(N, M): axial samples, scan lines."""
        return self.strain.shape[0], self.strain.shape[-1]

    def to_parts(self) -> list[Buffer]:
        """Header, displacement, strain, quality."""
        fields = {
            "stream": self.stream,
            "session": self.session,
            "reference": self.reference.fields(),
            "current": self.current.fields(),
            "source_clock": self.source_clock,
            "server_clock": self.server_clock,
            "received_ns": self.received_ns,
            "matched_ns": self.matched_ns,
            "started_ns": self.started_ns,
            "published_ns": self.published_ns,
            "state": self.state,
            "sign": SIGN,
            **scan_fields(self.scan),
            "counters": self.counters.fields(),
            "weights_hash": self.weights_hash,
            "mean_strain": self.mean_strain,
            "mean_quality": self.mean_quality,
            **{key: getattr(self, key) for key in _LATER},
            "strain_rate": self.strain_rate,
            "reason": self.reason,
            "warnings": list(self.warnings),
            "persistence": None if self.persistence is None else self.persistence.fields(),
            "ratio": None if self.ratio is None else self.ratio.fields(),
            "byte_order": BYTE_ORDER,
            "arrays": [
                {"name": name, "dtype": "float32", "shape": [*leading, *self.shape]}
                for name, leading in _ARRAYS
            ],
        }
        return [
            encode_header("strain", fields),
            *(write_array(getattr(self, name), "float32") for name, _ in _ARRAYS),
        ]

    @classmethod
    def from_parts(cls, parts: Sequence[Buffer]) -> StrainMessage:
        """Check and read; the arrays stay in the buffers they came in, those of unknown name are ignored."""
        header = Header.parse(parts, "strain")
        listed = header.sections("arrays")
        if len(parts) != 1 + len(listed):
            raise MalformedError(
                "parts", f"strain message: got {len(parts)} parts, expected header and {len(listed)} arrays"
            )
        header.choice("byte_order", (BYTE_ORDER,))
        header.choice("sign", (SIGN,))
        names = [entry.text("name") for entry in listed]
        arrays: dict[str, Any] = {}
        for name, leading in _ARRAYS:
            if names.count(name) != 1:
                raise MalformedError(
                    "field",
                    f"arrays: got {names}, expected {name!r} once; is the server newer than this client?",
                )
            index = names.index(name)
            dtype = listed[index].choice("dtype", ("float32",))
            arrays[name] = read_array(parts[1 + index], dtype, listed[index].shape("shape", leading), name)
        if not arrays["strain"].shape == arrays["quality"].shape == arrays["displacement"].shape[1:]:
            raise MalformedError("size", "arrays: got different grids, expected one (N, M) for all")
        later: dict[str, Any] = {key: header.number(key) for key in _LATER if key in header}
        return cls(
            stream=header.text("stream"),
            session=header.integer("session"),
            reference=FrameStamp.from_header(header.section("reference")),
            current=FrameStamp.from_header(header.section("current")),
            source_clock=header.text("source_clock"),
            server_clock=header.text("server_clock"),
            received_ns=header.integer("received_ns"),
            matched_ns=header.integer("matched_ns"),
            started_ns=header.integer("started_ns"),
            published_ns=header.integer("published_ns"),
            state=cast(State, header.choice("state", get_args(State))),
            scan=header.scan(),
            counters=Counters.from_header(header.section("counters")),
            weights_hash=header.text("weights_hash"),
            mean_strain=header.number("mean_strain"),
            mean_quality=header.number("mean_quality"),
            **later,
            strain_rate=header.optional("strain_rate", header.number),
            reason=header.text("reason") if "reason" in header else "",
            warnings=header.texts("warnings") if "warnings" in header else (),
            persistence=Averaging.from_header(header),
            ratio=RatioReading.from_header(header),
            **arrays,
        )
