"""What each term of the unsupervised loss does: the same short fine-tuning with each of them on and off.

    python benchmarks/finetune.py --weights FILE [--steps 60] [--variants paper,data only,…] [--learning-rate 1e-5]
                                  [--markdown OUT]

Recordings of the simulated scanner are written, some to learn from without looking at their truth, some to
judge by with it; every variant starts from the same weights and sees the same crops in the same order. The
last line is one JSON object.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric

from usert.bundle import sha256_of
from usert.errors import OptionError, UsertError
from usert.evaluation.markdown import markdown
from usert.frame import Scan
from usert.machine import cpu_name
from usert.network.liteflownet import LiteFlowNet
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.quality import Window, cnr, nrmse, snre, strain_ratio
from usert.recording import write_recording
from usert.strain import axial_strain
from usert.train.finetune.acceptance import estimate, figures
from usert.train.finetune.dataset import PairDataset
from usert.train.finetune.loss_config import LossConfig
from usert.train.finetune.recipe import FineTuneRecipe
from usert.train.finetune.selection import ChosenPair, SelectionConfig, select
from usert.train.finetune.session import load_start
from usert.train.finetune.training import FineTuning

SHAPE = (512, 128)
CROP = (512, 128)
STRAINS = (0.01, 0.02, 0.03)
TARGET = Window(rows=(206, 306), lines=(44, 84))
BACKGROUND = Window(rows=(206, 306), lines=(6, 18))
HOMOGENEOUS = Window(rows=(40, 120), lines=(8, 120))
WINDOW = 65
"""Samples of the strain's least-squares fit."""

VARIANTS: dict[str, dict[str, Any]] = {
    "paper": {},
    "as printed": {"consistency": "printed"},
    "linear warp": {"interpolation": 1},
    "data only": {"lambda1": 0.0, "lambda2": 0.0, "lambda3": 0.0},
    "tenth of the smoothness": {"lambda1": 0.05, "lambda2": 0.0005, "lambda3": 0.02},
    "smooth over 24": {"span": 24},
    "correlation": {"data": 0.0, "correlation": 1.0},
    "data and correlation": {"correlation": 1.0},
    "lateral smoothness": {"lateral_smoothness": 0.05},
    "incompressible": {"incompressibility": 0.05},
}


def scanner(seed: int) -> SimulatedScanner:
    """Another hand, probe and lesion for each seed."""
    rng = np.random.default_rng(seed)
    scan = Scan(
        fs_hz=40e6,
        f0_hz=40e6 * rng.uniform(0.14, 0.19),
        sound_speed_m_s=1540,
        line_pitch_mm=rng.uniform(0.1, 0.16),
    )
    return SimulatedScanner(
        ScannerConfig(
            scan=scan, shape=SHAPE, peak_strain=STRAINS[seed % len(STRAINS)], period_frames=12, tilt=0.1
        ),
        seed=seed,
    )


def write_recordings(folder: Path, count: int) -> list[Path]:
    """Presses from rest to the deepest point."""
    paths = []
    for seed in range(count):
        source = scanner(seed)
        paths.append(folder / f"press{seed}.h5")
        write_recording(paths[-1], [source.frame(k) for k in range(7)])
    return paths


def assess(network: LiteFlowNet, count: int) -> dict[str, float]:
    """Means over held-out presses, from rest to a third of the way."""
    rows = []
    for seed in range(1000, 1000 + count):
        source = scanner(seed)
        first, second = (source.frame(k).samples for k in (0, 4))
        truth = source.truth(0, 4)
        found = figures(network, first, second, truth, cycles=source.scan.cycles_per_sample)
        displacement, _ = estimate(network, first, second, cycles=source.scan.cycles_per_sample)
        strain, true_strain = axial_strain(displacement[0], WINDOW), axial_strain(truth[0], WINDOW)
        inside = (slice(32, -32), slice(4, -4))
        rows.append(
            {
                "axial RMSE (samples)": found.rmse,
                "strain NRMSE": nrmse(strain[inside], true_strain[inside]),
                "SNRe": snre(strain, HOMOGENEOUS),
                "CNR": cnr(strain, TARGET, BACKGROUND),
                "SR": strain_ratio(strain, TARGET, BACKGROUND),
                "true SR": strain_ratio(true_strain, TARGET, BACKGROUND),
                "NCC": found.ncc,
                "round trip (samples)": found.consistency,
            }
        )
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def tuned(
    weights: Path, chosen: tuple[ChosenPair, ...], change: dict[str, Any], options: argparse.Namespace
) -> tuple[LiteFlowNet, float]:
    """The network after the short run, and the seconds that it took."""
    recipe = FineTuneRecipe(
        epochs=1_000_000,
        learning_rate=options.learning_rate,
        precision="fp32",
        checkpointing="none",
        loss=dataclasses.replace(LossConfig(), **change),
        selection=SelectionConfig(crop=CROP),
    )
    fabric = Fabric(accelerator=options.device, devices=1)
    data = PairDataset(chosen, recipe.augment)
    with tempfile.TemporaryDirectory() as folder:
        run = FineTuning(
            recipe, load_start(weights), data, Path(folder), fabric=fabric, start_sha256=sha256_of(weights)
        )
        begin = time.process_time()
        network = run.run(lambda report: None, stopped=lambda: run.step >= options.steps)
        return network, time.process_time() - begin


def run(options: argparse.Namespace) -> None:
    names = options.variants.split(",") if options.variants else list(VARIANTS)
    for name in names:
        if name not in VARIANTS:
            raise OptionError(f"variants: got {name!r}, expected some of {', '.join(VARIANTS)}")
    rows: list[dict[str, Any]] = [{"variant": "start"} | assess(load_start(options.weights), options.pairs)]
    print(rows[-1], file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        paths = write_recordings(Path(folder), options.recordings)
        config = SelectionConfig(crop=CROP, regions_a_pair=1, pairs_a_recording=6, near_field_mm=0.0)
        chosen = select(paths, config).chosen
        for name in names:
            network, seconds = tuned(options.weights, chosen, VARIANTS[name], options)
            rows.append({"variant": name} | assess(network, options.pairs) | {"CPU s": seconds})
            print(rows[-1], file=sys.stderr, flush=True)
    text = markdown(rows)
    print(text)
    if options.markdown is not None:
        options.markdown.write_text(text + "\n", encoding="utf-8")
    print(json.dumps({"benchmark": "finetune", "machine": cpu_name(), "rows": rows}))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--weights", type=Path, required=True, help="weights to start from")
    parser.add_argument("--variants", help=f"some of {', '.join(VARIANTS)}; all if not given")
    parser.add_argument("--steps", type=int, default=60, help="optimiser steps of each variant")
    parser.add_argument("--learning-rate", type=float, default=1e-5)
    parser.add_argument("--recordings", type=int, default=4, help="presses to learn from")
    parser.add_argument("--pairs", type=int, default=4, help="held-out presses to judge by")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--markdown", type=Path, metavar="OUT", help="write the table here, too")
    options = parser.parse_args()
    torch.set_num_threads(1)
    try:
        run(options)
    except UsertError as error:
        sys.exit(f"finetune: {error}")


if __name__ == "__main__":
    main()
