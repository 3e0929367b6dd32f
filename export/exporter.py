"""From a weights file to a bundle: write the graphs, prove each against torch, then put the bundle in place.

Invariant: a bundle appears whole and proven or not at all; an older one stays until then.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from usert import __version__
from usert.bundle import TOLERANCE, Bundle, sha256_of, write_bundle
from usert.errors import OptionError
from usert.manifest import Graph, Input, Manifest, Network, TrainedFor, Weights
from usert.network.refine import RefinementKind
from usert.network.weights import OURS, load_published, load_weights, read_info, save_weights

from .gate import TOLERANCES, Frame, compare, judge, worst
from .graph import QUALITY_WINDOW, StrainGraph
from .onnx_graph import EXAMPLE_SHAPE, OPSET, write_onnx
from .onnx_session import open_onnx
from .verify import told

WEIGHTS = "weights.safetensors"
MODEL_CARD = "MODEL_CARD.md"
STRAIN_WINDOW = 97
"""Samples of the least-squares fit: 1.87 mm at 40 MHz, with which 0.2 % of strain still shows a lesion."""
ENOUGH = 3
"""Finest level of the network that full refinement needs."""
TRAINED_FOR = TrainedFor(centre_cycles_per_sample=(0.11, 0.25), strain_percent=(0.03, 3.0))
"""The ranges of `train/pairs.py` that our recipes draw from."""


def export_bundle(
    weights: Path,
    folder: Path,
    *,
    shapes: Sequence[tuple[int, int]] = (),
    any_shape: bool = True,
    finest: int | None = None,
    strain_window: int = STRAIN_WINDOW,
    refinement: RefinementKind = "full",
    model_card: Path | None = None,
    recorded: Sequence[tuple[Frame, Frame]] = (),
    report: Callable[[str], None] = lambda line: None,
) -> Bundle:
    """Make the bundle `folder` from a weights file: one graph for any shape, and one for each of `shapes` (N, M).

    `refinement` is what comes after the network (`usert.network.refine`). `finest` is the level that the network
    stops at, about three times faster each; by default 3 before full refinement, which makes up for the rest
    (`benchmarks/RESULTS.md`), else the finest that the weights have. `strain_window` is in samples, odd. `recorded`
    are pairs of frames to prove the graphs on beside the simulated ones. Errors: `WeightsError`, `BundleError`,
    `OptionError` for a shape shorter than the window.
    """
    for rows, lines in shapes:
        if rows < strain_window:
            raise OptionError(
                f"--shape: got {rows}x{lines}, expected at least {strain_window} samples along depth: "
                "the strain window"
            )
    if finest is None and refinement == "full":
        finest = max(ENOUGH, read_info(weights).finest if weights.suffix == OURS else ENOUGH)
    if weights.suffix == OURS:
        network, recipe = load_weights(weights, finest=finest), read_info(weights).recipe
    else:
        network, recipe = (
            load_published(weights, finest=finest),
            f"published weights, research use only: {weights.name}",
        )
    graph = StrainGraph(network, strain_window=strain_window, refinement=refinement).eval()
    wanted: list[tuple[int, int] | None] = [*([None] if any_shape else []), *dict.fromkeys(shapes)]
    with tempfile.TemporaryDirectory(prefix="usert-export-") as scratch:
        copy = Path(scratch) / WEIGHTS
        if weights.suffix == OURS:
            shutil.copyfile(weights, copy)
        else:
            save_weights(network, copy, recipe=recipe)
            network = load_weights(copy)  # what float16 has made of them
            graph = StrainGraph(network, strain_window=strain_window, refinement=refinement).eval()
        graphs, measured = [], []
        for shape in wanted:
            path = Path(scratch) / ("strain.onnx" if shape is None else f"strain_{shape[0]}x{shape[1]}.onnx")
            report(f"{path.name}: exporting")
            write_onnx(graph, shape, path, copy)
            fitting = [pair for pair in recorded if shape in (None, pair[0].shape)]
            accuracy = compare(graph, open_onnx(path), shape or EXAMPLE_SHAPE, fitting)
            report(f"{path.name}: {told(accuracy)}")
            judge(accuracy, path.name)
            measured.append(accuracy)
            graphs.append(
                Graph(file=path.name, shape=shape, sha256=sha256_of(path), bytes=path.stat().st_size)
            )
        files = [copy, *(Path(scratch) / entry.file for entry in graphs)]
        if model_card is not None:
            files.append(Path(shutil.copyfile(model_card, Path(scratch) / MODEL_CARD)))
        manifest = Manifest(
            usert_version=__version__,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            network=Network(
                name="LiteFlowNet",
                levels=(6, network.finest),
                normalise_features=network.normalise_features,
                parameters=sum(parameter.numel() for parameter in network.parameters()),
            ),
            weights=Weights(
                file=WEIGHTS,
                sha256=sha256_of(copy),
                recipe=recipe,
                model_card=MODEL_CARD if model_card else None,
            ),
            input=Input(trained_for=TRAINED_FOR if weights.suffix == OURS else None),
            refinement=refinement,
            strain_window_samples=strain_window,
            quality_window=QUALITY_WINDOW,
            opset=OPSET,
            precision="float32 (weights stored as float16)",
            graphs=tuple(graphs),
            accuracy={
                "reference": "torch",
                **asdict(worst(measured)),
                **{TOLERANCE + name: limit for name, limit in TOLERANCES.items()},
            },
        )
        return write_bundle(folder, manifest, files)
