"""Short real fine-tunings: the loop, resuming, skipping, diverging, and two processes against one."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from short_finetuning import RECIPE, network
from torch import Tensor

from usert.bundle import sha256_of
from usert.errors import OptionError, RecipeError, UsertError, WeightsError
from usert.network.weights import save_weights
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.recording import write_recording
from usert.train.finetune.dataset import PairDataset
from usert.train.finetune.loss_config import LossConfig
from usert.train.finetune.recipe import AcceptanceConfig, FineTuneRecipe
from usert.train.finetune.regions import Region
from usert.train.finetune.selection import ChosenPair, Selection
from usert.train.finetune.session import Plan, accept, skipped_pairs
from usert.train.finetune.training import FineTuning, StepReport


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recording") / "press.h5"
    scanner = SimulatedScanner(ScannerConfig(shape=(128, 64), peak_strain=0.03), seed=2)
    write_recording(path, [scanner.frame(k) for k in range(7)])
    return path


@pytest.fixture
def data(recording: Path) -> PairDataset:
    chosen = [
        ChosenPair(
            recording=recording,
            reference=k,
            current=k + 1,
            regions=(Region(rows=(0, 64), lines=(0, 64)),),
            strain=0.005,
            correlation=0.9,
        )
        for k in range(6)
    ]
    return PairDataset(chosen, RECIPE.augment)


def fabric() -> Fabric:
    opened = Fabric(accelerator="cpu", devices=1)
    opened.launch()
    return opened


def tuning(
    data: PairDataset, folder: Path, recipe: FineTuneRecipe = RECIPE, start: str = "abc"
) -> FineTuning:
    return FineTuning(recipe, network(), data, folder, fabric=fabric(), start_sha256=start)


def parameters(run: FineTuning) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in run.network.named_parameters()}


def ignore(_report: StepReport) -> None:
    pass


def test_every_crop_is_seen_once_an_epoch_and_every_step_reported(data: PairDataset, tmp_path: Path) -> None:
    run = tuning(data, tmp_path)
    before = parameters(run)
    seen: list[tuple[int, int]] = []
    original = data.item
    data.item = lambda index, *, seed, epoch: (  # type: ignore[method-assign]
        seen.append((epoch, index)) or original(index, seed=seed, epoch=epoch)
    )
    reports: list[StepReport] = []
    run.run(reports.append)
    assert [(r.epoch, r.step, r.steps) for r in reports] == [(k // 3, k + 1, 6) for k in range(6)]
    assert sorted(seen) == [(epoch, item) for epoch in range(2) for item in range(6)]
    assert [item for _, item in seen[:6]] != [item for _, item in seen[6:]]
    assert all(math.isfinite(r.loss) and r.gradient_norm > 0 and 0 <= r.inliers <= 1 for r in reports)
    assert all(sum(r.terms.values()) == pytest.approx(r.loss, rel=1e-5) for r in reports)
    assert any(not torch.equal(value, before[name]) for name, value in parameters(run).items())
    assert run.finished


def test_a_run_resumed_in_mid_epoch_equals_the_unbroken_one(data: PairDataset, tmp_path: Path) -> None:
    whole = tuning(data, tmp_path / "whole")
    whole.run(ignore)
    first = tuning(data, tmp_path / "parts")
    first.run(ignore, stopped=lambda: first.step >= 2)  # an epoch has three
    assert not first.finished
    torch.manual_seed(99)  # what others draw from torch has no part in it
    again = tuning(data, tmp_path / "parts")
    again.resume()
    assert again.step == 2
    again.run(ignore)
    for name, value in parameters(again).items():
        assert torch.equal(value, parameters(whole)[name]), name


def test_a_pair_whose_mask_rejects_too_much_is_skipped_and_changes_nothing(
    data: PairDataset, tmp_path: Path
) -> None:
    strict = dataclasses.replace(RECIPE, loss=LossConfig(alpha=1e-9, least_inliers=0.5))
    run = tuning(data, tmp_path, strict)
    before = parameters(run)
    reports: list[StepReport] = []
    run.run(reports.append)
    assert [r.skipped for r in reports] == [2] * 6
    assert all(math.isnan(r.loss) for r in reports)
    assert run.skipped.tolist() == [2] * 6
    assert skipped_pairs(run) == {f"press.h5 {k}:{k + 1}": 2 for k in range(6)}
    for name, value in parameters(run).items():
        assert torch.equal(value, before[name])


def test_a_folder_with_a_state_is_not_overwritten(data: PairDataset, tmp_path: Path) -> None:
    tuning(data, tmp_path).run(ignore, stopped=lambda: True)
    with pytest.raises(OptionError, match=r"state\.pt .*--resume"):
        tuning(data, tmp_path).run(ignore)


def test_a_state_of_other_weights_recipe_or_pairs_is_refused(data: PairDataset, tmp_path: Path) -> None:
    tuning(data, tmp_path).run(ignore, stopped=lambda: True)
    with pytest.raises(WeightsError, match=r"abc, got def: .*--weights"):
        tuning(data, tmp_path, start="def").resume()
    other = dataclasses.replace(RECIPE, learning_rate=1e-5)
    with pytest.raises(RecipeError, match="learning_rate"):
        tuning(data, tmp_path, other).resume()
    fewer = PairDataset(data.chosen[:4], RECIPE.augment)
    with pytest.raises(WeightsError, match=r"state\.pt: .*other pairs"):
        tuning(fewer, tmp_path).resume()
    (tmp_path / "state.pt").write_bytes(b"no state")
    with pytest.raises(WeightsError, match=r"state\.pt"):
        tuning(data, tmp_path).resume()


def test_a_loss_that_is_not_finite_stops_loudly_and_keeps_the_last_state(
    data: PairDataset, tmp_path: Path
) -> None:
    run = tuning(data, tmp_path)

    def spoil(report: StepReport) -> None:
        if report.step == 2:
            run.save()
            with torch.no_grad():
                next(run.network.parameters()).fill_(math.nan)

    with pytest.raises(UsertError, match=r"step 3 .*press\.h5, frames \d and \d: the loss"):
        run.run(spoil)
    again = tuning(data, tmp_path)
    again.resume()
    assert again.step == 2
    assert all(torch.isfinite(value).all() for value in again.network.parameters())


def test_a_full_disk_is_one_line_and_the_old_state_stays(data: PairDataset, tmp_path: Path) -> None:
    run = tuning(data, tmp_path)
    run.run(ignore, stopped=lambda: run.step >= 1)
    before = run.state_path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(UsertError, match=r"state\.pt: "):
            run.save()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert run.state_path.read_bytes() == before
    assert not list(tmp_path.glob("*.part"))


def test_a_step_needs_as_many_crops_as_it_takes(data: PairDataset, tmp_path: Path) -> None:
    greedy = dataclasses.replace(RECIPE, accumulate=8)
    with pytest.raises(RecipeError, match=r"accumulate: got 8 .*6 crops .*1 processes"):
        tuning(data, tmp_path, greedy)


TWO = """
import json, os, sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
import torch
from lightning_fabric import Fabric
from short_finetuning import RECIPE, network
from usert.train.finetune.dataset import PairDataset
from usert.train.finetune.regions import Region
from usert.train.finetune.selection import ChosenPair
from usert.train.finetune.training import FineTuning
torch.set_num_threads(1)
from usert.train.finetune.session import opened_fabric
region = (Region(rows=(0, 64), lines=(0, 64)),)
chosen = [ChosenPair(recording=Path({recording!r}), reference=k, current=k + 1, regions=region, strain=0.005,
                     correlation=0.9) for k in range(6)]
