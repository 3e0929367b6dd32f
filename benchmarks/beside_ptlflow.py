"""ptlflow's eager LiteFlowNet, the peer that a user would pick, beside our engines: same function, and as shipped.

    python -m venv peer && peer/bin/pip install -r benchmarks/requirements-ptlflow.txt
    python benchmarks/beside_ptlflow.py --peer peer/bin/python [--same DIR] [--bundle DIR …] [--shape NxM …]
    python benchmarks/beside_ptlflow.py --peer peer/bin/python --fast rapidflow_it1 --fast neuflow2 …

`same`: levels 6 to 2 in float32 without normalised features or refinement, which is ptlflow's network; ours makes its
channels from int16 samples and strain and quality beside it, too. It is exported into DIR, once (minutes). Other
bundles, the default one if none is named, go by their names. All of a shape take turns in one run, a process each.
`--fast` adds another network of ptlflow, eager and exported to ONNX, the export by ONNX Runtime and OpenVINO in
float32; what such a network finds is told by benchmarks/peer_network.py.
Weights of the peers and of `same` are random: none are downloaded. Asserts that both networks have the same parameters
but for our learned scales, and multiply as often; that answers are finite, and ours within the manifest's tolerances.
The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ptlflow_peer import Peer, runs

SHAPES = "512x128", "1024x256", "1920x768"
PARAMETERS = 5_379_613
"""Of ptlflow's; ours has 244 more, the 1 x 1 convolutions of R."""
FLOPS_APART = 0.08
"""Relative, that channels, strain, quality and the correlation's band explain."""


def exported_runs(path: Path, shape: tuple[int, int], threads: int) -> dict[str, Any]:
    """Functions that run an exported peer once in float32, by engine."""
    import numpy as np
    import onnxruntime
    import openvino

    images = np.random.default_rng(0).random((1, 2, 3, *shape), dtype=np.float32)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options)
    properties = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(path, "CPU", properties)
    return {
        "onnxruntime": lambda: session.run(None, {"images": images}),
        "openvino": lambda: compiled(images),
    }


def export_same(folder: Path, shapes: list[tuple[int, int]]) -> None:
    """The peer's network as a bundle of ours, with random weights as the peer's are."""
    import torch

    from usert.export.exporter import ExportConfig, export_bundle
    from usert.network.liteflownet import LiteFlowNet
    from usert.network.weights import save_weights

    torch.manual_seed(0)
    network = LiteFlowNet(normalise_features=False)
    with tempfile.TemporaryDirectory() as scratch:
        weights = Path(scratch) / "weights.safetensors"
        save_weights(network, weights, recipe="none: random numbers, for timing only")
        config = ExportConfig(shapes=shapes, any_shape=False, finest=2, refinement="off")
        export_bundle(weights, folder, config, report=lambda line: print(line, file=sys.stderr))


