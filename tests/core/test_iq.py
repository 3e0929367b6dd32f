"""IQ frames: turned up to RF and down again, in recordings, and what is refused."""

from dataclasses import replace

import h5py
import numpy as np
import pytest

from usert.errors import FrameError, RecordingError
from usert.frame import RFFrame, Scan, as_complex
from usert.iq import as_iq, as_rf, at_rows, motion_at_rows, rf_rows, rf_scan, split_iq, turned_down, turned_up
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.recording import Recording, write_recording

FS, F0 = 10e6, 6.5e6


def scan_of(**changes: object) -> Scan:
    told = {"fs_hz": FS, "f0_hz": F0, "sound_speed_m_s": 1540.0, "line_pitch_mm": 0.2, "demodulation_hz": F0}
    return Scan(**(told | changes))  # type: ignore[arg-type]


def tone(rows: int, offset_hz: float, lines: int = 3) -> np.ndarray:
    z = np.exp(2j * np.pi * offset_hz * np.arange(rows) / FS)[:, None] * np.exp(1j * np.arange(lines))
    return np.stack((z.real, z.imag), axis=-1).astype(np.float32)


@pytest.mark.parametrize("offset_hz", [-3e6, -1e6, 0.0, 1e6, 3e6])
@pytest.mark.parametrize("rows", [200, 257])
def test_a_tone_becomes_the_tone_of_the_sum_of_the_frequencies(offset_hz: float, rows: int) -> None:
    scan = scan_of()
    count = rf_rows(rows, scan)
    rf = turned_up(tone(rows, offset_hz), scan, count)
    at = np.arange(count) * (rows - 1) / (count - 1)
    expected = np.cos(2 * np.pi * (F0 + offset_hz) * at[:, None] / FS + np.arange(3))
    assert np.abs(rf - expected)[60:-60].max() < 1e-3


def test_a_demodulation_that_changes_with_depth_turns_by_its_integral() -> None:
    rows = 300
    scan = scan_of(demodulation_hz=((0, 6.5e6), (100, 6.5e6), (300, 5.5e6)))
    count = rf_rows(rows, scan)
    at = np.arange(count) * (rows - 1) / (count - 1)
    below = np.clip(at - 100, 0, None)
    cycles = (6.5e6 * at - 1e6 / 200 * below**2 / 2) / FS
    rf = turned_up(np.stack((np.ones((rows, 2)), np.zeros((rows, 2))), axis=-1), scan, count)
    assert np.abs(rf[:, 0] - np.cos(2 * np.pi * cycles))[60:-60].max() < 1e-3


@pytest.mark.parametrize("decimation", [1, 2, 4])
@pytest.mark.parametrize("demodulation_hz", [6.5e6, 6.0e6, ((0.0, 6.6e6), (60.0, 6.0e6))])
def test_down_and_up_again_gives_the_rf(decimation: int, demodulation_hz: object) -> None:
    scanner = SimulatedScanner(ScannerConfig(shape=(512, 48)), seed=0)
    frame = scanner.frame(0)
    told = {**frame.scan.stated, "fs_hz": frame.scan.fs_hz / decimation}
    scan = Scan(**told | {"demodulation_hz": demodulation_hz})
    samples = turned_down(frame.samples, scan, decimation)
    assert samples.shape == (512 // decimation, 48, 2)
    last = (len(samples) - 1) * decimation
    rf = turned_up(samples, scan, last + 1)
    expected = frame.samples[: last + 1].astype(float)
    inside = slice(40, -40)
    error = (rf - expected)[inside]
    assert np.sqrt((error**2).mean() / (expected[inside] ** 2).mean()) < 0.02


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_a_masked_corner_stays_blank(dtype: type) -> None:
    """A filter rings beyond the last echo, and the ringing would be an echo."""
    frame = SimulatedScanner(ScannerConfig(shape=(512, 32)), seed=0).frame(0)
    rf = frame.samples[:, :4].astype(np.float32)
    rf[:37, 1] = rf[301:, 1] = rf[:, 2] = rf[200:260, 3] = 0
    iq = as_iq(replace(frame, samples=rf.astype(dtype)), 6e6, 4)
    assert iq.samples[:, [0, 1, 3]].any(axis=2).all(axis=0).tolist() == [True, False, True]
    kept = np.flatnonzero(iq.samples[:, 1].any(axis=1))
    assert (kept[0], kept[-1]) == (10, 75)
    again = as_rf(iq, 509).samples
    assert (np.flatnonzero(again[:, 1])[[0, -1]] == [38, 301]).all()
    assert not again[:, 2].any()
    other = as_rf(replace(iq, samples=iq.samples[:, [0, 3]]), 509).samples
    assert np.array_equal(again[:, [0, 3]], other)


def test_motion_on_other_rows_counts_those_rows() -> None:
    slope = np.linspace(0.0, 2.0, 100, dtype=np.float32)[:, None] * np.ones((1, 4), np.float32)
    moved = motion_at_rows(np.stack((slope, slope)), 250)
    assert moved.shape == (2, 250, 4)
    finer = np.linspace(0.0, 2.0, 250)[:, None]
    assert np.allclose(at_rows(slope, 250), finer, atol=1e-6)
    assert np.allclose(moved[0], 249 / 99 * finer, atol=1e-5)
    assert np.allclose(moved[1], finer, atol=1e-6)


def test_rf_is_left_as_it_is_and_iq_keeps_sequence_and_times() -> None:
    rf = SimulatedScanner(ScannerConfig(shape=(256, 32)), seed=0).frame(0)
    assert as_rf(rf) is rf
    iq = RFFrame(samples=tone(200, 1e5), scan=scan_of(), sequence=7, time_ns=8, acquired_ns=9)
    turned = as_rf(iq)
    assert (turned.sequence, turned.time_ns, turned.acquired_ns) == (7, 8, 9)
    assert turned.scan == rf_scan(iq.scan, 200, turned.shape[0])
    assert turned.scan.kind == "rf"
    depth_mm = (turned.shape[0] - 1) * turned.scan.axial_pitch_mm
    assert depth_mm == pytest.approx(199 * iq.scan.axial_pitch_mm)


def test_the_complex_signal_of_a_frame() -> None:
    samples = np.array([[[1, 2], [3, -4]]], np.int16)
    frame = RFFrame(samples=samples, scan=scan_of())
    assert frame.shape == (1, 2)
    assert frame.signal.tolist() == [[1 + 2j, 3 - 4j]]
    assert as_complex(samples).dtype == np.complex64


def test_i_and_q_in_turns_along_depth_or_in_lines() -> None:
    iq = np.arange(48, dtype=np.int16).reshape(2, 3, 4, 2)
    assert np.array_equal(split_iq(iq.swapaxes(2, 3).reshape(2, 6, 4), "iq-pairs"), iq)
    assert np.array_equal(split_iq(iq.reshape(2, 3, 8), "iq-lines"), iq)
    assert split_iq(iq[0, ..., 0], "iq-lines").dtype == np.int16
    for shape, layout in (((5, 4), "iq-pairs"), ((4, 5), "iq-lines")):
        with pytest.raises(FrameError, match="even number"):
            split_iq(np.zeros(shape), layout)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"demodulation_hz": 0.0}, "demodulation_hz"),
        ({"demodulation_hz": 6.5}, "looks like MHz"),
        ({"demodulation_hz": 12e6}, "within half of fs_hz"),
        ({"fs_hz": 2.001e5}, "at most 32 times fs_hz"),
        ({"demodulation_hz": ((5, 6e6), (5, 6e6))}, "rising"),
        ({"demodulation_hz": ()}, "1 to 64"),
        ({"demodulation_hz": ((0, float("nan")),)}, "finite"),
        ({"demodulation_hz": None}, "demodulation_hz"),
        ({"radius_mm": 60.0}, "line_angle_deg"),
        ({"radius_mm": -1.0, "line_angle_deg": 0.5}, "radius_mm"),
        ({"first_depth_mm": float("inf")}, "first_depth_mm"),
    ],
)
def test_geometry_that_cannot_be_is_refused_by_name(changes: dict[str, object], words: str) -> None:
    with pytest.raises(FrameError, match=words):
        scan_of(**changes)


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        (np.zeros((20, 4, 2)), "the same"),
        (np.full((20, 4, 2), np.nan), "NaN"),
        (np.zeros((20, 4)), r"\(20, 4\)"),
        (np.zeros((20, 4, 3)), r"\(20, 4, 3\)"),
        (np.zeros((20, 4, 2), complex), "complex"),
    ],
)
def test_samples_that_are_no_iq_are_refused(samples: np.ndarray, words: str) -> None:
    with pytest.raises(FrameError, match=words):
        turned_up(samples, scan_of(), 50)


