"""`usert train` as a person calls it, on recordings of the simulated scanner."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from safetensors import safe_open
from typer.testing import CliRunner, Result

from usert.commands.train import train
from usert.errors import OptionError, RecipeError, RecordingError, WeightsError
from usert.iq import turned_down
from usert.network.liteflownet import LiteFlowNet
from usert.network.weights import load_weights, read_info, save_weights
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.recording import write_recording

app = typer.Typer()
app.command("train")(train)

TINY = """
epochs = 1
learning_rate = 1e-7
precision = "fp32"
checkpointing = "none"
[loss]
least_inliers = 0.0
[selection]
lags = [1, 2]
strain = [0.002, 0.05]
crop = [64, 64]
pairs_a_recording = 4
regions_a_pair = 1
near_field_mm = 0.0
[acceptance]
pairs = 2
snre = 10.0
consistency = 10.0
"""


def call(*arguments: str | Path) -> Result:
    """Run the command; an error of usert is raised as `main` would see it."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("recordings")
    paths = []
    for seed in range(2):
        scanner = SimulatedScanner(
            ScannerConfig(shape=(256, 64), peak_strain=0.03, tilt=0.02, period_frames=12), seed=seed
        )
        paths.append(folder / f"press{seed}.h5")
        write_recording(
            paths[-1], [scanner.frame(k) for k in range(6)], [scanner.truth(k, k + 1) for k in range(5)]
        )
    return paths


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "start.safetensors"
    torch.manual_seed(3)
    save_weights(LiteFlowNet(finest=5), path, recipe="random")
    return path


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY, encoding="utf-8")
    return path


