"""`usert run` that is refused, interrupted or out of space: one line, and nothing half written."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from run_command import SHAPE, names, speckle, usert, write

from usert.bundle import Bundle
from usert.errors import FrameError, OptionError
from usert.recording import Recording
from usert.runtime.engines import open_engine
from usert.runtime.engines.interface import Engine
from usert.runtime.offline.outputs import beside
from usert.runtime.offline.pairs import parse_pairs
from usert.runtime.offline.recipe import Recipe
from usert.runtime.offline.run_pairs import estimate_pairs


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
        (3, ["--out", "/dev/null"], "--out: got /dev/null, a device or a pipe, expected the name of a file"),
        (3, ["--threads", "0"], "threads: got 0, expected 1 to 1024"),
        (3, ["--strain-window-mm", "99"], "--strain-window-mm: got 99, expected at most the "),
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


def test_a_recording_is_never_replaced(recording: Path, bundle: Bundle, tmp_path: Path) -> None:
    other = write(tmp_path / "other.h5", speckle(2))
    for out, message in ((recording, "is the recording itself"), (other, "is a recording")):
        before = out.read_bytes()
        done = usert("run", recording, "--out", out, "--bundle", bundle.folder)
        assert done.returncode == 1
        assert message in done.stderr
        assert out.read_bytes() == before


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
        self.strain_window_at = engine.strain_window_at

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


@pytest.mark.parametrize("at_once", ["1", "2"])
def test_ctrl_c_ends_the_command_without_a_traceback(bundle: Bundle, tmp_path: Path, at_once: str) -> None:
    path = write(tmp_path / "rec.h5", speckle(3000))
    out, part = tmp_path / "o.h5", tmp_path / "o.h5.part"
    words = ["run", path, "--out", out, "--bundle", bundle.folder, "--threads", "2", "--at-once", at_once]
    with subprocess.Popen(
        [sys.executable, "-m", "usert", *map(str, words)], stderr=subprocess.PIPE, text=True
    ) as process:
        while not part.exists() and process.poll() is None:
            time.sleep(1e-3)
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
        pytest.raises(OptionError, match=r"o\.h5: needs 0\.04 MB, 0\.00 MB .*pairs"),
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


def test_frames_of_the_wrong_pair_are_refused_by_the_library_too(bundle: Bundle, tmp_path: Path) -> None:
    path = write(tmp_path / "rec.h5", np.stack([speckle(1)[0], np.zeros(SHAPE, np.int16)]))
    engine = open_engine(bundle, threads=1)
    with Recording(path) as source, pytest.raises(FrameError, match=r"1 pair: 0:1 \(frame 1: all samples"):
        estimate(source, engine, bundle, tmp_path / "o.h5", "0:1")
    engine.close()


def test_of_what_a_library_says_with_its_stack_the_first_line_is_told(tmp_path: Path) -> None:
    def half() -> None:
        with beside(tmp_path / "a.dcm") as part:
            part.write_bytes(b"half")
            raise OSError(
                "With tag (7FE0,0010) got exception: [Errno 28] No space left on device\nTraceback …"
            )

    with pytest.raises(OptionError, match=r"^cannot write .*a\.dcm: With tag .*No space left on device$"):
        half()
    assert list(tmp_path.iterdir()) == []