def tune(fabric):
    run = FineTuning(RECIPE, network(), PairDataset(chosen, RECIPE.augment), Path({folder!r}), fabric=fabric,
                     start_sha256=None)
    until = time.monotonic() + 1
    while fabric.global_rank and not run.state_path.exists() and time.monotonic() < until:
        time.sleep(0.01)  # the other one is ahead: does it write before this one has looked?
    losses = []
    run.run(lambda report: losses.append(report.loss))
    if fabric.global_rank == 0:
        weight = float(sum(value.abs().sum() for value in run.network.parameters()))
        Path({folder!r}, "told.json").write_text(json.dumps([fabric.world_size, losses, weight]))

with opened_fabric(RECIPE, "cpu") as fabric:
    tune(fabric)
threads = [Path("/proc/self/task", name, "comm").read_text() for name in os.listdir("/proc/self/task")]
assert not any("gloo" in name for name in threads), threads  # they would abort a process that ends
"""


def test_two_processes_learn_what_one_learns_with_accumulation(
    recording: Path, data: PairDataset, tmp_path: Path
) -> None:
    alone = tuning(data, tmp_path / "alone")
    losses: list[float] = []
    alone.run(lambda report: losses.append(report.loss))
    folder = tmp_path / "two"
    script = tmp_path / "two.py"
    script.write_text(
        TWO.format(tests=str(Path(__file__).parent), recording=str(recording), folder=str(folder))
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0"]
    done = subprocess.run(
        [*command, "--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0", str(script)],
        capture_output=True, text=True, timeout=300, check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr  # all of it: what went wrong is told first
    world, shared, weight = json.loads((folder / "told.json").read_text())
    assert world == 2
    assert shared == pytest.approx(losses, rel=1e-4)
    expected = float(sum(value.detach().abs().sum() for value in alone.network.parameters()))
    assert weight == pytest.approx(expected, rel=1e-5)


def test_a_verdict_never_lies_beside_weights_that_it_is_not_about(data: PairDataset, tmp_path: Path) -> None:
    """A run is judged again, by what its weights are worse at: what was accepted before is gone."""
    start = tmp_path / "start.safetensors"
    save_weights(network(), start, recipe="a test")
    recipe = dataclasses.replace(RECIPE, acceptance=AcceptanceConfig(refinement="off", pairs=1))
    (tmp_path / "run").mkdir()
    run = tuning(data, tmp_path / "run", recipe, sha256_of(start))
    plan = Plan(
        selection=Selection(chosen=(), rejected=(), skipped=()),
        training=(data.pair(0),),
        held_out=(data.pair(1),),
    )
    acceptance, written = accept(run, plan, start)
    assert (acceptance.accepted, written.name) == (True, "weights.safetensors")
    with torch.no_grad():
        for parameter in run.network.parameters():
            parameter.add_(torch.randn_like(parameter))
    acceptance, written = accept(run, plan, start)
    assert (acceptance.accepted, written.name) == (False, "weights-refused.safetensors")
    assert sorted(path.name for path in (tmp_path / "run").glob("*.safetensors")) == [
        "weights-refused.safetensors"
    ]
    assert json.loads((tmp_path / "run" / "acceptance.json").read_text())["accepted"] is False
