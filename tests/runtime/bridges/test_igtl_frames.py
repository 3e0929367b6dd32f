"""An OpenIGTLink image as an RF frame: samples, and the geometry that it or a person says."""

from __future__ import annotations

import numpy as np
import pytest
from igtl_sender import samples_of
from pyigtl.messages import ImageMessage

from usert.errors import OptionError
from usert.runtime.bridges.igtl_frames import FrameReader, ImageReading
from usert.runtime.protocol.header import MalformedError

READING = ImageReading(f0_hz=7e6)
AXIAL_MM = 1e3 * 1540 / (2 * 40e6)


def test_what_a_person_says_goes_before_the_spacing() -> None:
    reading = ImageReading(f0_hz=5e6, fs_hz=20e6, line_pitch_mm=0.2, sound_speed_m_s=1500.0)
    image = ImageMessage(np.zeros((1, 24, 8), np.int16))  # spacing 1 mm
    _, scan = FrameReader(reading).read(image)
    assert (scan.fs_hz, scan.f0_hz, scan.line_pitch_mm, scan.sound_speed_m_s) == (20e6, 5e6, 0.2, 1500.0)
    with pytest.raises(MalformedError, match=r"spacing.* 1 mm .*--fs-mhz"):
        FrameReader(READING).read(image)


def test_big_endian_samples_are_the_same_samples() -> None:
    samples = samples_of(3, "int16", (24, 8))
    matrix = np.diag([0.3, AXIAL_MM, 1, 1])
    read, _ = FrameReader(READING).read(ImageMessage(samples.astype(">i2")[np.newaxis], matrix))
    assert read.dtype.isnative
    np.testing.assert_array_equal(read, samples)


def test_a_geometry_that_really_changes_is_another() -> None:
    reader = FrameReader(READING)
    pitches = (AXIAL_MM, AXIAL_MM * (1 + 1e-6), AXIAL_MM * 1.01)
    scans = [
        reader.read(ImageMessage(np.zeros((1, 24, 8), np.int16), np.diag([0.3, pitch, 1, 1])))[1]
        for pitch in pitches
    ]
    assert scans[0] == scans[1] != scans[2]


def test_options_in_another_unit_are_refused_by_name() -> None:
    with pytest.raises(OptionError, match=r"--f0-mhz: .*looks like MHz"):
        ImageReading(f0_hz=6.5)


def test_b_mode_is_refused() -> None:
    image = ImageMessage(np.zeros((1, 24, 8), np.uint8), np.diag([0.3, AXIAL_MM, 1, 1]))
    with pytest.raises(MalformedError, match="uint8, expected int16 or float32"):
        FrameReader(READING).read(image)
