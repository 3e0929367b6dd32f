"""Captures of Clarius, built byte by byte: what the `.yml` states, and the `.tar` as it is saved."""

from __future__ import annotations

import base64
import io
import math
import re
import shutil
import struct
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from usert.cli import app
from usert.errors import FormatError, MissingExtraError, OptionError
from usert.formats import FORMATS, Declared, about_files, list_files, read_frames
from usert.frame import Scan
from usert.recording import Recording

STACK = np.random.default_rng(0).integers(-3000, 3000, (3, 7, 5), dtype=np.int16)  # (F, N, M)
LINES_FIRST = STACK.transpose(0, 2, 1).astype("<i2")
RAW = struct.pack("<5I", 2, 3, 5, 7, 2) + b"".join(bytes(8) + frame.tobytes() for frame in LINES_FIRST)
YML = b"""# raw data parameters

frames: 3
transmit frequency: 5 MHz
size: {samples per line: 7, number of lines: 5, sample size: 2 bytes}
type: RF
sampling rate: 20 MHz
delay samples: 281
lines:
  - {rx element: 0, tx element: 1.5, angle: ANGLE \xc2\xb0}
"""


def pack(path: Path, **members: bytes) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(f"./2019-11-18_{name.replace('__', '.')}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def read(path: Path, scan: Scan) -> list[np.ndarray]:
    return [frame.samples for frame in read_frames("clarius", [path], scan)]


def test_a_tar_is_read_as_the_two_files_in_it(tmp_path: Path, scan: Scan) -> None:
    path = pack(tmp_path / "a.tar", env__raw=b"1", rf__tgc=b"2", rf__raw=RAW, rf__yml=YML)
    np.testing.assert_array_equal(read(path, scan), STACK)
    geometry = Declared(fs_hz=20e6, f0_hz=5e6, delay_samples=281)
    assert about_files("clarius", [path]).geometry == geometry
    (tmp_path / "b_rf.raw").write_bytes(RAW)
    (tmp_path / "b_rf.yml").write_bytes(YML)
    assert about_files("clarius", [tmp_path / "b_rf.raw"]).geometry == geometry
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith("a")] == ["a.tar"]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (
            {"env__raw": RAW},
            "holds .*_env.raw, expected one …_rf.raw or …_iq.raw, packed or not: capture in RF",
        ),
        ({"iq__raw": RAW, "rf__raw": RAW}, "holds .*_rf.raw, expected one …_rf.raw or …_iq.raw"),
        ({"rf__raw": RAW, "rf__raw__lzo": RAW}, "holds .*_rf.raw, .*_rf.raw.lzo, expected one"),
        ({"rf__raw": RAW[:-1]}, "253 bytes, expected 254 for 3 frames of 7 x 5"),
        (
            {"rf__raw": RAW, "rf__yml": YML.replace(b"type: RF", b"type: IQ")},
            "states type IQ, expected RF, by the bytes of its samples",
        ),
        ({"rf__raw": RAW, "rf__yml": YML.replace(b"type: RF", b"type: env")}, "type env, expected RF"),
        (
            {"rf__raw": RAW, "rf__yml": YML.replace(b"ANGLE", b"0") + b"  - {rx element: 0, angle: 0}\n"},
            "lines at one place",
        ),
        ({}, "holds nothing"),
    ],
)
def test_a_tar_without_lines_is_one_line(
    tmp_path: Path, scan: Scan, members: dict[str, bytes], message: str
) -> None:
    path = pack(tmp_path / "a.tar", **members)
    with pytest.raises(FormatError, match=message) as caught:
        read(path, scan)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_capture_whose_yml_is_missing_or_damaged_is_told_of(tmp_path: Path) -> None:
    for yml in ({}, {"rf__yml": b"\xff\xfe{[:"}):
        path = pack(tmp_path / "a.tar", rf__raw=RAW, **yml)
        assert "no .yml of that capture, or a damaged one" in about_files("clarius", [path]).notes[0]
        words = [
            "import",
            str(path),
            "--format",
            "clarius",
            "--line-pitch-mm",
            "0.3",
            "--out",
            str(tmp_path / "r.h5"),
        ]
        error = CliRunner().invoke(app, words).exception
        assert isinstance(error, OptionError)
        assert re.match(r"--fs-mhz, --f0-mhz: got none, .*; .*a\.tar: no \.yml of that capture", str(error))


