"""NRRD: files of pynrrd and files built byte by byte, with the keys of PLUS and the frames of 3D Slicer."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from usert.errors import FormatError
from usert.formats import Declared, ImportOptions, about_files, read_frames
from usert.frame import Scan

STACK = np.random.default_rng(0).integers(-3000, 3000, (3, 7, 5), dtype=np.int16)  # (F, N, M)


def read(path: Path, scan: Scan, **options: Any) -> np.ndarray[Any, Any]:
    frames = read_frames("nrrd", [path], scan, ImportOptions(**options))
    return np.array([frame.samples for frame in frames])


def sequence(path: Path, *, data: bytes | None = None, **fields: str) -> Path:
    """As PLUS writes it: samples first, frames last, keys after the fields."""
    body = STACK.transpose(0, 2, 1).astype("<i2").tobytes() if data is None else data
    keys = {key: fields.pop(key) for key in list(fields) if key[0].isupper()}
    header = {
        "type": "short",
        "dimension": "3",
        "sizes": "7 5 3",
        "endian": "little",
        "encoding": "raw",
        "kinds": "domain domain list",
        **{name.replace("_", " "): value for name, value in fields.items()},
    }
    lines = ["NRRD0004", "# of a test", *(f"{name}: {value}" for name, value in header.items() if value)]
    lines += [f"{key}:={value}" for key, value in keys.items()]
    path.write_bytes("\n".join([*lines, "", ""]).encode() + (body if "data_file" not in fields else b""))
    if "data_file" in fields:
        (path.parent / fields["data_file"]).write_bytes(body)
    return path


@pytest.mark.parametrize("encoding", ["raw", "gzip"])
def test_files_of_pynrrd_are_read(tmp_path: Path, scan: Scan, encoding: str) -> None:
    nrrd = pytest.importorskip("nrrd", reason="NRRD's own library writes the file")
    for name in ("a.nrrd", "a.nhdr"):
        path = tmp_path / name
        header = {
            "encoding": encoding,
            "kinds": ["domain", "domain", "list"],
            "UltrasoundImageType": "RF_REAL",
        }
        nrrd.write(str(path), STACK.transpose(1, 2, 0), header, custom_field_map=None)
        np.testing.assert_array_equal(read(path, scan), STACK)
    nrrd.write(
        str(tmp_path / "b.seq.nrrd"), STACK, {"encoding": encoding, "kinds": ["list", "domain", "domain"]}
    )
    np.testing.assert_array_equal(read(tmp_path / "b.seq.nrrd", scan), STACK)


def test_frames_are_the_axis_of_kind_list_or_the_last(tmp_path: Path, scan: Scan) -> None:
    np.testing.assert_array_equal(read(sequence(tmp_path / "a.nrrd", kinds=""), scan), STACK)
    frames_first = STACK.transpose(2, 1, 0).tobytes()
    path = sequence(
        tmp_path / "b.seq.nrrd",
        data=frames_first,
        dimension="4",
        sizes="3 7 5 1",
        kinds="list domain domain domain",
    )
    np.testing.assert_array_equal(read(path, scan), STACK)
    path = sequence(tmp_path / "c.nrrd", dimension="2", sizes="7 15", kinds="")
    assert read(path, scan).shape == (1, 7, 15)


@pytest.mark.parametrize("code", [">i2", "<i2"])
@pytest.mark.parametrize("skip", [0, 11, -1])
def test_byte_order_and_skipped_bytes(tmp_path: Path, scan: Scan, code: str, skip: int) -> None:
    data = bytes(abs(skip)) + STACK.transpose(0, 2, 1).astype(code).tobytes()
    endian = "big" if code[0] == ">" else "little"
    path = sequence(tmp_path / "a.nhdr", data=data, endian=endian, byte_skip=str(skip), data_file="a.raw")
    np.testing.assert_array_equal(read(path, scan), STACK)


def test_what_plus_states_is_honoured(tmp_path: Path, scan: Scan) -> None:
    path = sequence(
        tmp_path / "a.igs.nrrd",
        data=gzip.compress(STACK[:, ::-1].astype("<i2").tobytes()),
        sizes="5 7 3",
        encoding="gzip",
        spacings="0.1 0.0128422 NaN",
        UltrasoundImageOrientation="MN",
        UltrasoundImageType="RF_REAL",
        Seq_Frame0000_Timestamp="12.5",
        Seq_Frame0001_Timestamp="12.55",
        Seq_Frame0001_ImageStatus="INVALID",
        Seq_Frame0002_Timestamp="12.6",
    )
    np.testing.assert_array_equal(read(path, scan), STACK[[0, 2]])
    about = about_files("nrrd", [path])
    assert about.geometry == Declared(axial_pitch_mm=0.0128422, line_pitch_mm=0.1)
    assert [frame.acquired_ns for frame in read_frames("nrrd", [path], scan)] == [
        12_500_000_000,
        12_600_000_000,
    ]
    path = sequence(tmp_path / "b.nrrd", space_directions="(0,0.02,0) (0.3,0,0.4) none", space_dimension="3")
    assert about_files("nrrd", [path]).geometry == Declared(axial_pitch_mm=0.02, line_pitch_mm=0.5)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"UltrasoundImageType": "BRIGHTNESS"}, "BRIGHTNESS, expected RF_REAL, .*: this is B-mode"),
        ({"kinds": "complex domain list"}, "7 numbers along the axis of kind complex, expected 2"),
        (
            {"kinds": "RGB-color domain domain"},
            "an axis of kind rgb-color, expected domain, list, time or complex",
        ),
        ({"type": "block"}, "type block, expected real numbers"),
        ({"encoding": "bzip2"}, "encoding bzip2, expected raw or gzip"),
        ({"sizes": "7 5 99999999999"}, "210 bytes of samples, expected 6999999999930"),
        ({"sizes": "7 five 3"}, "sizes is '7 five 3', expected whole numbers"),
        ({"sizes": "7 5 3 2", "dimension": "4"}, "expected N M, N M F"),
        ({"dimension": "2"}, "expected N M, N M F"),
        ({"encoding": "gzip"}, "compressed samples are damaged"),
        ({"encoding": "gzip", "data": gzip.compress(bytes(200))}, "200 bytes of samples, expected 210"),
        ({"spacings": "0.1 wide NaN"}, "spacing 'wide', expected a number"),
        ({"data_file": "LIST"}, "data file 'LIST', expected one file"),
        ({"line_skip": "2"}, "skips lines of its data"),
        ({"type": ""}, "no type in the header"),
    ],
)
def test_a_file_that_is_no_rf_is_one_line(
    tmp_path: Path, scan: Scan, more: dict[str, Any], message: str
) -> None:
    with pytest.raises(FormatError, match=message) as caught:
        read(sequence(tmp_path / "a.nrrd", **more), scan)
    assert "\n" not in str(caught.value)


def test_what_is_no_nrrd(tmp_path: Path, scan: Scan) -> None:
    path = tmp_path / "a.nrrd"
    for content in (b"", bytes(100), b"NRRD0009\n\n", b"NRRD0004\nnothing\n", b"NRRD0004\n"):
        path.write_bytes(content)
        with pytest.raises(FormatError, match=r"NRRD|expected field"):
            read(path, scan)
