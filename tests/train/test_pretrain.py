"""Short real runs of pre-training: through all stages, stopped, resumed, and what goes wrong."""

from __future__ import annotations

import dataclasses
import json
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from short_pretraining import RECIPE, STEPS, ignore, stage, stop_after, training
from torch import Tensor

import usert.train.pretrain.training as module
from usert.errors import OptionError, RecipeError, UsertError, WeightsError
from usert.network.weights import load_weights, read_info
from usert.train.pretrain.progress import Progress
from usert.train.pretrain.supervised import supervised_loss
from usert.train.pretrain.training import Pretraining


def parameters(run: Pretraining) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in run.network.named_parameters()}


def moments(run: Pretraining) -> list[Tensor]:
    return [value for state in run.optimizer.state.values() for value in state.values()]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Pretraining:
    """A run from the first step to the last."""
    run = training(tmp_path_factory.mktemp("unbroken"))
    reports: list[Progress] = []
    run.run(reports.append)
    assert [report.step for report in reports] == [STEPS]
    return run


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Pretraining:
    """A run that was stopped in its first stage, before its network grew."""
    return stop_after(training(tmp_path_factory.mktemp("half")), 2)


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file of this process may grow past 100 kB, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_run_goes_through_all_stages_and_writes_its_weights(unbroken: Pretraining) -> None:
    assert (unbroken.step, unbroken.stage, unbroken.network.finest) == (STEPS, 1, 4)
    assert unbroken.finished
    names = {path.name for path in unbroken.folder.iterdir()}
    assert names == {"state.pt", "log.jsonl", "weights.safetensors"}
    loaded = load_weights(unbroken.weights_path)
    for name, value in loaded.named_parameters():
        assert torch.equal(value, parameters(unbroken)[name].half().float())


def test_weights_carry_where_they_come_from(unbroken: Pretraining) -> None:
    line = read_info(unbroken.weights_path).recipe
    assert "\n" not in line
    told = json.loads(line)
    assert (told["seed"], told["steps"], told["minutes"], told["device"]) == (3, STEPS, 1.0, "cpu")
    assert told["recipe"]["ranges"]["strain"] == [3e-4, 3e-2]
    assert [entry["finest"] for entry in told["recipe"]["stages"]] == [5, 4]
    assert (told["start_sha256"], told["data"]) == (None, "generated pairs (usert.train.pretrain.pairs)")
    assert told["commit"] is None or len(told["commit"].removesuffix("-dirty")) == 40


def test_the_log_tells_what_was_reported(unbroken: Pretraining) -> None:
    (entry,) = map(json.loads, (unbroken.folder / "log.jsonl").read_text().splitlines())
    assert entry["step"] == STEPS
    assert entry["elapsed_s"] == 60
    assert entry["loss"] > 0
    assert entry["axial_rmse"] > 0
    assert entry["axial_rms"] > 0


def test_a_network_that_finds_nothing_is_told_from_one_that_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("usert.train.pretrain.training.JUDGED", STEPS)
    run = training(tmp_path)
    assert run.finds_motion  # nothing to judge by yet
    run.run(ignore)
    assert not run.finds_motion  # so few steps teach nothing
    monkeypatch.setattr("usert.train.pretrain.training.IDLE", 1e9)
    assert run.finds_motion


def test_a_resumed_run_equals_the_unbroken_one_bit_for_bit(
    unbroken: Pretraining, half: Pretraining, tmp_path: Path
) -> None:
    torch.manual_seed(99)  # what others draw from torch in between has no part in it
    (tmp_path / "state.pt").write_bytes(half.state_path.read_bytes())
    resumed = training(tmp_path)
    resumed.resume()
    assert (resumed.step, resumed.elapsed_s) == (2, 20)
    stop_after(resumed, 4)  # and once more, after the network grew
    again = training(tmp_path)
    again.resume()
    again.run(ignore)
    assert (again.step, again.elapsed_s) == (unbroken.step, unbroken.elapsed_s)
    for name, value in parameters(again).items():
        assert torch.equal(value, parameters(unbroken)[name]), name
    assert all(torch.equal(a, b) for a, b in zip(moments(again), moments(unbroken), strict=True))
    assert again.rng.bit_generator.state == unbroken.rng.bit_generator.state


