"""A frame padded to a larger shape and run by its graph, against the graph for any shape: how far apart.

    python benchmarks/padding.py [--bundle DIR]

Frames whose sides round up to the larger shape in steps of 32, which `usert` pads, and smaller ones, which it does not.
The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tables import markdown

from usert.bundle import Bundle, default_bundle_path
from usert.errors import UsertError
from usert.machine import cpu_name
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.runtime.engine import Engine
from usert.runtime.engines import open_engine
from usert.runtime.engines.padding import cut, padded

SHAPES = {
    (500, 120): (512, 128),
    (1000, 230): (1024, 256),
    (480, 100): (512, 128),
    (300, 100): (512, 128),
    (600, 200): (1024, 256),
}
"""Of frames, and of the graph."""
PAIRS = (2, 4), (9, 13), (2, 12)
"""About .2, 1 and 2 % of strain."""


def row(
    bundle: Bundle, engines: dict[bool, Engine], shape: tuple[int, int], pair: tuple[int, int]
) -> dict[str, Any]:
    whole = SHAPES[shape]
    scanner = SimulatedScanner(ScannerConfig(shape=shape), seed=7)
    frames, truth = [scanner.frame(k).samples for k in pair], scanner.truth(*pair)[0]
    own = engines[False].run(*frames)
    larger = engines[True].run(*(padded(frame, whole) for frame in frames))
    displacement, strain, _ = cut(
        (larger.displacement, larger.strain, larger.quality),
        shape,
        strain_window=bundle.manifest.strain_window_samples,
        quality_window=bundle.manifest.quality_window,
    )
    return {
        "frames": f"{shape[0]}x{shape[1]}",
        "graph": f"{whole[0]}x{whole[1]}",
        "pair": f"{pair[0]} → {pair[1]}",
        "displacement apart (rms samples)": _rms(displacement - own.displacement),
        "strain apart (rms %)": 100 * _rms(strain - own.strain),
        "axial RMSE, own shape (samples)": _rms(own.displacement[0] - truth),
        "axial RMSE, padded (samples)": _rms(displacement[0] - truth),
    }


def _rms(values: np.ndarray[Any, Any]) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--bundle", type=Path, help="the default one if not given")
    options = parser.parse_args()
    try:
        bundle = Bundle.load(options.bundle or default_bundle_path())
        of_any = tuple(graph for graph in bundle.manifest.graphs if graph.shape is None)
        plain = replace(bundle, manifest=replace(bundle.manifest, graphs=of_any))
        with (
            closing(open_engine(plain, engine="onnxruntime", precision="float32")) as own,
            closing(open_engine(bundle, engine="onnxruntime", precision="float32")) as larger,
        ):
            rows = [
                row(bundle, {False: own, True: larger}, shape, pair) for shape in SHAPES for pair in PAIRS
            ]
    except UsertError as error:
        sys.exit(f"padding: {error}")
    print(markdown(rows))
    print(json.dumps({"benchmark": "padding", "machine": cpu_name(), "rows": rows}))


if __name__ == "__main__":
    main()
