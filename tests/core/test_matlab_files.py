"""MATLAB files of both kinds: arrays come out as MATLAB shows them, by the addresses that MATLAB knows."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from plus_and_matlab import as_v5, as_v5_nested, as_v73

from usert.errors import FormatError
from usert.formats import ImportOptions, Rows, read_frames
from usert.frame import Scan

STACK = np.arange(2 * 6 * 4, dtype=np.int16).reshape(2, 6, 4)  # (F, N, M)
Save = Callable[..., Path]


def read(path: Path, scan: Scan, *variables: str, **options: Any) -> list[np.ndarray[Any, Any]]:
    wanted = ImportOptions(variables=variables, **options)
    return [frame.samples for frame in read_frames("mat", [path], scan, wanted)]


def alpinion(path: Path, scan: Scan, **options: Any) -> list[np.ndarray[Any, Any]]:
    return [frame.samples for frame in read_frames("alpinion", [path], scan, ImportOptions(**options))]


BOTH = pytest.mark.parametrize("save", [as_v5_nested, as_v73])


@pytest.mark.parametrize("save", [as_v5, as_v73])
def test_mat_is_read_as_matlab_shows_it(tmp_path: Path, scan: Scan, save: Any) -> None:
    matlab = STACK.transpose(1, 2, 0)  # (N, M, F)
    path = save(tmp_path / "a.mat", rf=matlab, depth=[[1.0]])
    np.testing.assert_array_equal(read(path, scan), STACK)
    path = save(tmp_path / "b.mat", rf=matlab[:, :, 0], other=np.eye(3))
    np.testing.assert_array_equal(read(path, scan, "rf"), STACK[:1])
    np.testing.assert_array_equal(read(path, scan, "rf", transpose=True)[0], STACK[0].T)
    with pytest.raises(
        FormatError, match=r"holds .*rf \(6 x 4\).*, expected one array, .*: name it by --variable"
    ):
        read(path, scan)
    with pytest.raises(FormatError, match=r"no array 'Im0', expected one of those there: .*rf \(6 x 4\)"):
        read(path, scan, "Im0")


def test_a_damaged_mat_file_is_one_clear_line(tmp_path: Path, scan: Scan) -> None:
    path = as_v5(tmp_path / "a.mat", rf=np.random.default_rng(0).standard_normal((50, 40)))
    whole = path.read_bytes()
    for content in (b"", b"nothing\n" * 40, whole[:200], whole[:-100]):
        path.write_bytes(content)
        with pytest.raises(FormatError, match=r"a\.mat: .*MATLAB") as caught:
            read(path, scan)
        assert "\n" not in str(caught.value)
    path = as_v73(tmp_path / "b.mat", rf=STACK[0])
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(FormatError, match=r"b\.mat: .*MATLAB 7\.3"):
        read(path, scan)
    with pytest.raises(FormatError, match=r"MATLAB 7\.3, expected version 7 or older"):
        alpinion(as_v73(tmp_path / "c.mat", BfData=STACK[0]), scan)


def test_alpinion_keeps_the_valid_rows(tmp_path: Path, scan: Scan) -> None:
    data = np.arange(40, dtype=np.float32).reshape(10, 4)
    path = as_v5(
        tmp_path / "a.mat",
        BfData=data,
        SampleNum=np.array([7], np.int32),
        EnsembleNum=np.array([1], np.int32),
    )
    np.testing.assert_array_equal(alpinion(path, scan), [data[:7]])
    np.testing.assert_array_equal(alpinion(path, scan, rows=Rows(start=2, stop=5)), [data[2:5]])
    with pytest.raises(FormatError, match=r"frame 0 has 7 rows, expected .*8"):
        alpinion(path, scan, rows=Rows(start=2, stop=8))
    for wrong, message in (
        ({"Im0": data}, "no BfData"),
        ({"BfData": data, "SampleNum": 11}, "SampleNum 11, expected"),
        ({"BfData": data, "EnsembleNum": 8}, "EnsembleNum is 8, expected 1"),
    ):
        with pytest.raises(FormatError, match=message):
            alpinion(as_v5(tmp_path / "b.mat", **wrong), scan)


@BOTH
def test_several_variables_follow_one_another_in_the_order_named(
    tmp_path: Path, scan: Scan, save: Save
) -> None:
    path = save(tmp_path / "a.mat", Im1=STACK[0], Im2=STACK[1])
    np.testing.assert_array_equal(read(path, scan, "Im1", "Im2"), STACK)
    np.testing.assert_array_equal(read(path, scan, "Im2", "Im1"), STACK[::-1])


@BOTH
def test_fields_and_cells_have_the_addresses_that_matlab_gives_them(
    tmp_path: Path, scan: Scan, save: Save
) -> None:
    path = save(
        tmp_path / "a.mat",
        data=[{"rf1": STACK[k], "rf2": -STACK[k], "roi": np.ones((1, 4))} for k in range(2)],
        one={"rf": STACK[1], "fs": np.array([[40e6]])},
        cells=[STACK[0], STACK[1]],
    )
    for address, expected in (
        ("data(2).rf1", STACK[1:]),
        ("data.rf1", STACK),
        ("rf1", STACK),
        ("rf2", -STACK),
        ("one.rf", STACK[1:]),
        ("one(1).rf", STACK[1:]),
        ("cells{2}", STACK[1:]),
        ("cells", STACK),
    ):
        np.testing.assert_array_equal(read(path, scan, address), expected)
    np.testing.assert_array_equal(read(path, scan, "data(2).rf1", "cells{1}"), STACK[::-1])
    for wrong in ("data(3).rf1", "cells{0}", "rf3"):
        with pytest.raises(FormatError, match=re.escape(repr(wrong))) as caught:
            read(path, scan, wrong)
        for there in ("data(1).rf1 to data(2).rf1 (6 x 4)", "one.rf (6 x 4)", "cells{1} to cells{2} (6 x 4)"):
            assert there in str(caught.value)
    with pytest.raises(FormatError, match="expected one array"):
        read(path, scan)


@BOTH
def test_axes_of_length_1_do_not_count(tmp_path: Path, scan: Scan, save: Save) -> None:
    path = save(tmp_path / "a.mat", rf=STACK.transpose(1, 2, 0)[:, :, np.newaxis])
    np.testing.assert_array_equal(read(path, scan), STACK)


@BOTH
@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((512, 1), r"holds rf \(512 x 1\), .*: none of those there has samples"),
        ((2, 512, 96), r"is 2 x 512 x 96, .*: if its frames come first, save permute\(rf, \[2 3 1\]\)"),
        ((6, 512, 96, 1), r"if its frames come first, save permute\(rf, \[2 3 1 4\]\)"),
        ((1, 512, 96), r"is 1 x 512 x 96, .*: if its frames come first"),
        ((9, 8, 2, 3), "is 9 x 8 x 2 x 3, .*: save one of its ensembles"),
    ],
)
def test_what_cannot_be_frames_is_refused_with_its_shape(
    tmp_path: Path, scan: Scan, save: Save, shape: tuple[int, ...], message: str
) -> None:
    path = save(tmp_path / "a.mat", rf=np.ones(shape, np.int16))
    with pytest.raises(FormatError, match=message):
        read(path, scan)
    with pytest.raises(FormatError, match=f"rf is {' x '.join(map(str, shape))}"):
        read(path, scan, "rf")


def test_a_dataset_that_claims_more_than_its_file_can_hold_is_refused(tmp_path: Path, scan: Scan) -> None:
    path = as_v73(tmp_path / "a.mat", other=STACK[0])
    with h5py.File(path, "r+") as file:
        file.create_dataset("rf", (10**6, 10**6), "f8", chunks=(100, 100))
    with pytest.raises(FormatError, match=r"/rf .*8000000000000 bytes"):
        read(path, scan, "rf")
