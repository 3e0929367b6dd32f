"""Where the time of a graph goes: OpenVINO's own clock of each operator, by part of the graph and by kind of operator.

    python benchmarks/operators.py [--bundle DIR] [--shape 512x128] [--precision int8] [--threads N] [--rounds 30]

Parts are told from the order of the nodes and the names of the weights. The clock costs a little: the run without it
stands beside. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from tables import markdown

from usert.bundle import Bundle, default_bundle_path
from usert.commands.shape import parse_shape
from usert.errors import UsertError
from usert.machine import cpu_name, usable_cores
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.runtime.engines.choice import choose_graph
from usert.runtime.engines.graph_engine import INPUTS
from usert.silent import import_openvino

openvino = import_openvino()

_WEIGHT = re.compile(r"network\.(features|levels\.(\d)\.(\w+))\.")
FRAMES = 2, 8


def parts(path: Path) -> dict[str, str]:
    """Each node's part, by its name."""
    graph = onnx.load(path, load_external_data=False).graph
    makers = {output: node for node in graph.node for output in node.output}

    def needed(output: str) -> set[str]:
        """The tensors that `output` is made of, itself included."""
        found, waiting = set(), [output]
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting.extend(makers[name].input if name in makers else ())
        return found

    last = max(index for index, node in enumerate(graph.node) if _in_network(node))
    displacement = needed("displacement")
    ends = needed("strain") - displacement, needed("quality") - displacement
    found, part = {}, "analytic signal"
    for index, node in enumerate(graph.node):
        part = _in_network(node) or part
        if not node.name:  # of the quantisation
            continue
        if node.output[0] in ends[0]:
            found[node.name] = "strain"
        elif node.output[0] in ends[1]:
            found[node.name] = "quality"
        else:
            found[node.name] = "refinement" if index > last else part
    return found


def _in_network(node: Any) -> str | None:
    """The part of the network whose weight a convolution takes."""
    if node.op_type not in ("Conv", "ConvTranspose"):
        return None
    match = next((m for name in node.input if (m := _WEIGHT.match(name))), None)
    if match is None:
        return None
    return f"level {match[2]} {match[3]}" if match[2] else "features"


def profile(path: Path, shape: tuple[int, int], threads: int, rounds: int) -> dict[str, Any]:
    """Median milliseconds of the whole, without and with the clock, and of each (part, kind) with it."""
    core = openvino.Core()
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
    }
    scanner = SimulatedScanner(ScannerConfig(shape=shape), seed=1)
    pair = dict(zip(INPUTS, (scanner.frame(k).samples for k in FRAMES), strict=True))
    names = parts(path)
    plain = core.compile_model(str(path), "CPU", settings).create_infer_request()
    clocked = core.compile_model(str(path), "CPU", {**settings, "PERF_COUNT": True}).create_infer_request()
    wall: dict[str, list[float]] = {"plain": [], "clocked": []}
    spent: dict[tuple[str, str], list[float]] = defaultdict(list)
    for turn in range(rounds + 3):
        for name, request in (("plain", plain), ("clocked", clocked)):
            begin = time.perf_counter()
            request.infer(pair)
            if turn >= 3:
                wall[name].append(1e3 * (time.perf_counter() - begin))
        if turn >= 3:
            sums: dict[tuple[str, str], float] = defaultdict(float)
            for one in clocked.profiling_info:
                sums[_part(one.node_name, names), f"{one.node_type} {one.exec_type}"] += (
                    one.real_time.total_seconds() * 1e3
                )
            for key, value in sums.items():
                spent[key].append(value)
    return {
        "plain ms": float(np.median(wall["plain"])),
        "clocked ms": float(np.median(wall["clocked"])),
        "spent": {key: float(np.median(values)) for key, values in spent.items()},
    }


def _part(name: str, names: dict[str, str]) -> str:
    """Of a node that OpenVINO may have renamed behind its ONNX name."""
    while name and name not in names:
        name = name.rpartition("/")[0]
    return names.get(name, "(OpenVINO's own)")


def table(spent: dict[tuple[str, str], float], by: int) -> list[dict[str, Any]]:
    """Sums by part (0) or kind (1), the longest first, with their shares."""
    sums: dict[str, float] = defaultdict(float)
    for key, value in spent.items():
        sums[key[by]] += value
    whole = sum(sums.values())
    return [
        {("part", "operator")[by]: name, "ms": value, "%": 100 * value / whole}
        for name, value in sorted(sums.items(), key=lambda item: -item[1])
        if value > whole / 200
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--bundle", type=Path, help="the default one if not given")
    parser.add_argument("--shape", default="512x128", help="samples x lines")
    parser.add_argument("--precision", default="int8")
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    try:
        bundle = Bundle.load(options.bundle or default_bundle_path())
        shape = parse_shape(options.shape)
        graph, _ = choose_graph(bundle.manifest.graphs, shape, (options.precision,))
        found = profile(bundle.path_of(graph), shape, options.threads, options.rounds)
    except UsertError as error:
        sys.exit(f"operators: {error}")
    spent = found.pop("spent")
    tables = [table(spent, by) for by in (0, 1)]
    print(*(markdown(rows) for rows in tables), sep="\n\n")
    print(json.dumps({"benchmark": "operators", "machine": cpu_name(), "file": graph.file, **found}
                     | {"by part": tables[0], "by operator": tables[1]}))  # fmt: skip


if __name__ == "__main__":
    main()
