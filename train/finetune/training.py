"""Unsupervised fine-tuning: pairs without labels, one optimiser step after another.

The loop of [1] (Tehrani, Mirzaei, Rivaz, MICCAI 2020), 2.2-2.3, over Lightning Fabric, which brings the precision, the
device and, under `torchrun`, the other processes. Invariants: what a step sees depends on recipe, epoch and position
alone, not on how many processes share it or whether the run was interrupted; the state on disk is always whole.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, cast

import numpy as np
import torch
from lightning_fabric import Fabric

from usert.errors import OptionError, RecipeError, UsertError, WeightsError
from usert.front_end import depth_grid, grid_rows
from usert.network.checkpoint import Checkpointing
from usert.network.liteflownet import LiteFlowNet

from ..state import one_line, read_state, write_state
from .dataset import PairCrop, PairDataset
from .flow_pair import FlowPair
from .recipe import FineTuneRecipe

SAVE_EVERY_S = 240.0
STATE = "state.pt"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """The values of one optimiser step, over all processes together."""

    epoch: int
    step: int
    """Optimiser steps so far, this one included."""
    steps: int
    """Optimiser steps of the whole run."""
    loss: float
    """Mean loss of the pairs that were not skipped; NaN where all were."""
    terms: dict[str, float]
    """Mean of each term of the loss, by name."""
    inliers: float
    """Mean share of inliers, skipped pairs included."""
    skipped: int
    """Pairs of this step that were skipped because of their mask."""
    gradient_norm: float


class FineTuning:
    """One run of a recipe over a dataset: NEW → running in `run` → its network is the result.

    `start_sha256` is the hash of the weights file that `network` was read from; a run is resumed only with the same
    one. Errors: `RecipeError` where the batch does not suit dataset and processes.
    """

    def __init__(
        self,
        recipe: FineTuneRecipe,
        network: LiteFlowNet,
        data: PairDataset,
        folder: Path,
        *,
        fabric: Fabric,
        start_sha256: str | None,
    ) -> None:
        if len(data) < recipe.accumulate or recipe.accumulate % fabric.world_size:
            raise RecipeError(
                f"accumulate: got {recipe.accumulate} for {len(data)} crops and {fabric.world_size} processes, "
                "expected a multiple of the processes, at most the crops"
            )
        self.recipe = recipe
        self.data = data
        self.folder = folder
        self.fabric = fabric
        self.start_sha256 = start_sha256
        self.step = 0
        self.skipped = torch.zeros(len(data), dtype=torch.int64)
        """How often each item of the dataset was skipped because of its mask, in all processes."""
        self.resumed = False
        network.checkpointing = cast(Checkpointing, recipe.checkpointing)
        self.network = network.train()
        optimizer = torch.optim.Adam(network.parameters(), lr=recipe.learning_rate)
        self.module, self.optimizer = fabric.setup(FlowPair(network, recipe.loss), optimizer)

    @property
    def state_path(self) -> Path:
        """Path of the run's state file."""
        return self.folder / STATE

    @property
    def steps_an_epoch(self) -> int:
        """Optimiser steps in an epoch; pairs that do not fill a step are left out of the epoch."""
        return len(self.data) // self.recipe.accumulate

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole run."""
        return self.recipe.epochs * self.steps_an_epoch

    @property
    def finished(self) -> bool:
        """Whether all steps are done."""
        return self.step >= self.steps

    def run(
        self, report: Callable[[StepReport], None], *, stopped: Callable[[], bool] = lambda: False
    ) -> LiteFlowNet:
        """Train to the last epoch or until `stopped()`, save the state, and return the network.

        `report` is called after each step. Errors: `OptionError` for a folder with a state that is not resumed,
        `UsertError` for a loss or gradient that is not finite, or a disk that is full.
        """
        self.refuse_overwriting()
        self.fabric.barrier()  # all have looked before one writes
        self.save()  # a place that cannot be written shows now, not when hours are spent
        saved_s = time.monotonic()
        while not self.finished:
            if self._any(stopped()):
                break
            report(self._one_step())
            if self._any(time.monotonic() - saved_s > SAVE_EVERY_S):
                self.save()
                saved_s = time.monotonic()
        self.save()
        return self.network

    def refuse_overwriting(self) -> None:
        """Raise `OptionError` for a folder with a state that was not resumed."""
        if not self.resumed and self.state_path.exists():
            raise OptionError(
                f"{self.state_path} is there already: --resume continues it, or use another folder"
            )

    def _one_step(self) -> StepReport:
        epoch = self.step // self.steps_an_epoch
        mine = list(self._share(epoch))
        totals = torch.zeros(4, dtype=torch.float64, device=self.fabric.device)
        terms: dict[str, float] = {}
        skipped = torch.zeros(len(self.data), dtype=torch.int64, device=self.fabric.device)
        self.optimizer.zero_grad(set_to_none=True)
        for position, item in enumerate(mine):
            crop = self.data.item(item, seed=self.recipe.seed, epoch=epoch)
            last = position == len(mine) - 1
            with self.fabric.no_backward_sync(self.module, enabled=not last):
                total, inliers, parts = self.module(*self._frames(crop))
                if not torch.isfinite(total):  # now: sampling at NaN has no gradient, on CPUs it crashes
                    self._diverged("loss", crop)
                used = float(inliers) >= self.recipe.loss.least_inliers
                # a skipped pair still goes backward, with no weight: every process must meet at the last one
                self.fabric.backward(total * (float(used) / len(mine)))
            totals += torch.tensor(
                [float(total.detach()) * used, float(used), float(inliers), 1.0], dtype=torch.float64
            ).to(totals.device)
            for name, value in parts.items():
                terms[name] = terms.get(name, 0.0) + float(value) * used
            skipped[item] += not used
        norm = self.fabric.clip_gradients(self.module, self.optimizer, max_norm=self.recipe.clip)
        if norm is not None and not torch.isfinite(norm):
            self._diverged("gradient", None)
        totals = _tensor(self.fabric.all_reduce(totals, reduce_op="sum"))
        self.skipped += _tensor(self.fabric.all_reduce(skipped, reduce_op="sum")).cpu()
        names = sorted(terms)
        shared = _tensor(
            self.fabric.all_reduce(torch.tensor([terms[name] for name in names]), reduce_op="sum")
        )
        loss, used_count, inlier_sum, count = (float(value) for value in totals)
        if used_count:
            self.optimizer.step()
        self.step += 1
        divisor = used_count or float("nan")
        return StepReport(
            epoch=epoch,
            step=self.step,
            steps=self.steps,
            loss=loss / divisor,
            terms={name: float(value) / divisor for name, value in zip(names, shared, strict=True)},
            inliers=inlier_sum / count,
            skipped=round(count - used_count),
            gradient_norm=float("nan") if norm is None else float(norm),
        )

    def _share(self, epoch: int) -> Iterator[int]:
        """Items of the coming step for this process: every n-th of the step's items."""
        order = np.random.default_rng((self.recipe.seed, epoch)).permutation(len(self.data))
        begin = self.step % self.steps_an_epoch * self.recipe.accumulate
        for item in order[begin : begin + self.recipe.accumulate][
            self.fabric.global_rank :: self.fabric.world_size
        ]:
            yield int(item)

    def _frames(self, crop: PairCrop) -> tuple[torch.Tensor, ...]:
        frames = crop.first[None].to(self.fabric.device), crop.second[None].to(self.fabric.device)
        if self.network.front_end == "rf":
            return frames
        cycles = crop.scan.cycles_per_sample
        depths = depth_grid(grid_rows(crop.first.shape[0], cycles), cycles)
        return *frames, torch.from_numpy(depths).to(self.fabric.device)

    def _any(self, mine: bool) -> bool:
        """Whether a condition holds in any process, since all must leave the loop at the same step."""
        if self.fabric.world_size == 1:
            return mine
        return bool(_tensor(self.fabric.all_reduce(torch.tensor(float(mine)), reduce_op="sum")) > 0)

    def _diverged(self, what: str, crop: PairCrop | None) -> NoReturn:
        where = "" if crop is None else f" on {crop.chosen.recording}, frames {crop.chosen.reference} and "
        where += "" if crop is None else f"{crop.chosen.current}"
        raise UsertError(
            f"fine-tuning diverged at step {self.step + 1}{where}: the {what} is not finite; the last good "
            f"state is {self.state_path}; lower learning_rate or leave that recording out"
        )

    def save(self) -> None:
        """Write the whole state, replacing an older one only when complete.

        Errors: `UsertError` for a disk that fails.
        """
        if self.fabric.global_rank == 0:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UsertError(f"{self.folder}: cannot make the folder: {error.strerror}") from error
            state = {
                "step": self.step,
                "pairs_sha256": self.data.sha256,
                "start_sha256": self.start_sha256,
                "skipped": self.skipped,
                "network": self.network.state_dict(),
                "optimizer": self.optimizer.state_dict(),
            }
            write_state(self.state_path, self.recipe, state)
        self.fabric.barrier()

    def resume(self) -> None:
        """Continue the run whose state is in the folder.

        Errors: `WeightsError` for a state that is damaged, or began from other weights or pairs; `RecipeError` for that
        of another recipe.
        """
        state = read_state(self.state_path, self.recipe)
        if state.get("start_sha256") != self.start_sha256:
            raise WeightsError(
                f"{self.state_path}: began from weights {str(state.get('start_sha256'))[:12]}, got "
                f"{str(self.start_sha256)[:12]}: resume with the same --weights or use another folder"
            )
        if state.get("pairs_sha256") != self.data.sha256:
            raise WeightsError(
                f"{self.state_path}: was made with other pairs: resume with the same recordings or use another "
                "folder"
            )
        try:
            self.network.load_state_dict(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step = int(state["step"])
            self.skipped += state["skipped"]
        except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise WeightsError(f"{self.state_path}: a damaged training state: {one_line(error)}") from error
        self.resumed = True


def _tensor(value: object) -> torch.Tensor:
    if not isinstance(value, torch.Tensor):
        raise TypeError(f"all_reduce: got {type(value).__name__}, expected a tensor")
    return value
