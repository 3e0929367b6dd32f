"""RF frames of public data sets, one by one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from usert.formats import ImportOptions, read_frames
from usert.frame import Scan


def public_frames(folder: Path) -> Iterator[tuple[str, NDArray[Any], float]]:
    """All public RF: name, (N, M), f0 in Hz at 40 MHz."""
    scan = Scan(fs_hz=40e6, f0_hz=6.5e6, sound_speed_m_s=1540, line_pitch_mm=0.12)
    for path in sorted((folder / "alpinion_phantom").glob("*.mat")):
        yield path.name, next(iter(read_frames("alpinion", [path], scan))).samples, 6.25e6
    for path in sorted((folder / "fieldii_fem").glob("*.mat")):
        options = ImportOptions(variables=("Im2" if "2.0" in path.name else "Im0",))
        yield path.name, next(iter(read_frames("mat", [path], scan, options))).samples, 6.7e6
    for path in sorted((folder / "invivo_arm").glob("*/*.raw")):
        yield "/".join(path.parts[-2:]), np.fromfile(path, "<f4").reshape(2000, 128), 5.7e6
