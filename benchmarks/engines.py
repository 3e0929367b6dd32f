"""Engines that run here, in each precision of the bundle, side by side: time, time to open, and distance from ONNX
Runtime's answer in float32 and from the truth.

    python benchmarks/engines.py [--bundle DIR] [--threads N] [--rounds 9]

Each engine runs a simulated pair of each shape in turns, after its first run. `openvino bf16` is OpenVINO allowed to
compute in bfloat16, which `usert` does not do. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from tables import markdown

from usert.bundle import Bundle, default_bundle_path
from usert.errors import EngineError, MissingExtraError, UsertError
from usert.machine import cpu_name
from usert.manifest import PRECISIONS
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.runtime.engine import Engine, Estimate
from usert.runtime.engines import ENGINES, open_engine

SHAPES = (512, 128), (1024, 256), (700, 100)
"""Two that the default bundle has a graph for, and one for its graph of any shape."""
FRAMES = 2, 8


def engines_here(bundle: Bundle, threads: int | None, stack: ExitStack) -> dict[str, Engine]:
    """Those that open, by name and precision, ONNX Runtime in float32 first; the others are named on stderr."""
    found: dict[str, Engine] = {}
    there = sorted({graph.precision for graph in bundle.manifest.graphs}, key=PRECISIONS.index)
    for name in sorted(ENGINES, key=lambda name: name != "onnxruntime"):
        for precision in there:
            try:
                engine = open_engine(bundle, engine=name, threads=threads, precision=precision)
                engine.warm_up((2 * bundle.manifest.strain_window_samples, 64))
            except (EngineError, MissingExtraError) as error:
                print(f"{name}: not here: {error}", file=sys.stderr)
                break
            stack.callback(engine.close)
            found[f"{name} {precision}"] = engine
    if "openvino float32" in found:
        from usert.runtime.engines import openvino

        openvino.PRECISION = "bf16"  # of the engines that are opened from here on
        found["openvino bf16"] = open_engine(bundle, engine="openvino", threads=threads, precision="float32")
        stack.callback(found["openvino bf16"].close)
    return found


def measure(engines: dict[str, Engine], shape: tuple[int, int], rounds: int) -> list[dict[str, Any]]:
    """A row an engine, the first of which is the one that the others are compared with."""
    scanner = SimulatedScanner(ScannerConfig(shape=shape), seed=1)
    reference, current = (scanner.frame(k).samples for k in FRAMES)
    truth = scanner.truth(*FRAMES)
    first, answers, times = {}, {}, {name: np.zeros(rounds) for name in engines}
    for name, engine in engines.items():
        begin = time.perf_counter()
        answers[name] = engine.run(reference, current)
        first[name] = time.perf_counter() - begin
    for turn in range(rounds):
        for name, engine in engines.items():
            begin = time.perf_counter()
            engine.run(reference, current)
            times[name][turn] = time.perf_counter() - begin
    base = next(iter(engines))
    return [
        {
            "shape": f"{shape[0]}x{shape[1]}",
            "engine": name,
            "first run s": first[name],
            "ms": 1e3 * float(np.median(times[name])),
            "ratio": float(np.median(times[name]) / np.median(times[base])),
            "displacement apart (rms samples)": _rms(answers[name], answers[base]),
            "axial RMSE (samples)": float(np.sqrt(np.mean((answers[name].displacement[0] - truth[0]) ** 2))),
        }
        for name in engines
    ]


def _rms(a: Estimate, b: Estimate) -> float:
    return float(np.sqrt(np.mean((a.displacement - b.displacement) ** 2)))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--bundle", type=Path, help="the default one if not given")
    parser.add_argument("--threads", type=int, help="of each engine; all cores if not given")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    try:
        with ExitStack() as stack:
            bundle = Bundle.load(options.bundle or default_bundle_path())
            engines = engines_here(bundle, options.threads, stack)
            rows = [row for shape in SHAPES for row in measure(engines, shape, options.rounds)]
    except UsertError as error:
        sys.exit(f"engines: {error}")
    print(markdown(rows))
    print(json.dumps({"benchmark": "engines", "machine": cpu_name(), "rows": rows}))


if __name__ == "__main__":
    main()