def test_a_damaged_tar_is_one_line(tmp_path: Path, scan: Scan) -> None:
    path = pack(tmp_path / "a.tar", rf__raw=RAW)
    whole = path.read_bytes()
    for content in (b"", b"nothing\n" * 100, whole[:700], whole[:100]):
        path.write_bytes(content)
        with pytest.raises(FormatError) as caught:
            read(path, scan)
        assert "\n" not in str(caught.value)


def test_a_curved_array_is_told_of(tmp_path: Path) -> None:
    for angle, told in ((b"0", 0), (b"-30.5", 1)):
        path = pack(tmp_path / "a.tar", rf__raw=RAW, rf__yml=YML.replace(b"ANGLE", angle))
        notes = about_files("clarius", [path]).notes
        assert len(notes) == told
    assert "its lines are at -30.5 to -30.5 degrees" in notes[0]


def test_lines_at_even_angles_are_those_of_a_curved_array_whose_radius_is_given(tmp_path: Path) -> None:
    def yml(*angles: float) -> bytes:
        lines = [
            f"  - {{rx element: {k}, tx element: 1.5, angle: {a:.2f} \xb0}}\n" for k, a in enumerate(angles)
        ]
        return YML[: YML.index(b"  - {rx")] + "".join(lines).encode()

    path = pack(tmp_path / "a.tar", rf__raw=RAW, rf__yml=yml(-1.33, -0.67, 0, 0.67, 1.33))
    stated = about_files("clarius", [path]).geometry
    assert stated.line_angle_deg == pytest.approx(0.665)
    array = Declared(radius_mm=45.0).over(stated).of_rows(7).scan()
    assert (array.radius_mm, array.line_angle_deg) == (45.0, pytest.approx(0.665))
    assert array.first_depth_mm == pytest.approx(281 * 0.0385)
    assert array.line_pitch_mm == pytest.approx(math.radians(0.665) * (45 + 284.5 * 0.0385))
    assert Declared(line_pitch_mm=0.3).over(stated).of_rows(7).scan().line_angle_deg is None
    for angles in ((10, 10, 10), (0, 1, 2), (2, 1, 0, -1, -2), (-2, 2, -2, 2)):
        pack(tmp_path / "a.tar", rf__raw=RAW, rf__yml=yml(*angles))
        assert about_files("clarius", [path]).geometry.line_angle_deg is None


RAMP = (np.arange(3 * 40 * 17).reshape(3, 40, 17) % 7 * 100).astype(np.int16)
"""Frames that the program lzop 1.04 packed into the files below, as a capture, with `-1`, and with `-9 --crc32`."""
PACKED = tuple(
    base64.b64decode(text)
    for text in (
        "iUxaTwANChoKEEAgoAlAAgEDAAABAACBpF3TFrgAAAAAETIwMTktMTEtMThfcmYucmF3qfMJNQAAEBwAAABhDNmrZQ0CAAAAAwAAABEAAAAo"
        "AAAAfQEAJwAACywBWALIAPQBZACQAQAAIAAAAAAAJDQA+KogAAAAAAAqNBUoNCr8qiAAAAAAACCkKgACLAFYAsgA9AFkAJABAAAsAVgCyAAR"
        "AAAAAAAA",
        "iUxaTwANChoKEEAgoBABAwkDABEAAACBpF3TFrgAAAAAETIwMTktMTEtMThfcmYucmF3mXAMEgAAEBwAAABHBlU6NRYCAAAAA00AEU0AKEwA"
        "fAEoAAAJLAFYAsgA9AFkAJABIAAAAAAAJjQA4AAgAAAAAAAqNBUoNADgACAAAAAAAC6kKrQBEQAAAAAAAA==",
    )
)


@pytest.mark.parametrize("packed", PACKED)
def test_what_lzop_packed_is_unpacked(tmp_path: Path, scan: Scan, packed: bytes) -> None:
    path = tmp_path / "a_rf.raw.lzo"
    path.write_bytes(packed)
    (tmp_path / "a_rf.yml").write_bytes(YML)
    np.testing.assert_array_equal(read(path, scan), RAMP)
    assert about_files("clarius", [path]).geometry == Declared(fs_hz=20e6, f0_hz=5e6, delay_samples=281)
    path = pack(tmp_path / "a.tar", rf__raw__lzo=packed, rf__yml=YML)
    np.testing.assert_array_equal(read(path, scan), RAMP)
    assert about_files("clarius", [path]).geometry == Declared(fs_hz=20e6, f0_hz=5e6, delay_samples=281)


