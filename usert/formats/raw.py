"""Bare samples in a file: little-endian, frame after frame, no header.

Knows nothing but the size of the file. Invariant: a file is a whole number of frames of the given shape.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError, OptionError
from .options import SAMPLE_TYPES, ImportOptions
from .samples import upright


def read_raw(path: Path, options: ImportOptions) -> Iterator[NDArray[Any]]:
    """Frames (N, M) in the order of the file; a row holds one sample of each line, unless transposed.

    With kind `iq` (N, M, 2): I and Q of a sample are neighbours.
    """
    if options.shape is None:
        raise OptionError("shape: got none, expected samples,lines of a frame, for a raw file does not say")
    dtype = np.dtype(SAMPLE_TYPES[options.sample_type])
    rows, lines = options.shape
    shape: tuple[int, ...] = (lines, rows) if options.transpose else (rows, lines)
    if options.kind == "iq":
        shape = (*shape, 2)
    frame_bytes = math.prod(shape) * dtype.itemsize
    size = path.stat().st_size
    if size == 0 or size % frame_bytes:
        raise FormatError(
            f"{path}: {size} bytes, expected a multiple of {frame_bytes}"
            f" ({rows} samples x {lines} lines x {frame_bytes // (rows * lines)} bytes): check shape and sample type"
        )
    with path.open("rb") as file:
        while block := file.read(frame_bytes):
            yield upright(np.frombuffer(block, dtype).reshape(shape), lines_first=options.transpose)
