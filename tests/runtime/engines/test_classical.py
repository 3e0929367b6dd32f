"""The classical estimators as engines, and `usert run --method`, on recordings of the simulated scanner."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from usert.bundle import Bundle, default_bundle_path
from usert.errors import FrameError, MissingExtraError, OptionError
from usert.estimators import ESTIMATORS, block_matching
from usert.frame import RFFrame
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.quality import rmse, warped_ncc
from usert.recording import write_recording
from usert.runtime.engines import open_classical
from usert.runtime.engines.classical import ClassicalEngine
from usert.runtime.engines.ort import OrtEngine
from usert.strain import axial_strain

SHAPE = (256, 48)
WINDOW = 65
INSIDE = (slice(32, -32), slice(4, -4))
SCANNER = SimulatedScanner(ScannerConfig(shape=SHAPE, peak_strain=0.01, period_frames=4, tilt=0.02), seed=5)
"""Pressed in frame 2."""


@pytest.fixture(scope="module")
def pair() -> tuple[RFFrame, RFFrame]:
    return SCANNER.frame(0), SCANNER.frame(2)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory, pair: tuple[RFFrame, RFFrame]) -> Path:
    path = tmp_path_factory.mktemp("rec") / "rec.h5"
    write_recording(path, pair)
    return path


def usert(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "usert", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_strain_and_quality_are_those_of_the_core(pair: tuple[RFFrame, RFFrame]) -> None:
    first, second = (frame.samples for frame in pair)
    estimate = ClassicalEngine("ncc", strain_window_samples=WINDOW).run(first, second)
    displacement = block_matching(first, second)
    np.testing.assert_array_equal(estimate.displacement, displacement)
    np.testing.assert_array_equal(estimate.strain, axial_strain(displacement[0], WINDOW))
    np.testing.assert_array_equal(estimate.quality, np.clip(warped_ncc(first, second, displacement), 0, 1))


def test_smooth_glue_is_smoother(pair: tuple[RFFrame, RFFrame]) -> None:
    first, second = (frame.samples for frame in pair)
    bend = {
        method: np.abs(np.diff(ESTIMATORS[method](first, second)[0], 2, axis=0)).mean()
        for method in ("glue", "glue-smooth")
    }
    assert bend["glue-smooth"] < 0.9 * bend["glue"]


def test_the_default_window_is_the_default_bundles() -> None:
    manifest = Bundle.load(default_bundle_path(), verify=False).manifest
    assert open_classical("ncc").strain_window_at(SCANNER.scan) == manifest.strain_window_samples
    with pytest.raises(OptionError, match=r"method: got 'xcorr', expected .*ncc, glue, glue-smooth"):
        open_classical("xcorr")


def spoilt(frame: np.ndarray) -> np.ndarray:
    frame = frame.astype(np.float32)
    frame[3, 4] = np.nan
    return frame


@pytest.mark.parametrize(
    "change",
    [
        lambda a, b: (a, spoilt(b)),
        lambda a, b: (spoilt(a), b),
        lambda a, b: (a, b[:-1]),
        lambda a, b: (a, np.zeros_like(b)),
        lambda a, b: (a[:16], b[:16]),
        lambda a, b: (a[0], b[0]),
    ],
)
def test_bad_frames_are_refused_in_the_words_of_the_other_engine(
    bundle: Bundle, pair: tuple[RFFrame, RFFrame], change: object
) -> None:
    assert callable(change)
    frames = change(pair[0].samples, pair[1].samples)
    messages = []
    window = bundle.manifest.strain_window_samples
    for engine in (OrtEngine(bundle, threads=1), ClassicalEngine("ncc", strain_window_samples=window)):
        assert engine.strain_window_at(pair[0].scan) == window
        with pytest.raises(FrameError) as caught:
            engine.run(*frames)
        messages.append(str(caught.value))
        engine.close()
    assert messages[0] == messages[1]
    assert "\n" not in messages[0]


def test_glue_without_scipy_names_the_extra(
    pair: tuple[RFFrame, RFFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "scipy", None)
    monkeypatch.delitem(sys.modules, "scipy.sparse.linalg", raising=False)
    engine = ClassicalEngine("glue", strain_window_samples=WINDOW)
    with pytest.raises(MissingExtraError, match=r"pip install 'usert\[estimators\]'"):
        engine.run(pair[0].samples, pair[1].samples)


def test_run_writes_what_the_method_says_and_which_it_was(recording: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.h5"
    done = usert("run", recording, "--out", out, "--method", "ncc", "--figure", tmp_path / "f.png")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("0:1  mean strain ")
    with h5py.File(out) as file:
        assert file.attrs["engine"] == "usert.estimators ncc"
        assert (file.attrs["bundle"], file.attrs["bundle_sha256"]) == ("", "")
        window = int(file.attrs["strain_window_samples"])
        assert window == open_classical("ncc").strain_window_at(SCANNER.scan)
        displacement, strain = file["displacement"][0], file["strain"][0]
        assert file["displacement"].attrs["units"] == "samples, lines"
        assert file["strain"].attrs["convention"] == "fraction, compression positive"
    assert rmse(displacement[0][INSIDE], SCANNER.truth(0, 2)[0][INSIDE]) < 0.1
    np.testing.assert_array_equal(strain, axial_strain(displacement[0], window))
    assert (tmp_path / "f.png").exists()


def test_another_strain_window(recording: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.h5"
    done = usert("run", recording, "--out", out, "--method", "ncc", "--strain-window-mm", "0.8")
    assert done.returncode == 0, done.stderr
    with h5py.File(out) as file:
        assert file.attrs["strain_window_samples"] == 41
        np.testing.assert_array_equal(file["strain"][0], axial_strain(file["displacement"][0, 0], 41))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--method", "xcorr"], "--method: got 'xcorr', expected one of usert, ncc, glue, glue-smooth"),
        (
            ["--method", "ncc", "--bundle", "b"],
            "--bundle: got b with --method ncc, which takes none: leave it out",
        ),
        (["--method", "glue", "--threads", "2"], "--threads: got 2 with --method glue, which takes none"),
        (["--method", "ncc", "--at-once", "2"], "--at-once: got 2 with --method ncc, which takes none"),
    ],
)
def test_what_is_refused(recording: Path, tmp_path: Path, options: list[str], message: str) -> None:
    done = usert("run", recording, "--out", tmp_path / "o.h5", *options)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert message in line
    assert not list(tmp_path.iterdir())


def test_a_bad_frame_names_its_pair(tmp_path: Path, pair: tuple[RFFrame, RFFrame]) -> None:
    path = tmp_path / "rec.h5"
    with h5py.File(path, "w") as file:
        file["rf"] = np.stack([pair[0].samples.astype(np.float32), spoilt(pair[1].samples)])
        for name in ("fs_hz", "f0_hz", "sound_speed_m_s", "line_pitch_mm"):
            file.attrs[name] = getattr(SCANNER.scan, name)
    done = usert("run", path, "--out", tmp_path / "o.h5", "--method", "ncc")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "0:1" in line
    assert "1 of 12288 samples are NaN or infinite" in line
    assert [entry.name for entry in tmp_path.iterdir()] == ["rec.h5"]
