"""`usert run`, from recording to file and picture, by real ONNX Runtime sessions."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image
from tiny_bundle import QUALITY, SLOPE, STRAIN, tiny_bundle

from usert.bundle import Bundle
from usert.errors import FrameError, OptionError
from usert.recording import Recording
from usert.runtime.engines import open_engine
from usert.runtime.engines.interface import Engine
from usert.runtime.offline.pairs import LeftOut, describe_left_out, parse_pairs
from usert.runtime.offline.recipe import Recipe
from usert.runtime.offline.result_file import ResultReader
from usert.runtime.offline.run_pairs import estimate_pairs, figure_path

SHAPE = (96, 24)
SCAN = {"fs_hz": 40e6, "f0_hz": 6.25e6, "sound_speed_m_s": 1540.0, "line_pitch_mm": 0.108}


def write(path: Path, frames: np.ndarray) -> Path:
    """A recording made by hand, as the format is published."""
    with h5py.File(path, "w") as file:
        file["rf"] = frames
        file.attrs.update(SCAN)
    return path


def speckle(count: int) -> np.ndarray:
    return np.random.default_rng(2).integers(-900, 900, (count, *SHAPE), dtype=np.int16)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return write(tmp_path / "rec.h5", speckle(3))


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return tiny_bundle(tmp_path / "bundle")


def estimate(source: Recording, engine: Engine, bundle: Bundle, out: Path, pairs: str) -> None:
    """As `usert run` does."""
    recipe = Recipe(pairs=pairs)
    estimate_pairs(
        source,
        engine,
        bundle,
        out,
        pairs=parse_pairs(pairs, len(source)),
        observe=lambda *_: None,
        made_of=recipe.origin(
            source, called="rec.h5", engine=engine, engine_name="onnxruntime", bundle=bundle
        ),
    )


def usert(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "usert", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("bundle"))


def test_run_writes_all_that_it_promises(recording: Path, bundle: Bundle, tmp_path: Path) -> None:
    out = tmp_path / "out.h5"
    done = usert("run", recording, "--out", out, "--bundle", bundle.folder, "--threads", "1")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("0:1  mean strain 3.12 %, median quality 0.75, ")
    assert lines[1].startswith("1:2  ")
    assert lines[2] == f"2 pairs in {out}"
    with h5py.File(out) as file:
        np.testing.assert_array_equal(file["pairs"], [[0, 1], [1, 2]])
        assert file["displacement"].shape == (2, 2, *SHAPE)
        assert file["strain"].shape == file["quality"].shape == (2, *SHAPE)
        assert {file[name].dtype for name in ("displacement", "strain", "quality")} == {np.dtype(np.float32)}
        frames = speckle(3).astype(np.float32)
        np.testing.assert_array_equal(file["displacement"][1, 1], frames[2] - frames[1])
        assert (file["strain"][:] == STRAIN).all()
        assert (file["quality"][:] == QUALITY).all()
        assert file["displacement"].attrs["units"] == "samples, lines"
        assert file["strain"].attrs["convention"] == "fraction, compression positive"
        assert {name: file.attrs[name] for name in SCAN} == SCAN
        assert file.attrs["axial_pitch_mm"] == pytest.approx(0.01925)
        assert file.attrs["bundle_sha256"] == bundle.sha256
        assert file.attrs["usert_version"] == "0.1.0"
        assert file.attrs["usert_kind"] == "strain"
        assert file.attrs["engine"] == "openvino CPU"
        assert file.attrs["strain_window_samples"] == 17
    assert names(tmp_path) == ["out.h5", "rec.h5"]


def test_listed_pairs_each_get_a_picture(recording: Path, bundle: Bundle, tmp_path: Path) -> None:
    words = ("run", recording, "--out", tmp_path / "o.h5", "--bundle", bundle.folder, "--threads", "1")
    assert usert(*words, "--pairs", "0:2, 2:0", "--figure", tmp_path / "f.png").returncode == 0
    assert names(tmp_path) == ["f-2-0.png", "f.png", "o.h5", "rec.h5"]
    with Image.open(tmp_path / "f.png") as picture:
        assert picture.format == "PNG"
    with h5py.File(tmp_path / "o.h5") as file:
        np.testing.assert_array_equal(file["pairs"], [[0, 2], [2, 0]])


def test_consecutive_pairs_get_one_picture(recording: Path, bundle: Bundle, tmp_path: Path) -> None:
    words = ("run", recording, "--out", tmp_path / "o.h5", "--bundle", bundle.folder, "--threads", "1")
    assert usert(*words, "--figure", tmp_path / "f.png").returncode == 0
    assert names(tmp_path) == ["f.png", "o.h5", "rec.h5"]


def test_strain_window_in_mm_takes_the_slope_of_the_displacement(
    recording: Path, bundle: Bundle, tmp_path: Path
) -> None:
    words = ("run", recording, "--out", tmp_path / "o.h5", "--bundle", bundle.folder, "--threads", "1")
    assert usert(*words, "--strain-window-mm", "0.4").returncode == 0
    with h5py.File(tmp_path / "o.h5") as file:
        np.testing.assert_allclose(file["strain"], SLOPE, rtol=1e-5)
        assert file.attrs["strain_window_samples"] == 21


def test_frames_outside_the_training_are_said_so(bundle: Bundle, tmp_path: Path) -> None:
    path = write(tmp_path / "rec.h5", speckle(2))
    with h5py.File(path, "a") as file:
        file.attrs["f0_hz"] = 15e6
    done = usert("run", path, "--out", tmp_path / "o.h5", "--bundle", bundle.folder)
    assert done.returncode == 0
    assert "f0/fs is 0.375, the bundle was trained for 0.1 to 0.25" in done.stderr


def nan_frame(path: Path) -> Path:
    frames = speckle(3).astype(np.float32)
    frames[2, 5, 5] = np.nan
    return write(path, frames)


@pytest.mark.parametrize(
    ("frames", "options", "message"),
    [
        (1, [], "got a recording of 1 frame(s), expected two or more: strain needs a pair"),
        (3, ["--pairs", "0:3"], "--pairs: got 0:3, expected frames from 0 to 2"),
        (3, ["--pairs", "1:1"], "--pairs: got 1:1, expected two different frames"),
        (3, ["--pairs", "0-1"], "--pairs: got '0-1', expected consecutive, or I:J,I:J,…"),
        (3, ["--pairs", ""], "--pairs: got '', expected consecutive"),
        (3, ["--pairs", "0:1,"], "--pairs: got '', expected consecutive"),
        (3, ["--bundle", "nowhere"], "bundle nowhere: no such folder"),
        (3, ["--figure", "nowhere/f.png"], "--figure: got nowhere/f.png, but there is no folder nowhere"),
        (3, ["--figure", "f.jpg"], "--figure: got f.jpg, expected a name that ends in .png"),
        (3, ["--out", "nowhere/o.h5"], "--out: got nowhere/o.h5, but there is no folder nowhere"),
        (3, ["--threads", "0"], "threads: got 0, expected 1 or more"),
        (3, ["--strain-window-mm", "-1"], "strain window: got -1.0 mm, expected a finite length above 0"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    bundle: Bundle, tmp_path: Path, frames: int, options: list[str], message: str
) -> None:
    path = write(tmp_path / "rec.h5", speckle(frames))
    words = ["run", path, "--out", tmp_path / "o.h5", "--bundle", bundle.folder, *options]
    done = usert(*words)
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert message in done.stderr
    assert names(tmp_path) == ["rec.h5"]


def test_recording_is_never_replaced(recording: Path, bundle: Bundle) -> None:
    before = recording.read_bytes()
    done = usert("run", recording, "--out", recording, "--bundle", bundle.folder)
    assert done.returncode == 1
    assert "is the recording itself" in done.stderr
    assert recording.read_bytes() == before


def test_a_bad_frame_costs_its_pairs_and_is_named(bundle: Bundle, tmp_path: Path) -> None:
    frames = speckle(8).astype(np.float32)
    frames[0] = 0
    frames[3, 5, 5] = np.nan
    frames[7] = 1234.5
    path, out = write(tmp_path / "rec.h5", frames), tmp_path / "o.h5"
    done = usert("run", path, "--out", out, "--bundle", bundle.folder, "--figure", tmp_path / "f.png")
    assert done.returncode == 0
    blank = "all samples are the same as int16, expected an RF signal"
    (line,) = done.stderr.splitlines()
    assert line == (
        f"usert: left out 4 pairs: 0:1 (frame 0: {blank}); 2:3, 3:4 (frame 3: 1 of 2304 samples are NaN or infinite); "
        f"6:7 (frame 7: {blank})"
    )
    *pairs, last = done.stdout.splitlines()
    assert [line.split()[0] for line in pairs] == ["1:2", "4:5", "5:6"]
    assert last == f"3 pairs in {out}, 4 left out"
    with h5py.File(out) as file:
        np.testing.assert_array_equal(file["pairs"], [[1, 2], [4, 5], [5, 6]])
        assert file["displacement"].shape == (3, 2, *SHAPE)
        assert file["strain"].shape == file["quality"].shape == (3, *SHAPE)
        for row, k in enumerate((1, 4, 5)):
            expected = frames[k + 1] - frames[k]
            scale = np.abs(expected).max() / np.abs(file["displacement"][row, 1]).max()
            np.testing.assert_allclose(file["displacement"][row, 1] * scale, expected, atol=2)
        np.testing.assert_array_equal(file["left_out/pairs"], [[0, 1], [2, 3], [3, 4], [6, 7]])
        assert file["left_out/reasons"].asstr()[0] == f"frame 0: {blank}"
    with ResultReader(out) as result:
        assert result.pairs == ((1, 2), (4, 5), (5, 6))
        assert [one.pair for one in result.left_out] == [(0, 1), (2, 3), (3, 4), (6, 7)]
    assert names(tmp_path) == ["f.png", "o.h5", "rec.h5"]


def test_a_result_without_bad_frames_leaves_nothing_out(
    recording: Path, bundle: Bundle, tmp_path: Path
) -> None:
    done = usert("run", recording, "--out", tmp_path / "o.h5", "--bundle", bundle.folder)
    assert (done.returncode, done.stderr) == (0, "")
    with ResultReader(tmp_path / "o.h5") as result:
        assert result.left_out == ()
    with h5py.File(tmp_path / "o.h5") as file:
        assert "left_out" not in file


def test_many_bad_pairs_are_one_short_line() -> None:
    error = FrameError("current frame: all samples are the same")
    many = [LeftOut.of((k, 500), error) for k in range(20)]
    assert describe_left_out(many) == (
        "20 pairs: 0:500, 1:500, 2:500, 3:500, 4:500, 5:500, 6:500, 7:500 and 12 more "
        "(frame 500: all samples are the same)"
    )
    each = [LeftOut.of((0, k), error) for k in range(1, 12)]
    assert describe_left_out(each).endswith(
        "; 0:8 (frame 8: all samples are the same); and for 3 more reasons"
    )


def test_where_no_pair_is_left_the_old_file_stays(bundle: Bundle, tmp_path: Path) -> None:
    path, out = nan_frame(tmp_path / "rec.h5"), tmp_path / "o.h5"
    out.write_bytes(b"older")
    done = usert("run", path, "--out", out, "--bundle", bundle.folder, "--pairs", "1:2")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line == (
        "usert: nothing can be estimated of 1 pair: 1:2 (frame 2: 1 of 2304 samples are NaN or infinite)"
    )
    assert out.read_bytes() == b"older"
    assert names(tmp_path) == ["o.h5", "rec.h5"]


class Interrupted:
    """An engine during whose second pair somebody presses Ctrl-C."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.calls = engine, 0
        self.name = engine.name
        self.strain_window_samples = engine.strain_window_samples

    def run(self, reference: Any, current: Any, scan: object = None) -> Any:
        self.calls += 1
        if self.calls == 2:
            signal.raise_signal(signal.SIGINT)
        return self.engine.run(reference, current)


