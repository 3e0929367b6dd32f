"""Two frames of IQ that moved: lines first are told by their motion, and good frames never are."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from public_rf import public_frames

from usert.frame import Scan
from usert.iq import iq_scan, turned_down
from usert.phantom.beam import Beam
from usert.phantom.field import Field, Rigid, Sum, Uniform
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.signal_check import LINES_FIRST, AxesWatch, check_axes
from usert.signal_check.axes import lines_first

Samples = NDArray[Any]
FS = 40e6
MS = 10**6


def turned(share: float) -> Field:
    """The probe tilts in the image's plane: a ramp across the lines, none along depth."""
    return lambda z, x: (share * x, -share * z)


def sheared(share: float) -> Field:
    return lambda z, x: (share * x, 0 * z)


FIELDS: dict[str, Field | None] = {
    "a lesion": None,
    "a press": Uniform(strain=1.0, centre_x_mm=5.0),
    "a tilt": turned(0.5),
    "a shear": sheared(-0.8),
    "a press and a tilt": Sum(fields=(Uniform(strain=1.0), turned(0.7))),
    "a slide": Rigid(dz_mm=0.0, dx_mm=25.0),
    "a push": Rigid(dz_mm=20.0, dx_mm=5.0),
}


def scanner(
    cycles: float = 0.1625,
    bandwidth: float = 0.6,
    shape: tuple[int, int] = (768, 96),
    *,
    pitch_mm: float = 0.12,
    sigma: float = 1.2,
    field: Field | None = None,
) -> SimulatedScanner:
    scan = Scan(fs_hz=FS, f0_hz=cycles * FS, sound_speed_m_s=1540, line_pitch_mm=pitch_mm)
    beam = Beam(fractional_bandwidth=bandwidth, lateral_sigma_lines=sigma)
    return SimulatedScanner(
        ScannerConfig(scan=scan, shape=shape, beam=beam, unit_field=field, peak_strain=0.02)
    )


def iq(
    frames: list[Samples], scan: Scan, decimation: int = 4, share: float = 1.0
) -> tuple[list[Samples], Scan]:
    told = iq_scan(scan, share * scan.f0_hz, decimation)
    return [turned_down(frame, told, decimation) for frame in frames], told


def transposed(frames: list[Samples]) -> list[Samples]:
    return [frame.swapaxes(0, 1) for frame in frames]


PRESS = scanner()
FRAMES, SCAN = iq([PRESS.frame(k).samples for k in range(10)], PRESS.scan)


@pytest.mark.parametrize("bandwidth", [0.25, 0.6, 0.9])
@pytest.mark.parametrize("cycles", [0.05, 0.1, 0.1625, 0.25, 0.4])
def test_lines_first_are_told_of_any_simulated_scanner(cycles: float, bandwidth: float) -> None:
    rows = 2048 if cycles < 0.1 else 768
    sigma, pitch_mm = {0.25: (0.8, 0.4), 0.6: (1.2, 0.12), 0.9: (2.0, 0.08)}[bandwidth]
    made = scanner(cycles, bandwidth, (rows, 128), sigma=sigma, pitch_mm=pitch_mm)
    pair = [made.frame(k).samples for k in (0, 8)]
    told = tried = 0
    for decimation, share in product((1, 2, 3, 4, 6, 8), (0.9, 1.1)):
        if decimation * bandwidth * cycles > 1.1 or (decimation < 3 and share * cycles > 0.3):
            continue  # the band would fold, or the image of the real RF would be left in it
        samples, scan = iq(pair, made.scan, decimation, share)
        found = lines_first(*samples, scan)
        assert found is not True, (decimation, share)
        across = lines_first(*transposed(samples), scan)
        assert across == (None if found is None else not found)
        told, tried = told + bool(across), tried + 1
    assert told >= (0.75 if cycles < 0.4 else 0.25) * tried > 0


