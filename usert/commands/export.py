"""`usert export`: weights into a bundle that the runtime can serve, or a bundle proven once more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from usert.commands.interrupt import stoppable
from usert.commands.option import option, switch
from usert.errors import EngineError, MissingExtraError, OptionError, expect, require

if TYPE_CHECKING:
    from usert.bundle import Bundle
    from usert.bundle.manifest import Plan
    from usert.export.baseband_graph import FollowGraph
    from usert.export.gate import FramePair, Outputs, Run
    from usert.runtime.engines.interface import Engine


def export(
    weights: Path | None = option(
        None,
        "FILE",
        "weights.safetensors of `usert pretrain`, or published LiteFlowNet weights (a PyTorch state_dict).",
    ),
    network: str | None = option(
        None, "default|small", "Weights of the package instead, of the network of this name."
    ),
    out: Path | None = option(None, "BUNDLE", "Folder to write; an older bundle there is replaced."),
    shape: list[str] = option(
        [], "NxM", "Frame shape to make a faster graph for, such as 1024x256; may be repeated."
    ),
    any_shape: bool = typer.Option(
        True, help="Also make the graph that takes frames of any shape (some minutes)."
    ),
    precision: list[str] = option(
        ["float32"],
        "float32|float16|int8",
        "Of the network's weights and activations; float16 is for GPUs, int8 for CPUs; may be repeated, for "
        "graphs of each in one bundle.",
    ),
    finest_level: int | None = option(
        None,
        "2|3|4",
        "Stop the network at this level, each about three times faster; default: before full "
        "refinement, which makes up for the rest, 3 (front end rf) or 4 (baseband), else the finest there is.",
    ),
    strain_window: int = option(97, "SAMPLES", "Length of the strain's least-squares window, odd."),
    refinement: str = option(
        "full",
        "off|cheap|full",
        "After the network: nothing, one look at the phase, or phase made smooth over the whole frame.",
    ),
    follow: bool = switch(
        "--follow", "Also make graphs for `usert serve --follow`, which start from the last image's motion."
    ),
    plan: list[str] = option(
        [],
        "tensorrt|tensorrt_rtx",
        "Build TensorRT plans of the graphs of one shape, for the GPU here; may be repeated.",
    ),
    plan_range: str | None = option(
        None,
        "NxM:NxM",
        "Build a plan for a range of frames, too, from the graph for any; sides are multiples of 32.",
    ),
    model_card: Path | None = option(None, "FILE", "Model card to put into the bundle."),
    recording: list[Path] = option(
        [], "REC.h5", "Prove the graphs on pairs of this recording, too; may be repeated."
    ),
    verify: Path | None = option(
        None, "BUNDLE", "Export nothing: prove this bundle again, with every engine that runs here."
    ),
) -> None:
    """Export weights as a bundle: ONNX graphs, each proven against torch, and a manifest."""
    require("torch", "export")
    require("onnx", "export")
    require("onnxscript", "export")
    from usert.bundle import Bundle, bundle_card, bundle_place, packaged_bundles
    from usert.commands.shape_option import parse_range, parse_shape
    from usert.export.exporter import ExportConfig, export_bundle
    from usert.export.verify import recorded_pairs
    from usert.network.refine import as_kind
    from usert.output_file import check_output_folder

    if verify is not None:
        if weights is not None or network is not None or out is not None:
            raise OptionError(
                "--verify: got --weights, --network or --out, too, expected none: it writes nothing"
            )
        with stoppable(", nothing was written"):
            _verify(verify, recording)
        return
    if network is not None:
        packaged = packaged_bundles()
        expect(network in packaged, "--network", f"{network!r}", f"one of {', '.join(packaged)}")
        if weights is not None:
            raise OptionError("--network: got --weights, too, expected one of them")
        bundle = Bundle.load(packaged[network])
        weights = bundle.path_of(bundle.manifest.weights)
    if weights is None or out is None:
        raise OptionError(
            "export: got no --weights or --network, or no --out, expected both, or --verify BUNDLE"
        )
    check_output_folder(bundle_place(out), option="--out", replaced=True)
    expect(finest_level is None or finest_level in (2, 3, 4), "--finest-level", finest_level, "2, 3 or 4")
    if not 3 <= strain_window <= 255 or strain_window % 2 == 0:
        raise OptionError(
            f"--strain-window: got {strain_window}, expected an odd number of samples, 3 to 255"
        )
    if model_card is not None and not model_card.is_file():
        raise OptionError(f"--model-card: {model_card}: no such file")
    config = ExportConfig(
        shapes=[parse_shape(text) for text in shape],
        any_shape=any_shape,
        precisions=precision,
        finest=finest_level,
        strain_window=strain_window,
        refinement=as_kind(refinement, "--refinement"),
        follow=follow,
        plans=plan,
        plan_range=None if plan_range is None else parse_range(plan_range, "--plan-range"),
    )
    with stoppable(", nothing was written"):
        bundle = export_bundle(
            weights,
            out,
            config,
            model_card=model_card,
            recorded=recorded_pairs(recording, least_rows=strain_window),
            open_plan=_open_plan,
            report=lambda line: typer.echo(line, err=True),
        )
    typer.echo(bundle_card(bundle))


def _verify(folder: Path, recordings: list[Path]) -> None:
    """Every graph by every engine that runs here; plans by TensorRT, as one of them."""
    from usert.bundle import Bundle
    from usert.export.baseband_graph import FollowGraph
    from usert.export.verify import check_fit, only, recorded_pairs, reference_of, verify_graph
    from usert.runtime.engines import ENGINES, open_engine
    from usert.runtime.engines.interface import Follower, noise_pair

    bundle = Bundle.load(folder)
    least = bundle.manifest.strain_window_samples
    recorded = recorded_pairs(recordings, least_rows=least)
    check_fit(recorded, [graph.shape for graph in bundle.manifest.graphs])
    proven: dict[str, None] = {}
    absent: dict[str, None] = {}
    for name in reversed(ENGINES):
        for graph in (*bundle.manifest.graphs, *bundle.manifest.follow):
            reference = reference_of(bundle, graph)
            try:
                opened = open_engine(only(bundle, graph), engine=name)
                opened.run(*noise_pair(graph.shape or (2 * least, 64)))
            except (EngineError, MissingExtraError) as error:
                absent[f"{name}: not here: {error}"] = None
                continue
            with closing(opened) as engine:
                follows = reference if isinstance(reference, FollowGraph) else None
                if follows is not None and not isinstance(engine, Follower):
                    continue
                run = _run_of(engine, follows)
                verify_graph(bundle, graph, run, name=engine.name, recorded=recorded, report=typer.echo)
            proven[name] = None
    for line in absent:
        typer.echo(line, err=True)
    typer.echo(f"{folder}: proven with {', '.join(proven)}" if proven else f"{folder}: no engine runs here")
    if not proven:
        raise typer.Exit(1)


@contextmanager
def _open_plan(bundle: Bundle, plan: Plan) -> Iterator[Run | None]:
    """What runs a plan, where it can be run; else the reason is said."""
    from usert.runtime.engines.tensorrt import TensorRtEngine

    alone = replace(bundle, manifest=replace(bundle.manifest, plans=(plan,)))
    run: Run | None = None
    with ExitStack() as opened:
        try:
            engine = opened.enter_context(closing(TensorRtEngine(alone, module=plan.library)))
            engine.warm_up(plan.most)
            run = _run_of(engine)
        except (EngineError, MissingExtraError) as error:
            typer.echo(f"{plan.file}: not run: {error}", err=True)
        yield run


def _run_of(engine: Engine, follows: FollowGraph | None = None) -> Run:
    from usert.export.gate import pair_inputs
    from usert.runtime.engines.interface import TYPICAL_SCAN, Follower

    def run(pair: FramePair) -> Outputs:
        scan = replace(TYPICAL_SCAN, f0_hz=pair.cycles_per_sample * TYPICAL_SCAN.fs_hz)
        if follows is not None and isinstance(engine, Follower):
            start = pair_inputs(follows, pair)[-1]
            estimate = engine.follow(pair.reference, pair.current, scan, start)
        else:
            estimate = engine.run(pair.reference, pair.current, scan)
        return estimate.displacement, estimate.strain, estimate.quality

    return run