def test_blocks_of_lzop_packed_and_not(tmp_path: Path, scan: Scan) -> None:
    if shutil.which("lzop") is None:
        pytest.skip("no program lzop here")
    noise = np.random.default_rng(0).integers(-3000, 3000, (2, 2000, 192), dtype=np.int16)
    stack = np.stack([noise[0], np.zeros_like(noise[0]), noise[1]])  # lzop keeps noise as it is
    lines_first = stack.transpose(0, 2, 1).astype("<i2")
    path = tmp_path / "a_rf.raw"
    path.write_bytes(
        struct.pack("<5I", 2, 3, 192, 2000, 2) + b"".join(bytes(8) + f.tobytes() for f in lines_first)
    )
    for options in ((), ("-F",), ("-C",), ("-7", "--checksum", "-N")):
        subprocess.run(["lzop", "-f", *options, str(path)], check=True)
        np.testing.assert_array_equal(read(tmp_path / "a_rf.raw.lzo", scan), stack)


def test_a_folder_after_lzop_d_holds_each_capture_once(tmp_path: Path) -> None:
    for name in ("a_rf.raw", "a_rf.raw.lzo", "b_rf.raw.lzo", "c.tar"):
        (tmp_path / name).touch()
    files, _ = list_files([tmp_path], FORMATS["clarius"].endings)
    assert [path.name for path in files] == ["a_rf.raw", "b_rf.raw.lzo", "c.tar"]


def test_a_damaged_lzo_is_one_line(tmp_path: Path, scan: Scan) -> None:
    path, whole = tmp_path / "a_rf.raw.lzo", PACKED[0]
    block = whole.index(struct.pack(">I", 4124))
    many = whole[:block] + struct.pack(">II", 1 << 26, 1 << 18) + whole[block + 8 :]
    dense = whole[:block] + struct.pack(">I", 1 << 25) + whole[block + 4 :]
    for content, message in (
        (whole[:20], "cut"),
        (whole[:-30], "cut"),
        (whole[:-4], "cut"),
        (whole + whole, "more than one file"),
        (many, "cut"),
        (dense, "a block of 33554432 bytes in 97"),
        (whole[:14] + b"\x09" + whole[15:], "flags|method|checksum of its header"),
        (whole[:-20] + b"\xff" + whole[-19:], r"\("),
        (whole[: block + 9] + b"\0" + whole[block + 10 :], "checksum of a block"),
    ):
        path.write_bytes(content)
        with pytest.raises(FormatError, match=message) as caught:
            read(path, scan)
        assert "not a sound .lzo file" in str(caught.value)


def test_without_its_library_an_lzo_names_the_extra(
    tmp_path: Path, scan: Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a_rf.raw.lzo"
    path.write_bytes(PACKED[0])
    monkeypatch.setitem(sys.modules, "lzallright", None)
    with pytest.raises(MissingExtraError, match=r"lzallright .*usert\[clarius\]"):
        read(path, scan)


def test_where_the_first_sample_lies_is_told(cases_folder: Path, tmp_path: Path) -> None:
    words = [
        "import",
        str(cases_folder / "cl_delay281_rf.raw"),
        "--format",
        "clarius",
        "--line-pitch-mm",
        "0.12",
    ]
    out = tmp_path / "rec.h5"
    words += ["--out", str(out)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0
    assert "fs 20 MHz, f0 5 MHz" in result.output
    assert "first row 10.82 mm deep" in result.output
    out.unlink()
    result = CliRunner().invoke(app, [*words, "--rows", "100:400"])
    assert "first row 14.67 mm deep" in result.output
    with Recording(out) as recording:
        assert recording.scan.first_depth_mm == pytest.approx(381 * 0.0385)


@pytest.mark.parametrize(
    ("times", "kept"),
    [
        ((235_855_423_246, 235_888_423_246, 235_921_423_246), True),
        ((5, 5, 9), False),
        ((10**17, 10**17 + 1, 10**17 + 2), False),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_times_that_rise_from_a_start_are_those_of_the_frames(
    tmp_path: Path, scan: Scan, times: tuple[int, ...], kept: bool, packed: bool
) -> None:
    frames = zip(times, LINES_FIRST, strict=True)
    raw = struct.pack("<5I", 2, 3, 5, 7, 2) + b"".join(
        struct.pack("<Q", time) + frame.tobytes() for time, frame in frames
    )
    path = tmp_path / "a_rf.raw"
    path.write_bytes(raw)
    if packed:
        path = pack(tmp_path / "a.tar", rf__raw=raw, rf__yml=YML)
    read_times = [frame.acquired_ns for frame in read_frames("clarius", [path], scan)]
    assert read_times == (list(times) if kept else [0, 0, 0])