def degraded(frames: list[Samples]) -> Iterator[tuple[str, list[Samples]]]:
    """The same echoes, worse; the same in both frames, but for the noise."""
    rng = np.random.default_rng(1)
    clean = [frame.astype(np.float32) / np.float32(frames[0].std()) for frame in frames]
    rows, lines = clean[0].shape
    depth = np.linspace(0, 1, rows, dtype=np.float32)[:, None]
    side = np.linspace(-1, 1, lines, dtype=np.float32)
    noise = rng.standard_normal((2, rows, lines)).astype(np.float32)
    still = clean[0][:, ::-1]
    yield "clean", clean
    yield "noise", [frame + 0.5 * more for frame, more in zip(clean, noise, strict=True)]
    yield (
        "fading into noise",
        [f * np.exp(-6 * depth) + 0.05 * n for f, n in zip(clean, noise, strict=True)],
    )
    yield "attenuated", [frame * np.exp(-4 * depth) for frame in clean]
    yield "a strong near field", [frame * (1 + 30 * np.exp(-depth / 0.05)) for frame in clean]
    yield "a near field that stands still", [f + 5 * still * np.exp(-depth / 0.1) for f in clean]
    yield "clutter that stands still", [frame + 0.3 * still for frame in clean]
    yield "bands across all lines", [f + 2 * still[:, :1] * np.exp(-3 * depth) for f in clean]
    yield "shadows", [frame * np.where(np.abs(side - 0.3) < 0.2, 0.02, 1) for frame in clean]
    yield "blank rows", [frame * ((depth < 0.4) | (depth > 0.6)) for frame in clean]
    yield "corners masked", [frame * (depth < 1 - 0.7 * np.abs(side)) for frame in clean]
    yield "another gain", [clean[0], 3 * clean[1]]
    yield "clipped", [frame.clip(-0.7, 0.7) for frame in clean]
    yield "every line twice", [np.repeat(frame[:, ::2], 2, axis=1) for frame in clean]
    yield "few lines", [frame[:, :32] for frame in clean]
    yield "few rows", [frame[:128] for frame in clean]
    yield "offset", [frame + np.float32(3) for frame in clean]


@pytest.mark.parametrize(
    ("cycles", "bandwidth", "shape", "pitch_mm", "sigma"),
    [
        (0.06, 0.8, (1024, 64), 0.4, 0.6),
        (0.1625, 0.6, (512, 128), 0.12, 1.2),
        (0.25, 0.4, (384, 256), 0.05, 3.0),
        (0.35, 0.9, (1024, 48), 0.5, 1.0),
    ],
)
@pytest.mark.parametrize("name", FIELDS)
def test_good_frames_are_never_called_lines_first(
    name: str, cycles: float, bandwidth: float, shape: tuple[int, int], pitch_mm: float, sigma: float
) -> None:
    made = scanner(cycles, bandwidth, shape, pitch_mm=pitch_mm, sigma=sigma, field=FIELDS[name])
    still, *moved = (made.frame(k).samples for k in (0, 4, 12))
    for other in moved:
        for worse, pair in degraded([still, other]):
            samples, scan = iq(pair, made.scan, 2 if cycles > 0.3 else 4, 0.95)
            assert lines_first(*samples, scan) is not True, worse


@pytest.mark.parametrize("last", [6, 9])
def test_degraded_frames_with_lines_first_are_told_where_enough_is_left(last: int) -> None:
    told = [
        lines_first(*transposed(samples), scan) is True
        for _, pair in degraded([PRESS.frame(k).samples for k in (0, last)])
        for samples, scan in [iq(pair, PRESS.scan)]
    ]
    assert sum(told) >= 0.6 * len(told)