def test_ctrl_c_leaves_nothing_half_written(recording: Path, bundle: Bundle, tmp_path: Path) -> None:
    engine: Any = Interrupted(open_engine(bundle, threads=1))
    # a job that a shell started in the background inherits a SIGINT that does nothing
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with Recording(recording) as source, pytest.raises(KeyboardInterrupt):
            estimate(source, engine, bundle, tmp_path / "o.h5", "0:1,1:2")
    finally:
        signal.signal(signal.SIGINT, inherited)
    assert engine.calls == 2
    assert names(tmp_path) == ["rec.h5"]


def test_ctrl_c_ends_the_command_without_a_traceback(bundle: Bundle, tmp_path: Path) -> None:
    path = write(tmp_path / "rec.h5", speckle(3000))
    out, part = tmp_path / "o.h5", tmp_path / "o.h5.part"
    words = ["run", path, "--out", out, "--bundle", bundle.folder, "--threads", "1"]
    with subprocess.Popen(
        [sys.executable, "-m", "usert", *map(str, words)], stderr=subprocess.PIPE, text=True
    ) as process:
        while not part.exists() and process.poll() is None:
            os.sched_yield()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert re.fullmatch(
        rf"usert: stopped after \d+ of 2999 pairs, {re.escape(str(out))} not written\n", errors
    )
    assert names(tmp_path) == ["rec.h5"]


