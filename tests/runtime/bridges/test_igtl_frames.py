"""An OpenIGTLink image as an RF frame: samples, and the geometry that it or a person says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

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


IQ = np.arange(24 * 8 * 2, dtype=np.int16).reshape(24, 8, 2)


@pytest.mark.parametrize(
    ("kind", "transpose", "image", "spacing"),
    [
        ("iq", False, IQ, (0.3, 4 * AXIAL_MM)),
        ("iq-pairs", False, IQ.swapaxes(1, 2).reshape(48, 8), (0.3, 2 * AXIAL_MM)),
        ("iq-lines", False, IQ.reshape(24, 16), (0.15, 4 * AXIAL_MM)),
        ("iq", True, IQ.swapaxes(0, 1), (4 * AXIAL_MM, 0.3)),
        ("iq-pairs", True, IQ.swapaxes(1, 2).reshape(48, 8).T, (2 * AXIAL_MM, 0.3)),
        ("iq-lines", True, IQ.reshape(24, 16).T, (4 * AXIAL_MM, 0.15)),
    ],
)
def test_iq_in_every_order(
    kind: Any, transpose: bool, image: np.ndarray, spacing: tuple[float, float]
) -> None:
    reading = ImageReading(f0_hz=7e6, kind=kind, demodulation_hz=6.5e6, transpose=transpose)
    message = ImageMessage(np.ascontiguousarray(image)[np.newaxis], np.diag([*spacing, 1, 1]))
    samples, scan = FrameReader(reading).read(message)
    np.testing.assert_array_equal(samples, IQ)
    assert samples.flags.c_contiguous
    assert scan.demodulation_hz == 6.5e6
    assert (scan.fs_hz, scan.line_pitch_mm) == pytest.approx((10e6, 0.3))


@pytest.mark.parametrize(
    ("kind", "shape", "words"),
    [
        ("rf", (1, 24, 8, 2), "one number a pixel"),
        ("iq", (1, 24, 8), "I and Q a pixel"),
        ("iq-pairs", (1, 25, 8), "even number of samples along depth"),
        ("iq-lines", (1, 24, 9), "even number of lines"),
    ],
)
def test_an_image_of_another_kind_is_refused(kind: Any, shape: tuple[int, ...], words: str) -> None:
    reading = ImageReading(f0_hz=7e6, fs_hz=40e6, kind=kind, demodulation_hz=None if kind == "rf" else 7e6)
    image = ImageMessage(np.zeros((1, 2, 2), np.int16), np.eye(4))
    image.image = np.zeros(shape, np.int16)
    with pytest.raises(MalformedError, match=words):
        FrameReader(reading).read(image)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "iq-lines"}, "--demodulation-mhz: got None, expected one with --kind iq-lines"),
        ({"demodulation_hz": 6.5e6}, "expected none of RF"),
        (
            {"kind": "iq", "demodulation_hz": ((0.0, 6.5e6), (9.0, 6.5))},
            "--demodulation-mhz: .*looks like MHz",
        ),
        (
            {"kind": "iq-columns"},
            "--kind: got 'iq-columns', expected one of rf, rf-lines, iq, iq-pairs, iq-lines",
        ),
    ],
)
def test_a_kind_goes_with_its_demodulation(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        ImageReading(f0_hz=7e6, **changes)


def test_lines_of_a_curved_array_lie_where_a_person_says() -> None:
    reading = ImageReading(f0_hz=7e6, fs_hz=40e6, radius_mm=60, line_angle_deg=0.5, first_depth_mm=2.0)
    image = ImageMessage(np.zeros((1, 1000, 8), np.int16))  # spacing 1 mm, of no meaning
    _, scan = FrameReader(reading).read(image)
    assert (scan.radius_mm, scan.line_angle_deg, scan.first_depth_mm) == (60, 0.5, 2)
    assert scan.line_pitch_mm == pytest.approx((62 + 500 * AXIAL_MM) * np.pi / 360)
    _, scan = FrameReader(replace(reading, line_pitch_mm=0.6)).read(image)
    assert scan.line_pitch_mm == 0.6


@pytest.mark.parametrize("places", [{"radius_mm": 60.0}, {"first_depth_mm": -1.0}, {"line_angle_deg": 30.0}])
def test_places_that_no_array_has_are_refused_by_option(places: dict[str, float]) -> None:
    with pytest.raises(OptionError, match=next(iter(places)).replace("_", "-")):
        ImageReading(f0_hz=7e6, **places)


def test_b_mode_is_refused() -> None:
    image = ImageMessage(np.zeros((1, 24, 8), np.uint8), np.diag([0.3, AXIAL_MM, 1, 1]))
    with pytest.raises(MalformedError, match="uint8, expected int16, int32 or float32"):
        FrameReader(READING).read(image)
