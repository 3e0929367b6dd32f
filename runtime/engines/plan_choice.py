"""The choice of a bundle's TensorRT plan for this machine and for a frame.

Invariant: a plan for another library, version or GPU is rejected by name.
"""

from __future__ import annotations

from collections.abc import Sequence

from usert.bundle.manifest import Manifest, Plan
from usert.errors import BundleError, EngineError
from usert.frame import Shape

from .graph_choice import rounded_up

EXTRAS = {"tensorrt": "tensorrt", "tensorrt_rtx": "rtx"}
"""Python modules, and the extras that install them."""


def usable_plans(
    manifest: Manifest, *, library: str, version: str, gpu: str | None, precisions: Sequence[str]
) -> list[Plan]:
    """The plans that `library` of this version can run on this GPU, in the order of `precisions`.

    Errors: `EngineError` where there is none, with the reason and the remedy.
    """
    remedy = f"export on this machine with --plan {library}"
    if gpu is None:
        raise EngineError(
            f"{library}: no NVIDIA GPU here, or nothing that tells: no driver, or no pynvml, which comes with "
            f"pip install 'usert[{EXTRAS[library]}]'"
        )
    built = [plan for plan in manifest.plans if plan.library == library]
    if not built:
        raise EngineError(
            f"{library}: the bundle has no plan of it: make one on this machine by usert export … --plan {library}"
        )
    fitting = [plan for plan in built if plan.version == version and plan.gpu in (gpu, None)]
    if not fitting:
        origins: dict[tuple[str | None, str], Plan] = {}
        for plan in built:
            origins.setdefault((plan.gpu, plan.version), plan)
        told = ", ".join(
            f"{plan.file} was built for {plan.gpu or f'the GPUs that {library} chooses'} by {library} {plan.version}"
            for plan in origins.values()
        )
        raise EngineError(f"{library}: {told}, here are {gpu} and {library} {version}: {remedy}")
    precision_of = {graph.file: graph.precision for graph in manifest.graphs}
    wanted = [plan for name in precisions for plan in fitting if precision_of[plan.graph] == name]
    if not wanted:
        there = ", ".join(sorted({precision_of[plan.graph] for plan in fitting}))
        raise EngineError(
            f"{library}: got plans of {there}, expected {' or '.join(precisions)}: {remedy} --precision {precisions[0]}"
        )
    return wanted


def choose_plan(plans: Sequence[Plan], shape: Shape) -> tuple[Plan, Shape]:
    """The plan for frames of `shape` (N, M), and the shape that they must be padded to for it.

    One for that very shape, else for its sides rounded up to multiples of 32, else for a range about those; of equals
    the first. Errors: `BundleError` with what there is.
    """
    whole = rounded_up(shape)
    for wanted in (shape, whole):
        for plan in plans:
            if plan.least == plan.most == wanted:
                return plan, wanted
    for plan in plans:
        if plan.least != plan.most and all(
            low <= side <= high for low, side, high in zip(plan.least, whole, plan.most, strict=True)
        ):
            return plan, whole
    spans = (
        f"{_told(plan.least)} to {_told(plan.most)}" if plan.least != plan.most else _told(plan.most)
        for plan in plans
    )
    raise BundleError(
        f"frame: got {_told(shape)}, expected {', '.join(dict.fromkeys(spans))}, or up to 31 samples or lines less; "
        f"export the bundle with --shape {_told(shape)} --plan {plans[0].library}"
    )


def _told(shape: Shape) -> str:
    return f"{shape[0]}x{shape[1]}"
