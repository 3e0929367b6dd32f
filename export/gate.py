"""The gate: outputs of an exported graph must agree with torch before anyone may use it.

Pairs of frames are run by a graph and by the torch reference that it came from: simulated ones with known truth, each
whole and with a masked corner, and pairs of recordings where given. Knows nothing of how the graph was made or of the
library that runs it. Invariant: figures are the worst of all pairs.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from usert.errors import BundleError
from usert.front_end import TYPICAL, graph_inputs
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.runtime.engines.start import start_of
from usert.runtime.imaging.estimate import Estimate

from .baseband_graph import FollowGraph
from .graph import StrainGraph
from .pair_graph import AnyGraph

Frame = NDArray[np.int16]
Outputs = Sequence[NDArray[np.float32]]


class FramePair(NamedTuple):
    """Two frames int16 (N, M), and their centre frequency over their sampling frequency."""

    reference: Frame
    current: Frame
    cycles_per_sample: float = TYPICAL


Run = Callable[[FramePair], Outputs]
"""Runner of a graph: from a pair to displacement (2, N, M), strain (N, M) and quality (N, M)."""
PAIRS = ((2, 4), (9, 13), (2, 12))
"""Frames of the simulated scanner: about .2, 1 and 2 % strain apart. Each is run whole, and with a corner masked."""
DEEPEST = 1024
"""Samples of a frame whose end the largest of these moves by 20. A longer one is pressed less: towards 30 samples, the
most that the network has learned (`usert.train.pretrain.pairs`), it fails here and there, and rounding decides how."""
READABLE = 0.1
"""Quality below which, of a recorded frame, displacement and strain are not compared: they mean nothing there."""
MASK_REACH = 8
"""Lines beside a mask, and a strain window above it, where nothing is compared: what lies beyond is smoothed into it.
Within the mask quality must be 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """Differences of a graph's outputs from torch, absolute but where stated."""

    max_abs_displacement_samples: float
    rms_displacement_samples: float
    max_abs_strain: float
    rms_strain_percent: float
    max_abs_quality: float
    snre_difference: float
    """Relative difference of |mean| / standard deviation of the strain about the simulated lesion."""
    cnr_difference: float
    """Relative difference of the contrast to noise ratio of the simulated lesion."""
    truth_rmse_samples: float
    """Rms difference of the axial displacement from the simulator's truth: the network's own error, not the export's.
    """


TOLERANCES = {
    "float32": Accuracy(
        max_abs_displacement_samples=1e-3,
        rms_displacement_samples=1e-4,
        max_abs_strain=1e-4,
        rms_strain_percent=1e-3,
        max_abs_quality=5e-3,  # the largest of millions, where there is hardly any signal to correlate
        snre_difference=1e-3,
        cnr_difference=1e-3,
        truth_rmse_samples=math.inf,
    ),
    "float16": Accuracy(
        max_abs_displacement_samples=0.02,
        rms_displacement_samples=1e-3,
        max_abs_strain=5e-4,
        rms_strain_percent=2e-3,
        max_abs_quality=0.02,
        snre_difference=5e-3,
        cnr_difference=5e-3,
        truth_rmse_samples=math.inf,
    ),
    "int8": Accuracy(
        max_abs_displacement_samples=0.2,
        rms_displacement_samples=0.01,
        max_abs_strain=5e-3,
        rms_strain_percent=0.01,
        max_abs_quality=0.1,
        snre_difference=0.02,
        cnr_difference=0.02,
        truth_rmse_samples=math.inf,
    ),
}
"""By precision. At most half of the method's own error, .02 to .04 samples, is allowed to be added (as rms)."""


def tolerances(precision: str) -> dict[str, float]:
    """Limits of a graph's accuracy in `precision`, by figure; those without a limit are left out."""
    return {name: limit for name, limit in asdict(TOLERANCES[precision]).items() if math.isfinite(limit)}


def compare(
    graph: AnyGraph, run: Run, shape: tuple[int, int], recorded: Sequence[FramePair] = ()
) -> Accuracy:
    """Compare `run` with torch on simulated frames of `shape` (N, M) and on `recorded` pairs.

    The graph must take the shape of those, too.
    """
    scanner = scanner_for(shape)
    found: list[Accuracy] = []
    above = strain_reach(graph)
    for pair, truth, where in (*_simulated(scanner, above), *((pair, None, None) for pair in recorded)):
        expected, got = by_torch(graph, pair), run(pair)
        counts = expected[2] > READABLE if where is None else where
        places = (counts, counts, counts | (expected[2] == 0))
        apart = [
            np.where(place | ~np.isfinite(g), np.abs(g - e), 0)
            for g, e, place in zip(got, expected, places, strict=True)
        ]
        contrasts = [(1.0, 1.0)] * 2
        if truth is not None:
            contrasts = [_contrast(scanner, outputs[1]) for outputs in (got, expected)]
        found.append(
            Accuracy(
                max_abs_displacement_samples=float(apart[0].max()),
                rms_displacement_samples=_rms(apart[0]),
                max_abs_strain=float(apart[1].max()),
                rms_strain_percent=100 * _rms(apart[1]),
                max_abs_quality=float(apart[2].max()),
                snre_difference=_relative(contrasts[0][0], contrasts[1][0]),
                cnr_difference=_relative(contrasts[0][1], contrasts[1][1]),
                truth_rmse_samples=0.0 if truth is None else _rms(got[0][0] - truth[0]),
            )
        )
    return worst(found)


