"""`usert train`: fine-tune the network on a site's own recordings, without labels."""

from __future__ import annotations

from pathlib import Path

import typer

from usert.commands.option import option, switch


def train(
    recordings: list[Path] = typer.Argument(..., metavar="REC.h5…", help="Recordings of RF or IQ frames."),
    out: Path = option(..., "FOLDER", "Folder for the state, pictures, report and weights."),
    recipe: str = option(
        "finetune", "finetune|paper|FILE.toml", "Recipe of the package, or a file of your own."
    ),
    weights: Path | None = option(None, "FILE", "Weights to start from instead of the default bundle's."),
    held_out: list[Path] = option([], "REC.h5", "Recording to judge by, not to train on; may be repeated."),
    epochs: int | None = option(None, "N", "Epochs, instead of the recipe's."),
    device: str = option("cpu", "cpu|cuda", "Where to train."),
    resume: bool = switch("--resume", "Continue the run whose state lies in the folder."),
    dry_run: bool = switch("--dry-run", "Choose the pairs, print the report, and stop."),
) -> None:
    """Fine-tune the network on unlabelled recordings, and keep the result only if it is no worse.

    Chooses pairs and regions by itself and says which and why; trains by the recipe; compares the new weights
    with the old ones on held-out pairs. Accepted weights are FOLDER/weights.safetensors, for `usert export`;
    refused ones are marked so, and the exit code is 1. Ctrl-C saves the state; --resume goes on from there.
    Under `torchrun` all processes share the work.
    """
    import dataclasses
    import logging
    import math
    import shlex
    import warnings
    from threading import Event

    from usert.errors import OptionError, expect, require
    from usert.output_file import check_output_folder
    from usert.signals import stop_on_signals

    expect(device in ("cpu", "cuda"), "--device", f"{device!r}", "cpu or cuda")
    if not dry_run:
        check_output_folder(out, option="--out")
    torch = require("torch", "train")
    for module in ("safetensors", "lightning_fabric", "tensorboard"):
        require(module, "train")
    if device == "cuda" and not torch.cuda.is_available():
        raise OptionError("--device cuda: torch sees no CUDA device here; use --device cpu")

    from lightning_fabric import Fabric
    from rich.console import Console

    from usert.bundle import Bundle, default_bundle_path
    from usert.commands.progress import progress_bar
    from usert.train.finetune.acceptance import table
    from usert.train.finetune.recipe import FineTuneRecipe
    from usert.train.finetune.selection_report import report as selection_report
    from usert.train.finetune.session import accept, load_start, opened_fabric, plan, skipped_pairs
    from usert.train.finetune.session import train as fine_tune
    from usert.train.finetune.training import StepReport
    from usert.train.pretrain.recipe import load_recipe, packaged_recipe

    if recipe in ("finetune", "paper"):
        chosen = packaged_recipe(recipe, FineTuneRecipe)
    else:
        chosen = load_recipe(Path(recipe), FineTuneRecipe)
    if epochs is not None:
        chosen = dataclasses.replace(chosen, epochs=epochs)
    if weights is None:
        bundle = Bundle.load(default_bundle_path())
        start = bundle.folder / bundle.manifest.weights.file
    else:
        start = weights
    load_start(start)  # a wrong file is refused before pairs are chosen, which takes minutes

    with progress_bar("choosing pairs") as progress:
        task = progress.add_task("choosing pairs", total=len(recordings) + len(held_out))
        planned = plan(recordings, held_out, chosen, observe=lambda path: progress.advance(task))
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it tells its precision and ranks
    # of the transposed convolutions under torchrun; costs a copy, changes no value
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")

    def tune(fabric: Fabric) -> int:
        """Fine-tune and compare; the exit code."""
        leads = fabric.global_rank == 0
        if leads:
            typer.echo(selection_report(planned.selection))
            typer.echo(f"{len(planned.training)} pairs to train on, {len(planned.held_out)} held out")
        if dry_run:
            return 0

        stop = Event()
        recent: list[StepReport] = []
        with stop_on_signals(stop.set), progress_bar("fine-tuning") as progress:
            task = progress.add_task("fine-tuning", total=None)

            def observe(step: StepReport) -> None:
                if not leads:
                    return
                recent.append(step)
                progress.update(task, completed=step.step, total=step.steps)
                if len(recent) * chosen.epochs >= step.steps or step.step == step.steps:
                    losses = [r.loss for r in recent if not math.isnan(r.loss)]
                    mean = sum(losses) / len(losses) if losses else math.nan
                    inliers = sum(r.inliers for r in recent) / len(recent)
                    skipped = sum(r.skipped for r in recent)
                    progress.console.print(
                        f"epoch {step.epoch + 1} of {chosen.epochs}, step {step.step}: loss {mean:.4f}, "
                        f"inliers {100 * inliers:.0f} %, {skipped} pairs skipped",
                        soft_wrap=True,
                    )
                    recent.clear()

            run = fine_tune(
                planned, chosen, start, out, fabric=fabric, resume=resume, report=observe, stopped=stop.is_set
            )
        if not run.finished:
            again = [
                "usert",
                "train",
                *map(str, recordings),
                "--out",
                str(out),
                "--recipe",
                recipe,
                "--resume",
            ]
            again += ["--device", device] if device != "cpu" else []
            again += [] if weights is None else ["--weights", str(weights)]
            again += [] if epochs is None else ["--epochs", str(epochs)]
            again += [part for path in held_out for part in ("--held-out", str(path))]
            if leads:
                typer.echo(f"stopped at step {run.step}; go on with: {shlex.join(again)}", err=True)
            return 130
        if not leads:
            return 0
        if left_out := skipped_pairs(run):
            told = ", ".join(f"{name} ({count})" for name, count in left_out.items())
            typer.echo(f"skipped for their outlier mask (times): {told}")
        with progress_bar("comparing") as progress:
            total = min(len(planned.held_out), chosen.acceptance.pairs)
            task = progress.add_task("comparing", total=total)
            acceptance, written = accept(
                run, planned, start, observe=lambda done: progress.update(task, completed=done)
            )
        Console(soft_wrap=False).print(table(acceptance))
        if not acceptance.accepted:
            typer.echo(
                f"usert: refused: {'; '.join(acceptance.objections)}; keep {start} (the new ones are in {written})",
                err=True,
            )
            return 1
        typer.echo(f"accepted; weights in {written}")
        return 0

    with opened_fabric(chosen, device) as fabric:
        code = tune(fabric)
    if code:
        raise typer.Exit(code)
