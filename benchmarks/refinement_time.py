"""What the refinement costs: exported graphs of each kind and finest level, run by ONNX Runtime on one thread.

    python benchmarks/refinement_time.py [--weights FILE] [--shape 512x128]

All are run in one loop, in turns. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from refinement import default_weights
from tables import markdown

from usert.commands.shape import parse_shape
from usert.errors import UsertError
from usert.export.graph import StrainGraph
from usert.export.onnx_graph import INPUTS, write_onnx
from usert.machine import cpu_name
from usert.network.refine import RefinementKind
from usert.network.weights import load_weights
from usert.silent import import_onnxruntime

onnxruntime = import_onnxruntime()

GRAPHS: tuple[tuple[RefinementKind, int], ...] = (
    ("off", 2),
    ("cheap", 2),
    ("full", 2),
    ("off", 3),
    ("full", 3),
    ("full", 4),
)


def time_table(weights: Path, shape: tuple[int, int], rounds: int = 9) -> list[dict[str, Any]]:
    """Median milliseconds of each graph on one thread, all in one loop, and the ratio to the first."""
    rng = np.random.default_rng(0)
    pair = dict(zip(INPUTS, rng.integers(-3000, 3000, (2, *shape)).astype(np.int16), strict=True))
    sessions, times = {}, {}
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(shutil.copy(weights, scratch))
        for kind, level in GRAPHS:
            graph = StrainGraph(load_weights(copy, finest=level), strain_window=97, refinement=kind)
            path = Path(scratch) / f"{kind}_{level}.onnx"
            write_onnx(graph, shape, path, copy)
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            sessions[kind, level] = onnxruntime.InferenceSession(path, options)
            times[kind, level] = [0.0] * rounds
        for turn in range(rounds):
            for key, session in sessions.items():
                begin = time.perf_counter()
                session.run(None, pair)
                times[key][turn] = 1e3 * (time.perf_counter() - begin)
    medians = {key: float(np.median(values[2:])) for key, values in times.items()}
    first = medians[GRAPHS[0]]
    return [
        {"refinement": kind, "finest level": level, "shape": f"{shape[0]}x{shape[1]}"}
        | {"ms": medians[kind, level], "ratio": medians[kind, level] / first}
        for kind, level in GRAPHS
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--weights", type=Path, help="weights of the network; the default bundle's if not given"
    )
    parser.add_argument("--shape", default="512x128", help="samples x lines")
    options = parser.parse_args()
    try:
        rows = time_table(options.weights or default_weights(), parse_shape(options.shape))
    except UsertError as error:
        sys.exit(f"refinement_time: {error}")
    print(markdown(rows))
    print(json.dumps({"benchmark": "refinement_time", "machine": cpu_name(), "rows": rows}))


if __name__ == "__main__":
    main()
