"""Bundles side by side: milliseconds of CPU time and by the clock for a pair, in turns in one process.

    python benchmarks/bundle_times.py NEW OLD … [--shapes 512x128,1024x256] [--engines openvino,onnxruntime]
                                      [--precisions float32,int8] [--threads 1,2] [--rounds 9]

Each run that is timed follows one of the same bundle that is not. The figures are medians, the ratios of the first
bundle to each of the others. CPU time is of the whole process, user and system: beside other work it says what a clock
does not, but threads that wait for each other spin in it. Before any time is taken, the displacement of each bundle
must lie near the simulator's. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np

from usert.bundle import Bundle
from usert.machine import cpu_name
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.runtime.engines import open_engine
from usert.runtime.engines.interface import Engine

FARTHEST = 0.1
"""Samples, rms, from the simulator's displacement."""


def timed(
    folders: list[str], shape: tuple[int, int], engine: str, precision: str, threads: int, rounds: int
) -> list[dict[str, float]]:
    """Medians of each bundle, `cpu` and `clock`, in milliseconds. Errors: `SystemExit` for a wrong answer."""
    scanner = SimulatedScanner(ScannerConfig(shape=shape, peak_strain=0.01), seed=7)
    pair = scanner.frame(9).samples, scanner.frame(13).samples, scanner.scan
    with ExitStack() as stack:
        engines: list[Engine] = [
            stack.enter_context(
                closing(
                    open_engine(
                        Bundle.load(Path(folder)), engine=engine, precision=precision, threads=threads
                    )
                )
            )
            for folder in folders
        ]
        for folder, one in zip(folders, engines, strict=True):
            apart = one.run(*pair).displacement[0] - scanner.truth(9, 13)[0]
            if not np.sqrt(np.square(apart).mean()) < FARTHEST:
                raise SystemExit(f"{folder}: {engine} {precision} answers wrongly at {shape[0]}x{shape[1]}")
        figures: list[dict[str, list[float]]] = [{"cpu": [], "clock": []} for _ in folders]
        for _ in range(rounds):
            for found, one in zip(figures, engines, strict=True):
                one.run(*pair)
                cpu, clock = time.process_time(), time.perf_counter()
                one.run(*pair)
                found["cpu"].append(1e3 * (time.process_time() - cpu))
                found["clock"].append(1e3 * (time.perf_counter() - clock))
    return [{kind: statistics.median(values) for kind, values in found.items()} for found in figures]


def main() -> None:
    """Print a table in Markdown, and its figures as one line of JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundles", nargs="+")
    for name, default in (
        ("shapes", "512x128,1024x256"),
        ("engines", "openvino,onnxruntime"),
        ("precisions", "float32,int8"),
        ("threads", "1,2"),
    ):
        parser.add_argument(f"--{name}", default=default, type=lambda text: text.split(","))
    parser.add_argument("--rounds", default=9, type=int)
    options = parser.parse_args()
    print(
        "| shape | engine | precision | threads | CPU, ms | ratio | clock, ms | ratio |\n" + "|---" * 8 + "|"
    )
    rows = []
    for shape in options.shapes:
        rows_and_lines = tuple(int(side) for side in shape.split("x"))
        for engine in options.engines:
            for precision in options.precisions:
                for threads in options.threads:
                    found = timed(
                        options.bundles, rows_and_lines, engine, precision, int(threads), options.rounds
                    )
                    row = [shape, engine, precision, threads]
                    for kind in ("cpu", "clock"):
                        values = [one[kind] for one in found]
                        row.append(", ".join(f"{value:.1f}" for value in values))
                        row.append(", ".join(f"{values[0] / value:.3f}" for value in values[1:]))
                    print("| " + " | ".join(row) + " |", flush=True)
                    rows.append({"case": row[:4], "figures": found})
    print(json.dumps({"machine": cpu_name(), "bundles": options.bundles, "rows": rows}))


if __name__ == "__main__":
    main()