def by_torch(graph: AnyGraph, pair: FramePair) -> Outputs:
    """Displacement, strain and quality of a pair by the torch graph."""
    inputs, lines = pair_inputs(graph, pair), pair.reference.shape[1]
    with torch.inference_mode():
        return [part.numpy()[..., :lines] for part in graph(*(torch.from_numpy(array) for array in inputs))]


def pair_inputs(graph: AnyGraph, pair: FramePair) -> tuple[NDArray[Any], ...]:
    """Inputs of `graph` for a pair; what a `FollowGraph` starts from is the motion that the whole graph finds."""
    inputs = graph_inputs(graph.front_end, *pair)
    if not isinstance(graph, FollowGraph):
        return inputs
    displacement, strain, quality = by_torch(graph.whole, pair)
    found = Estimate(displacement=displacement, strain=strain, quality=quality)
    return *inputs, start_of(found, pair.cycles_per_sample, len(inputs[2]))


def strain_reach(graph: AnyGraph) -> int:
    """Length in samples of the window of a graph's strain, at a typical sampling."""
    if isinstance(graph, StrainGraph):
        return 2 * graph.strain.margin + 1
    whole = graph.whole if isinstance(graph, FollowGraph) else graph
    return round(whole.strain_window / TYPICAL)


def scanner_for(shape: tuple[int, int]) -> SimulatedScanner:
    """The gate's simulated scanner, whose `PAIRS` a network can follow to the end of a frame of `shape` (N, M)."""
    press = ScannerConfig().peak_strain * min(1.0, DEEPEST / shape[0])
    return SimulatedScanner(ScannerConfig(shape=shape, peak_strain=press), seed=7)


def judge(accuracy: Accuracy, name: str, precision: str = "float32") -> None:
    """Check `accuracy` against the tolerances of `precision`.

    Errors: `BundleError` that begins with `name` for a figure beyond its tolerance, or NaN.
    """
    for figure, limit in tolerances(precision).items():
        value = getattr(accuracy, figure)
        if not value <= limit:
            raise BundleError(
                f"{name}: refused: {figure}: differs from torch by {value:.2g}, {precision} allows {limit:.2g}"
            )


def worst(found: Sequence[Accuracy]) -> Accuracy:
    """The largest value of each figure; NaN stays NaN."""
    return Accuracy(
        **{field.name: float(np.max([getattr(a, field.name) for a in found])) for field in fields(Accuracy)}
    )


def _simulated(
    scanner: SimulatedScanner, above: int
) -> Iterator[tuple[FramePair, NDArray[np.floating] | None, NDArray[np.bool_]]]:
    """Pairs with their truth and where to compare, whole, then the same with a corner that a scanner has masked."""
    for (i, j), whole in itertools.product(PAIRS, (True, False)):
        reference, current = scanner.frame(i).samples.copy(), scanner.frame(j).samples.copy()
        counts = np.ones(reference.shape, bool)
        if not whole:
            mask_corner(reference, current)
            rows, lines = reference.shape
            counts[max(rows // 2 - above, 0) :, max(lines // 2 - MASK_REACH, 0) :] = False
        yield FramePair(reference, current), scanner.truth(i, j) if whole else None, counts


def mask_corner(*frames: Frame) -> None:
    """Set the lower right quarter of each frame to 0 in place, as a sector scan leaves it."""
    for frame in frames:
        frame[frame.shape[0] // 2 :, frame.shape[1] // 2 :] = 0


def _contrast(scanner: SimulatedScanner, strain: NDArray[np.float32]) -> tuple[float, float]:
    """SNRe of what surrounds the lesion, and CNR of the lesion."""
    lesion, surroundings = scanner.lesion_mask(-0.2), ~scanner.lesion_mask(0.2)
    target, background = (strain[mask].astype(np.float64) for mask in (lesion, surroundings))
    noise = np.sqrt(target.var() + background.var())
    snre = abs(background.mean()) / max(float(background.std()), 1e-12)
    return float(snre), float(np.sqrt(2) * abs(target.mean() - background.mean()) / max(noise, 1e-12))


def _rms(values: NDArray[np.floating]) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def _relative(got: float, expected: float) -> float:
    return abs(got - expected) / max(expected, 1e-12)
