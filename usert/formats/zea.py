"""zea's HDF5 files, where they hold beamformed RF or IQ.

After github.com/tue-bmd/zea, `zea/data/spec.py` of version 0.1.8, whose own files were read: in `tracks/track_0`, or in
the root of older files, `data/beamformed_data` is a group with `values` (frames, z, x, channels), or with a y before
the channels, and `coordinates` of its pixels in metres, x, y, z; before that it was `pixels` (frames, x, z, channels),
or just an array (frames, z, x, channels). One channel is RF, two are IQ, turned down by `scan/demodulation_frequency`.
Frequencies are in Hz, `scan/sound_speed` in m/s. Files are packed by Blosc unless told otherwise, which needs the
package hdf5plugin. Channel data (`raw_data`) are not read.

Invariant: what comes out is sampled along depth, one line a column.
"""

from __future__ import annotations

import importlib
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
        track = _track(path, file)
        item = track.get(_DATA)
        if item is None:
            data = track.get("data")
            there = (isinstance(data, h5py.Group) and ", ".join(names(data))) or "nothing"
            raise FormatError(
                f"{path}: data holds {there}, expected beamformed_data to read: channel data must be beamformed"
            )
        grouped = isinstance(item, h5py.Group)
        newest = grouped and "values" in item
        pixels = item.get("values" if newest else "pixels") if grouped else item
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
        _check_filters(path, pixels)
        check_size(path, pixels)
        for k in range(pixels.shape[0]):
            channels = pixels.shape[-1:] if pixels.shape[-1] == 2 else ()
            frame = pixels[k].reshape(pixels.shape[1:3] + channels)
            yield upright(frame, lines_first=(grouped and not newest) != options.transpose)


def about_zea(path: Path, options: ImportOptions) -> About:
    """Centre frequency, if all transmits have one, speed of sound, spacing of the pixels; of IQ its demodulation."""
    with opened(path, "zea file") as file:
        track = _track(path, file)

        def number(name: str) -> float | None:
            if not isinstance(track.get(name), h5py.Dataset):
                return None
            _check_filters(path, track[name])
            found = np.unique(values(path, track[name]))
            return float(found[0]) if len(found) == 1 else None

        stored = track.get(f"{_DATA}/values")
        iq = isinstance(stored, h5py.Dataset) and stored.shape[-1:] == (2,)
        return About(
            geometry=Declared(
                f0_hz=number("scan/center_frequency"),
                sound_speed_m_s=number("scan/sound_speed"),
                demodulation_hz=number("scan/demodulation_frequency") if iq else None,
                **_spacing(path, track),
            )
        )


def _track(path: Path, file: Any) -> Any:
    """The group that holds `data` and `scan`. Errors: `FormatError` for a file of several tracks."""
    tracks = file.get("tracks")
    if not isinstance(tracks, h5py.Group):
        return file
    there = [name for name in names(tracks) if isinstance(tracks.get(name), h5py.Group)]
    if len(there) != 1:
        raise FormatError(
            f"{path}: got {len(there)} tracks ({', '.join(there)}), expected one: save it alone"
        )
    return tracks[there[0]]


def _spacing(path: Path, track: Any) -> dict[str, float]:
    """Pitches and first depth where the pixels lie on straight lines along depth, evenly; else nothing."""
    item = track.get(f"{_DATA}/coordinates")
    if (
        not isinstance(item, h5py.Dataset)
        or item.dtype.kind != "f"
        or item.shape[-1:] != (3,)
        or item.ndim < 3
    ):
        return {}
    _check_filters(path, item)
    check_size(path, item)
    grid = values(path, item).astype(np.float64)
    grid = grid[0] if grid.ndim > 3 and track[f"{_DATA}/values"].ndim == item.ndim else grid
    if grid.ndim != 3 or min(grid.shape[:2]) < 2 or not np.isfinite(grid).all():
        return {}
    across, depth = grid[0, :, 0], grid[:, 0, 2]
    x, z = float(np.ptp(across)) / (len(across) - 1), float(np.ptp(depth)) / (len(depth) - 1)
    even = (
        x > 0
        and z > 0
        and np.abs(np.diff(across) - x).max() < 0.01 * x
        and np.abs(np.diff(depth) - z).max() < 0.05 * z
        and np.abs(grid[..., 0] - across).max() < 0.01 * x
        and np.abs(grid[..., 2] - depth[:, None]).max() < 0.05 * z
    )
    if not even:
        return {}
    return {
        "axial_pitch_mm": 1e3 * z,
        "line_pitch_mm": 1e3 * x,
        "first_depth_mm": max(0.0, 1e3 * float(depth[0])),
    }


def _check_filters(path: Path, dataset: Any) -> None:
    """Load the filters of hdf5plugin, if they are needed. Errors: `FormatError` where it is not installed."""
    made = dataset.id.get_create_plist()
    filters = [made.get_filter(k) for k in range(made.get_nfilters())]
    unknown = [found for found in filters if not h5py.h5z.filter_avail(found[0])]
    if not unknown:
        return
    try:
        importlib.import_module("hdf5plugin")
    except ImportError:
        name = unknown[0][3].decode("ascii", "replace")
        raise FormatError(
            f"{path}: packed by {name}, which HDF5 alone does not read: pip install hdf5plugin"
        ) from None
