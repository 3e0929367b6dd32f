"""`usert pretrain` as a person calls it."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
import torch
import typer
from flow_pairs import write_pair
from typer.testing import CliRunner, Result

from usert.bundle import sha256_of
from usert.commands.pretrain import pretrain
from usert.errors import OptionError, RecipeError, WeightsError
from usert.network.liteflownet import LiteFlowNet
from usert.network.weights import load_weights, read_info, save_weights
from usert.train.pretrain.recipe import PretrainRecipe, Stage
from usert.train.pretrain.training import Pretraining

app = typer.Typer()
app.command("pretrain")(pretrain)

TINY = """
minutes = 0.03
[[stages]]
share = 1.0
finest = 5
shape = [64, 64]
batch = 1
robust = false
diverse = 0.5
"""


def call(*arguments: str | Path) -> Result:
    """Run the command; an error of usert is raised as `main` would see it."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY, encoding="utf-8")
    return path


def test_trains_reports_and_writes_weights(recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = call("--recipe", recipe, "--out", out)
    assert result.exit_code == 0
    *reports, last = result.output.splitlines()
    assert "0.0 of 0.03 min, stage 1 of 1: loss " in reports[-1]
    assert "samples, rate " in reports[-1]
    assert last.endswith(f"steps; weights in {out / 'weights.safetensors'}")
    assert load_weights(out / "weights.safetensors").finest == 5


def test_ctrl_c_saves_and_says_how_to_go_on(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, step = tmp_path / "a run", Pretraining._train_step

    def interrupted(self: Pretraining, stage: Stage) -> tuple[float, float]:
        if self.step == 1:
            signal.raise_signal(signal.SIGINT)
        return step(self, stage)

    monkeypatch.setattr(Pretraining, "_train_step", interrupted)
    old = signal.getsignal(signal.SIGINT)
    result = call("--recipe", recipe, "--out", out, "--minutes", "0.5")
    assert result.exit_code == 130
    assert signal.getsignal(signal.SIGINT) is old
    assert result.output.splitlines()[-1] == (
        f"stopped at step 2; go on with: usert pretrain --out '{out}' --device cpu --resume "
        f"--recipe {recipe} --minutes 0.5"
    )
    assert {path.name for path in out.iterdir()} == {"state.pt"}

    with pytest.raises(OptionError, match=r"state\.pt .*--resume"):
        call("--recipe", recipe, "--out", out, "--minutes", "0.5")
    with pytest.raises(RecipeError, match="minutes"):
        call("--recipe", recipe, "--out", out, "--resume")
    state = torch.load(out / "state.pt", weights_only=True)
    torch.save(state | {"elapsed_s": 29.9}, out / "state.pt")
    result = call("--recipe", recipe, "--out", out, "--minutes", "0.5", "--resume")
    assert result.exit_code == 0
    assert int(result.output.splitlines()[-1].split()[0]) > 2


def test_the_recipe_of_the_package_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[PretrainRecipe] = []

    def run(self: Pretraining, *_args: object, **_kwargs: object) -> None:
        seen.append(self.recipe)
        self.elapsed_s = 1e9

    monkeypatch.setattr(Pretraining, "run", run)
    assert call("--out", tmp_path).exit_code == 0
    assert call("--out", tmp_path, "--minutes", "7").exit_code == 0
    assert seen[0].stages == seen[1].stages
    assert seen[0].stages[-1].finest == 2
    assert seen[1].minutes == 7


def test_weights_and_data_are_passed_on_and_told_when_it_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, chairs, weights = tmp_path / "folder.toml", tmp_path / "chairs", tmp_path / "w.safetensors"
    recipe.write_text('data = "folder"\n' + TINY, encoding="utf-8")
    chairs.mkdir()
    write_pair(chairs, "1", (64, 64))
    save_weights(LiteFlowNet(finest=5), weights, recipe="none")
    monkeypatch.setattr(Pretraining, "run", lambda *_args, **_kwargs: None)
    result = call("--recipe", recipe, "--out", tmp_path / "run", "--weights", weights, "--data", chairs)
    assert result.exit_code == 130
    assert result.output.splitlines()[-1].endswith(f"--recipe {recipe} --weights {weights} --data {chairs}")
    monkeypatch.undo()
    out = tmp_path / "run"
    result = call("--recipe", recipe, "--out", out, "--weights", weights, "--data", chairs)
    assert result.exit_code == 0
    told = json.loads(read_info(out / "weights.safetensors").recipe)
    assert told["data"] == "a folder of image pairs with flow"
    assert told["start_sha256"] == sha256_of(weights)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["--device", "tpu"], OptionError, "--device: got 'tpu', expected cpu or cuda"),
        (["--recipe", "nowhere.toml"], RecipeError, r"nowhere\.toml"),
        (["--minutes", "-1"], RecipeError, "minutes: got -1.0, expected a number above 0"),
        (["--resume"], WeightsError, r"state\.pt"),
        (["--weights", "nowhere.safetensors"], WeightsError, r"nowhere\.safetensors"),
        (
            ["--data", "chairs"],
            OptionError,
            "data folder: got chairs .*'scanner'",
        ),
    ],
)
def test_what_is_refused(tmp_path: Path, arguments: list[str], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call("--out", tmp_path / "run", *arguments)
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"CUDA.*--device cpu"):
        call("--out", tmp_path, "--device", "cuda")
