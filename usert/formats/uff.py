"""UFF of the UltraSound ToolBox (USTB): HDF5 with `uff.beamformed_data` on a `uff.linear_scan`.

After the classes of USTB (www.ustb.no) as github.com/magnusdk/pyuff_ustb 3.0 reads and writes them: an object is a
group with the attribute `class`; `data` is [pixel x channel x wave x frame], which HDF5 shows reversed where MATLAB
wrote it, and as it is where Python did; the pixels of a linear scan run along `z_axis` first. Knows no channel data, no
IQ and no sector scans, whose order of pixels MATLAB and Python tell differently.

Invariant: what comes out is real, sampled along depth, one line a column.
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
from .hdf5 import opened, text_attribute, values
from .options import ImportOptions

_BEAMFORMED, _LINEAR = "uff.beamformed_data", "uff.linear_scan"


def read_uff(path: Path, options: ImportOptions) -> Iterator[NDArray[Any]]:
    """Frames (N, M) of the one beamformed object of the file, or of that named by `variable`."""
    with opened(path, "UFF file") as file:
        group = _beamformed(path, file, options.variable)
        x, z = _axes(path, group)
        data = group["data"]
        if not isinstance(data, h5py.Dataset) or data.dtype.kind == "c" or data.dtype.names:
            raise FormatError(
                f"{path}: {group.name} is complex (IQ), expected RF: the phase must not be taken out"
            )
        pixels = len(x) * len(z)
        if (
            data.dtype.kind not in "iuf"
            or not 1 <= data.ndim <= 4
            or pixels not in (data.shape[-1], data.shape[0])
        ):
            raise FormatError(
                f"{path}: {group.name} has {data.dtype} {data.shape}, expected frames of {len(z)} x {len(x)} pixels"
            )
        missing = (1,) * (4 - data.ndim)
        if data.shape[-1] == pixels:
            stack = values(path, data).reshape(missing + data.shape)  # (F, waves, channels, pixels)
        else:
            stack = values(path, data).reshape(data.shape + missing).T
    if stack.shape[1:3] != (1, 1):
        raise FormatError(
            f"{path}: {stack.shape[1]} waves and {stack.shape[2]} channels, expected one of each: add them up first"
        )
    for frame in stack[:, 0, 0]:
        samples = frame.reshape(len(x), len(z)).T
        yield samples.T if options.transpose else samples


def about_uff(path: Path, options: ImportOptions) -> About:
    """Spacing and first depth of the scan's axes, and the pulse's centre frequency where it is stated."""
    with opened(path, "UFF file") as file:
        group = _beamformed(path, file, options.variable)
        x, z = _axes(path, group)
        f0 = group.get("pulse/center_frequency")
        stated = np.zeros(0) if f0 is None else np.ravel(values(path, f0))[:1]
        pitch = _step_mm(path, "z_axis", z)
        return About(
            geometry=Declared(
                axial_pitch_mm=pitch,
                line_pitch_mm=_step_mm(path, "x_axis", x),
                f0_hz=float(stated[0]) if len(stated) else None,
                delay_samples=1e3 * float(z[0]) / pitch,
            )
        )


def _beamformed(path: Path, file: Any, name: str | None) -> Any:
    classes = {key: _class(item) for key, item in file.items()}
    found = [key for key, kind in classes.items() if kind == _BEAMFORMED and name in (None, key)]
    if len(found) != 1:
        there = ", ".join(f"{key} ({kind or 'no class'})" for key, kind in classes.items()) or "nothing"
        raise FormatError(
            f"{path}: {there}, expected one {_BEAMFORMED}"
            + (
                ": name it by --variable"
                if len(found) > 1
                else ": channel data must be beamformed to RF first"
            )
        )
    return file[found[0]]


def _axes(path: Path, group: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    scan = group.get("scan")
    if scan is None or _class(scan) != _LINEAR or "x_axis" not in scan or "z_axis" not in scan:
        raise FormatError(
            f"{path}: {group.name} on {(scan is not None and _class(scan)) or 'no scan'}, expected {_LINEAR}"
        )
    return np.ravel(values(path, scan["x_axis"])), np.ravel(values(path, scan["z_axis"]))


def _class(item: Any) -> str:
    return text_attribute(item, "class")


def _step_mm(path: Path, name: str, axis: NDArray[Any]) -> float:
    steps = np.diff(axis)
    if len(steps) == 0 or not np.allclose(steps, steps.mean(), rtol=1e-3) or steps.mean() <= 0:
        raise FormatError(f"{path}: {name} does not rise in even steps, expected samples at equal distances")
    return 1e3 * float(steps.mean())
