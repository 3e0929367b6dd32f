"""A folder in the format of the FlyingChairs: bytes written by hand, and every way to be broken."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from flow_pairs import write_flo, write_pair
from PIL import Image

from usert.errors import FormatError, OptionError
from usert.train.pretrain.flow_folder import FlowFolder, read_flo

GOLDEN = bytes.fromhex(
    "50494548"  # "PIEH", which is 202021.25 as a float32
    "03000000"  # width 3
    "02000000"  # height 2
    "0000803f 000000c0"  # row 0: u 1, v -2
    "00000000 0000003f"  # u 0, v .5
    "000020c1 00004040"  # u -10, v 3
    "0000c03f 0000803e"  # row 1: u 1.5, v .25
    "000080bf 00008040"  # u -1, v 4
    "0000a040 0000c0c0"  # u 5, v -6
)
ROWS = [[-2, 0.5, 3], [0.25, 4, -6]]
COLUMNS = [[1, 0, -10], [1.5, -1, 5]]


def test_golden_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.flo"
    path.write_bytes(GOLDEN)
    flow = read_flo(path)
    assert (flow.dtype, flow.shape) == (np.float32, (2, 2, 3))
    np.testing.assert_array_equal(flow, [ROWS, COLUMNS])
    write_flo(path, flow)  # what the other tests write is the same format
    assert path.read_bytes() == GOLDEN


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"expected .*202021\.25"),
        (GOLDEN[:11], r"202021\.25"),
        (b"HEIP" + GOLDEN[4:], r"202021\.25"),
        (GOLDEN[:-4], "got 56 bytes for 2 x 3 pixels, expected 60"),
        (GOLDEN + b"\0", "got 61 bytes for 2 x 3 pixels, expected 60"),
        (GOLDEN[:4] + struct.pack("<ii", -3, -2) + GOLDEN[12:], "got 60 bytes for -2 x -3 pixels"),
        (GOLDEN[:4] + struct.pack("<ii", 2**31 - 1, 2**31 - 1), "got 12 bytes for 2147483647 x 2147483647"),
        (GOLDEN[:-4] + struct.pack("<f", np.nan), "unknown flow"),
        (GOLDEN[:-4] + struct.pack("<f", 1.5e9), "unknown flow"),
    ],
)
def test_a_broken_flow_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a_flow.flo"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=r"a_flow\.flo: .*" + message) as caught:
        read_flo(path)
    assert "\n" not in str(caught.value)


def test_a_flow_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"a\.flo: .*No such file"):
        read_flo(tmp_path / "a.flo")


def test_a_pair_is_read_as_it_was_written(tmp_path: Path) -> None:
    images = write_pair(tmp_path, "00007", seed=3).astype(np.float64)
    folder = FlowFolder(tmp_path)
    assert (len(folder), folder.names) == (1, ["00007"])
    first, second, flow = folder.pair(0)
    expected = (images - images.mean()) / images.std()
    for got, image in zip((first, second), expected, strict=True):
        assert (got.dtype, got.shape) == (torch.float32, (3, 12, 20))
        np.testing.assert_allclose(got, image.transpose(2, 0, 1), atol=1e-5)
    np.testing.assert_array_equal(flow, np.stack(np.indices((12, 20))) + np.array([300, 0])[:, None, None])


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_crops_of_images_and_flow_are_the_same_place(tmp_path: Path, batch: int) -> None:
    for seed, name in enumerate("ab"):
        write_pair(tmp_path, name, seed=seed)
    folder = FlowFolder(tmp_path)
    first, second, truth = folder.draw(np.random.default_rng(1), batch=batch, shape=(7, 9))
    assert first.shape == second.shape == (batch, 3, 7, 9)
    assert (truth.dtype, truth.shape) == (torch.float32, (batch, 2, 7, 9))
    whole = [folder.pair(k) for k in range(2)]
    for item in range(batch):
        k, top = divmod(int(truth[item, 0, 0, 0]), 100)
        left = int(truth[item, 1, 0, 0])
        at = (..., slice(top, top + 7), slice(left, left + 9))
        for got, part in zip((first, second, truth), whole[k], strict=True):
            assert torch.equal(got[item], part[at])


def test_crops_reach_every_place_and_every_pair_and_a_seed_gives_them_again(tmp_path: Path) -> None:
    for seed, name in enumerate("ab"):
        write_pair(tmp_path, name, seed=seed)
    folder = FlowFolder(tmp_path)

    def places(seed: int) -> list[tuple[int, int]]:
        truth = folder.draw(np.random.default_rng(seed), batch=60, shape=(11, 19))[2]
        return [(int(top), int(left)) for top, left in truth[:, :, 0, 0]]

    assert set(places(0)) == {(row, column) for row in (0, 1, 100, 101) for column in (0, 1)}
    assert places(0) == places(0) != places(1)


def test_a_crop_of_the_whole_image(tmp_path: Path) -> None:
    write_pair(tmp_path, "a")
    (first,), _, (truth,) = FlowFolder(tmp_path).draw(np.random.default_rng(0), batch=1, shape=(12, 20))
    assert torch.equal(first, FlowFolder(tmp_path).pair(0)[0])
    assert truth.shape == (2, 12, 20)


@pytest.mark.parametrize("name", ["", "nowhere"])
def test_a_folder_without_a_pair(tmp_path: Path, name: str) -> None:
    (tmp_path / "a_img1.ppm").touch()
    with pytest.raises(OptionError, match=r"NAME_img1\.ppm.*NAME_img2\.ppm.*NAME_flow"):
        FlowFolder(tmp_path / name)


@pytest.mark.parametrize("shape", [(13, 20), (12, 21)])
def test_an_image_smaller_than_the_crop(tmp_path: Path, shape: tuple[int, int]) -> None:
    write_pair(tmp_path, "a")
    with pytest.raises(
        OptionError,
        match=rf"a: got 12 x 20 .*{shape[0]} x {shape[1]}",
    ):
        FlowFolder(tmp_path).draw(np.random.default_rng(0), batch=1, shape=shape)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def no_image(path: Path) -> None:
    path.write_bytes(b"P7 what is this")


def bad_header(path: Path) -> None:
    path.write_bytes(b"P6\n20 x\n255\n" + bytes(720))


def other_size(path: Path) -> None:
    Image.fromarray(np.zeros((12, 18, 3), np.uint8)).save(path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (cut_short, "cannot be read"),
        (no_image, "cannot be read"),
        (bad_header, "cannot be read"),
        (Path.unlink, ".*No such file"),
        (other_size, "got 12 x 18 .*12 x 20"),
    ],
)
def test_a_broken_image_is_named(tmp_path: Path, spoil: Callable[[Path], None], message: str) -> None:
    write_pair(tmp_path, "a")
    spoil(tmp_path / "a_img2.ppm")
    with pytest.raises(FormatError, match=r"a_img2\.ppm: " + message) as caught:
        FlowFolder(tmp_path).pair(0)
    assert "\n" not in str(caught.value)
