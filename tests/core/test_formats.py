"""Foreign files: samples come out as their makers wrote them, and a file that is something else says so."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from usert.errors import FormatError, OptionError
from usert.formats import ImportOptions, Rows, read_frames
from usert.frame import Scan

STACK = np.arange(2 * 6 * 4, dtype=np.int16).reshape(2, 6, 4)  # (F, N, M)


def samples(name: str, path: Path | list[Path], scan: Scan, **options: Any) -> list[np.ndarray[Any, Any]]:
    paths = path if isinstance(path, list) else [path]
    frames = read_frames(name, paths, scan, ImportOptions(**options))
    return [frame.samples for frame in frames]


def as_v5(path: Path, **variables: Any) -> Path:
    scipy.io.savemat(path, variables)
    return path


# -- raw


@pytest.mark.parametrize(("sample_type", "code"), [("int16", "<i2"), ("float32", "<f4")])
def test_raw_frames_follow_one_another(tmp_path: Path, scan: Scan, sample_type: str, code: str) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(STACK.astype(code).tobytes())
    got = samples("raw", [path, path], scan, shape=(6, 4), sample_type=sample_type)
    np.testing.assert_array_equal(got, np.concatenate([STACK, STACK]))
    assert got[0].dtype == np.dtype(sample_type)
    path.write_bytes(STACK.transpose(0, 2, 1).astype(code).tobytes())
    got = samples("raw", path, scan, shape=(6, 4), sample_type=sample_type, transpose=True)
    np.testing.assert_array_equal(got, STACK)


def test_raw_needs_a_shape_that_fits(tmp_path: Path, scan: Scan) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(STACK.tobytes())
    with pytest.raises(OptionError, match="shape: got none"):
        samples("raw", path, scan)
    with pytest.raises(FormatError, match=r"96 bytes, expected .*\b120\b.*6 .*5 lines"):
        samples("raw", path, scan, shape=(6, 5))
    path.write_bytes(b"")
    with pytest.raises(FormatError, match="0 bytes"):
        samples("raw", path, scan, shape=(6, 4))


# -- MetaImage


def metaimage(path: Path, stack: np.ndarray[Any, Any], data: bytes | None = None, **more: str) -> Path:
    """(F, N, M) or (N, M) written with depth as the fastest axis, header keys replaced by `more`."""
    kind = {"int16": "MET_SHORT", "float32": "MET_FLOAT", "float64": "MET_DOUBLE"}[stack.dtype.name]
    big = more.get("BinaryDataByteOrderMSB") == "True"
    body = np.swapaxes(stack, -1, -2).astype(stack.dtype.newbyteorder(">" if big else "<")).tobytes()
    header = {
        "ObjectType": "Image",
        "NDims": str(stack.ndim),
        "BinaryData": "True",
        "DimSize": " ".join(map(str, (*stack.shape[-2:], *stack.shape[:-2]))),
        "ElementType": kind,
        **more,
    }
    name = header.pop("ElementDataFile", "LOCAL")
    text = "".join(f"{key} = {value}\n" for key, value in header.items()) + f"ElementDataFile = {name}\n"
    content = body if data is None else data
    path.write_bytes(text.encode() + (content if name == "LOCAL" else b""))
    if name != "LOCAL":
        (path.parent / name).write_bytes(content)
    return path


@pytest.mark.parametrize("dtype", ["int16", "float32"])
@pytest.mark.parametrize("big", ["False", "True"])
@pytest.mark.parametrize("where", ["LOCAL", "a.raw"])
def test_metaimage_is_read_in_either_byte_order(
    tmp_path: Path, scan: Scan, dtype: str, big: str, where: str
) -> None:
    stack = STACK.astype(dtype)
    path = metaimage(tmp_path / "a.mha", stack, BinaryDataByteOrderMSB=big, ElementDataFile=where)
    got = samples("metaimage", path, scan)
    np.testing.assert_array_equal(got, stack)
    assert got[0].dtype == np.dtype(dtype)
    path = metaimage(tmp_path / "b.mha", stack[0], BinaryDataByteOrderMSB=big)
    np.testing.assert_array_equal(samples("metaimage", path, scan), stack[:1])


def test_metaimage_golden_bytes(tmp_path: Path, scan: Scan) -> None:
    text = b"ObjectType = Image\nNDims = 2\nDimSize = 3 2\nElementType = MET_SHORT\nElementDataFile = LOCAL\n"
    path = tmp_path / "a.mha"
    path.write_bytes(text + b"\x01\x00\x02\x00\x03\x00\xff\xff\xfe\xff\xfd\xff")
    assert samples("metaimage", path, scan)[0].tolist() == [[1, -1], [2, -2], [3, -3]]


@pytest.mark.parametrize("say_size", [True, False])
def test_metaimage_inflates_zlib(tmp_path: Path, scan: Scan, say_size: bool) -> None:
    packed = zlib.compress(STACK.transpose(0, 2, 1).astype("<i2").tobytes())
    more = {"CompressedData": "True"} | ({"CompressedDataSize": str(len(packed))} if say_size else {})
    path = metaimage(tmp_path / "a.mha", STACK, packed, **more)
    np.testing.assert_array_equal(samples("metaimage", path, scan), STACK)
    bomb = zlib.compress(bytes(10**7))
    path = metaimage(tmp_path / "b.mha", STACK, bomb, CompressedData="True")
    assert not np.any(samples("metaimage", path, scan))
    path = metaimage(tmp_path / "c.mha", STACK, b"no zlib at all", CompressedData="True")
    with pytest.raises(FormatError, match=r"c\.mha: .*compressed"):
        samples("metaimage", path, scan)


@pytest.mark.parametrize("skip", ["7", "-1"])
def test_metaimage_skips_a_foreign_header(tmp_path: Path, scan: Scan, skip: str) -> None:
    data = b"7 bytes" + STACK.transpose(0, 2, 1).tobytes()
    path = metaimage(tmp_path / "a.mhd", STACK, data, HeaderSize=skip, ElementDataFile="a.raw")
    np.testing.assert_array_equal(samples("metaimage", path, scan), STACK)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"data": STACK.tobytes()[:-1]}, "95 bytes of samples, expected 96"),
        ({"ElementType": "MET_LONG_LONG_ARRAY"}, "ElementType MET_LONG_LONG_ARRAY, expected one of"),
        ({"NDims": "2"}, "DimSize '6 4 2', expected N M, N M F or N M 1 F"),
        ({"DimSize": "6 four 2"}, "DimSize '6 four 2'"),
        ({"NDims": "three"}, "NDims is 'three', expected a whole number"),
        ({"ElementNumberOfChannels": "2"}, "more than one channel"),
        ({"BinaryData": "False"}, "samples written as text"),
        ({"ElementDataFile": "LIST"}, "expected LOCAL or one file"),
    ],
)
def test_a_bad_metaimage_is_one_clear_line(
    tmp_path: Path, scan: Scan, more: dict[str, Any], message: str
) -> None:
    with pytest.raises(FormatError, match=message):
        samples("metaimage", metaimage(tmp_path / "a.mha", STACK, **more), scan)


def test_what_is_no_metaimage(tmp_path: Path, scan: Scan) -> None:
    path = tmp_path / "a.mha"
    for content in (b"", b"\x00" * 1000, b"Key = Value\n" * 3, b"A = B\nElementDataFile = LOCAL\n"):
        path.write_bytes(content)
        with pytest.raises(FormatError, match=r"a\.mha: .*(MetaImage|DimSize)"):
            samples("metaimage", path, scan)
    path = metaimage(tmp_path / "a.mhd", STACK, ElementDataFile="a.raw")
    (tmp_path / "a.raw").unlink()
    with pytest.raises(FormatError, match=r"ElementDataFile .*a\.raw"):
        samples("metaimage", path, scan)


# -- all formats


def test_float64_is_scaled_to_unit_peak_over_all_files(tmp_path: Path, scan: Scan) -> None:
    weak = np.random.default_rng(0).uniform(-1e-23, 1e-23, (6, 4))
    weak[0, 0] = 1e-23
    strong = -4 * weak
    paths = [as_v5(tmp_path / f"{k}.mat", Im0=array) for k, array in enumerate((weak, strong))]
    frames = read_frames("mat", paths, scan)
    assert frames.scale == pytest.approx(1 / 4e-23)
    first, second = (frame.samples for frame in frames)
    assert first.dtype == np.float32
    assert np.abs(second).max() == pytest.approx(1)
    np.testing.assert_allclose(first, weak / 4e-23, rtol=1e-6)
    np.testing.assert_allclose(second, -4 * first, rtol=1e-6)
    assert [frame.sequence for frame in frames] == [0, 1]


def test_other_types_keep_their_values(tmp_path: Path, scan: Scan) -> None:
    for stored, expected in (
        ("int8", np.int16),
        ("uint8", np.int16),
        ("uint16", np.float32),
        ("int32", np.float32),
    ):
        path = as_v5(tmp_path / "a.mat", rf=STACK[0].astype(stored))
        (got,) = samples("mat", path, scan)
        assert got.dtype == expected
        np.testing.assert_array_equal(got, STACK[0])


def test_samples_that_are_no_numbers_are_refused(tmp_path: Path, scan: Scan) -> None:
    array = np.ones((6, 4), np.float32)
    array[5, 1:3] = np.nan, np.inf
    path = as_v5(tmp_path / "a.mat", rf=array)
    with pytest.raises(FormatError, match=r"frame 0 has 2 .*NaN"):
        samples("mat", path, scan)
    assert len(samples("mat", path, scan, rows=Rows(start=0, stop=5))) == 1


def test_names_and_options_that_do_not_exist(tmp_path: Path, scan: Scan) -> None:
    with pytest.raises(
        OptionError,
        match=r"format: got 'dicom', expected .*alpinion, .*zea",
    ):
        samples("dicom", [], scan)
    with pytest.raises(FormatError, match="absent"):
        samples("raw", tmp_path / "absent", scan, shape=(1, 1))
    with pytest.raises(FormatError, match="no frames"):
        samples("raw", [], scan)
    for text in ("", "5", "5:5", "7:3", "-1:3", "a:b"):
        with pytest.raises(OptionError, match="rows: got"):
            Rows.parse(text)
    with pytest.raises(OptionError, match="sample type: got 'float64', expected int16 or float32"):
        ImportOptions(sample_type="float64")
    with pytest.raises(OptionError, match="shape: got"):
        ImportOptions(shape=(0, 4))


def test_public_frames_have_their_documented_shapes(rf_folder: Path, scan: Scan) -> None:
    (alpinion,) = samples("alpinion", next((rf_folder / "alpinion_phantom").glob("248*.mat")), scan)
    assert (alpinion.shape, alpinion.dtype) == ((2195, 384), np.dtype(np.float32))
    levels = [rf_folder / "fieldii_fem" / f"level_{x}_with_tstart.mat" for x in ("0", "0.5")]
    simulated = samples("mat", levels, scan, variables=("Im0",), rows=Rows(start=259, stop=1299))
    assert [a.shape for a in simulated] == [(1040, 250)] * 2
    assert 0.5 < max(np.abs(a).max() for a in simulated) <= 1
    arm = rf_folder / "invivo_arm" / "299" / "igtlTestImage1.raw"
    (volunteer,) = samples("raw", arm, scan, shape=(2000, 128))
    spectrum = np.abs(np.fft.rfft(volunteer[300:1500], axis=0)).mean(axis=1)
    assert (
        0.05 < np.argmax(spectrum) / 1200 < 0.3
    )  # a band of RF along depth: the shape is the right way round
