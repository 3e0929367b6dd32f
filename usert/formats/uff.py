"""UFF of the UltraSound ToolBox (USTB): HDF5 with `uff.beamformed_data` on a `uff.linear_scan` or a `uff.sector_scan`.

After the classes of USTB (www.ustb.no) as github.com/magnusdk/pyuff_ustb 3.0 reads and writes them: an object is a
group with the attribute `class`; `data` is [pixel x channel x wave x frame], which HDF5 shows reversed where MATLAB
wrote it, and as it is where Python did; complex `data` is a group of `real` and `imag`. Pixels run along `z_axis` or
`depth_axis` first, as USTB, which beamforms, has it in +uff/linear_scan.m and sector_scan.m; depth of a sector scan
counts from `origin` (formerly `apex`), the centre of a curved array, whose middle is at z = 0. USTB's beamformer keeps
the carrier in its complex output where the channels were RF, and turns it down by twice the depth where they were IQ
(`das.m`): `modulation_frequency` is 0, or that of the IQ. Knows no channel data.

Invariant: what comes out is sampled along depth, one line a column.
"""

from __future__ import annotations

import math
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
from .samples import is_number, upright

_BEAMFORMED = "uff.beamformed_data"
_AXES = {"uff.linear_scan": ("x_axis", "z_axis"), "uff.sector_scan": ("azimuth_axis", "depth_axis")}
"""Names of the axes across and along depth, by the class of the scan."""


def read_uff(path: Path, options: ImportOptions) -> Iterator[NDArray[Any]]:
    """Frames (N, M), real or complex, of the one beamformed object of the file, or of that named by `variable`."""
    with opened(path, "UFF file") as file:
        group = _beamformed(path, file, options.variable)
        x, z = _axes(path, group)
        stack = _stack(path, group, len(x) * len(z))
    if stack.shape[1:3] != (1, 1):
        raise FormatError(
            f"{path}: {stack.shape[1]} waves and {stack.shape[2]} channels, expected one of each: add them up first"
        )
    for frame in stack[:, 0, 0]:
        yield upright(frame.reshape(len(x), len(z)), lines_first=not options.transpose)


def about_uff(path: Path, options: ImportOptions) -> About:
    """Spacing and first depth of the scan's axes, and the pulse's and the demodulation frequency where stated."""
    with opened(path, "UFF file") as file:
        group = _beamformed(path, file, options.variable)
        x, z = _axes(path, group)
        demodulation_hz = _number(path, group, "modulation_frequency")
        return About(
            kind="rf" if demodulation_hz == 0 else None,
            geometry=Declared(
                axial_pitch_mm=_step_mm(path, "depth", z),
                f0_hz=_number(path, group, "pulse/center_frequency"),
                demodulation_hz=demodulation_hz or None,
                **_lines(path, group["scan"], x, z),
            ),
        )


def _stack(path: Path, group: Any, pixels: int) -> NDArray[Any]:
    """(F, waves, channels, pixels), real or complex."""
    data = group.get("data")
    if isinstance(data, h5py.Group) and {"real", "imag"} <= set(data):
        real, imag = (
            _in_order(path, group, data["real"], pixels),
            _in_order(path, group, data["imag"], pixels),
        )
        if real.shape != imag.shape:
            raise FormatError(
                f"{path}: {data.name}: {real.shape} real, {imag.shape} imaginary, expected one shape"
            )
        return real + 1j * imag
    return _in_order(path, group, data, pixels)


def _in_order(path: Path, group: Any, data: Any, pixels: int) -> NDArray[Any]:
    if not isinstance(data, h5py.Dataset):
        raise FormatError(f"{path}: {group.name} has no data, expected numbers")
    if not is_number(data.dtype) or not 1 <= data.ndim <= 4 or pixels not in (data.shape[-1], data.shape[0]):
        raise FormatError(
            f"{path}: {group.name} has {data.dtype} {data.shape}, expected frames of {pixels} pixels"
        )
    missing = (1,) * (4 - data.ndim)
    if data.shape[-1] == pixels:
        return values(path, data).reshape(missing + data.shape)
    return values(path, data).reshape(data.shape + missing).T


def _number(path: Path, group: Any, name: str) -> float | None:
    item = group.get(name)
    stated = np.zeros(0) if item is None else np.ravel(values(path, item))[:1]
    return float(stated[0]) if len(stated) else None


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
    names = _AXES.get("" if scan is None else _class(scan), ())
    if not names or not all(name in scan for name in names):
        raise FormatError(
            f"{path}: {group.name} on {(scan is not None and _class(scan)) or 'no scan'}, "
            f"expected {' or '.join(_AXES)}"
        )
    across, depth = (np.ravel(values(path, scan[name])) for name in names)
    return across, depth


def _lines(path: Path, scan: Any, across: NDArray[Any], depth: NDArray[Any]) -> dict[str, float]:
    """Fields of `Declared` that say how the lines lie."""
    step, first_mm = _step_mm(path, "lateral axis", across), 1e3 * float(depth[0])
    if _class(scan) == "uff.linear_scan":
        return {"line_pitch_mm": step, "first_depth_mm": max(0.0, first_mm)}
    if abs(across[0] + across[-1]) > step / 1e3:
        raise FormatError(
            f"{path}: azimuth_axis from {across[0]:g} to {across[-1]:g} rad, expected lines evenly about 0"
        )
    if (getattr(scan.get("elevation_axis"), "size", None) or 1) > 1:
        raise FormatError(f"{path}: a sector scan with more than one elevation, expected a plane")
    x, z = _point_mm(path, scan.get("origin", scan.get("apex")))
    if abs(x) > 1e-3 or z > 1e-3:
        raise FormatError(
            f"{path}: a sector scan from x {x:g}, z {z:g} mm, expected lines that meet at x 0, at or behind the array"
        )
    radius_mm = max(0.0, min(-z, first_mm))
    return {
        "radius_mm": radius_mm,
        "line_angle_deg": math.degrees(step / 1e3),
        "first_depth_mm": max(0.0, first_mm - radius_mm),
    }


def _point_mm(path: Path, point: Any) -> tuple[float, float]:
    """(x, z) of a `uff.point`, which is kept in spherical coordinates; 0 where there is none."""
    if point is None:
        return 0.0, 0.0
    if not isinstance(point, h5py.Group) or _class(point) != "uff.point":
        raise FormatError(
            f"{path}: a sector scan with an origin for each line, expected lines that meet in one point"
        )
    distance, azimuth, elevation = (
        _number(path, point, name) or 0.0 for name in ("distance", "azimuth", "elevation")
    )
    if not all(map(math.isfinite, (distance, azimuth, elevation))):
        raise FormatError(f"{path}: a sector scan from {distance:g} m, expected finite numbers")
    flat_mm = 1e3 * distance * math.cos(elevation)
    return flat_mm * math.sin(azimuth), flat_mm * math.cos(azimuth)


def _class(item: Any) -> str:
    return text_attribute(item, "class")


def _step_mm(path: Path, name: str, axis: NDArray[Any]) -> float:
    steps = np.diff(axis)
    if len(steps) == 0 or not np.allclose(steps, steps.mean(), rtol=1e-3) or steps.mean() <= 0:
        raise FormatError(f"{path}: {name} does not rise in even steps, expected samples at equal distances")
    return 1e3 * float(steps.mean())
