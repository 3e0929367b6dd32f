"""Which numbers of a file's array are I and Q: a frame of RF, or of IQ, of an array as a reader gives it.

Knows no format. Invariant: what comes out is real numbers in native byte order, (N, M) of RF and (N, M, 2) of IQ,
in-phase before quadrature.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError, FrameError
from ..frame import Kind
from ..iq import split_iq
from .options import SampleKind

Array = NDArray[Any]


def is_complex(dtype: np.dtype[Any]) -> bool:
    """Whether its numbers are complex: such a type, or a compound of two equal real ones, as MATLAB 7.3 has it."""
    if dtype.names is None:
        return dtype.kind == "c"
    parts = {dtype[name] for name in dtype.names}
    return len(dtype.names) == 2 and len(parts) == 1 and next(iter(parts)).kind in "iuf"


def is_number(dtype: np.dtype[Any]) -> bool:
    """Whether its numbers are real or complex."""
    return dtype.kind in "iuf" or is_complex(dtype)


def upright(frame: Array, *, lines_first: bool) -> Array:
    """A frame with its first two axes swapped if its lines come first."""
    return frame.swapaxes(0, 1) if lines_first else frame


def as_frame(what: str, array: Array, kind: SampleKind | None) -> Array:
    """RF (N, M) or IQ (N, M, 2) of an upright array.

    Parameters
    ----------
    what : str
        The file and the frame, for messages.
    array : array
        (N, M), real or complex, or (N, M, 2).
    kind : SampleKind or None
        What the samples are; None: what the array says.

    Errors: `FormatError` for an array that cannot be of that kind.
    """
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    if is_complex(native.dtype):
        native = _pairs(native)
    paired = native.ndim == 3 and native.shape[2] == 2
    if native.ndim != 2 and not paired:
        raise FormatError(f"{what} has shape {array.shape}, expected samples x lines, of IQ x 2")
    match kind:
        case "rf":
            return native[..., 0] if paired else native
        case "rf-lines" if not paired:
            if native.shape[1] % 2:
                raise FormatError(
                    f"{what}: rf-lines: got {native.shape[1]} lines, expected an even number of lines"
                )
            return native[:, ::2]
        case "iq" if not paired:
            raise FormatError(
                f"{what} has real samples {native.shape}, expected complex numbers or a last axis of 2: if I and Q"
                " are in turns, --kind iq-pairs (along depth) or iq-lines (a line each)"
            )
        case "rf-lines" | "iq-pairs" | "iq-lines" if paired:
            other = "rf" if kind == "rf-lines" else "iq"
            raise FormatError(
                f"{what} has complex samples, expected real ones for --kind {kind}: --kind {other}"
            )
        case "iq-pairs" | "iq-lines":
            try:
                return split_iq(native, kind)
            except FrameError as error:
                raise FormatError(f"{what}: {error}") from error
        case _:
            return native


def kind_of(frame: Array) -> Kind:
    """Whether what `as_frame` gave is RF or IQ."""
    return "rf" if frame.ndim == 2 else "iq"


def _pairs(array: Array) -> Array:
    """Complex (…) → real (…, 2)."""
    if array.dtype.names is None:
        return np.stack((array.real, array.imag), axis=-1)
    return np.stack([array[name] for name in array.dtype.names], axis=-1)
