"""`usert pretrain`: weights of the network from pairs whose truth is known."""

from __future__ import annotations

from pathlib import Path

import typer

from usert.commands.option import option, switch


def pretrain(
    recipe: Path | None = option(None, "FILE.toml", "Recipe to follow instead of the one in the package."),
    out: Path = option(..., "FOLDER", "Folder for the state, log and weights."),
    minutes: float | None = option(
        None, "X", "Length of the run, instead of the recipe's; stages and rates follow it."
    ),
    device: str = option("cpu", "cpu|cuda", "Where to train."),
    weights: Path | None = option(
        None, "FILE", "Start from these weights (a safetensors file of usert), not random ones."
    ),
    data: Path | None = option(None, "FOLDER", 'Image pairs with flow, for a recipe with data = "folder".'),
    teacher: Path | None = option(
        None, "FILE", "Weights of the network to learn from, for a recipe with distillation."
    ),
    resume: bool = switch("--resume", "Continue the run whose state lies in the folder."),
) -> None:
    """Train the network on pairs whose truth is known: generated ones, or those of a folder.

    Prints a line every fifty steps and writes weights.safetensors at the end. Ctrl-C saves the state after
    the step in work; --resume, with the same options, goes on from there.
    """
    import dataclasses
    import shlex
    from threading import Event

    from usert.errors import OptionError, expect, require
    from usert.output_file import check_output_folder
    from usert.signals import stop_on_signals

    expect(device in ("cpu", "cuda"), "--device", f"{device!r}", "cpu or cuda")
    check_output_folder(out, option="--out")
    torch = require("torch", "train")
    require("safetensors", "train")
    if device == "cuda" and not torch.cuda.is_available():
        raise OptionError("--device cuda: torch sees no CUDA device here; use --device cpu")

    from usert.train.pretrain.progress import Progress
    from usert.train.pretrain.recipe import PretrainRecipe, load_recipe, packaged_recipe
    from usert.train.pretrain.training import Pretraining

    chosen = load_recipe(recipe, PretrainRecipe) if recipe else packaged_recipe("pretrain", PretrainRecipe)
    if minutes is not None:
        chosen = dataclasses.replace(chosen, minutes=minutes)

    training = Pretraining(chosen, out, device=device, weights=weights, folder_data=data, teacher=teacher)
    if resume:
        training.resume()

    def report(progress: Progress) -> None:
        typer.echo(
            f"step {progress.step}, {progress.elapsed_s / 60:.1f} of {chosen.minutes:g} min, "
            f"stage {progress.stage + 1} of {len(chosen.stages)}: loss {progress.loss:.4f}, "
            f"axial error {progress.axial_rmse:.3f} of {progress.axial_rms:.3f} samples, "
            f"rate {progress.learning_rate:.1e}"
        )

    stop = Event()
    with stop_on_signals(stop.set):
        training.run(report, stopped=stop.is_set)
    if not training.finished:
        again = ["usert", "pretrain", "--out", str(out), "--device", device, "--resume"]
        options = {"--recipe": recipe, "--weights": weights, "--data": data, "--teacher": teacher}
        for flag, value in (options | {"--minutes": minutes}).items():
            again += [] if value is None else [flag, str(value)]
        typer.echo(f"stopped at step {training.step}; go on with: {shlex.join(again)}", err=True)
        raise typer.Exit(130)
    typer.echo(f"{training.step} steps; weights in {training.weights_path}")
    if not training.finds_motion:
        typer.echo(
            "the network finds no motion: its error is that of no answer at all; begin again with another seed, "
            "or a lower learning_rate",
            err=True,
        )
