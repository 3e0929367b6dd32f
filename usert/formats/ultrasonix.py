"""Ultrasonix `.rf` files: a header of 19 integers, then frames of int16, line after line.

After the header `uFileHeader` of the maker's Ulterius SDK and the maker's `RPread.m`, as many public projects carry
them: 32-bit little-endian integers type, frames, w (lines of raw data), h (samples of a line), ss (bits of a sample),
eight of the region, probe, txf, sf, dr, ld, extra. Software before version 6 put a tag of 4 bytes before every frame,
which is told by the size of the file. The maker's wiki states txf (transmit) and sf (sampling frequency) in Hz, as
stackoverflow.com/q/22572923 quotes it; both are taken where they can be Hz.

Invariant: the size of a file is what its header says, to the byte.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from .declared import About, Declared
from .options import ImportOptions

_HEADER = struct.Struct("<19i")
_RF, _BITS, _TAG_BYTES = 16, 16, 4
_PLAUSIBLE_HZ = (1e6, 1e8)
"""Ultrasound's frequencies, should a file have another unit after all."""


def read_ultrasonix(path: Path, options: ImportOptions) -> Iterator[NDArray[Any]]:
    """Frames (N, M) int16, in the order of the file."""
    with path.open("rb") as file:
        head = file.read(_HEADER.size)
        if len(head) < _HEADER.size:
            raise FormatError(
                f"{path}: {len(head)} bytes, expected a header of {_HEADER.size}: not a .rf file"
            )
        kind, count, lines, samples, bits = _HEADER.unpack(head)[:5]
        if kind != _RF or bits != _BITS or min(count, lines, samples) < 1:
            raise FormatError(
                f"{path}: type {kind}, {count} frames of {samples} x {lines}, {bits} bits, expected type {_RF} (RF)"
                f" of {_BITS} bits: not a .rf file of an Ultrasonix"
            )
        frame_bytes = lines * samples * 2
        size = path.stat().st_size - _HEADER.size
        if size not in (count * frame_bytes, count * (frame_bytes + _TAG_BYTES)):
            raise FormatError(
                f"{path}: {size} bytes of frames, expected {count * frame_bytes} for {count} of {samples} x {lines}"
                f" (or {_TAG_BYTES} more a frame): the file is truncated or damaged"
            )
        tag = 0 if size == count * frame_bytes else _TAG_BYTES
        for _ in range(count):
            file.seek(tag, 1)
            frame = np.frombuffer(file.read(frame_bytes), "<i2").reshape(lines, samples).T
            yield frame.T if options.transpose else frame


def about_ultrasonix(path: Path, options: ImportOptions) -> About:
    """Sampling and transmit frequency."""
    with path.open("rb") as file:
        head = file.read(_HEADER.size)
    if len(head) < _HEADER.size:
        return About()  # whoever reads the frames says so
    f0, fs = (float(hertz) for hertz in _HEADER.unpack(head)[14:16])
    low, high = _PLAUSIBLE_HZ
    return About(
        geometry=Declared(
            fs_hz=fs if low <= fs <= high else None,
            f0_hz=f0 if low <= f0 <= high else None,
        )
    )