def measure(
    peer: Peer, fast: list[Peer], same: Path | None, shape: tuple[int, int], options: argparse.Namespace
) -> list[dict[str, Any]]:
    """A row of the peer, three of each fast peer, and one of each of ours that runs here."""
    from contextlib import ExitStack

    from usert.bundle import Bundle
    from usert.commands.engine import open_named
    from usert.errors import BundleError, EngineError, MissingExtraError
    from usert.runtime.bench.accuracy import AccuracyCheck, Scene
    from usert.runtime.bench.result import Percentiles
    from usert.runtime.bench.roofline import graph_cost
    from usert.runtime.bench.worker import Variant, Worker
    from usert.runtime.bench.workload import Workload
    from usert.runtime.engines import ENGINES
    from usert.runtime.engines.graph_choice import choose_graph

    told = peer.ask(shape=list(shape))
    assert told["finite"], f"{shape}: the peer's flow is not finite"
    scene, workload = Scene.of(shape), Workload(seconds=options.seconds / options.rounds)
    times: dict[str, list[float]] = {"ptlflow eager": []}
    flops = {"ptlflow eager": float(told["flops"])}
    accuracy: dict[str, Any] = {}
    exported: dict[str, Any] = {}
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for other in fast:
            heard = other.ask(shape=list(shape))
            assert heard["finite"], f"{shape}: the flow of {other.model} is not finite"
            path = scratch / f"{other.model}.onnx"
            other.ask(export=str(path))
            times[f"{other.model} eager"] = []
            flops[f"{other.model} eager"] = float(heard["flops"])
            for engine, run in exported_runs(path, shape, options.threads).items():
                name = f"{other.model} exported, {engine} float32"
                run()
                exported[name], times[name], flops[name] = run, [], float(heard["flops"])
        workers: dict[str, Worker] = {}
        for what, folder in (*((("same", same),) if same else ()), *options.shipped):
            bundle = Bundle.load(folder)
            with AccuracyCheck([bundle], scene, open_named, threads=options.threads, keep=False) as trial:
                for engine in ENGINES:
                    for precision in dict.fromkeys(graph.precision for graph in bundle.manifest.graphs):
                        variant = Variant(
                            bundle=folder,
                            engine=engine,
                            precision=precision,
                            shape=shape,
                            threads=options.threads,
                            at_once=1,  # as the peers
                        )
                        try:
                            worker = stack.enter_context(Worker(variant, scene.pair, open_named))
                        except (BundleError, EngineError, MissingExtraError) as error:
                            print(f"{variant}: not here: {error}", file=sys.stderr)
                            continue
                        name = f"{what}, {engine} {precision}"
                        try:
                            accuracy[name] = trial.check(variant, worker.opened.answer, scene.pair)
                        except EngineError as error:
                            print(f"{variant}: left out: {error}", file=sys.stderr)
                            continue
                        graph, whole = choose_graph(bundle.manifest.graphs, shape, (precision,))
                        flops[name] = graph_cost(bundle.path_of(graph), whole).flops
                        workers[name], times[name] = worker, []
                        if what == "same":
                            apart = abs(flops[name] / told["flops"] - 1)
                            assert apart < FLOPS_APART, (
                                f"{name}: {flops[name]:.4g} FLOP, ptlflow {told['flops']:.4g}"
                            )
        used: dict[str, list[float]] = {name: [] for name in times}
        for _ in range(options.rounds):
            told = peer.ask(seconds=workload.seconds)
            times["ptlflow eager"] += told["ms"]
            used["ptlflow eager"].append(told["cpu_ms"])
            for other in fast:
                heard = other.ask(seconds=workload.seconds)
                times[f"{other.model} eager"] += heard["ms"]
                used[f"{other.model} eager"].append(heard["cpu_ms"])
            for name, run in exported.items():
                used_s = time.process_time()
                taken = runs(run, workload.seconds)
                times[name] += taken
                used[name].append(1e3 * (time.process_time() - used_s) / (len(taken) + 1))
            for name, worker in workers.items():
                measurement = worker.measure(workload)
                times[name] += measurement.latency_ms
                used[name].append(1e3 * (measurement.cpu_s or float("nan")) / measurement.done)
    rows = []
    for name, values in times.items():
        spread, exact = Percentiles.of(values), accuracy.get(name)
        rows.append(
            {
                "shape": f"{shape[0]}x{shape[1]}",
                "what": name,
                "p50 (ms)": spread.p50,
                "p90": spread.p90,
                "max": spread.most,
                "n": spread.count,
                "CPU (ms)": Percentiles.of(used[name]).p50,
                "ptlflow / this": Percentiles.of(times["ptlflow eager"]).p50 / spread.p50,
                "GFLOP": flops[name] / 1e9,
                "GFLOP/s": flops[name] / spread.p50 / 1e6,
                "strain rms (%)": ""
                if exact is None or exact.difference is None
                else exact.difference.rms_strain_percent,
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--peer", type=Path, help="python of the environment that has ptlflow")
    parser.add_argument("--same", type=Path, help="bundle of the same function; made if it is not there")
    parser.add_argument("--no-same", action="store_true", help="leave `same` out")
    parser.add_argument(
        "--fast",
        action="append",
        default=[],
        metavar="MODEL",
        help="another network of ptlflow's, by its name",
    )
    parser.add_argument(
        "--bundle", type=Path, action="append", help="of ours, to time, too; the default one if none is named"
    )
    parser.add_argument(
        "--shape", action="append", help=f"samples x lines; {', '.join(SHAPES)} if none is named"
    )
    parser.add_argument("--threads", type=int, default=0, help="of each; all cores if not given")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each, in all")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if options.peer is None:
        sys.exit(
            "ptlflow: --peer: got none, expected the python of an environment with requirements-ptlflow.txt"
        )

    from contextlib import ExitStack

    from usert.bundle import default_bundle_path
    from usert.commands.shape_option import parse_shape
    from usert.errors import UsertError
    from usert.evaluation.markdown import markdown
    from usert.machine import describe_machine, machine_lines
    from usert.runtime.bench.rates import better, cpu_rates

    options.threads = options.threads or describe_machine()["cores"]
    options.shipped = [(path.name, path) for path in options.bundle or [default_bundle_path()]]
    try:
        shapes = [parse_shape(text) for text in options.shape or SHAPES]
        with ExitStack() as stack:
            scratch = stack.enter_context(tempfile.TemporaryDirectory())
            peer, *fast = (
                stack.enter_context(Peer(options.peer, options.threads, model))
                for model in ("liteflownet", *options.fast)
            )
            about, found = peer.about, describe_machine()
            assert about["parameters"] == PARAMETERS, f"ptlflow has {about['parameters']} parameters"
            same = None if options.no_same else options.same or Path(scratch) / "same"
            if same and not same.exists():
                export_same(same, shapes)
            rates = cpu_rates(options.threads)
            rows = []
            for shape in shapes:
                found_here = measure(peer, fast, same, shape, options)
                print(markdown(found_here), file=sys.stderr, flush=True)
                rows += found_here
                rates = better(rates, cpu_rates(options.threads))
    except UsertError as error:
        sys.exit(f"ptlflow: {error}")
    peak = rates.flops / 1e9
    rows = [row | {"of peak (%)": 100 * row["GFLOP/s"] / peak} for row in rows]
    print("\n".join(machine_lines(found)))
    print(
        f"peer: ptlflow's LiteFlowNet, torch {about['torch']}, {about['device']}; {options.threads} threads each"
    )
    print(f"peak of this CPU: {peak:.0f} GFLOP/s (float32 matrix product)\n")
    print(markdown(rows))
    print(json.dumps({"benchmark": "ptlflow", "machine": found, "peer": about, "peak": peak, "rows": rows}))


if __name__ == "__main__":
    main()
