"""Clarius' raw RF: `…_rf.raw`, and beside it `…_rf.yml`, which says how it was made.

After the maker's public description, github.com/clariusdev/raw, README.md and common/python/rdataread.py: five
little-endian uint32 (id, frames, lines, samples of a line, bytes of a sample), then for each frame a time of 8 bytes
and the samples, line after line; RF is beamformed int16. The times count from an event that is not told, so they are
no wall clock and are left out. `.raw.lzo` must be unpacked first, and a curved array's lines are not parallel.

Invariant: the size of a file is what its header says, to the byte.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from .declared import About, Declared
from .options import ImportOptions

_HEADER = struct.Struct("<5I")
_TIME_BYTES, _SAMPLE_BYTES = 8, 2
_LZO = b"\x89LZO"
_MHZ = r"^{}:\s*([0-9.]+)\s*MHz\s*$"


def read_clarius(path: Path, options: ImportOptions) -> Iterator[NDArray[Any]]:
    """Frames (N, M) int16, in the order of the file."""
    with path.open("rb") as file:
        head = file.read(_HEADER.size)
        if head.startswith(_LZO):
            raise FormatError(f"{path}: packed by LZO, expected the .raw file in it: unpack it by `lzop -d`")
        if len(head) < _HEADER.size:
            raise FormatError(
                f"{path}: {len(head)} bytes, expected a header of {_HEADER.size}: not a .raw file"
            )
        _, count, lines, samples, sample_bytes = _HEADER.unpack(head)
        if sample_bytes != _SAMPLE_BYTES:
            raise FormatError(
                f"{path}: {sample_bytes} bytes a sample, expected {_SAMPLE_BYTES} of RF: IQ has 4, an envelope 1;"
                " capture in RF mode and name the file …_rf.raw"
            )
        frame_bytes = lines * samples * sample_bytes
        expected = _HEADER.size + count * (_TIME_BYTES + frame_bytes)
        size = path.stat().st_size
        if size != expected or min(count, lines, samples) == 0:
            raise FormatError(
                f"{path}: {size} bytes, expected {expected} for {count} frames of {samples} x {lines}:"
                " the file is truncated, or none of a Clarius"
            )
        for _ in range(count):
            file.seek(_TIME_BYTES, 1)
            frame = np.frombuffer(file.read(frame_bytes), "<i2").reshape(lines, samples).T
            yield frame.T if options.transpose else frame


def about_clarius(path: Path, options: ImportOptions) -> About:
    """Sampling rate and transmit frequency of the `.yml` beside it, if there is one that says them."""
    try:
        text = path.with_suffix(".yml").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return About()

    def hertz(key: str) -> float | None:
        found = re.search(_MHZ.format(key), text, re.MULTILINE)
        return None if found is None else 1e6 * float(found[1])

    return About(geometry=Declared(fs_hz=hertz("sampling rate"), f0_hz=hertz("transmit frequency")))
