"""A bundle that exists, held against torch again: on another machine, with another library, on a site's recordings.

Knows bundles and the gate; the library that runs the graphs is handed in. Invariant: the bundle is only read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from usert.bundle import Bundle
from usert.errors import OptionError
from usert.network.refine import as_kind
from usert.network.weights import load_weights
from usert.recording import Recording

from .gate import Accuracy, Frame, Run, compare, judge, worst
from .graph import StrainGraph
from .onnx_graph import EXAMPLE_SHAPE

RECORDED_PAIRS = 3
"""Of each recording that is added to the gate: spread over it."""


def reference_graph(bundle: Bundle) -> StrainGraph:
    """The torch graph that the bundle's files were made from. Errors: `WeightsError`."""
    manifest = bundle.manifest
    network = load_weights(bundle.folder / manifest.weights.file, finest=manifest.network.levels[1])
    graph = StrainGraph(
        network,
        strain_window=manifest.strain_window_samples,
        refinement=as_kind(manifest.refinement, f"bundle {bundle.folder}: refinement"),
    )
    return graph.eval()


def verify_bundle(
    bundle: Bundle,
    run: Run,
    *,
    name: str,
    recorded: Sequence[tuple[Frame, Frame]] = (),
    report: Callable[[str], None] = lambda line: None,
) -> Accuracy:
    """Every graph of `bundle`, as `run` runs frames of its shape, against torch; the worst of all.

    `name` is of the library, for the messages. Errors: `BundleError` for a figure out of tolerance.
    """
    reference, found = reference_graph(bundle), []
    for graph in bundle.manifest.graphs:
        fitting = [pair for pair in recorded if bundle.graph_for(pair[0].shape) == graph]
        accuracy = compare(reference, run, graph.shape or EXAMPLE_SHAPE, fitting)
        report(f"{graph.file}, {name}: {told(accuracy)}")
        judge(accuracy, f"{graph.file}, {name}")
        found.append(accuracy)
    return worst(found)


def told(accuracy: Accuracy) -> str:
    """The figures that a person asks for first."""
    return (
        f"displacement within {accuracy.max_abs_displacement_samples:.1e} samples of torch, "
        f"strain within {100 * accuracy.max_abs_strain:.1e} %, quality within {accuracy.max_abs_quality:.1e}"
    )


def recorded_pairs(
    paths: Sequence[Path], *, least_rows: int
) -> list[tuple[NDArray[np.generic], NDArray[np.generic]]]:
    """Up to three pairs of neighbouring frames of each recording, in the recording's own type.

    Errors: `RecordingError`; `OptionError` for a recording of fewer than two frames or `least_rows` samples.
    """
    pairs = []
    for path in paths:
        with Recording(path) as recording:
            if len(recording) < 2 or recording.shape[0] < least_rows:
                raise OptionError(
                    f"--recording: {path}: got {len(recording)} frames of {recording.shape[0]} samples, "
                    f"expected at least 2 of {least_rows}"
                )
            last = len(recording) - 2
            chosen = sorted({round(last * share / (RECORDED_PAIRS - 1)) for share in range(RECORDED_PAIRS)})
            pairs += [(recording.frame(k).samples, recording.frame(k + 1).samples) for k in chosen]
    return pairs
