"""Supervised pre-training: draw a pair, step, repeat until the time is spent.

Invariant: the state on disk is always whole, and a resumed run continues as the unbroken one would have (to the bit on
a CPU, as far as the clock tells the same).
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
from torch import Tensor

from usert.bundle import sha256_of
from usert.errors import OptionError, UsertError, WeightsError
from usert.network.grow import grow
from usert.network.liteflownet import FLOW_SCALE, LiteFlowNet
from usert.network.weights import save_weights

from ..provenance import provenance
from ..state import one_line, read_state, write_state
from .initial_network import initial_network, seeded
from .progress import Progress
from .recipe import PretrainRecipe, Stage
from .source import Sample, open_source
from .supervised import distillation_loss, supervised_loss
from .teacher import open_teacher

_DATA = {
    "scanner": "generated pairs (usert.train.pretrain.pairs)",
    "scenes": "textured scenes (usert.train.pretrain.scenes)",
    "folder": "a folder of image pairs with flow",
}
"""What weights were trained on, as their provenance says it."""
SAVE_EVERY_S = 240.0
REPORT_EVERY = 50
"""Steps."""
JUDGED = 500  # steps by which a network is judged
IDLE = 0.8  # mean square error, over that of no answer, from which it finds nothing


class Pretraining:
    """One run: network, optimiser, schedule, and the folder of its state.

    `device` is any that torch knows and this machine has; `clock` returns seconds and decides how fast the schedule
    goes. `weights` is the file to start from instead of random numbers; `folder_data` is the folder of a recipe with
    data = "folder", `teacher` the weights file of one with distillation. Errors: those of `open_source`,
    `initial_network` and `open_teacher`.
    """

    def __init__(
        self,
        recipe: PretrainRecipe,
        folder: Path,
        *,
        device: str = "cpu",
        weights: Path | None = None,
        folder_data: Path | None = None,
        teacher: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.recipe = recipe
        self.folder = folder
        self.device = torch.device(device)
        self.clock = clock
        self.step, self.stage, self.warm_from, self.elapsed_s = 0, 0, 0, 0.0
        self.resumed = False
        self._squares: deque[tuple[float, float]] = deque(maxlen=JUDGED)  # of error and of motion
        self.rng = np.random.default_rng(recipe.seed)
        self.source = open_source(recipe, self.device, folder_data)
        self.teacher = open_teacher(recipe, teacher, self.device)
        self.network = self._place(seeded(recipe.seed, lambda: initial_network(recipe, weights)))
        self.start = None if weights is None else sha256_of(weights)
        self.optimizer = self._optimizer()

    @property
    def state_path(self) -> Path:
        """Path of the run's state file."""
        return self.folder / "state.pt"

    @property
    def weights_path(self) -> Path:
        """Path of the weights file, written at the end of the run."""
        return self.folder / "weights.safetensors"

    @property
    def finished(self) -> bool:
        """Whether the recipe's minutes are spent."""
        return self.elapsed_s >= 60 * self.recipe.minutes

    @property
    def finds_motion(self) -> bool:
        """Whether the network found axial motion in the last `JUDGED` steps; true as long as there were fewer."""
        errors, motions = np.sum([(0.0, 0.0), *self._squares], axis=0)
        return len(self._squares) < JUDGED or bool(errors < IDLE * motions)

    @property
    def _made_from(self) -> dict[str, str | None]:
        """Hashes of the weights that the run began from and learns from, None without."""
        return {"start_sha256": self.start, "teacher_sha256": self.teacher.sha256 if self.teacher else None}

    def run(
        self, report: Callable[[Progress], None], *, stopped: Callable[[], bool] = lambda: False
    ) -> LiteFlowNet:
        """Train until the recipe's minutes are spent or `stopped()`, save the state, and return the network.

        `report` is called regularly. A run that came to its end writes its weights, too. Errors: `OptionError` for a
        folder with a state that is not resumed; `UsertError` for a disk that is full, or a loss or gradient that is not
        finite.
        """
        if not self.resumed and self.state_path.exists():
            raise OptionError(
                f"{self.state_path} is there already: --resume continues it, or use another folder"
            )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsertError(f"{self.folder}: cannot make the folder: {error.strerror}") from error
        self.save()  # a place that cannot be written shows now, not when hours are spent
        with torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False):
            self._loop(report, stopped)  # TF32 would round the flow to hundredths of a sample
        self.save()
        if self.finished:
            made = provenance(
                self.recipe,
                made_by="usert pretrain",
                data=_DATA[self.recipe.data],
                minutes=round(self.elapsed_s / 60, 2),
                steps=self.step,
                device=self.device,
                start=self.start,
                **({} if self.teacher is None else self.teacher.provenance),
            )
            save_weights(self.network, self.weights_path, recipe=made)
        return self.network

    def _loop(self, report: Callable[[Progress], None], stopped: Callable[[], bool]) -> None:
        saved_s = self.elapsed_s
        losses: list[float] = []
        begin = self.clock() - self.elapsed_s
        while not (self.finished or stopped()):
            self._enter_stage()
            rate = self._set_rate()
            loss, squares = self._train_step(self.recipe.stages[self.stage])
            losses.append(loss)
            self._squares.append(squares)
            self.step += 1
            self.elapsed_s = self.clock() - begin
            if self.step % REPORT_EVERY == 0 or self.finished:
                error, motion = np.sqrt(np.mean(list(self._squares)[-len(losses) :], axis=0))
                progress = Progress(
                    step=self.step,
                    elapsed_s=round(self.elapsed_s, 1),
                    stage=self.stage,
                    loss=float(np.mean(losses)),
                    axial_rms=float(motion),
                    axial_rmse=float(error),
                    learning_rate=rate,
                )
                losses = []
                self._log(progress)
                report(progress)
            if self.elapsed_s - saved_s > SAVE_EVERY_S:
                self.save()
                saved_s = self.elapsed_s

    def _enter_stage(self) -> None:
        share = self.elapsed_s / (60 * self.recipe.minutes)
        bounds = np.cumsum([stage.share for stage in self.recipe.stages])
        stage = min(int(np.searchsorted(bounds, share, side="right")), len(bounds) - 1)
        finest = self.recipe.stages[stage].finest
        if finest < self.network.finest:
            # a seed of its own, so that a run resumed before this point grows the same level
            grown = seeded(self.recipe.seed + finest, lambda: grow(self.network, finest))
            self.network = self._place(grown)
            self.optimizer = self._optimizer()
            self.warm_from = self.step
        self.stage = stage

    def _place(self, network: LiteFlowNet) -> LiteFlowNet:
        network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return network.train()

    def _optimizer(self) -> torch.optim.AdamW:
        return torch.optim.AdamW(
            self.network.parameters(), lr=self.recipe.learning_rate, weight_decay=self.recipe.weight_decay
        )

    def _set_rate(self) -> float:
        """Cosine over the whole run, with a linear rise at the start and after each new level."""
        recipe = self.recipe
        share = min(1.0, self.elapsed_s / (60 * recipe.minutes))
        low, high = recipe.last_learning_rate, recipe.learning_rate
        rate = low + (high - low) * 0.5 * (1 + math.cos(math.pi * share))
        rate *= min(1.0, (self.step + 1 - self.warm_from) / max(1, recipe.warm_up_steps))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return rate

    def _train_step(self, stage: Stage) -> tuple[float, tuple[float, float]]:
        loss, squares = self._loss(self.source(self.rng, stage), stage)
        self.optimizer.zero_grad(set_to_none=True)
        if not torch.isfinite(loss):  # now: sampling at NaN has no gradient, on CPUs it crashes
            self._diverged("loss")
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip)
        if not torch.isfinite(norm):
            self._diverged("gradient")
        self.optimizer.step()
        return float(loss.detach()), squares

    def _diverged(self, what: str) -> NoReturn:
        raise UsertError(
            f"pre-training diverged at step {self.step}: the {what} is not finite; "
            f"the last good state is {self.state_path}; lower learning_rate"
        )

    def _loss(self, pair: Sample, stage: Stage) -> tuple[Tensor, tuple[float, float]]:
        first = pair.first.contiguous(memory_format=torch.channels_last)
        second = pair.second.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.precision == "bf16"):
            outputs = self.network.cascade(first, second)
        levels = list(zip(map(int, self.network.levels), outputs, strict=True))
        loss = supervised_loss(levels, pair.truth, robust=stage.robust)
        if self.teacher is not None:
            taught = self.teacher.answers(first, second)
            loss = loss + self.recipe.distillation * distillation_loss(levels, taught, robust=stage.robust)
        with torch.no_grad():
            scale = 2 ** (levels[-1][0] - 1)
            truth = torch.nn.functional.avg_pool2d(pair.truth[:, :1], scale)
            error = outputs[-1][2][:, 1:2].float() * FLOW_SCALE - truth
        return loss, (float(error.square().mean()), float(truth.square().mean()))

    def _log(self, progress: Progress) -> None:
        path = self.folder / "log.jsonl"
        try:
            with path.open("a", encoding="utf-8") as log:
                log.write(json.dumps(dataclasses.asdict(progress)) + "\n")
        except OSError as error:
            raise UsertError(f"{path}: cannot write the log: {error.strerror}") from error

    def save(self) -> None:
        """Write the whole state, replacing an older one only when complete.

        Errors: `UsertError` for a disk that fails.
        """
        state = {
            "step": self.step,
            "warm_from": self.warm_from,
            "elapsed_s": self.elapsed_s,
            **self._made_from,
            "finest": self.network.finest,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rng": self.rng.bit_generator.state,
        }
        write_state(self.state_path, self.recipe, state)

    def resume(self) -> None:
        """Continue the run whose state is in the folder.

        Errors: `WeightsError` for a damaged state or one of other weights, `RecipeError` for one of another recipe.
        """
        state = read_state(self.state_path, self.recipe)
        made = self._made_from
        for key, option, absent in (
            ("start_sha256", "--weights", "random numbers"),
            ("teacher_sha256", "--teacher", "no teacher"),
        ):
            before = state.get(key, made[key])  # older states do not tell
            if before != made[key]:
                was, got = _named(before, absent), _named(made[key], absent)
                raise WeightsError(
                    f"{self.state_path}: {option} was {was}, got {got}: resume with the same {option} or use another "
                    "folder"
                )
        try:
            network = self.network.down_to(state["finest"])
            network.load_state_dict(state["network"])
            self.network = self._place(network)
            self.optimizer = self._optimizer()
            self.optimizer.load_state_dict(state["optimizer"])
            self.rng.bit_generator.state = state["rng"]
            self.step, self.elapsed_s = int(state["step"]), float(state["elapsed_s"])
            self.warm_from = int(state["warm_from"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise WeightsError(f"{self.state_path}: a damaged training state: {one_line(error)}") from error
        self.resumed = True


def _named(sha256: str | None, absent: str) -> str:
    return absent if sha256 is None else f"weights {sha256[:12]}"
