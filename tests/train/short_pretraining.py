"""Pre-training of a few steps, by a clock of its own."""

from __future__ import annotations

from pathlib import Path

from usert.train.pretrain.progress import Progress
from usert.train.pretrain.recipe import PretrainRecipe, Stage
from usert.train.pretrain.training import Pretraining


def stage(share: float, finest: int, *, batch: int = 1, robust: bool = True) -> Stage:
    return Stage(share=share, finest=finest, shape=(64, 64), batch=batch, robust=robust, diverse=0.5)


RECIPE = PretrainRecipe(
    minutes=1, seed=3, warm_up_steps=2, stages=(stage(0.5, 5, batch=2, robust=False), stage(0.5, 4))
)


STEPS = 6
"""Steps of the whole recipe by the clock below."""


class Clock:
    """Ten seconds a step, whatever the machine."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        self.now += 60 / STEPS
        return self.now


def ignore(_progress: Progress) -> None:
    pass


def training(folder: Path, recipe: PretrainRecipe = RECIPE, **more: Path | None) -> Pretraining:
    return Pretraining(recipe, folder, clock=Clock(), **more)


def stop_after(run: Pretraining, steps: int) -> Pretraining:
    run.run(ignore, stopped=lambda: run.step >= steps)
    return run