def test_disk_that_is_too_small_is_told_before_the_work(
    recording: Path, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with (
        Recording(recording) as source,
        closing(open_engine(bundle, threads=1)) as engine,
        pytest.raises(OptionError, match=r"needs 0\.00 GB, 0\.00 GB are free; choose fewer pairs"),
    ):
        estimate(source, engine, bundle, tmp_path / "o.h5", "0:1")
    assert names(tmp_path) == ["rec.h5"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's device that is always full")
def test_figure_on_a_full_disk_is_one_line(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "f.png.part").symlink_to("/dev/full")
    path = write(tmp_path / "rec.h5", speckle(2))
    done = usert(
        "run", path, "--out", tmp_path / "o.h5", "--bundle", bundle.folder, "--figure", tmp_path / "f.png"
    )
    assert done.returncode == 1
    assert done.stderr.splitlines() == [f"usert: cannot write {tmp_path / 'f.png'}: No space left on device"]
    assert names(tmp_path) == ["rec.h5"]


def test_pairs_are_read_as_written() -> None:
    assert parse_pairs("consecutive", 4) == ((0, 1), (1, 2), (2, 3))
    assert parse_pairs(" 3:0 ,0:2", 4) == ((3, 0), (0, 2))
    with pytest.raises(OptionError, match="got a recording of 0 frame"):
        parse_pairs("consecutive", 0)


def test_figures_of_further_pairs_stand_beside_the_first() -> None:
    assert figure_path("a/f.png", (0, 1), (0, 1)) == Path("a/f.png")
    assert figure_path("a/f.png", (2, 5), (0, 1)) == Path("a/f-2-5.png")


def test_frames_of_the_wrong_pair_are_refused_by_the_library_too(bundle: Bundle, tmp_path: Path) -> None:
    path = write(tmp_path / "rec.h5", np.stack([speckle(1)[0], np.zeros(SHAPE, np.int16)]))
    engine = open_engine(bundle, threads=1)
    with Recording(path) as source, pytest.raises(FrameError, match=r"1 pair: 0:1 \(frame 1: all samples"):
        estimate(source, engine, bundle, tmp_path / "o.h5", "0:1")
    engine.close()
