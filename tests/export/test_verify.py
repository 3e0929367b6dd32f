"""`usert export --verify`: a bundle held against torch again, with the engines that run here."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from usert.bundle import Bundle, default_bundle_path, sha256_of
from usert.cli import main
from usert.errors import BundleError, OptionError
from usert.export.exporter import export_bundle
from usert.export.onnx_session import open_onnx
from usert.export.verify import recorded_pairs, verify_bundle
from usert.frame import RFFrame
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.recording import write_recording

SHAPE = (96, 64)


def recording(path: Path, frames: int, shape: tuple[int, int] = SHAPE) -> Path:
    scanner = SimulatedScanner(ScannerConfig(shape=shape), seed=3)
    made: list[RFFrame] = [scanner.frame(k) for k in range(frames)]
    write_recording(path, made)
    return path


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Trained weights to level 4, one small graph."""
    default = Bundle.load(default_bundle_path())
    return export_bundle(
        default.folder / default.manifest.weights.file,
        tmp_path_factory.mktemp("verify") / "bundle",
        shapes=[SHAPE],
        any_shape=False,
        finest=4,
        strain_window=33,
    )


def test_a_good_bundle_is_proven_with_every_engine(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rf = recording(tmp_path / "rec.h5", 4)
    monkeypatch.setattr(
        "sys.argv", ["usert", "export", "--verify", str(bundle.folder), "--recording", str(rf)]
    )
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    assert ended.value.code in (0, None)
    assert "strain_96x64.onnx, onnxruntime CPUExecutionProvider: displacement within" in out
    assert "strain_96x64.onnx, openvino CPU: displacement within" in out
    assert out.rstrip().endswith("proven with openvino, onnxruntime")
    assert "strain_96x64.onnx, tensorrt_rtx: built in " in out
    assert "onnxruntime-cuda: not here: " in err


def test_a_graph_that_was_damaged_on_purpose_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    """One constant of the strain derivative, changed by a tenth, with its hash made good."""
    folder = tmp_path / "damaged"
    shutil.copytree(bundle.folder, folder)
    path = folder / "strain_96x64.onnx"
    model = onnx.load(path, load_external_data=False)
    taps = next(i for i in model.graph.initializer if i.name.startswith("strain."))
    taps.raw_data = (1.1 * np.frombuffer(taps.raw_data, np.float32)).astype(np.float32).tobytes()
    path.write_bytes(model.SerializeToString())
    old = bundle.manifest.graphs[0].sha256
    manifest = (folder / "manifest.json").read_text().replace(old, sha256_of(path))
    (folder / "manifest.json").write_text(
        manifest.replace(f'"bytes": {bundle.manifest.graphs[0].bytes}', f'"bytes": {path.stat().st_size}')
    )
    damaged = Bundle.load(folder)
    with pytest.raises(BundleError, match=r"^strain_96x64\.onnx, ort: refused: \w*strain\w*: differs"):
        verify_bundle(damaged, open_onnx(path), name="ort")


def test_pairs_are_spread_over_a_recording(tmp_path: Path) -> None:
    pairs = recorded_pairs([recording(tmp_path / "rec.h5", 9)], least_rows=33)
    assert len(pairs) == 3
    scanner = SimulatedScanner(ScannerConfig(shape=SHAPE), seed=3)
    for k, (reference, current) in zip((0, 4, 7), pairs, strict=True):
        np.testing.assert_array_equal(reference, scanner.frame(k).samples)
        np.testing.assert_array_equal(current, scanner.frame(k + 1).samples)


def test_a_recording_without_a_pair_is_named(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="got 1 frames of 96 samples, expected at least 2 of 33"):
        recorded_pairs([recording(tmp_path / "rec.h5", 1)], least_rows=33)


def test_ctrl_c_during_an_export_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    default = Bundle.load(default_bundle_path())
    weights = default.folder / default.manifest.weights.file
    words = ["export", "--weights", weights, "--out", tmp_path / "b", "--no-any-shape", "--shape", "128x64"]
    with subprocess.Popen(
        [sys.executable, "-m", "usert", *map(str, words)],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert first == "strain_128x64.onnx: exporting\n"
    assert rest == "usert: stopped, nothing was written\n"
    assert process.returncode == 130
    assert not list(tmp_path.iterdir())
