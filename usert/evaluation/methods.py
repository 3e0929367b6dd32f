"""The methods that are compared, by name: bundles, weights files, and the classical estimators.

Invariant: a method takes two frames (N, M) as a recording has them, and returns the displacement (2, N, M) from the
first to the second, in samples and lines.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from usert.bundle import Bundle, default_bundle_path, sha256_of
from usert.errors import OptionError, require
from usert.estimators import ESTIMATORS, Estimator
from usert.frame import Scan
from usert.front_end import graph_inputs
from usert.runtime.engines.int16 import to_int16
from usert.runtime.engines.interface import Engine

from .pair import Image

NETWORK = "usert"
"""The default bundle's network."""
OpenBundle = Callable[[Bundle], Engine]
_WORDS = {
    "ncc": "block matching by normalised cross-correlation",
    "glue": "GLUE, global time-delay estimation",
    "glue-smooth": "GLUE with weights that smooth more",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A method that estimates a displacement from two frames."""

    name: str
    estimate: Callable[[Image, Image, Scan], Image]
    """The estimator: two frames (N, M) and their scan to the displacement (2, N, M), in samples and lines."""
    what: Callable[[], str]
    """Description in words; of an engine it is complete after the first run."""
    warm_up: Callable[[tuple[int, int], Scan], None] = lambda shape, scan: None
    """Warm up for frames of a shape (N, M) and their scan, so that no figure includes opening."""
    made_of: str = ""
    """SHA-256 of the weights; empty for a method without weights."""


def open_methods(
    names: Sequence[str],
    *,
    bundles: Sequence[str],
    weights: Sequence[str],
    open_bundle: OpenBundle,
    threads: int | None,
    stack: ExitStack,
) -> tuple[Method, ...]:
    """Open the methods `names`, then `bundles` ([NAME=]DIR), then `weights` (NAME=FILE[,REFINEMENT[,LEVEL]]).

    `open_bundle` makes the engine of a bundle, which `stack` closes; `threads` is for torch, None for its default.
    Errors: `OptionError` for an unknown method, a name twice, or a word of another form; `BundleError` and
    `WeightsError`.
    """
    found: list[Method] = []
    for name in names:
        if name != NETWORK and name not in ESTIMATORS:
            raise OptionError(f"--method: got {name!r}, expected some of {NETWORK}, {', '.join(ESTIMATORS)}")
        if name == NETWORK:
            found.append(_bundle(name, default_bundle_path(), open_bundle, stack))
        else:
            found.append(_classical(name, ESTIMATORS[name]))
    for word in bundles:
        name, equals, folder = word.partition("=")
        path = Path(folder if equals else word)
        found.append(_bundle(name if equals else path.resolve().name, path, open_bundle, stack))
    found += [_weights(word, threads) for word in weights]
    named = [method.name for method in found]
    for name in named:
        if named.count(name) > 1:
            raise OptionError(f"methods: got {name!r} twice, expected a name each: --bundle NAME=DIR")
    if not found:
        raise OptionError("methods: got none, expected at least one")
    return tuple(found)


def _classical(name: str, estimator: Estimator) -> Method:
    def estimate(pre: Image, post: Image, scan: Scan) -> Image:
        to_int16(pre, post)  # refuses what the network refuses, in the same words
        return estimator(pre, post)

    return Method(name=name, estimate=estimate, what=lambda: _WORDS[name])


def _bundle(name: str, folder: Path, open_bundle: OpenBundle, stack: ExitStack) -> Method:
    bundle = Bundle.load(folder)
    engine = open_bundle(bundle)
    stack.callback(engine.close)
    return Method(
        name=name,
        estimate=lambda pre, post, scan: engine.run(pre, post, scan).displacement,
        what=lambda: f"bundle {folder}, {engine.name}",
        warm_up=engine.warm_up,
        made_of=bundle.manifest.weights.sha256,
    )


def _weights(word: str, threads: int | None) -> Method:
    name, _, rest = word.partition("=")
    file, *how = rest.split(",")
    level = how[1] if len(how) > 1 else "2"
    if not (name and file) or len(how) > 2 or level not in ("2", "3", "4"):
        raise OptionError(f"--weights: got {word!r}, expected NAME=FILE[,REFINEMENT[,LEVEL]], level 2 to 4")
    refinement = how[0] if how else "off"
    return Method(
        name=name,
        estimate=_network(Path(file), refinement, int(level), threads),
        what=lambda: f"weights {file}, levels 6 to {level}, refinement {refinement}, torch CPU float32",
        made_of=sha256_of(file),
    )


def _network(
    weights: Path, refinement: str, finest: int, threads: int | None
) -> Callable[[Image, Image, Scan], Image]:
    """A method that runs the network of a weights file in torch, in the graph that an export makes."""
    torch = require("torch", "export")
    from usert.export.pair_graph import pair_graph
    from usert.network.refine import as_kind
    from usert.network.weights import load_weights

    if threads is not None:
        torch.set_num_threads(threads)
    network, kind = load_weights(weights, finest=finest), as_kind(refinement, "--weights")
    graph = pair_graph(network, refinement=kind)

    def estimate(pre: Image, post: Image, scan: Scan) -> Image:
        inputs = graph_inputs(network.front_end, *to_int16(pre, post), scan.cycles_per_sample)
        with torch.inference_mode():
            displacement: Image = graph(*(torch.from_numpy(part) for part in inputs))[0].numpy()
        return displacement[..., : pre.shape[1]]

    return estimate
