"""IQ of every format: I before Q on a last axis, whichever way the file holds them; and what cannot be IQ."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from plus_and_matlab import as_v5, as_v73, sequence

from usert.errors import FormatError, FrameError, OptionError
from usert.formats import Declared, ImportOptions, Rows, about_files, kind_of_files, read_frames
from usert.formats.declared import parse_demodulation
from usert.frame import Scan

PAIRS = np.random.default_rng(0).integers(-3000, 3000, (3, 8, 6, 2), dtype=np.int16)  # (F, N, M, 2)
FRAMES, SAMPLES, LINES = PAIRS.shape[:3]
COMPLEX = (PAIRS[..., 0] + 1j * PAIRS[..., 1]).astype(np.complex64)
ALONG = PAIRS.transpose(0, 1, 3, 2).reshape(FRAMES, 2 * SAMPLES, LINES)
"""I and Q in turns along depth."""
ACROSS = PAIRS.reshape(FRAMES, SAMPLES, 2 * LINES)
"""A line of I, a line of Q, and so on."""


@pytest.fixture
def scan() -> Scan:
    return Scan(fs_hz=10e6, f0_hz=6e6, sound_speed_m_s=1540, line_pitch_mm=0.1, demodulation_hz=6e6)


def read(name: str, path: Path, scan: Scan, **options: Any) -> np.ndarray[Any, Any]:
    return np.array([frame.samples for frame in read_frames(name, [path], scan, ImportOptions(**options))])


def saved(path: Path, array: Any) -> Path:
    np.save(path, array)
    return path


COMPOUND = np.zeros(COMPLEX.shape, [("real", "<i2"), ("imag", "<i2")])
COMPOUND["real"], COMPOUND["imag"] = PAIRS[..., 0], PAIRS[..., 1]


@pytest.mark.parametrize(
    ("array", "options"),
    [
        (COMPLEX, {}),
        (COMPLEX, {"kind": "iq"}),
        (COMPLEX.astype(">c8"), {}),
        (COMPLEX.transpose(0, 2, 1), {"transpose": True}),
        (COMPOUND, {}),
        (PAIRS, {"kind": "iq"}),
        (PAIRS.transpose(0, 2, 1, 3), {"kind": "iq", "transpose": True}),
        (ALONG, {"kind": "iq-pairs"}),
        (ALONG.transpose(0, 2, 1), {"kind": "iq-pairs", "transpose": True}),
        (ACROSS, {"kind": "iq-lines"}),
        (ACROSS.transpose(0, 2, 1), {"kind": "iq-lines", "transpose": True}),
    ],
)
def test_numpy(tmp_path: Path, scan: Scan, array: Any, options: dict[str, Any]) -> None:
    path = saved(tmp_path / "a.npy", array)
    found = read("numpy", path, scan, **options)
    np.testing.assert_array_equal(found, PAIRS)
    integer = array.dtype.kind == "i" or array.dtype.names is not None
    assert found.dtype == (np.int16 if integer else np.float32)
    assert kind_of_files("numpy", [path], ImportOptions(**options)) == "iq"
    cut = read("numpy", path, scan, rows=Rows(start=2, stop=5), **options)
    np.testing.assert_array_equal(cut, PAIRS[:, 2:5])
    np.testing.assert_array_equal(read("numpy", saved(path, array[0]), scan, **options), PAIRS[:1])


def test_double_precision_is_scaled_to_a_peak_of_1_of_i_or_q(tmp_path: Path, scan: Scan) -> None:
    frames = read_frames("numpy", [saved(tmp_path / "a.npy", 1e-23 * COMPLEX.astype(complex))], scan)
    peak = 1e-23 * np.abs(PAIRS.astype(float)).max()
    assert frames.scale == pytest.approx(1 / peak)
    found = np.array([frame.samples for frame in frames])
    np.testing.assert_allclose(found, 1e-23 * PAIRS.astype(float) / peak, rtol=1e-6)


@pytest.mark.parametrize("kind", ["iq", "iq-pairs", "iq-lines"])
def test_raw(tmp_path: Path, scan: Scan, kind: str) -> None:
    array = {"iq": PAIRS, "iq-pairs": ALONG, "iq-lines": ACROSS}[kind]
    shape = array.shape[1:3]
    for transpose in (False, True):
        path = tmp_path / "a.raw"
        (array.swapaxes(1, 2) if transpose else array).astype("<i2").tofile(path)
        told = {"shape": shape, "sample_type": "int16", "kind": kind, "transpose": transpose}
        np.testing.assert_array_equal(read("raw", path, scan, **told), PAIRS)
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(FormatError, match="expected a multiple of"):
        read("raw", path, scan, **told)


@pytest.mark.parametrize("save", [as_v5, as_v73])
def test_matlab(tmp_path: Path, scan: Scan, save: Callable[..., Path]) -> None:
    matlab = COMPLEX.transpose(1, 2, 0)  # (N, M, F)
    if save is as_v73:  # MATLAB's own way of complex numbers in HDF5
        parts = np.zeros(matlab.shape, [("real", "<f4"), ("imag", "<f4")])
        parts["real"], parts["imag"] = matlab.real, matlab.imag
        matlab = parts
    np.testing.assert_array_equal(read("mat", save(tmp_path / "a.mat", IQData=matlab), scan), PAIRS)
    four = matlab.reshape(SAMPLES, LINES, 1, FRAMES)  # as the buffers of a Verasonics
    path = save(tmp_path / "b.mat", IQData={"bf": four}, other=np.eye(3))
    np.testing.assert_array_equal(read("mat", path, scan, variables=("IQData.bf",)), PAIRS)
    pairs = PAIRS.transpose(1, 2, 0, 3)
    path = save(tmp_path / "c.mat", iq=pairs, one=pairs[:, :, 0])
    np.testing.assert_array_equal(read("mat", path, scan, variables=("iq",), kind="iq"), PAIRS)
    np.testing.assert_array_equal(read("mat", path, scan, variables=("one",), kind="iq"), PAIRS[:1])
    path = save(tmp_path / "d.mat", along=ALONG.transpose(1, 2, 0))
    np.testing.assert_array_equal(read("mat", path, scan, kind="iq-pairs"), PAIRS)


def test_nrrd_of_its_own_library(tmp_path: Path, scan: Scan) -> None:
    nrrd = pytest.importorskip("nrrd", reason="NRRD's own library writes the file")
    path = tmp_path / "a.nrrd"
    kinds = ["complex", "domain", "domain", "list"]
    nrrd.write(str(path), PAIRS.transpose(3, 1, 2, 0), {"encoding": "gzip", "kinds": kinds})
    np.testing.assert_array_equal(read("nrrd", path, scan), PAIRS)
    nrrd.write(str(path), PAIRS[0], {"encoding": "raw", "kinds": ["domain", "domain", "complex"]})
    np.testing.assert_array_equal(read("nrrd", path, scan), PAIRS[:1])


def uff_file(path: Path, modulation_hz: float | None) -> Path:
    uff = pytest.importorskip("pyuff_ustb", reason="USTB's own library writes the file")
    grid = uff.LinearScan(x_axis=0.2e-3 * np.arange(LINES), z_axis=5e-3 + 0.077e-3 * np.arange(SAMPLES))
    pixels = COMPLEX.transpose(0, 2, 1).reshape(FRAMES, 1, 1, -1)  # along z first
    told = {} if modulation_hz is None else {"modulation_frequency": modulation_hz}
    data = uff.BeamformedData(scan=grid, data=pixels.T, **told)
    data.write(str(path), "b_data", ignore_missing_compulsory_fields=True)
    return path


def test_uff_states_its_demodulation_frequency(tmp_path: Path, scan: Scan) -> None:
    path = uff_file(tmp_path / "a.uff", 6e6)
    about = about_files("uff", [path])
    assert (about.kind, about.geometry.demodulation_hz) == (None, 6e6)
    made = about.geometry.scan(kind_of_files("uff", [path]))
    assert (made.demodulation_hz, made.f0_hz, made.fs_hz) == (6e6, 6e6, pytest.approx(10e6))
    np.testing.assert_array_equal(read("uff", path, scan), PAIRS)


def test_uff_that_was_not_turned_down_is_rf_by_its_real_part(tmp_path: Path, scan: Scan) -> None:
    path = uff_file(tmp_path / "a.uff", 0)
    assert kind_of_files("uff", [path]) == "rf"
    rf = Scan(fs_hz=40e6, f0_hz=6e6, sound_speed_m_s=1540, line_pitch_mm=0.1)
    np.testing.assert_array_equal(read("uff", path, rf), PAIRS[..., 0])
    path = uff_file(tmp_path / "b.uff", None)
    with pytest.raises(OptionError, match="--demodulation-mhz: got none, and the file does not say"):
        about_files("uff", [path]).geometry.scan(kind_of_files("uff", [path]))


def test_zea_with_two_channels(tmp_path: Path, scan: Scan) -> None:
    path = tmp_path / "a.hdf5"
    for name, pixels in (("/pixels", PAIRS.transpose(0, 2, 1, 3)), ("", PAIRS)):
        with h5py.File(path, "w") as file:
            file[f"data/beamformed_data{name}"] = pixels.astype(np.float32)
        np.testing.assert_array_equal(read("zea", path, scan), PAIRS)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("a_grid_each_frame", [False, True])
def test_zea_as_its_version_0_1_8_writes_it(
    tmp_path: Path, scan: Scan, channels: int, a_grid_each_frame: bool
) -> None:
    path = tmp_path / "a.hdf5"
    grid = np.zeros((SAMPLES, LINES, 3), np.float32)
    grid[..., 0] = 2e-4 * (np.arange(LINES) - (LINES - 1) / 2)
    grid[..., 2] = 5e-3 + 2e-5 * np.arange(SAMPLES)[:, None]
    with h5py.File(path, "w") as file:
        track = file.create_group("tracks/track_0")
        track["data/beamformed_data/values"] = PAIRS[..., :channels].astype(np.float32)
        shape = (FRAMES,) * a_grid_each_frame + grid.shape
        track["data/beamformed_data/coordinates"] = np.broadcast_to(grid, shape)
        for name, value in (("center", 6.25e6), ("demodulation", 6e6)):
            track[f"scan/{name}_frequency"] = np.float32(value)
        track["scan/sound_speed"] = np.float32(1480)
    expected = PAIRS
    if channels == 1:
        expected, scan = PAIRS[..., 0], replace(scan, fs_hz=40e6, demodulation_hz=None)
    np.testing.assert_array_equal(read("zea", path, scan), expected)
    found = about_files("zea", [path]).geometry
    assert found.axial_pitch_mm == pytest.approx(0.02, rel=1e-3)
    assert found.line_pitch_mm == pytest.approx(0.2, rel=1e-3)
    assert found.first_depth_mm == pytest.approx(5, rel=1e-3)
    assert (found.f0_hz, found.sound_speed_m_s) == (6.25e6, 1480)
    assert found.demodulation_hz == (6e6 if channels == 2 else None)
    with h5py.File(path, "r+") as file:
        file.copy("tracks/track_0", "tracks/track_1")
    with pytest.raises(FormatError, match="2 tracks"):
        read("zea", path, scan)


def test_clarius_iq_is_told_by_the_bytes_of_a_sample(tmp_path: Path, scan: Scan) -> None:
    path = tmp_path / "a_iq.raw"
    frames = b"".join(bytes(8) + frame.transpose(1, 0, 2).astype("<i2").tobytes() for frame in PAIRS)
    path.write_bytes(struct.pack("<5I", 2, FRAMES, LINES, SAMPLES, 4) + frames)
    (tmp_path / "a_iq.yml").write_text("type: IQ\ntransmit frequency: 10 MHz\nsampling rate: 15 MHz\n")
    np.testing.assert_array_equal(read("clarius", path, scan), PAIRS)
    about = about_files("clarius", [path])
    assert (about.kind, about.geometry) == ("iq-pairs", Declared(fs_hz=15e6, f0_hz=10e6))
    with pytest.raises(OptionError, match=r"^--demodulation-mhz, --line-pitch-mm: got none"):
        about.geometry.scan("iq")


@pytest.mark.parametrize("orientation", ["FM", "MF", "NM", "UN"])
@pytest.mark.parametrize("kind", ["RF_IQ_LINE", "RF_I_LINE_Q_LINE"])
def test_plus(tmp_path: Path, scan: Scan, orientation: str, kind: str) -> None:
    pairs = PAIRS[:, ::-1] if "N" in orientation else PAIRS  # as PLUS does: I stays before its Q
    if kind == "RF_IQ_LINE":
        upright = pairs.transpose(0, 1, 3, 2).reshape(FRAMES, 2 * SAMPLES, LINES)
    else:
        upright = pairs.reshape(FRAMES, SAMPLES, 2 * LINES)
    stored = upright if orientation in ("MF", "UN") else upright.transpose(0, 2, 1)
    spacing = "0.2 0.1 1" if orientation in ("FM", "NM") else "0.1 0.2 1"
    path = sequence(tmp_path / "a.mha", orientation, image=kind, stored=stored, ElementSpacing=spacing)
    np.testing.assert_array_equal(read("metaimage", path, scan), PAIRS)
    about = about_files("metaimage", [path])
    twice = {"iq-pairs": (0.4, 0.1), "iq-lines": (0.2, 0.2)}
    assert about.kind is not None
    assert (about.geometry.axial_pitch_mm, about.geometry.line_pitch_mm) == twice[about.kind]


def test_what_the_user_says_beats_the_file_and_is_told(tmp_path: Path) -> None:
    path = sequence(tmp_path / "a.mha", image="RF_I_LINE_Q_LINE", stored=ALONG.transpose(0, 2, 1))
    options = ImportOptions(kind="rf")  # as one of PLUS' devices calls its RF
    assert kind_of_files("metaimage", [path], options) == "rf"
    (note,) = about_files("metaimage", [path], options).notes
    assert note == "--kind rf: taken, but the file states iq-lines; leave the option out to take that"
    assert about_files("metaimage", [path], ImportOptions(kind="iq-lines")).notes == ()


@pytest.mark.parametrize(
    ("array", "kind", "message"),
    [
        (ALONG[:, :-1], "iq-pairs", "frame 0: iq-pairs: .* expected an even number of samples along depth"),
        (ACROSS[..., :-1], "iq-lines", "frame 0: iq-lines: .* expected an even number of lines"),
        (ACROSS[..., :-1], "rf-lines", "frame 0: rf-lines: .* expected an even number of lines"),
        (COMPLEX, "rf-lines", "frame 0 has complex samples, expected real ones .*: --kind rf"),
        (COMPLEX, "iq-pairs", "frame 0 has complex samples, expected real ones .*: --kind iq"),
        (ALONG[:1], "iq", r"expected real numbers \(N, M, 2\) .*: if I and Q are in turns, --kind iq-pairs"),
        (PAIRS, None, r"expected numbers \(N, M\) or \(F, N, M\): if the last axis is I and Q, --kind iq"),
        (PAIRS[0], None, "if the last axis is I and Q, --kind iq"),
        (COMPLEX[None], None, r"expected numbers \(N, M\) or \(F, N, M\)$"),
        (ALONG, None, "frame 0 is RF, expected IQ, as the scan is"),
    ],
)
def test_samples_that_cannot_be_so_are_refused(
    tmp_path: Path, scan: Scan, array: Any, kind: Any, message: str
) -> None:
    with pytest.raises(FormatError, match=message) as caught:
        read("numpy", saved(tmp_path / "a.npy", array), scan, kind=kind)
    assert "\n" not in str(caught.value)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(
        OptionError, match="kind: got 'IQ', expected one of rf, rf-lines, iq, iq-pairs, iq-lines"
    ):
        ImportOptions(kind="IQ")  # type: ignore[arg-type]


def test_the_demodulation_frequency_stands_in_for_f0_and_never_the_reverse() -> None:
    told = Declared(fs_hz=10e6, line_pitch_mm=0.1)
    assert told.over(Declared(demodulation_hz=6e6)).scan("iq").f0_hz == 6e6
    both = told.over(Declared(demodulation_hz=6e6, f0_hz=7e6)).scan("iq")
    assert (both.f0_hz, both.demodulation_hz) == (7e6, 6e6)
    with pytest.raises(OptionError, match="--demodulation-mhz: got none, and the file does not say"):
        told.over(Declared(f0_hz=7e6)).scan("iq")
    with pytest.raises(OptionError, match="got 0, so the carrier is still there: --kind rf"):
        told.over(Declared(demodulation_hz=0.0)).scan("iq")
    with pytest.raises(FrameError, match="--demodulation-mhz takes MHz"):
        told.over(Declared(demodulation_hz=6e12)).scan("iq")
    (line,) = Declared(demodulation_hz=6e6).contradicting(Declared(demodulation_hz=5e6))
    assert line.startswith("--demodulation-mhz 6: taken, but the file states 5 MHz")


def test_a_demodulation_frequency_that_changes_with_depth() -> None:
    assert parse_demodulation("6.5") == 6.5e6
    steps = parse_demodulation("0:6.5,400:5.5")
    assert steps == ((0.0, 6.5e6), (400.0, 5.5e6))
    made = Declared(fs_hz=10e6, line_pitch_mm=0.1, demodulation_hz=steps).scan("iq")
    assert (made.f0_hz, made.demodulation_hz) == (6e6, steps)
    for text in ("six", "0:6.5,400", "0:6.5:3"):
        with pytest.raises(OptionError, match=r"--demodulation-mhz: got .*, expected MHz, or row:MHz"):
            parse_demodulation(text)
