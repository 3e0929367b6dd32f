"""Files of scanners and of research libraries: made by the library itself or byte by byte, and what is not one."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from usert.cli import app
from usert.errors import FormatError, OptionError
from usert.formats import FORMATS, Declared, ImportOptions, about_files, read_frames
from usert.frame import Scan
from usert.recording import Recording
from usert.testing import MadeFile, ReaderContract

STACK = np.random.default_rng(0).integers(-3000, 3000, (3, 7, 5), dtype=np.int16)  # (F, N, M)
FRAMES, SAMPLES, LINES = STACK.shape


def read(name: str, path: Path, scan: Scan, **options: Any) -> np.ndarray[Any, Any]:
    return np.array([frame.samples for frame in read_frames(name, [path], scan, ImportOptions(**options))])


def as_npy(path: Path) -> Path:
    with path.open("wb") as file:
        np.save(file, STACK)
    return path


def as_ultrasonix(path: Path, *, tagged: bool = False) -> Path:
    header = (16, FRAMES, LINES, SAMPLES, 16, *range(8), 2, 10_000_000, 40_000_000, 30, 256, 0)
    tag = struct.pack("<i", 9) if tagged else b""
    lines_first = STACK.transpose(0, 2, 1).astype("<i2")
    path.write_bytes(struct.pack("<19i", *header) + b"".join(tag + frame.tobytes() for frame in lines_first))
    return path


def as_clarius(path: Path) -> Path:
    header = struct.pack("<5I", 2, FRAMES, LINES, SAMPLES, 2)
    lines_first = STACK.transpose(0, 2, 1).astype("<i2")
    times = (235855423246 + 33_000_000 * k for k in range(FRAMES))
    path.write_bytes(
        header + b"".join(struct.pack("<Q", t) + f.tobytes() for t, f in zip(times, lines_first, strict=True))
    )
    return path


def as_zea(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        file["data/beamformed_data/pixels"] = STACK.transpose(0, 2, 1)[..., np.newaxis].astype(np.float32)
        file["data/beamformed_data/extent"] = np.zeros(6, np.float32)
        file["scan/center_frequency"] = np.full(11, 6.25e6, np.float32)
        file["scan/sound_speed"] = np.float32(1480)
    return path


def as_uff(path: Path) -> Path:
    uff = pytest.importorskip("pyuff_ustb", reason="USTB's own library writes the file")
    scan = uff.LinearScan(x_axis=0.2e-3 * np.arange(LINES), z_axis=5e-3 + 0.01925e-3 * np.arange(SAMPLES))
    pixels = STACK.transpose(0, 2, 1).reshape(FRAMES, 1, 1, -1)  # along z first
    pulse = uff.Pulse(center_frequency=6.25e6, fractional_bandwidth=0.6, phase=0.0, waveform=np.ones(3))
    data = uff.BeamformedData(scan=scan, data=pixels.T.astype(np.float32), pulse=pulse)
    data.write(str(path), "b_data", ignore_missing_compulsory_fields=True)
    return path


MAKERS: dict[str, Callable[[Path], Path]] = {
    "numpy": as_npy,
    "ultrasonix": as_ultrasonix,
    "clarius": as_clarius,
    "zea": as_zea,
    "uff": as_uff,
}


FLOATS = ("uff", "zea")


class TestMakers(ReaderContract):
    @pytest.fixture(params=MAKERS)
    def made(self, request: pytest.FixtureRequest, tmp_path: Path) -> MadeFile:
        frames = STACK.astype(np.float32) if request.param in FLOATS else STACK
        return MadeFile(FORMATS[request.param], MAKERS[request.param](tmp_path / "a"), frames)


def test_every_format_is_tried_here_or_beside() -> None:
    assert set(FORMATS) - set(MAKERS) == {"alpinion", "mat", "metaimage", "nrrd", "raw"}


# -- NumPy


def test_numpy_takes_one_frame_and_one_array_of_several(tmp_path: Path, scan: Scan) -> None:
    one, several = tmp_path / "one.npy", tmp_path / "several.npz"
    np.save(one, STACK[0])
    np.testing.assert_array_equal(read("numpy", one, scan), STACK[:1])
    np.savez(several, rf=STACK, depth=np.arange(4))
    np.testing.assert_array_equal(read("numpy", several, scan, variables=("rf",)), STACK)
    with pytest.raises(FormatError, match=r"rf, depth, .*--variable"):
        read("numpy", several, scan)
    with pytest.raises(FormatError, match=r"arrays rf, depth, expected 'RF' among them"):
        read("numpy", several, scan, variables=("RF",))


def test_numpy_executes_nothing(tmp_path: Path, scan: Scan) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(FormatError, match=r"a\.npy: not a sound NumPy file of numbers"):
        read("numpy", path, scan)
    path.write_bytes(b"neither of NumPy nor a pickle")
    with pytest.raises(FormatError, match=r"a\.npy: not a sound NumPy file of numbers$"):
        read("numpy", path, scan)
    np.save(path, np.stack([STACK, STACK], axis=1))
    with pytest.raises(FormatError, match=r"\(3, 2, 7, 5\), .*: save np\.moveaxis\(array, 1, -1\)"):
        read("numpy", path, scan, kind="iq")
    np.save(path, STACK.transpose(1, 2, 0))
    with pytest.raises(FormatError, match=r"got \(7, 5, 3\), .*: if its frames come last, save np\.moveaxis"):
        read("numpy", path, scan)
    huge = b"{'descr': '<i2', 'fortran_order': False, 'shape': (9, 99999999, 999999)}"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", 118) + huge.ljust(117) + b"\n" + bytes(100))
    with pytest.raises(FormatError, match=r"a\.npy: .*NumPy"):
        read("numpy", path, scan)


# -- Ultrasonix


def test_ultrasonix_tags_of_older_software_are_left_out(tmp_path: Path, scan: Scan) -> None:
    np.testing.assert_array_equal(read("ultrasonix", as_ultrasonix(tmp_path / "a", tagged=True), scan), STACK)


def test_ultrasonix_takes_no_other_type_and_no_absurd_size(tmp_path: Path, scan: Scan) -> None:
    path = as_ultrasonix(tmp_path / "a")
    whole = path.read_bytes()
    path.write_bytes(struct.pack("<i", 4) + whole[4:])
    with pytest.raises(FormatError, match=r"type 4, .* expected type 16 \(RF\) of 16 bits"):
        read("ultrasonix", path, scan)
    path.write_bytes(whole[:4] + struct.pack("<i", 2**31 - 1) + whole[8:])
    with pytest.raises(FormatError, match=r"210 bytes .*150323855290 .*2147483647 of 7 x 5"):
        read("ultrasonix", path, scan)


# -- Clarius


def test_clarius_says_its_frequencies_in_the_file_beside_it(tmp_path: Path) -> None:
    path = as_clarius(tmp_path / "x_rf.raw")
    assert about_files("clarius", [path]).geometry == Declared()
    (tmp_path / "x_rf.yml").write_text(
        "# raw data parameters\n\nframes: 3\ntransmit frequency: 7.5 MHz\nsize: {samples per line: 7}\n"
        "type: RF\nsampling rate: 30 MHz\n"
    )
    assert about_files("clarius", [path]).geometry == Declared(fs_hz=30e6, f0_hz=7.5e6)


def test_clarius_envelopes_and_absurd_sizes_are_named(tmp_path: Path, scan: Scan) -> None:
    path = as_clarius(tmp_path / "a")
    whole = path.read_bytes()
    path.write_bytes(whole[:16] + struct.pack("<I", 1) + whole[20:])
    with pytest.raises(FormatError, match="1 bytes a sample, expected 2 of RF or 4 of IQ: an envelope has 1"):
        read("clarius", path, scan)
    path.write_bytes(whole[:4] + struct.pack("<I", 2**32 - 1) + whole[8:])
    with pytest.raises(FormatError, match=r"254 bytes, expected \d+ for 4294967295 frames"):
        read("clarius", path, scan)


# -- UFF and zea


def test_uff_says_its_spacings_and_its_pulse(tmp_path: Path) -> None:
    said = about_files("uff", [as_uff(tmp_path / "a")]).geometry
    assert said.line_pitch_mm == pytest.approx(0.2)
    assert said.f0_hz == 6.25e6
    assert said.scan().fs_hz == pytest.approx(40e6)  # c / (2 dz)


def test_uff_is_beamformed_rf_of_a_linear_scan_or_is_refused(tmp_path: Path, scan: Scan) -> None:
    path = as_uff(tmp_path / "a")
    with h5py.File(path, "r+") as file:
        file.copy("b_data", "again")
    with pytest.raises(FormatError, match=r"uff\.beamformed_data.*--variable"):
        read("uff", path, scan)
    np.testing.assert_array_equal(read("uff", path, scan, variables=("again",)), STACK)
    with h5py.File(path, "r+") as file:
        file["again/scan"].attrs["class"] = "uff.sector_scan"
        file["b_data"].attrs["class"] = "uff.channel_data"
    with pytest.raises(FormatError, match=r"uff\.sector_scan, expected uff\.linear_scan"):
        read("uff", path, scan)
    with h5py.File(path, "r+") as file:
        del file["again"]
    with pytest.raises(
        FormatError, match=r"b_data \(uff\.channel_data\), expected one .*: channel data must be"
    ):
        read("uff", path, scan)


def test_uff_as_matlab_writes_it(tmp_path: Path, scan: Scan) -> None:
    path = as_uff(tmp_path / "a")
    for shape, frames in (((FRAMES, 1, 1, 35), FRAMES), ((1, 35), 1)):
        with h5py.File(path, "r+") as file:
            del file["b_data/data"]
            file["b_data/data"] = STACK.transpose(0, 2, 1)[:frames].reshape(shape)
        np.testing.assert_array_equal(read("uff", path, scan), STACK[:frames])


def test_zea_in_both_layouts_and_what_it_says(tmp_path: Path, scan: Scan) -> None:
    path = as_zea(tmp_path / "a")
    assert about_files("zea", [path]).geometry == Declared(f0_hz=6.25e6, sound_speed_m_s=1480)
    with h5py.File(path, "r+") as file:
        del file["data/beamformed_data"]
        file["data/beamformed_data"] = STACK[..., np.newaxis].astype(np.float32)
        file["scan/center_frequency"][3] = 5e6
    np.testing.assert_array_equal(read("zea", path, scan), STACK)
    assert about_files("zea", [path]).geometry == Declared(sound_speed_m_s=1480)


def test_zea_channel_data_is_refused(tmp_path: Path, scan: Scan) -> None:
    path = as_zea(tmp_path / "a")
    with h5py.File(path, "r+") as file:
        del file["data/beamformed_data"]
        file["data/raw_data"] = np.ones((1, 2, 3, 4, 1))
    with pytest.raises(FormatError, match="raw_data, expected beamformed_data"):
        read("zea", path, scan)
    with h5py.File(path, "r+") as file:
        file["data/beamformed_data"] = np.ones((FRAMES, SAMPLES, LINES, 3))
    with pytest.raises(FormatError, match=r"has 3 channels, expected one of RF, or two of IQ"):
        read("zea", path, scan)


# -- Verasonics


def test_receive_buffers_of_a_verasonics_are_named(tmp_path: Path, scan: Scan) -> None:
    path = tmp_path / "a.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["#refs#/b"] = STACK
        file.create_dataset("RcvData", (1, 1), dtype=h5py.ref_dtype)[0, 0] = file["#refs#/b"].ref
        file["RF"] = STACK.transpose(0, 2, 1)
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
    with pytest.raises(FormatError, match=r"RcvData.*channel data"):
        read("mat", path, scan)
    np.testing.assert_array_equal(read("mat", path, scan, variables=("RF",)), STACK)


# -- the command


def test_numbers_of_the_file_are_taken_and_those_of_the_command_line_win(tmp_path: Path) -> None:
    path, out = as_clarius(tmp_path / "x_rf.raw"), tmp_path / "rec.h5"
    (tmp_path / "x_rf.yml").write_text("transmit frequency: 7.5 MHz\nsampling rate: 30 MHz\n")
    words = ["import", str(path), "--format", "clarius", "--out", str(out)]
    result = CliRunner().invoke(app, words)
    assert isinstance(result.exception, OptionError)
    assert str(result.exception) == "--line-pitch-mm: got none, and the file does not say"
    assert not out.exists()
    result = CliRunner().invoke(app, [*words, "--line-pitch-mm", "0.3", "--f0-mhz", "8"])
    assert result.exit_code == 0
    assert "fs 30 MHz, f0 8 MHz, line pitch 0.3 mm, sound speed 1540 m/s" in result.output
    with Recording(out) as recording:
        assert (recording.scan.fs_hz, recording.scan.f0_hz) == (30e6, 8e6)


def test_files_that_say_different_things_are_no_recording(tmp_path: Path) -> None:
    paths = [as_clarius(tmp_path / f"{k}.raw") for k in range(2)]
    (tmp_path / "0.yml").write_text("sampling rate: 30 MHz\n")
    (tmp_path / "1.yml").write_text("sampling rate: 15 MHz\n")
    with pytest.raises(
        FormatError,
        match=r"1\.raw: states rf, fs_hz 1.5e\+07, expected rf, fs_hz 3e\+07 as .*0\.raw: import them apart",
    ):
        about_files("clarius", paths)
