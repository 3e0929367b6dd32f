"""One run of `usert train`: choose pairs, fine-tune, compare, keep the better weights.

Invariant: the folder has weights.safetensors only if the comparison accepted them; refused weights are saved as
weights-refused.safetensors, with the reasons in acceptance.json.
"""

from __future__ import annotations

import dataclasses
import gc
import json
import math
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning_fabric import Fabric

from usert.bundle import sha256_of
from usert.errors import OptionError, UsertError
from usert.network.liteflownet import LiteFlowNet
from usert.network.weights import OURS, load_published, load_weights, read_info, save_weights

from ..provenance import provenance
from .acceptance import Acceptance, compare
from .board import Board
from .dataset import PairDataset
from .recipe import FineTuneRecipe
from .selection import ChosenPair, Selection, select
from .selection_report import to_json
from .split import split_chosen
from .training import FineTuning, StepReport

ACCEPTED, REFUSED = "weights.safetensors", "weights-refused.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The pairs to train on, and the held-out pairs to test the weights on."""

    selection: Selection
    training: tuple[ChosenPair, ...]
    held_out: tuple[ChosenPair, ...]


@contextmanager
def opened_fabric(recipe: FineTuneRecipe, device: str) -> Iterator[Fabric]:
    """A Fabric for this process, or for all that `torchrun` started (gloo on CPUs, NCCL on GPUs).

    On leaving, the processes disconnect: drop what was set up with the Fabric before. A thread of gloo that still frees
    a tensor while Python ends aborts its process (PyTorch pull request 179291), and `torchrun` then ends the others.
    """
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    world = int(os.environ.get("WORLD_SIZE", "1"))
    fabric = Fabric(
        accelerator=device,
        devices=local,
        num_nodes=max(1, world // local),
        strategy="ddp" if world > 1 else "auto",
        precision="bf16-mixed" if recipe.precision == "bf16" else "32-true",
    )
    fabric.launch()
    try:
        yield fabric
    finally:
        del fabric
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
            gc.collect()  # the network's wrapper, in cycles, holds the group and with it the threads


def plan(
    recordings: Sequence[Path],
    held_out: Sequence[Path],
    recipe: FineTuneRecipe,
    *,
    observe: Callable[[Path], None] = lambda path: None,
) -> Plan:
    """Choose the pairs; held out are those of the recordings `held_out`, or else the recipe's share of all.

    Errors: `RecordingError` where no pair can be used, `OptionError` where one side is empty or a recording is on both.
    """
    if held_out:
        if both := {path.resolve() for path in recordings} & {path.resolve() for path in held_out}:
            raise OptionError(f"--held-out: {min(both)} is a training recording, too: name it once")
        judged = select(held_out, recipe.selection, observe=observe).chosen
        selection = select(recordings, recipe.selection, observe=observe)
        training = selection.chosen
    else:
        selection = select(recordings, recipe.selection, observe=observe)
        training, judged = split_chosen(selection, share=recipe.held_out, seed=recipe.seed)
    if not training or not judged:
        raise OptionError(
            f"recordings: got {len(training)} pairs to train on and {len(judged)} to hold out, expected some "
            "of each: give more recordings, or name some by --held-out"
        )
    return Plan(selection=selection, training=tuple(training), held_out=tuple(judged))


def load_start(weights: Path) -> LiteFlowNet:
    """Load the network to start from: weights of usert, or a file of published weights. Errors: `WeightsError`."""
    return load_weights(weights) if weights.suffix == OURS else load_published(weights)


def history(weights: Path) -> str:
    """The provenance stored in a weights file. Errors: `WeightsError`."""
    ours = weights.suffix == OURS
    return read_info(weights).recipe if ours else f"published weights, research use only: {weights.name}"


def train(
    plan: Plan,
    recipe: FineTuneRecipe,
    weights: Path,
    folder: Path,
    *,
    fabric: Fabric,
    resume: bool,
    report: Callable[[StepReport], None],
    stopped: Callable[[], bool],
) -> FineTuning:
    """Fine-tune on the plan's training pairs, starting from `weights`, with the state in `folder`.

    `report` is called after each step, `stopped` before it: True ends the run early. Errors: those of `FineTuning`.
    """
    data = PairDataset(plan.training, recipe.augment)
    start = load_start(weights)
    run = FineTuning(recipe, start, data, folder, fabric=fabric, start_sha256=sha256_of(weights))
    if resume:
        run.resume()
    if fabric.global_rank:
        run.run(report, stopped=stopped)
        return run
    run.refuse_overwriting()
    _write_json(folder / "pairs.json", to_json(plan.selection))
    with Board(folder, plan.held_out[0]) as board:
        if not run.step:
            board.picture(run.network, 0, fabric.device)

        def show(step: StepReport) -> None:
            board.step(step)
            if step.step % run.steps_an_epoch == 0:
                board.picture(run.network, step.step, fabric.device)
            report(step)

        run.run(show, stopped=stopped)
    return run


def accept(
    run: FineTuning,
    plan: Plan,
    weights: Path,
    *,
    observe: Callable[[int], None] = lambda done: None,
) -> tuple[Acceptance, Path]:
    """Compare the run's weights, as read from a file, with its start, and save them as accepted or refused.

    The result is the comparison and the path of the weights; `observe` is called with the number of pairs done. Errors:
    `WeightsError`, or `UsertError` for a disk that is full.
    """
    kinds = {pair.recording: pair.signal for pair in plan.training}
    iq = Counter(kinds.values())["iq"]
    made = provenance(
        run.recipe,
        made_by="usert train",
        # how much there was, and no more: names of recordings may be private
        data=f"{len(plan.training)} unlabelled pairs of {len(kinds)} recordings" + f", {iq} of IQ" * bool(iq),
        start_recipe=history(weights),
        steps=run.step,
        device=run.fabric.device,
        start=run.start_sha256,
    )
    refused, accepted = run.folder / REFUSED, run.folder / ACCEPTED
    save_weights(run.network, refused, recipe=made)
    acceptance = compare(
        load_start(weights),
        load_weights(refused),  # what float16 has made of them
        plan.held_out,
        run.recipe.acceptance,
        device=run.fabric.device,
        observe=observe,
    )
    told, verdict = run.folder / "acceptance.json", {"accepted": acceptance.accepted}
    try:  # at no moment a verdict beside weights that it is not about
        told.unlink(missing_ok=True)
        if acceptance.accepted:
            refused.replace(accepted)
        else:
            accepted.unlink(missing_ok=True)  # of the same run, by other recordings
    except OSError as error:
        raise UsertError(f"{run.folder}: cannot be written: {error.strerror}") from error
    _write_json(told, verdict | dataclasses.asdict(acceptance) | {"skipped": skipped_pairs(run)})
    return acceptance, accepted if acceptance.accepted else refused


def skipped_pairs(run: FineTuning) -> dict[str, int]:
    """The number of times that each pair was skipped because its mask rejected too much (paper, 2.2).

    The keys name file and frames.
    """
    told: dict[str, int] = {}
    for item, count in enumerate(run.skipped.tolist()):
        if count:
            pair = run.data.pair(item)
            name = f"{pair.recording.name} {pair.reference}:{pair.current}"
            told[name] = told.get(name, 0) + count
    return told


def _write_json(path: Path, tree: object) -> None:
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(_plain(tree), indent=1, allow_nan=False) + "\n", encoding="utf-8")
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise UsertError(f"{path}: cannot be written: {error.strerror}") from error


def _plain(tree: object) -> object:
    """Plain values for JSON: no NaN, no paths."""
    if isinstance(tree, dict):
        return {str(key): _plain(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_plain(value) for value in tree]
    if isinstance(tree, float) and not math.isfinite(tree):
        return None
    return str(tree) if isinstance(tree, Path | torch.device) else tree
