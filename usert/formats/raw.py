"""Bare samples in a file: little-endian, frame after frame, no header.

Knows nothing but the size of the file. Invariant: a file is a whole number of frames of the given shape.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError, OptionError
from .options import SAMPLE_TYPES, ImportOptions


def read_raw(path: Path, options: ImportOptions) -> Iterator[NDArray[Any]]:
    """Frames (N, M) in the order of the file; a row holds one sample of each line, unless transposed."""
    if options.shape is None:
        raise OptionError("shape: got none, expected samples,lines of a frame, for a raw file does not say")
    dtype = np.dtype(SAMPLE_TYPES[options.sample_type])
    rows, lines = options.shape
    frame_bytes = rows * lines * dtype.itemsize
    size = path.stat().st_size
    if size == 0 or size % frame_bytes:
        raise FormatError(
            f"{path}: {size} bytes, expected a multiple of {frame_bytes}"
            f" ({rows} samples x {lines} lines x {dtype.itemsize} bytes): check shape and sample type"
        )
    with path.open("rb") as file:
        while block := file.read(frame_bytes):
            samples = np.frombuffer(block, dtype)
            yield samples.reshape(lines, rows).T if options.transpose else samples.reshape(rows, lines)
