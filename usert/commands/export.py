"""`usert export`: weights into a bundle that the runtime can serve."""

from __future__ import annotations

from pathlib import Path

import typer


def export(
    weights: Path = typer.Option(
        ...,
        metavar="FILE",
        help="weights.safetensors of `usert pretrain`, or published LiteFlowNet weights (a PyTorch state_dict).",
    ),
    out: Path = typer.Option(
        ..., metavar="BUNDLE", help="Folder to write; an older bundle there is replaced."
    ),
    shape: list[str] = typer.Option(
        [], metavar="NxM", help="Frame shape to make a faster graph for, such as 1024x256; may be repeated."
    ),
    any_shape: bool = typer.Option(
        True, help="Also make the graph that takes frames of any shape (some minutes)."
    ),
    finest_level: int | None = typer.Option(
        None,
        metavar="2|3|4",
        help="Stop the network at this level, each about three times faster; default: 3 before full "
        "refinement, which makes up for the rest, else the finest there is.",
    ),
    strain_window: int = typer.Option(
        97, metavar="SAMPLES", help="Length of the strain's least-squares window, odd."
    ),
    refinement: str = typer.Option(
        "full",
        metavar="off|cheap|full",
        help="After the network: nothing, one look at the phase, or phase made smooth over the whole frame.",
    ),
    model_card: Path | None = typer.Option(None, metavar="FILE", help="Model card to put into the bundle."),
) -> None:
    """Export weights as a bundle: ONNX graphs, each proven against torch, and a manifest."""
    from usert.errors import OptionError, require

    require("torch", "export")
    require("onnx", "export")
    require("onnxscript", "export")
    from usert.commands.shape import parse_shape
    from usert.export.exporter import export_bundle
    from usert.network.refine import as_kind

    if not any_shape and not shape:
        raise OptionError("--no-any-shape: got no --shape either, expected at least one graph to make")
    if finest_level is not None and finest_level not in (2, 3, 4):
        raise OptionError(f"--finest-level: got {finest_level}, expected 2, 3 or 4")
    if not 3 <= strain_window <= 255 or strain_window % 2 == 0:
        raise OptionError(
            f"--strain-window: got {strain_window}, expected an odd number of samples, 3 to 255"
        )
    if model_card is not None and not model_card.is_file():
        raise OptionError(f"--model-card: {model_card}: no such file")
    bundle = export_bundle(
        weights,
        out,
        shapes=[parse_shape(text) for text in shape],
        any_shape=any_shape,
        finest=finest_level,
        strain_window=strain_window,
        refinement=as_kind(refinement, "--refinement"),
        model_card=model_card,
        report=lambda line: typer.echo(line, err=True),
    )
    typer.echo(bundle.card())