def test_torchs_own_generator_stays_as_it_was(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    training(tmp_path)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_loss_falls(tmp_path: Path) -> None:
    """The same pair again and again is learnt by heart."""
    still = dataclasses.replace(RECIPE, learning_rate=4e-4, stages=(stage(1.0, 5, robust=False),))
    run = training(tmp_path, still)
    state = run.rng.bit_generator.state
    losses = []
    for _ in range(12):
        run.rng.bit_generator.state = state
        run._set_rate()
        losses.append(run._train_step(still.stages[0])[0])
        run.step += 1
    assert losses[-1] < 0.8 * losses[0]


def test_rate_rises_again_after_growth_and_falls_as_a_cosine(tmp_path: Path) -> None:
    run = training(tmp_path)
    rates = []
    for share, step in ((0.0, 0), (0.0, 9), (0.5, 9), (0.5, 10), (1.0, 99)):
        run.elapsed_s, run.step = share * 60, step
        run._enter_stage()
        rates.append(run._set_rate())
    middle = (RECIPE.learning_rate + RECIPE.last_learning_rate) / 2
    full = RECIPE.learning_rate
    assert rates == pytest.approx([full / 2, full, middle / 2, middle, RECIPE.last_learning_rate])


def test_a_state_is_not_overwritten_by_a_new_run(half: Pretraining) -> None:
    before = half.state_path.read_bytes()
    with pytest.raises(OptionError, match=r"state\.pt .*--resume"):
        training(half.folder).run(ignore)
    assert half.state_path.read_bytes() == before


def test_another_recipe_is_refused_by_what_differs(half: Pretraining) -> None:
    other = dataclasses.replace(RECIPE, minutes=2, clip=0.5)
    with pytest.raises(RecipeError, match="minutes, clip"):
        training(half.folder, other).resume()


@pytest.mark.parametrize("content", [b"", b"garbage", None])
def test_a_state_that_cannot_be_read(half: Pretraining, tmp_path: Path, content: bytes | None) -> None:
    whole = half.state_path.read_bytes()
    (tmp_path / "state.pt").write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(WeightsError, match=r"state\.pt: .+: .+") as caught:
        training(tmp_path).resume()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 9}, "got state format 9, expected 1"),
        ({"finest": 2}, "damaged"),
        ({"rng": {}}, "damaged"),
        ({"network": {}}, "damaged"),
    ],
)
def test_a_state_that_does_not_fit(
    half: Pretraining, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    state = torch.load(half.state_path, weights_only=True)
    torch.save(state | change, tmp_path / "state.pt")
    with pytest.raises(WeightsError, match=message) as caught:
        training(tmp_path).resume()
    assert "\n" not in str(caught.value)


def test_nothing_to_resume(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"state\.pt.*--resume"):
        training(tmp_path).resume()


def test_a_loss_that_is_not_finite_stops_loudly_and_keeps_the_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = stop_after(training(tmp_path), 1)
    again = training(tmp_path)
    again.resume()
    good = parameters(again)
    loss = supervised_loss
    monkeypatch.setattr(module, "supervised_loss", lambda *a, **k: loss(*a, **k) * torch.nan)
    with pytest.raises(UsertError, match=r"step 1: the loss .*state\.pt"):
        again.run(ignore)
    assert all(torch.equal(value, good[name]) for name, value in parameters(again).items())
    assert torch.load(run.state_path, weights_only=True)["step"] == 1


def test_a_full_disk_leaves_the_old_state(half: Pretraining, tmp_path: Path, full_disk: None) -> None:
    del full_disk
    before = half.state_path.read_bytes()
    with pytest.raises(UsertError, match=r"state\.pt: .+: .+") as caught:
        half.save()
    assert "\n" not in str(caught.value)
    assert half.state_path.read_bytes() == before
    assert not list(half.folder.glob("*.part"))
    new = training(tmp_path / "new")
    with pytest.raises(UsertError, match=r"state\.pt: "):
        new.run(ignore)
    assert new.step == 0  # known before the first step


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsertError, match=r"file: .*File exists"):
        training(tmp_path / "file").run(ignore)


def test_a_log_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "log.jsonl").mkdir()
    monkeypatch.setattr(module, "REPORT_EVERY", 1)
    with pytest.raises(UsertError, match=r"log\.jsonl: .*Is a directory"):
        training(tmp_path).run(ignore)


def test_the_state_is_saved_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SAVE_EVERY_S", 15.0)
    run = training(tmp_path)
    steps: list[int] = []
    monkeypatch.setattr(run, "save", lambda: steps.append(run.step))
    stop_after(run, 5)
    assert steps == [0, 2, 4, 5]
