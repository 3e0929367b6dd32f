"""A Clarius image as a frame: its samples line by line, its geometry by its microns, and what is rejected."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from usert.errors import OptionError
from usert.runtime.bridges.clarius_frames import PROBES, ClariusReading, RawImage, WallClock
from usert.runtime.protocol.header import MalformedError

SAMPLES = np.arange(-12, 12, dtype=np.int16).reshape(6, 4)


def raw(**changes: Any) -> RawImage:
    image = RawImage(
        image=SAMPLES.T.astype("<i2").tobytes(),
        lines=4,
        samples=6,
        bits=16,
        axial_um=38.5,
        lateral_um=300.0,
        time_ns=1,
        jpeg_bytes=0,
        rf=1,
        angle_deg=0.0,
    )
    return image._replace(**changes)


def test_lines_follow_one_another_and_microns_give_the_frequency() -> None:
    samples, scan = ClariusReading(f0_hz=3.5e6).read(raw())
    np.testing.assert_array_equal(samples, SAMPLES)
    assert samples.dtype == np.int16
    # 20 MHz at the maker's 1540 m/s, as issue 50 of clariusdev/cast shows it of a C3
    assert (scan.fs_hz, scan.f0_hz, scan.line_pitch_mm) == pytest.approx((20e6, 3.5e6, 0.3))
    assert (scan.radius_mm, scan.line_angle_deg, scan.first_depth_mm) == (None, None, 0.0)


def test_samples_are_a_copy_of_the_makers_memory() -> None:
    memory = bytearray(raw().image)
    samples, _ = ClariusReading(f0_hz=3.5e6).read(raw(image=memoryview(memory)))
    memory[:] = bytes(len(memory))
    np.testing.assert_array_equal(samples, SAMPLES)


def test_the_sound_speed_of_the_user_leaves_the_frequency_as_it_is() -> None:
    _, scan = ClariusReading(f0_hz=3.5e6, sound_speed_m_s=1480).read(raw())
    assert (scan.fs_hz, scan.sound_speed_m_s) == pytest.approx((20e6, 1480))
    _, scan = ClariusReading(f0_hz=3.5e6, fs_hz=15e6).read(raw())
    assert scan.fs_hz == 15e6


def test_lines_of_a_curved_array_are_as_far_apart_as_told_where_they_begin() -> None:
    _, scan = ClariusReading(probe="C3", radius_mm=45, first_depth_mm=10).read(raw())
    assert scan.line_angle_deg == pytest.approx(math.degrees(0.3 / 45))
    half_way_mm = 10 + 3 * 0.0385
    assert scan.line_pitch_mm == pytest.approx(0.3 / 45 * (45 + half_way_mm))
    assert (scan.radius_mm, scan.first_depth_mm) == (45, 10)


def test_an_angle_of_the_user_wins() -> None:
    _, scan = ClariusReading(probe="PA2", radius_mm=0, line_angle_deg=0.5).read(raw())
    assert (scan.radius_mm, scan.line_angle_deg) == (0, 0.5)


@pytest.mark.parametrize(("name", "probe"), PROBES.items())
def test_the_makers_centre_frequency_is_that_of_the_probe(name: str, probe: Any) -> None:
    _, scan = ClariusReading(probe=name).read(raw(axial_um=12.8))
    assert scan.f0_hz == probe.f0_hz
    _, scan = ClariusReading(probe=name, f0_hz=5e6).read(raw(axial_um=12.8))
    assert scan.f0_hz == 5e6


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"bits": 8}, "field", "RF: got 8 bits a sample, expected 16 that are not packed"),
        ({"jpeg_bytes": 9}, "field", "got 16 bits a sample, packed into 9 bytes"),
        ({"image": bytes(24)}, "size", "RF: got 24 bytes, expected 48 of 6 samples by 4 lines: .* issue 54"),
        ({"lines": 0}, "size", "got 6 samples by 0 lines"),
        ({"samples": 40_000, "lines": 4000}, "size", "got 40000 samples by 4000 lines"),
        ({"axial_um": 0.0}, "geometry", "got 0 microns a sample and 300 a line at f0 3.5 MHz"),
        ({"axial_um": math.nan}, "geometry", "got nan microns a sample"),
        ({"axial_um": 255.28}, "geometry", "less than half of fs_hz"),
        ({"lateral_um": 0.0}, "geometry", "line_pitch_mm"),
    ],
)
def test_an_image_that_is_not_rf_is_rejected(changes: Any, kind: str, message: str) -> None:
    with pytest.raises(MalformedError, match=message) as caught:
        ClariusReading(f0_hz=3.5e6).read(raw(**changes))
    assert caught.value.fault == kind


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, r"--f0-mhz: got none, expected the centre frequency of the pulse, or --probe, one of L20, L15"),
        ({"probe": "L38"}, r"--probe: got 'L38', expected one of L20, L15, .*, or --f0-mhz"),
        ({"f0_hz": 10.0}, "--f0-mhz: f0_hz: got 10, .* looks like MHz"),
        ({"f0_hz": 5e6, "fs_hz": -1.0}, "--fs-mhz: got -1, expected a finite number above 0"),
        ({"f0_hz": 5e6, "radius_mm": 0}, "--radius-mm: got 0, of a phased array, expected --line-angle-deg"),
        ({"f0_hz": 5e6, "line_angle_deg": 0.5}, "radius_mm and line_angle_deg: got None and 0.5"),
        ({"f0_hz": 5e6, "first_depth_mm": -1.0}, "first_depth_mm: got -1"),
    ],
)
def test_options_that_cannot_be_are_told_at_once(fields: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        ClariusReading(**fields)


def test_times_of_the_probe_keep_their_distances_and_are_of_the_wall_clock() -> None:
    clock, began = WallClock(), 1_700_000_000_000_000_000
    assert clock.at(5_000, began) == began
    assert clock.at(50_005_000, began + 90_000_000) == began + 50_000_000
    assert clock.at(0, began) == 0
    assert clock.at(7, began + 5_000_000_000) == began + 5_000_000_000, "the probe was switched off and on"
    assert clock.at(1_000_007, began + 5_000_000_000) == began + 5_001_000_000
