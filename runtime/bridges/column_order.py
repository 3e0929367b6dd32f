"""RF messages of programs that keep matrices column by column, such as MATLAB, turned to the protocol's rows.

`docs/protocol.md`, "Without ZeroMQ", is the specification. Turning a frame here takes a program that hands it over the
time of doing so itself. Invariant: what is returned is as if it had come in rows.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..protocol.header import Buffer, decode_header
from ..protocol.rf_message import RFMessage

_ROWS = 64
"""Rows turned at a time: what a cache holds of all lines."""


def read_message(header: Buffer, samples: Buffer) -> RFMessage:
    """The RF message of two parts, whose samples may be in columns. Errors: `MalformedError`."""
    parts = (header, samples)
    message = RFMessage.from_parts(parts, orders=("rows", "columns"))
    if decode_header(parts, "rf").get("order", "rows") == "rows":
        return message
    frame = message.frame
    return replace(message, frame=replace(frame, samples=_in_rows(frame.samples)))


def _in_rows(samples: NDArray[Any]) -> NDArray[Any]:
    """(N, M) or (N, M, 2) whose numbers stand line after line, in a new array row after row."""
    rows, lines = samples.shape[:2]
    pixel = np.dtype(f"u{samples.nbytes // (rows * lines)}")
    columns = samples.reshape(-1).view(pixel).reshape(lines, rows)
    turned = np.empty((rows, lines), pixel)
    for row in range(0, rows, _ROWS):
        turned[row : row + _ROWS] = columns[:, row : row + _ROWS].T
    return turned.view(samples.dtype).reshape(samples.shape)
