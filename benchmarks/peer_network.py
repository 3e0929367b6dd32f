"""A peer's network trained on the pairs that ours was, and what each finds: accuracy on the same pairs.

    python -m venv peer && peer/bin/pip install -r benchmarks/requirements-ptlflow.txt
    PYTHONPATH=. peer/bin/python benchmarks/peer_network.py train --model rapidflow_it1 --steps 8000 --out peer.pt
    PYTHONPATH=. peer/bin/python benchmarks/peer_network.py compare --peer peer.pt [--weights FILE …] [--pairs 64]

Weights that a peer publishes are trained on scenes of computer vision, of three colours, and lie where this does not
look; so the peer is trained as `usert pretrain --recipe baseband.toml` trains ours: the same pairs, stages and rates,
random weights first, and its flow against the truth by the same penalty. `compare` draws pairs of another seed, with
coarse maps made of the truth, so that there is something to find in each, and states the axial error of what either
network says, in rows of its grid, over the motion that is there, and the share of pixels within a quarter of a
wavelength. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ptlflow_peer import open_model
from torch import Tensor

from usert.evaluation.markdown import markdown
from usert.front_end import SAMPLES_PER_WAVELENGTH
from usert.network.liteflownet import FLOW_SCALE
from usert.network.weights import load_weights
from usert.train.pretrain.recipe import PretrainRecipe, load_recipe
from usert.train.pretrain.source import open_source
from usert.train.pretrain.supervised import endpoint

RECIPE = Path(__file__).parents[1] / "train" / "recipes" / "baseband.toml"
POOL = 8
"""Rows and lines of a pixel that is compared: one of our network's finest level as it is shipped."""
QUARTER = SAMPLES_PER_WAVELENGTH / 2 / 4
"""Quarter of a wavelength, in rows of the network's grid."""
SAVE_EVERY = 500
Flow = Callable[[Tensor, Tensor], Tensor]
"""Of channels (B, 3, N, M) to displacement (B, 2, N / POOL, M / POOL), axial first, in rows and lines."""


def flows(model: torch.nn.Module, first: Tensor, second: Tensor) -> list[Tensor]:
    """The peer's flows (B, 2, N, M), lateral first, coarse to fine. It takes images of 0 to 1; ours are about zero."""
    images = torch.stack((first, second), dim=1) / 2 + 0.5
    told = model({"images": images})
    return list(told["flow_preds"]) if model.training else [told["flows"][:, 0]]


def train(name: str, steps: int, out: Path) -> None:
    """Train the peer's network by the recipe of ours, its minutes taken for steps."""
    recipe = load_recipe(RECIPE, PretrainRecipe)
    torch.manual_seed(recipe.seed)
    model: torch.nn.Module = open_model(name).train()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    source, rng = open_source(recipe, torch.device("cpu"), None), np.random.default_rng(recipe.seed)
    bounds = np.cumsum([stage.share for stage in recipe.stages])
    squares: list[tuple[float, float]] = []
    begin = time.process_time()
    for step in range(steps):
        share = step / steps
        stage = recipe.stages[min(int(np.searchsorted(bounds, share, side="right")), len(bounds) - 1)]
        low, high = recipe.last_learning_rate, recipe.learning_rate
        rate = low + (high - low) * 0.5 * (1 + math.cos(math.pi * share))
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / max(1, recipe.warm_up_steps))
        pair = source(rng, stage)
        truth = pair.truth.flip(1)
        told = flows(model, pair.first, pair.second)
        loss = sum((endpoint(flow - truth, robust=stage.robust) for flow in told), truth.new_zeros(()))
        optimizer.zero_grad(set_to_none=True)
        if not torch.isfinite(loss):
            raise SystemExit(f"peer_network: {name} diverged at step {step}")
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        optimizer.step()
        with torch.no_grad():
            error, motion = pooled(told[-1] - truth)[:, 1], pooled(truth)[:, 1]
        squares.append((float(error.square().mean()), float(motion.square().mean())))
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == steps:
            error_rms, motion_rms = np.sqrt(np.mean(squares[-SAVE_EVERY:], axis=0))
            print(
                f"{step + 1} error {error_rms:.3f} of {motion_rms:.3f} ({error_rms / motion_rms:.3f})",
                flush=True,
            )
            about = {"model": name, "steps": step + 1, "cpu_s": time.process_time() - begin}
            torch.save({"about": about, "network": model.state_dict()}, out)


def pooled(field: Tensor) -> Tensor:
    """Means over pixels of POOL x POOL."""
    return torch.nn.functional.avg_pool2d(field, POOL)


def compare(peers: list[Path], weights: list[Path], count: int, seed: int) -> list[dict[str, Any]]:
    """Error of each network on `count` pairs of a seed that none was trained on."""
    networks: dict[str, Flow] = {}
    for path in peers:
        state = torch.load(path, weights_only=True)
        model = open_model(state["about"]["model"]).eval()
        model.load_state_dict(state["network"])
        networks[f"{state['about']['model']}, {state['about']['steps']} steps"] = _peer_flow(model)
    for path in weights:
        network = load_weights(path, finest=4).eval()
        networks[f"{path.parent.name}, level 4"] = _our_flow(network)
    recipe = load_recipe(RECIPE, PretrainRecipe)
    stage = dataclasses.replace(recipe.stages[-1], batch=1, made_coarse=1.0)
    source, rng = open_source(recipe, torch.device("cpu"), None), np.random.default_rng(seed)
    squares: dict[str, list[tuple[float, float, float, float]]] = {name: [] for name in networks}
    for _ in range(count):
        pair = source(rng, stage)
        truth = pooled(pair.truth)
        for name, flow in networks.items():
            begin = time.process_time()
            with torch.inference_mode():
                told = flow(pair.first, pair.second)
            used = time.process_time() - begin
            error = told[:, 0] - truth[:, 0]
            near = float((error.abs() < QUARTER).float().mean())
            squares[name].append(
                (float(error.square().mean()), float(truth[:, 0].square().mean()), near, used)
            )
    rows = []
    for name, values in squares.items():
        error, motion, near, _ = np.mean(values, axis=0)
        rows.append(
            {
                "network": name,
                "pairs": count,
                "axial rmse (rows)": math.sqrt(error),
                "of the motion": math.sqrt(error / motion),
                "within a quarter wavelength": near,
                "CPU (ms, eager)": 1e3 * float(np.median([value[3] for value in values])),
            }
        )
    return rows


def _peer_flow(model: torch.nn.Module) -> Flow:
    return lambda first, second: pooled(flows(model, first, second)[-1]).flip(1)


def _our_flow(network: Any) -> Flow:
    return lambda first, second: network.cascade(first, second)[-1][2].flip(1) * FLOW_SCALE


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=("train", "compare"))
    parser.add_argument("--model", default="rapidflow_it1", help="ptlflow's name of the network")
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--out", type=Path, default=Path("peer.pt"))
    parser.add_argument("--peer", type=Path, action="append", default=[], help="trained by `train`")
    parser.add_argument("--weights", type=Path, action="append", default=[], help="of ours")
    parser.add_argument("--pairs", type=int, default=64)
    parser.add_argument("--seed", type=int, default=20261130)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.what == "train":
        train(options.model, options.steps, options.out)
        return
    rows = compare(options.peer, options.weights, options.pairs, options.seed)
    print(markdown(rows))
    print(json.dumps({"benchmark": "peer_network", "seed": options.seed, "rows": rows}))


if __name__ == "__main__":
    main()
