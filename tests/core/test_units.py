"""Geometry that cannot be is refused by name, with the unit that was probably meant."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from usert.commands.info import recording_card
from usert.errors import FrameError
from usert.frame import Scan
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.recording import Recording, write_recording
from usert.units import clock_unit, unit_fault

PLAUSIBLE = {"fs_hz": 40e6, "f0_hz": 6.5e6, "sound_speed_m_s": 1540, "line_pitch_mm": 0.12}


@pytest.mark.parametrize(
    ("name", "value", "meant"),
    [
        ("fs_hz", 4e13, "--fs-mhz takes MHz"),
        ("fs_hz", 40.0, "looks like MHz"),
        ("fs_hz", 40e3, "looks like kHz"),
        ("f0_hz", 6.5e12, "--f0-mhz takes MHz"),
        ("f0_hz", 6.5, "looks like MHz"),
        ("line_pitch_mm", 0.00012, "looks like metres"),
        ("line_pitch_mm", 120, "looks like µm"),
        ("radius_mm", 0.06, "looks like metres"),
        ("sound_speed_m_s", 1.54, "looks like km/s or mm/µs"),
        ("sound_speed_m_s", 1.54e6, "looks like mm/s"),
    ],
)
def test_a_number_in_another_unit_is_refused_with_what_was_meant(name: str, value: float, meant: str) -> None:
    fields: dict[str, Any] = (
        PLAUSIBLE | {"line_angle_deg": 0.5 if name == "radius_mm" else None} | {name: value}
    )
    with pytest.raises(FrameError) as caught:
        Scan(**fields)
    assert str(caught.value).startswith(f"{name}: got {value:g}, expected ")
    assert str(caught.value).endswith(f": {meant}")


def test_a_number_that_makes_sense_in_no_unit_is_refused_without_a_guess() -> None:
    assert unit_fault("sound_speed_m_s", 1e-9) == "sound_speed_m_s: got 1e-09, expected 300 to 10000 m/s"


@pytest.mark.parametrize(
    ("fs_mhz", "f0_mhz", "pitch_mm"),
    [(10, 2, 1.0), (40, 6.5, 0.12), (120, 30, 0.05), (500, 50, 0.01), (2, 0.5, 3.0)],
)
def test_scanners_from_phased_arrays_to_microscopes_are_plausible(
    fs_mhz: float, f0_mhz: float, pitch_mm: float
) -> None:
    for sound_speed in (1450, 1540, 1620, 5900):
        Scan(fs_hz=1e6 * fs_mhz, f0_hz=1e6 * f0_mhz, sound_speed_m_s=sound_speed, line_pitch_mm=pitch_mm)


def test_what_makes_a_frequency_is_named_before_it() -> None:
    with pytest.raises(FrameError, match="sound_speed_m_s: got"):
        Scan(fs_hz=4e4, f0_hz=6.5e6, sound_speed_m_s=1.54, line_pitch_mm=0.12)


@pytest.mark.parametrize(
    ("interval", "unit"),
    [
        (33_333, "microseconds"),
        (33, "milliseconds"),
        (1, "seconds or milliseconds"),
        (0.05, "seconds or milliseconds"),
        (500, "microseconds"),
        (33_333_333, None),
        (1e5, None),
        (0, None),
        (-5, None),
    ],
)
def test_the_unit_of_a_clock_shows_in_the_interval_of_its_frames(interval: float, unit: str | None) -> None:
    assert clock_unit(interval) == unit


def test_info_names_times_in_another_unit(tmp_path: Path) -> None:
    path = tmp_path / "rec.h5"
    scanner = SimulatedScanner(ScannerConfig(shape=(256, 64)), seed=0)
    start_us = 1_700_000_000_000_000
    write_recording(path, [replace(scanner.frame(k), acquired_ns=start_us + 40_000 * k) for k in range(3)])
    with Recording(path) as recording:
        assert "microseconds" in recording_card(recording)
