"""The message of an RF frame on its way to the server.

A message is a JSON header part, then raw little-endian buffers; `docs/protocol.md` is its specification. Knows no
sockets. Invariant: `from_parts` returns a message that is complete and consistent, or raises.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from usert.errors import FrameError
from usert.frame import RFFrame, Scan

from .header import (
    BYTE_ORDER,
    MAX_PIXELS,
    Buffer,
    MalformedError,
    as_fields,
    decode_header,
    encode_header,
    read_array,
    read_fields,
    shape_words,
    write_array,
)

MAX_RF_BYTES = 8 * MAX_PIXELS
"""Largest part of an RF message: what a socket needs to refuse before it allocates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RFHeader:
    """Header keys of an RF message beside those of the geometry, in their order."""

    stream: str
    sequence: int
    time_ns: int
    acquired_ns: int
    clock: str
    dtype: Literal["int16", "float32"]
    shape: Any
    byte_order: Literal["little"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RFMessage:
    """One RF frame of one stream."""

    frame: RFFrame
    stream: str
    """Name of the source; two sources never share one."""
    clock: str = ""
    """Name of the monotonic clock behind `frame.time_ns`; empty when unknown."""

    def to_parts(self) -> list[Buffer]:
        """The parts of the message: header, samples."""
        frame = self.frame
        dtype: Any = str(frame.samples.dtype)
        header = RFHeader(
            stream=self.stream,
            sequence=frame.sequence,
            time_ns=frame.time_ns,
            acquired_ns=frame.acquired_ns,
            clock=self.clock,
            dtype=dtype,
            shape=list(frame.samples.shape),
            byte_order=BYTE_ORDER,
        )
        fields = as_fields(header) | frame.scan.stated
        return [encode_header("rf", fields), write_array(frame.samples, dtype)]

    @classmethod
    def from_parts(cls, parts: Sequence[Buffer], *, orders: Sequence[str] = ("rows",)) -> RFMessage:
        """Check and read; the samples stay in the buffer they came in. Errors: `MalformedError`.

        `orders`: the values of the header's `order` that are taken; none means "rows".
        """
        fields = decode_header(parts, "rf")
        if (order := fields.get("order", "rows")) not in orders:
            raise MalformedError(
                "field", f"header: order: got {order!r:.40}, expected {' or '.join(map(repr, orders))}"
            )
        if len(parts) != 2:
            raise MalformedError("parts", f"rf message: got {len(parts)} parts, expected 2 (header, samples)")
        header = read_fields(RFHeader, fields)
        try:
            scan = read_fields(Scan, fields)
            trailing = () if scan.kind == "rf" else (2,)
            if isinstance(header.shape, list) and len(header.shape) != 2 + len(trailing):
                told = "no demodulation_hz" if scan.kind == "rf" else "demodulation_hz"
                found = f"got {header.shape!r:.40} and {told}"
                raise MalformedError(
                    "size", f"header: shape: {found}, expected {shape_words(trailing=trailing)}"
                )
            frame = RFFrame(
                scan=scan,
                samples=read_array(parts[1], header.dtype, header.shape, "samples", trailing=trailing),
                sequence=header.sequence,
                time_ns=header.time_ns,
                acquired_ns=header.acquired_ns,
            )
        except FrameError as error:
            raise MalformedError("geometry", str(error)) from error
        return cls(frame=frame, stream=header.stream, clock=header.clock)

    def cut(self, rows: tuple[int, int]) -> RFMessage:
        """The same frame with samples `rows[0]` to before `rows[1]` of each line alone, not copied.

        Errors: `MalformedError` for a frame that ends before, or so deep that no scanner sees it.
        """
        first, end = rows
        if self.frame.shape[0] < end:
            raise MalformedError(
                "rows",
                f"rows {first}:{end}: got a frame of {self.frame.shape[0]} samples, expected {end} or more",
            )
        try:
            scan = self.frame.scan.of_rows(first, end)
        except FrameError as error:
            raise MalformedError("geometry", str(error)) from error
        return replace(self, frame=replace(self.frame, samples=self.frame.samples[first:end], scan=scan))


def rf_decoder(rows: tuple[int, int] | None) -> Callable[[Sequence[Buffer]], RFMessage]:
    """What makes an RF message of its parts, cut to `rows` unless None. Errors, when called: `MalformedError`."""
    if rows is None:
        return RFMessage.from_parts
    return lambda parts: RFMessage.from_parts(parts).cut(rows)
