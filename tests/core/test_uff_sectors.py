"""UFF of a sector scan, written by USTB's own library: its lines are those of a curved or a phased array."""

from __future__ import annotations

import math
from pathlib import Path

import h5py
import numpy as np
import pytest

from usert.errors import FormatError
from usert.formats import Declared, about_files, read_frames
from usert.frame import Scan

FRAMES, SAMPLES, LINES = 3, 7, 5
STACK = np.random.default_rng(0).integers(-3000, 3000, (FRAMES, SAMPLES, LINES)).astype(np.float32)


def as_sector(path: Path, behind_mm: float, first_mm: float) -> Path:
    """Lines half a degree apart that meet `behind_mm` behind z = 0, from `first_mm` of there on."""
    uff = pytest.importorskip("pyuff_ustb", reason="USTB's own library writes the file")
    sector = uff.SectorScan(
        azimuth_axis=np.radians(0.5) * (np.arange(LINES) - (LINES - 1) / 2),
        depth_axis=1e-3 * first_mm + 0.01925e-3 * np.arange(SAMPLES),
        origin=uff.Point(distance=1e-3 * behind_mm, azimuth=np.pi, elevation=0.0),
    )
    pixels = STACK.transpose(0, 2, 1).reshape(FRAMES, 1, 1, -1)  # along depth first
    data = uff.BeamformedData(scan=sector, data=pixels.T)
    data.write(str(path), "b_data", ignore_missing_compulsory_fields=True)
    return path


@pytest.mark.parametrize(("behind_mm", "first_mm"), [(40.0, 42.0), (40.0, 39.9), (0.0, 3.0)])
def test_uff_of_a_sector_says_how_its_lines_lie(
    tmp_path: Path, scan: Scan, behind_mm: float, first_mm: float
) -> None:
    """Written by USTB's own library; depth counts from the centre of the array."""
    path = as_sector(tmp_path / "a", behind_mm, first_mm)
    np.testing.assert_array_equal([frame.samples for frame in read_frames("uff", [path], scan)], STACK)
    said = about_files("uff", [path]).geometry
    radius_mm = min(behind_mm, first_mm)
    assert said.radius_mm == pytest.approx(radius_mm)
    assert said.first_depth_mm == pytest.approx(first_mm - radius_mm, abs=1e-9)
    assert said.line_angle_deg == pytest.approx(0.5)
    array = Declared(f0_hz=6e6).over(said).of_rows(SAMPLES).scan()
    middle = first_mm + SAMPLES * 0.01925 / 2
    assert array.line_pitch_mm == pytest.approx(math.radians(0.5) * middle)


def test_uff_of_a_sector_that_is_no_fan_is_refused(tmp_path: Path) -> None:
    path = as_sector(tmp_path / "a", 0.0, 0.0)
    with h5py.File(path, "r+") as file:
        del file["b_data/scan/azimuth_axis"]
        file["b_data/scan/azimuth_axis"] = 0.01 * np.arange(LINES)
    with pytest.raises(FormatError, match=r"azimuth_axis from 0 to 0\.04 rad, expected lines evenly about 0"):
        about_files("uff", [path])
    with h5py.File(path, "r+") as file:
        file["b_data/scan/azimuth_axis"][...] -= 0.02
        file["b_data/scan/origin"].attrs["class"] = "cell"
    with pytest.raises(FormatError, match="an origin for each line"):
        about_files("uff", [path])