def test_fine_tunes_compares_and_keeps_what_is_no_worse(
    recordings: list[Path], weights: Path, recipe: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    result = call(*recordings, "--recipe", recipe, "--weights", weights, "--out", out)
    assert result.exit_code == 0, result.output
    assert "pairs to train on" in result.output
    assert "round trip" in result.output  # the table
    assert f"accepted; weights in {out / 'weights.safetensors'}" in result.output
    assert load_weights(out / "weights.safetensors").finest == 5
    told = json.loads(read_info(out / "weights.safetensors").recipe)
    assert told["made_by"] == "usert train"
    assert told["recipe"]["learning_rate"] == 1e-7
    assert len(told["start_sha256"]) == 64
    assert told["start_recipe"] == "random"
    verdict = json.loads((out / "acceptance.json").read_text())
    assert verdict["accepted"] is True
    assert 1 <= len(verdict["pairs"]) <= 2
    pairs = json.loads((out / "pairs.json").read_text())
    assert pairs["chosen"]
    assert any((out / "tensorboard").iterdir())
    assert not list(out.glob("*.part"))


def test_recordings_of_iq_are_trained_on_and_the_provenance_tells(
    recordings: list[Path], weights: Path, recipe: Path, tmp_path: Path
) -> None:
    scanner = SimulatedScanner(ScannerConfig(shape=(256, 64), peak_strain=0.03, period_frames=12), seed=2)
    frames = [scanner.frame(k) for k in range(6)]
    scan = replace(frames[0].scan, fs_hz=frames[0].scan.fs_hz / 2, demodulation_hz=6.2e6)
    iq = [replace(frame, samples=turned_down(frame.samples, scan, 2), scan=scan) for frame in frames]
    iq[5].samples[:] = 3  # costs its pairs
    write_recording(tmp_path / "iq.h5", iq)
    out = tmp_path / "run"
    held = ("--held-out", recordings[1])
    result = call(
        *(recordings[0], tmp_path / "iq.h5", *held, "--recipe", recipe, "--weights", weights, "--out", out)
    )
    assert result.exit_code == 0, result.output
    told = json.loads(read_info(out / "weights.safetensors").recipe)
    assert told["data"].endswith(" unlabelled pairs of 2 recordings, 1 of IQ")
    pairs = json.loads((out / "pairs.json").read_text())
    chosen = [pair for pair in pairs["chosen"] if pair["signal"] == "iq"]
    assert chosen
    assert all(pair["recording"].endswith("iq.h5") and pair["correlation"] > 0.8 for pair in chosen)
    blank = [pair["reason"] for pair in pairs["rejected"] if pair["kind"] == "blank"]
    assert blank
    assert all("frame 5: IQ frame: all samples are the same" in reason for reason in blank)


def test_worse_weights_are_refused_and_marked_so(
    recordings: list[Path], weights: Path, tmp_path: Path
) -> None:
    wild = tmp_path / "wild.toml"
    text = TINY.replace("learning_rate = 1e-7", "learning_rate = 0.05").replace("epochs = 1", "epochs = 6")
    wild.write_text(text.replace("consistency = 10.0", "consistency = 0.0\nncc = 0.0\nrmse = 0.0"))
    out = tmp_path / "run"
    result = call(*recordings, "--recipe", wild, "--weights", weights, "--out", out)
    assert result.exit_code == 1
    assert "usert: refused: " in result.output
    assert not (out / "weights.safetensors").exists()
    with safe_open(out / "weights-refused.safetensors", framework="pt") as file:
        assert file.metadata()["usert_weights"] == "1"
    assert json.loads((out / "acceptance.json").read_text())["objections"]


def test_a_dry_run_says_what_would_be_used_and_writes_nothing(
    recordings: list[Path], recipe: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    result = call(*recordings, "--recipe", recipe, "--out", out, "--dry-run")
    assert result.exit_code == 0
    assert "pairs to train on" in result.output
    assert not out.exists()


def test_recordings_named_to_be_held_out_are_not_trained_on(
    recordings: list[Path], weights: Path, recipe: Path, tmp_path: Path
) -> None:
    arguments = ("--recipe", recipe, "--weights", weights, "--out", tmp_path / "run")
    result = call(recordings[0], "--held-out", recordings[1], *arguments)
    assert result.exit_code == 0, result.output
    pairs = json.loads((tmp_path / "run" / "pairs.json").read_text())
    assert {Path(pair["recording"]).name for pair in pairs["chosen"]} == {"press0.h5"}
    verdict = json.loads((tmp_path / "run" / "acceptance.json").read_text())
    assert {name.split(" ")[0] for name in verdict["pairs"]} == {"press1.h5"}
    with pytest.raises(OptionError, match=r"--held-out: .*press0\.h5"):
        call(recordings[0], "--held-out", recordings[0], *arguments)


def test_a_corrupt_file_among_many_is_named_and_left_out(
    recordings: list[Path], weights: Path, recipe: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.h5"
    broken.write_bytes(b"no recording")
    out = tmp_path / "run"
    result = call(broken, *recordings, "--recipe", recipe, "--weights", weights, "--out", out)
    assert result.exit_code == 0, result.output
    assert "broken.h5" in result.output


def test_nothing_to_learn_from_is_one_line(weights: Path, recipe: Path, tmp_path: Path) -> None:
    still = tmp_path / "still.h5"
    scanner = SimulatedScanner(ScannerConfig(shape=(256, 64), peak_strain=0.0, slide_lines=0.0), seed=1)
    write_recording(still, [scanner.frame(0) for _ in range(4)])
    with pytest.raises(RecordingError) as caught:
        call(still, "--recipe", recipe, "--weights", weights, "--out", tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert "strain" in str(caught.value)


def test_a_resume_with_other_weights_or_recipe_is_one_line(
    recordings: list[Path], weights: Path, recipe: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    assert call(*recordings, "--recipe", recipe, "--weights", weights, "--out", out).exit_code == 0
    kept = (out / "weights.safetensors").read_bytes()
    other = tmp_path / "other.safetensors"
    save_weights(LiteFlowNet(finest=5), other, recipe="random too")
    with pytest.raises(WeightsError, match="--weights"):
        call(*recordings, "--recipe", recipe, "--weights", other, "--out", out, "--resume")
    with pytest.raises(RecipeError, match="epochs"):
        call(*recordings, "--recipe", recipe, "--epochs", "3", "--weights", weights, "--out", out, "--resume")
    assert (out / "weights.safetensors").read_bytes() == kept


def test_what_a_user_mistypes_is_said(recordings: list[Path], recipe: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="--device: got 'gpu', expected cpu or cuda"):
        call(*recordings, "--out", tmp_path / "run", "--device", "gpu")
    unknown = tmp_path / "unknown.toml"
    unknown.write_text("[loss]\nlambda4 = 1.0\n")
    with pytest.raises(RecipeError, match=r"loss\.lambda4"):
        call(*recordings, "--out", tmp_path / "run", "--recipe", unknown)
    none = tmp_path / "none.safetensors"
    with pytest.raises(WeightsError, match="no such weights file"):
        call(*recordings, "--recipe", recipe, "--weights", none, "--out", tmp_path / "r", "--dry-run")
    assert not (tmp_path / "r").exists()


def test_nan_samples_do_not_reach_the_network(weights: Path, recipe: Path, tmp_path: Path) -> None:
    scanner = SimulatedScanner(
        ScannerConfig(shape=(256, 64), peak_strain=0.03, tilt=0.02, period_frames=12), seed=5
    )
    frames = []
    for k in range(6):
        frame = scanner.frame(k)
        samples = frame.samples.astype(np.float32)
        samples[40, 7] = np.nan
        frames.append(type(frame)(samples=samples, scan=frame.scan, sequence=k))
    path = tmp_path / "nan.h5"
    write_recording(path, frames)
    result = call(path, "--recipe", recipe, "--weights", weights, "--out", tmp_path / "run")
    assert result.exit_code in (0, 1)
    assert "accepted" in result.output or "refused" in result.output
