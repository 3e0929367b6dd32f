"""zea's HDF5 files, where they hold beamformed RF or IQ.

After github.com/tue-bmd/zea, docs/source/_spec_ref.rst: `data/beamformed_data` is a group with `pixels` (frames, x, z,
channels) or (frames, x, z, y, channels), or, as the tree at its head and older files have it, an array (frames, z, x,
channels); one channel is RF, two are IQ. `scan/center_frequency` is in Hz, `scan/sound_speed` in m/s. The extent of the
pixels is not used: whether it runs from centres or from edges is not told. Knows no channel data (`raw_data`).

The frequency by which IQ was turned down is not in the specification. Invariant: what comes out is sampled along depth,
one line a column.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from .declared import About, Declared
from .hdf5 import check_size, names, opened, values
from .options import ImportOptions
from .samples import upright

_DATA = "data/beamformed_data"


def read_zea(path: Path, options: ImportOptions) -> Iterator[NDArray[Any]]:
    """Frames (N, M) of RF, (N, M, 2) of IQ, in the order of the file."""
    with opened(path, "zea file") as file:
        item = file.get(_DATA)
        if item is None:
            data = file.get("data")
            there = (isinstance(data, h5py.Group) and ", ".join(names(data))) or "nothing"
            raise FormatError(
                f"{path}: data holds {there}, expected beamformed_data to read: channel data must be beamformed"
            )
        grouped = isinstance(item, h5py.Group)
        pixels = item.get("pixels") if grouped else item
        if not isinstance(pixels, h5py.Dataset):
            there = (grouped and ", ".join(names(item))) or "nothing"
            raise FormatError(f"{path}: {_DATA} holds {there}, expected pixels: damaged?")
        if pixels.ndim not in (4, 5) or pixels.dtype.kind not in "iuf":
            raise FormatError(
                f"{path}: {_DATA} is {pixels.dtype} {pixels.shape}, expected real numbers (frames, x, z, channels)"
            )
        if pixels.shape[-1] not in (1, 2):
            raise FormatError(
                f"{path}: {_DATA} has {pixels.shape[-1]} channels, expected one of RF, or two of IQ"
            )
        if pixels.ndim == 5 and pixels.shape[3] != 1:
            raise FormatError(f"{path}: {_DATA} has {pixels.shape[3]} planes, expected one")
        check_size(path, pixels)
        for k in range(pixels.shape[0]):
            channels = pixels.shape[-1:] if pixels.shape[-1] == 2 else ()
            frame = pixels[k].reshape(pixels.shape[1:3] + channels)
            yield upright(frame, lines_first=grouped != options.transpose)  # a group has x first


def about_zea(path: Path, options: ImportOptions) -> About:
    """Centre frequency, if all transmits have one, and speed of sound."""
    with opened(path, "zea file") as file:

        def number(name: str) -> float | None:
            if not isinstance(file.get(name), h5py.Dataset):
                return None
            found = np.unique(values(path, file[name]))
            return float(found[0]) if len(found) == 1 else None

        return About(
            geometry=Declared(
                f0_hz=number("scan/center_frequency"), sound_speed_m_s=number("scan/sound_speed")
            )
        )
