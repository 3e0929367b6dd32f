"""The description of a bundle that `usert` prints.

Knows the manifest only. Each figure of accuracy stands beside its limit.
"""

from __future__ import annotations

import json

from .folder import Bundle
from .manifest import Graph, Manifest, Plan, Speed

_FIGURES = {
    "max_abs_displacement_samples": ("displacement within", " samples"),
    "rms_displacement_samples": ("rms", ""),
    "rms_strain_percent": ("strain rms", " %"),
    "snre_difference": ("SNRe", ""),
    "cnr_difference": ("CNR", ""),
}
"""The figures of accuracy that are printed, each with its name and its unit."""


def bundle_card(bundle: Bundle) -> str:
    """The description of a bundle, one line for each label and text."""
    m = bundle.manifest
    trained = "images, not RF"
    if m.input.trained_for is not None:
        cycles, strains = m.input.trained_for.centre_cycles_per_sample, m.input.trained_for.strain_percent
        trained = f"f0/fs {cycles[0]:g} to {cycles[1]:g}, strain {strains[0]:g} to {strains[1]:g} %"
    rows = [
        ("bundle", f"{bundle.folder}  ({bundle.sha256[:12]})"),
        ("made", f"{m.created} by usert {m.usert_version}, opset {m.opset}"),
        ("on", m.machine + ("" if m.gpu is None else f", {m.gpu}")),
        ("with", ", ".join(f"{name} {version}" for name, version in m.libraries.items())),
        ("network", f"{m.network.name} on {m.network.front_end}, levels {m.network.levels[0]} to "
                    f"{m.network.levels[1]}, {m.network.parameters:,} parameters"),
        ("weights", f"{m.weights.file} ({m.weights.sha256[:12]}), {_in_short(m.weights.recipe)}"),
        ("trained for", trained),
        ("refinement", m.refinement),
        ("strain", f"{m.conventions.strain}; window {_window(m)}"),
        ("quality", f"correlation in windows of {m.quality_window[0]} x {m.quality_window[1]}"),
    ]  # fmt: skip
    for graph in (*m.graphs, *m.follow):
        shape = "any shape" if graph.shape is None else _shape(graph.shape)
        rows.append(
            (
                "follows" if graph in m.follow else "graph",
                f"{graph.file}, {shape}, {graph.precision}, {_size(graph)}",
            )
        )
        rows.append(("", accuracy_line(graph.accuracy, m.tolerances[graph.precision])))
        rows.append(("", _speed(graph.speed)))
    for plan in m.plans:
        shapes = _shape(plan.least)
        if plan.most != plan.least:
            shapes += f" to {_shape(plan.most)} in steps of 32"
        gpu = plan.gpu or "GPUs of its own choice"
        rows.append(("plan", f"{plan.file}, {shapes}, {_size(plan)}"))
        rows.append(("", f"{plan.library} {plan.version} for {gpu}, built in {plan.seconds:.0f} s"))
        if plan.accuracy is None or plan.speed is None:
            rows.append(("", "not run: no GPU where it was built"))
            continue
        precision = next(graph.precision for graph in m.graphs if graph.file == plan.graph)
        rows.append(("", accuracy_line(plan.accuracy, m.tolerances[precision])))
        rows.append(("", _speed(plan.speed)))
    rows.append(("compared", f"with {m.reference}; in brackets what was allowed"))
    return "\n".join(f"{label:<12} {text}" for label, text in rows)


def _window(manifest: Manifest) -> str:
    if manifest.strain_window_wavelengths is None:
        return f"{manifest.strain_window_samples} samples"
    return f"{manifest.strain_window_wavelengths:g} wavelengths, cycles of the echo"


def accuracy_line(accuracy: dict[str, float], tolerances: dict[str, float]) -> str:
    """One line of a graph's figures of accuracy, each with its limit from `tolerances` in brackets."""
    parts = []
    for figure, (before, behind) in _FIGURES.items():
        if figure in accuracy:
            limit = f" ({tolerances[figure]:g})" if figure in tolerances else ""
            parts.append(f"{before} {accuracy[figure]:.2g}{behind}{limit}")
    return ", ".join(parts)


def _speed(speed: Speed) -> str:
    return (
        f"{speed.milliseconds:.0f} ms a pair of {_shape(speed.shape)} by {speed.engine}, "
        f"{speed.threads} thread{'s' if speed.threads > 1 else ''}"
    )


def _shape(shape: tuple[int, int]) -> str:
    return f"{shape[0]} x {shape[1]}"


def _size(part: Graph | Plan) -> str:
    return f"{part.bytes / 1e6:.1f} MB"


def _in_short(recipe: str) -> str:
    """A recipe in one line: of a JSON object, as `usert pretrain` writes it, the entries that are plain values."""
    try:
        tree = json.loads(recipe)
    except ValueError:
        return recipe
    if not isinstance(tree, dict):
        return recipe
    plain = {key: value for key, value in tree.items() if isinstance(value, str | int | float)}
    return ", ".join(f"{key} {value}" for key, value in plain.items())
