"""What each precision and engine of a bundle costs and loses against torch: size, time, displacement, strain, CNR.

    python benchmarks/exports.py --rf ../shared/rf [--shape 1024x256] [--plan tensorrt_rtx] [--out DIR]

Exports the weights in every precision, then runs every graph by every engine that runs here on the gate's simulated
pairs, whole, and on a part of two recorded ones with a stiff lesion in it. With `--out` the bundle stays there. The
last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from refinement import default_weights
from rf_pairs import Pair, alpinion
from tables import markdown

from usert.bundle import Bundle
from usert.commands.engine import open_named
from usert.commands.shape import parse_shape
from usert.errors import EngineError, MissingExtraError, UsertError
from usert.export.exporter import ExportConfig, export_bundle
from usert.export.gate import PAIRS
from usert.export.verify import only
from usert.machine import cpu_name
from usert.manifest import PRECISIONS
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.quality import Window, cnr
from usert.runtime.engine import Engine, Estimate
from usert.runtime.engines import ENGINES, REFERENCE
from usert.runtime.samples import to_int16

CORNER = 700, 30
"""First sample and line of the part of a recorded frame."""
ROUNDS = 7
Frames = tuple[NDArray[np.int16], NDArray[np.int16]]


def generated(shape: tuple[int, int]) -> Iterator[tuple[Frames, Window, Window]]:
    """Whole pairs of the gate, with the lesion and what lies beside it at its depth."""
    scanner = SimulatedScanner(ScannerConfig(shape=shape), seed=7)
    rows, lines = np.nonzero(scanner.lesion_mask(-0.2))
    depth = (int(rows.min()), int(rows.max()) + 1)
    target = Window(
        rows=depth, lines=(int(np.median(lines)) - shape[1] // 32, int(np.median(lines)) + shape[1] // 32)
    )
    background = Window(rows=depth, lines=(shape[1] // 32, shape[1] // 10))
    for i, j in PAIRS:
        yield (scanner.frame(i).samples, scanner.frame(j).samples), target, background


def recorded(pair: Pair, shape: tuple[int, int]) -> tuple[Frames, Window, Window]:
    """The part of a recorded pair that has its lesion in it, and its windows there."""
    assert pair.target is not None
    assert pair.background is not None
    part = tuple(slice(first, first + size) for first, size in zip(CORNER, shape, strict=True))
    target, background = (
        Window(
            rows=(w.rows[0] - CORNER[0], w.rows[1] - CORNER[0]),
            lines=(w.lines[0] - CORNER[1], w.lines[1] - CORNER[1]),
        )
        for w in (pair.target, pair.background)
    )
    return to_int16(pair.pre[part], pair.post[part]), target, background


def apart(engine: Engine, reference: Engine, pairs: list[tuple[Frames, Window, Window]]) -> dict[str, float]:
    """Root mean squares over all pairs, and the largest relative change of CNR."""
    found: list[tuple[Estimate, Estimate]] = [(engine.run(*f), reference.run(*f)) for f, _, _ in pairs]
    contrasts = [
        [cnr(estimate.strain, target, background) for estimate in both]
        for both, (_, target, background) in zip(found, pairs, strict=True)
    ]
    return {
        "displacement rms (samples)": _rms([a.displacement - b.displacement for a, b in found]),
        "strain rms (%)": 100 * _rms([a.strain - b.strain for a, b in found]),
        "ΔCNR (%)": max(100 * abs(got - expected) / expected for got, expected in contrasts),
    }


def _rms(parts: list[NDArray[np.float32]]) -> float:
    return float(np.sqrt(np.mean([np.mean(np.square(part)) for part in parts])))


def rows_of(
    bundle: Bundle, sets: dict[str, list[tuple[Frames, Window, Window]]], seconds: dict[str, float]
) -> list[dict[str, Any]]:
    """A row for each graph and engine, engines of a graph timed in turns; plans that cannot run come last."""
    rows: list[dict[str, Any]] = []
    plain = bundle.manifest.graphs[0]
    with closing(
        open_named(only(bundle, plain), engine=REFERENCE, threads=None, precision=None)
    ) as reference:
        for graph in bundle.manifest.graphs:
            for name in (REFERENCE, *ENGINES) if graph == plain else ENGINES:
                try:
                    opened = open_named(only(bundle, graph), engine=name, threads=None, precision=None)
                    opened.warm_up(graph.shape or (330, 90))
                except (EngineError, MissingExtraError) as error:
                    print(f"{graph.file}, {name}: not here: {error}", file=sys.stderr)
                    continue
                with closing(opened) as engine:
                    row = {"graph": graph.file, "engine": name, "MB": graph.bytes / 1e6}
                    row["export s"] = seconds[graph.precision]
                    row["ms"] = milliseconds(engine, next(iter(sets.values()))[0][0])
                    for where, pairs in sets.items():
                        row |= {
                            f"{figure}, {where}": v for figure, v in apart(engine, reference, pairs).items()
                        }
                    rows.append(row)
    rows += [
        {
            "graph": plan.file,
            "engine": f"{plan.library} {plan.version}",
            "MB": plan.bytes / 1e6,
            "export s": plan.seconds,
        }
        for plan in bundle.manifest.plans
    ]
    return rows


def milliseconds(engine: Engine, pair: Frames) -> float:
    times = np.zeros(ROUNDS)
    for turn in range(ROUNDS):
        begin = time.perf_counter()
        engine.run(*pair)
        times[turn] = time.perf_counter() - begin
    return 1e3 * float(np.median(times[2:]))


def export_all(
    weights: Path, shape: tuple[int, int], plans: list[str], folder: Path
) -> tuple[Bundle, dict[str, float]]:
    """The bundle of every precision, and how long each took with its proof."""
    begins: dict[str, float] = {}
    ends: dict[str, float] = {}

    def note(line: str) -> None:
        print(line, file=sys.stderr)
        name = line.partition(":")[0]
        (begins if line.endswith("exporting") else ends)[name] = time.perf_counter()

    config = ExportConfig(shapes=[shape], any_shape=False, precisions=PRECISIONS, plans=plans)
    bundle = export_bundle(weights, folder, config, report=note)
    took = {graph.precision: ends[graph.file] - begins[graph.file] for graph in bundle.manifest.graphs}
    return bundle, took


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--weights", type=Path, help="the default bundle's if not given")
    parser.add_argument(
        "--rf", type=Path, help="folder of recorded RF frames; generated pairs alone if not given"
    )
    parser.add_argument("--shape", default="1024x256", help="samples x lines")
    parser.add_argument("--plan", action="append", default=[], help="tensorrt or tensorrt_rtx")
    parser.add_argument("--out", type=Path, help="keep the bundle here")
    options = parser.parse_args()
    try:
        shape = parse_shape(options.shape)
        sets = {"generated": list(generated(shape))}
        if options.rf is not None:
            sets["recorded"] = [recorded(pair, shape) for pair in alpinion(options.rf)]
        with tempfile.TemporaryDirectory() as scratch:
            folder = options.out or Path(scratch) / "bundle"
            bundle, took = export_all(options.weights or default_weights(), shape, options.plan, folder)
            rows = rows_of(bundle, sets, took)
    except UsertError as error:
        sys.exit(f"exports: {error}")
    print(markdown(rows))
    print(json.dumps({"benchmark": "exports", "machine": cpu_name(), "rows": rows}))


if __name__ == "__main__":
    main()