def test_a_recording_keeps_iq_and_gives_rf_where_it_is_wanted(tmp_path) -> None:
    path = tmp_path / "iq.h5"
    scan = scan_of(demodulation_hz=((0.0, 6.5e6), (150.0, 6.0e6)), first_depth_mm=3.0)
    frames = [RFFrame(samples=np.rint(1000 * tone(200, df)).astype(np.int16), scan=scan) for df in (1e5, 2e5)]
    truth = np.full((2, 200, 3), 0.5, np.float32)
    write_recording(path, frames, [truth])
    with h5py.File(path) as file:
        assert file["rf"].shape == (2, 200, 3, 2)
        assert file.attrs["demodulation_hz"].tolist() == [[0.0, 6.5e6], [150.0, 6.0e6]]
    with Recording(path) as recording:
        assert (recording.scan, recording.shape, recording.dtype) == (scan, (200, 3), np.int16)
        assert np.array_equal(recording.frame(1).samples, frames[1].samples)
        assert np.array_equal(recording.truth(0), truth)
    with Recording(path, as_rf=True) as recording:
        turned = as_rf(frames[0])
        assert (recording.scan, recording.shape) == (turned.scan, turned.shape)
        assert np.array_equal(recording.frame(0).samples, turned.samples)
        motion = recording.truth(0)
        assert motion.shape == (2, *turned.shape)
        assert np.allclose(motion[0], 0.5 * (turned.shape[0] - 1) / 199)
        assert np.allclose(motion[1], 0.5)


@pytest.mark.parametrize(
    ("shape", "demodulation_hz", "words"),
    [
        ((2, 64, 4), 6.5e6, "demodulation_hz is there"),
        ((2, 64, 4, 3), 6.5e6, "in-phase"),
        ((2, 64, 4, 2), None, "demodulation_hz"),
        ((2, 64, 4, 2), "6.5 MHz", "demodulation_hz"),
        ((2, 64, 4, 2), [[0.0, 6.5e6, 1.0]], "demodulation_hz"),
    ],
)
def test_a_file_whose_samples_and_frequency_disagree_is_refused(
    tmp_path, shape: tuple[int, ...], demodulation_hz: object, words: str
) -> None:
    path = tmp_path / "by-hand.h5"
    with h5py.File(path, "w") as file:
        file["rf"] = np.zeros(shape, np.int16)
        file.attrs.update(fs_hz=40e6, f0_hz=6.5e6, sound_speed_m_s=1540.0, line_pitch_mm=0.2)
        if demodulation_hz is not None:
            file.attrs["demodulation_hz"] = demodulation_hz
    with pytest.raises(RecordingError, match=words):
        Recording(path)
