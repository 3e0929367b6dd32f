"""Time of a pair by two bundles, in turns: engine, precision, shape, threads.

    python benchmarks/bundles.py NEW OLD [--shapes 512x128,1024x256,1920x768] [--rounds 7] [--json FILE]

Medians in milliseconds and their ratio; the frames are a simulated press. Before each run that is timed the same engine
runs once that is not, so that the threads of the other one, which wait for work by spinning, have gone to sleep. The
last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import time
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tables import markdown

from usert.bundle import Bundle
from usert.errors import UsertError
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.runtime.engines import open_engine


def timed(run: Any) -> float:
    run()
    begin = time.perf_counter()
    run()
    return 1e3 * (time.perf_counter() - begin)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("new", type=Path)
    parser.add_argument("old", type=Path)
    parser.add_argument("--shapes", default="512x128,1024x256,1920x768")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for shape in (tuple(map(int, text.split("x"))) for text in options.shapes.split(",")):
        scanner = SimulatedScanner(ScannerConfig(shape=shape), seed=7)
        frames = scanner.frame(9).samples, scanner.frame(13).samples, scanner.scan
        for engine in ("onnxruntime", "openvino"):
            for precision in ("float32", "int8"):
                for threads in (1, 2):
                    with ExitStack() as stack:
                        engines = []
                        for folder in (options.new, options.old):
                            opened = open_engine(
                                Bundle.load(folder, verify=False),
                                engine=engine,
                                threads=threads,
                                precision=precision,
                            )
                            engines.append(stack.enter_context(closing(opened)))
                        try:
                            for opened in engines:
                                opened.run(*frames)
                        except UsertError as error:
                            print(error)
                            continue
                        runs = [partial(one.run, *frames) for one in engines]
                        took = np.array([[timed(run) for run in runs] for _ in range(options.rounds)])
                    new, old = np.median(took, axis=0)
                    rows.append(
                        {
                            "shape": f"{shape[0]}x{shape[1]}",
                            "engine": engine,
                            "precision": precision,
                            "threads": threads,
                            "new ms": round(float(new), 1),
                            "old ms": round(float(old), 1),
                            "new / old": round(float(np.median(took[:, 0] / took[:, 1])), 3),
                        }
                    )
                    print(rows[-1], flush=True)
    print(markdown(rows))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
