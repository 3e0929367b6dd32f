"""Supervised pre-training from random weights: generate a pair, step, repeat until the time is spent.

Knows the recipe, the generator and the loss; writes a resumable state and a log. Invariant: the state on disk is
always whole (written beside, then renamed) and a resumed run continues its schedule where it stopped.
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from usert.errors import RecipeError, UsertError, WeightsError
from usert.network.channels import Channels
from usert.network.grow import grow
from usert.network.liteflownet import FLOW_SCALE, LiteFlowNet

from .pairs import Pair, random_pairs
from .recipe import PretrainRecipe, Stage
from .supervised import supervised_loss

STATE_FORMAT = 1
SAVE_EVERY_S = 240.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What a run reports now and then."""

    step: int
    elapsed_s: float
    stage: int
    loss: float
    axial_rmse: float
    """Samples, over the pairs since the last report, at the finest level."""
    learning_rate: float


class Pretraining:
    """One run: network, optimiser, schedule, and the folder where its state lives."""

    def __init__(self, recipe: PretrainRecipe, folder: Path, *, device: str = "cpu") -> None:
        self.recipe = recipe
        self.folder = folder
        self.device = torch.device(device)
        self.step = 0
        self.elapsed_s = 0.0
        self.stage = 0
        self.warm_from = 0
        torch.manual_seed(recipe.seed)
        self.rng = np.random.default_rng(recipe.seed)
        self.channels = Channels().to(self.device)
        self.network = self._place(
            LiteFlowNet(finest=recipe.stages[0].finest, normalise_features=recipe.normalise_features)
        )
        self.optimizer = self._optimizer()

    @property
    def state_path(self) -> Path:
        return self.folder / "state.pt"

    def run(self, report: Callable[[Progress], None]) -> LiteFlowNet:
        """Train until the recipe's minutes are spent, and give the network back."""
        self.folder.mkdir(parents=True, exist_ok=True)
        saved_s = self.elapsed_s
        losses: list[float] = []
        errors: list[float] = []
        begin = time.monotonic() - self.elapsed_s
        while self.elapsed_s < 60 * self.recipe.minutes:
            self._enter_stage()
            rate = self._set_rate()
            loss, error = self._train_step(self.recipe.stages[self.stage])
            losses.append(loss)
            errors.append(error)
            self.step += 1
            self.elapsed_s = time.monotonic() - begin
            if self.step % 50 == 0:
                progress = Progress(
                    step=self.step,
                    elapsed_s=round(self.elapsed_s, 1),
                    stage=self.stage,
                    loss=float(np.mean(losses)),
                    axial_rmse=float(np.sqrt(np.mean(np.square(errors)))),
                    learning_rate=rate,
                )
                losses, errors = [], []
                self._log(progress)
                report(progress)
            if self.elapsed_s - saved_s > SAVE_EVERY_S:
                self.save()
                saved_s = self.elapsed_s
        self.save()
        return self.network

    def _enter_stage(self) -> None:
        share = self.elapsed_s / (60 * self.recipe.minutes)
        bounds = np.cumsum([stage.share for stage in self.recipe.stages])
        stage = min(int(np.searchsorted(bounds, share, side="right")), len(bounds) - 1)
        finest = self.recipe.stages[stage].finest
        if finest < self.network.finest:
            self.network = self._place(grow(self.network, finest))
            self.optimizer = self._optimizer()
            self.warm_from = self.step
        self.stage = stage

    def _place(self, network: LiteFlowNet) -> LiteFlowNet:
        return network.to(self.device, memory_format=torch.channels_last).train()

    def _optimizer(self) -> torch.optim.AdamW:
        return torch.optim.AdamW(
            self.network.parameters(), lr=self.recipe.learning_rate, weight_decay=self.recipe.weight_decay
        )

    def _set_rate(self) -> float:
        recipe = self.recipe
        share = min(1.0, self.elapsed_s / (60 * recipe.minutes))
        low, high = recipe.last_learning_rate, recipe.learning_rate
        rate = low + (high - low) * 0.5 * (1 + math.cos(math.pi * share))
        rate *= min(1.0, (self.step + 1 - self.warm_from) / max(1, recipe.warm_up_steps))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return rate

    def _train_step(self, stage: Stage) -> tuple[float, float]:
        pair = random_pairs(
            self.rng,
            self.recipe.ranges,
            batch=stage.batch,
            shape=stage.shape,
            diverse=stage.diverse,
            device=self.device,
        )
        loss, error = self._loss(pair, stage)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip)
        if not torch.isfinite(norm):
            raise UsertError(
                f"pre-training diverged at step {self.step}: the gradient is not finite; "
                f"the last good state is {self.state_path}; lower learning_rate"
            )
        self.optimizer.step()
        return float(loss.detach()), error

    def _loss(self, pair: Pair, stage: Stage) -> tuple[Tensor, float]:
        with torch.no_grad():
            first, second = self.channels(pair.first, pair.second)
        first = first.contiguous(memory_format=torch.channels_last)
        second = second.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16):
            outputs = self.network.cascade(first, second)
        levels = [int(name) for name in self.network.levels]
        loss = supervised_loss(list(zip(levels, outputs, strict=True)), pair.truth, robust=stage.robust)
        with torch.no_grad():
            scale = 2 ** (levels[-1] - 1)
            truth = torch.nn.functional.avg_pool2d(pair.truth[:, :1], scale)
            error = outputs[-1][2][:, 1:2].float() * FLOW_SCALE - truth
        return loss, float(error.square().mean().sqrt())

    def _log(self, progress: Progress) -> None:
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(dataclasses.asdict(progress)) + "\n")

    def save(self) -> None:
        """Write the whole state; an older one is replaced only by a complete new one."""
        state = {
            "format": STATE_FORMAT,
            "recipe": dataclasses.asdict(self.recipe),
            "step": self.step,
            "warm_from": self.warm_from,
            "elapsed_s": self.elapsed_s,
            "finest": self.network.finest,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rng": self.rng.bit_generator.state,
        }
        part = self.state_path.with_suffix(".part")
        try:
            torch.save(state, part)
            part.replace(self.state_path)
        except (OSError, RuntimeError) as error:
            part.unlink(missing_ok=True)
            raise UsertError(f"{self.state_path}: cannot save the state: {error}") from error

    def resume(self) -> None:
        """Continue the run whose state lies in the folder. Errors: `WeightsError`, `RecipeError`."""
        try:
            state: dict[str, Any] = torch.load(self.state_path, map_location=self.device, weights_only=True)
        except Exception as error:
            raise WeightsError(f"{self.state_path}: not a training state: {error}") from error
        if state.get("format") != STATE_FORMAT:
            raise WeightsError(
                f"{self.state_path}: got state format {state.get('format')}, expected {STATE_FORMAT}"
            )
        if state["recipe"] != dataclasses.asdict(self.recipe):
            raise RecipeError(
                f"{self.state_path}: was made by another recipe; resume with the same one or use another folder"
            )
        self.step, self.elapsed_s = state["step"], state["elapsed_s"]
        self.warm_from = state["warm_from"]
        self.network = self._place(
            LiteFlowNet(finest=state["finest"], normalise_features=self.recipe.normalise_features)
        )
        self.network.load_state_dict(state["network"])
        self.optimizer = self._optimizer()
        self.optimizer.load_state_dict(state["optimizer"])
        self.rng.bit_generator.state = state["rng"]