def test_public_pairs_are_never_called_lines_first_and_transposed_they_are(rf_folder: Path) -> None:
    """Alpinion and Field II frames and consecutive ones of the arm; none of the sequence that hardly moves."""
    told = tried = 0
    for (name, first, f0_hz), (other, second, _) in combinations(public_frames(rf_folder), 2):
        arm = name[0] in "23" and name[3] == "/"
        if first.shape != second.shape or (name[:3] != other[:3] if arm else name[3] != other[3]):
            continue
        if arm and int(other[-5]) - int(name[-5]) > 1:
            continue
        rf = Scan(fs_hz=40e6, f0_hz=f0_hz, sound_speed_m_s=1540, line_pitch_mm=0.1)
        for decimation, share in product((2, 4, 8), (0.85, 1.1)):
            samples, scan = iq([first.astype(np.float32), second.astype(np.float32)], rf, decimation, share)
            found = lines_first(*samples, scan)
            assert found is not True, (name, other, decimation, share)
            if not name.startswith("302"):
                tried += 1
                told += found is False and lines_first(*transposed(samples), scan) is True
    assert tried > 80
    assert told >= 0.95 * tried


def test_what_cannot_be_judged_is_left_open() -> None:
    first, moved = FRAMES[0], FRAMES[7]
    noise = np.random.default_rng(0).standard_normal((2, *first.shape))
    assert lines_first(first, moved, SCAN) is False
    for pair in (
        (first, first),
        (first, moved[:-1]),
        (first[:20], moved[:20]),
        (first[:, :4], moved[:, :4]),
        (first[:0], moved[:0]),
        (first, noise[0]),
        tuple(noise),
        (np.zeros_like(first), moved),
        (np.full_like(first, np.nan), moved),
        (first, np.full_like(moved, np.inf)),
    ):
        assert lines_first(*pair, SCAN) is None
    stepped = Scan(**SCAN.stated | {"demodulation_hz": ((0.0, 7e6), (200.0, 6e6))})
    assert lines_first(first, moved, stepped) is None
    assert lines_first(PRESS.frame(0).samples, PRESS.frame(7).samples, PRESS.scan) is None


@pytest.mark.parametrize("dtype", [np.int16, np.int8, np.float64])
def test_samples_of_any_type_are_told(dtype: type) -> None:
    scale = 8 if dtype is np.int8 else 1e4
    pair = [(frame / frame.std() * scale).astype(dtype) for frame in (FRAMES[0], FRAMES[7])]
    assert lines_first(*transposed(pair), SCAN) is True


def test_frames_are_read_until_two_of_them_moved() -> None:
    read = iter(FRAMES)
    assert check_axes(read, SCAN).kind == "iq"
    assert list(read)
    assert check_axes(transposed(FRAMES), SCAN) is LINES_FIRST
    late = [FRAMES[0]] * 37 + FRAMES[1:]
    assert check_axes(transposed(late), SCAN) is LINES_FIRST
    assert check_axes([FRAMES[0]] * 100, SCAN).kind == "iq"
    assert check_axes([], SCAN).kind == "iq"
    assert LINES_FIRST.refused
    assert LINES_FIRST.line.endswith(": --transpose")


def test_live_frames_are_compared_until_two_of_them_moved_and_told_once() -> None:
    frames = transposed(FRAMES)
    watch = AxesWatch()
    told = [watch.look(frame, SCAN, k * 50 * MS) for k, frame in enumerate(frames * 3)]
    assert sum(told) == 1
    assert told.index(True) <= 8
    still = AxesWatch()
    assert not any(still.look(frames[0], SCAN, k * 50 * MS) for k in range(100))
    later = 5000 * MS
    assert sum(still.look(frame, SCAN, later + k * 50 * MS) for k, frame in enumerate(frames * 60)) == 1
    good = AxesWatch()
    assert not any(good.look(frame, SCAN, k * 50 * MS) for k, frame in enumerate(FRAMES * 3))


def test_a_live_session_that_does_not_move_is_compared_ever_more_seldom(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared: list[int] = []

    def never(first: Samples, second: Samples, scan: Scan) -> None:
        compared.append(1)

    monkeypatch.setattr("usert.signal_check.axes_check.lines_first", never)
    watch = AxesWatch()
    for k in range(120 * 20):
        watch.look(FRAMES[0], SCAN, k * 50 * MS)
    assert len(compared) == 4 * 7
    rf = AxesWatch()
    for k in range(9):
        rf.look(FRAMES[0][..., 0], PRESS.scan, k * 50 * MS)
    assert len(compared) == 4 * 7
