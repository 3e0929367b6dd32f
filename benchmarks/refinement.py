"""Why the refinement is as it is: its terms, one by one.

    python benchmarks/refinement.py [--rf ../shared/rf] [--weights FILE] [--seeds 2]

The refinement of the front end `rf` with one thing changed, on simulated pairs with truth and, with --rf, on the
Alpinion pairs; among the changes the first derivatives with their mean subtracted (Eq. 5 of the paper, and GLUE). The
weights must be of that front end, which the default bundle's are not. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sparse
import scipy.sparse.linalg as solvers
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray
from rf_pairs import BORDER, Image, Pair, alpinion, simulated
from tables import markdown
from torch import Tensor

from usert.bundle import Bundle, default_bundle_path
from usert.errors import OptionError, UsertError
from usert.machine import cpu_name
from usert.network import phase, refine
from usert.network.baseband import Signals
from usert.network.channels import Channels
from usert.network.liteflownet import MULTIPLE, LiteFlowNet
from usert.network.phase import BLOCK, Measurement, from_channels, measure
from usert.network.refine import Refinement, on_samples, strain_of
from usert.network.weights import load_weights
from usert.quality import cnr, nrmse, rmse, strain_ratio
from usert.runtime.engines.int16 import to_int16
from usert.strain import axial_strain

STRAINS = ("0.5 %", "1 %", "3 %")
FIRST_ORDER = ((30.0, 10.0), (100.0, 30.0), (300.0, 100.0), (1000.0, 300.0))
"""λ of ∂a/∂r and ∂a/∂c, in the unit of the others."""

Field = NDArray[np.float64]


class Frames:
    """A pair as the network sees it, and the network's displacement."""

    def __init__(self, pair: Pair, network: LiteFlowNet) -> None:
        self.pair = pair
        frames = torch.from_numpy(np.stack(to_int16(pair.pre, pair.post))).float()
        self.rows, self.lines = frames.shape[1:]
        frames = frames - frames.mean(dim=(1, 2), keepdim=True)
        frames = functional.pad(frames, (0, -self.lines % MULTIPLE, 0, -self.rows % MULTIPLE))
        with torch.inference_mode():
            self.first, self.second = Channels()(frames[:1], frames[1:])
            self.start: Tensor = network(self.first, self.second)

    def figures(self, displacement: Tensor) -> dict[str, float]:
        d: Image = displacement[0, :, : self.rows, : self.lines].numpy()
        pair = self.pair
        strain = axial_strain(d[0], pair.strain_window)
        found: dict[str, float] = {}
        if pair.truth is not None:
            inside = (slice(BORDER[0], -BORDER[0]), slice(BORDER[1], -BORDER[1]))
            true_strain = axial_strain(pair.truth[0], pair.strain_window)
            found["axial RMSE"] = rmse(d[0][inside], pair.truth[0][inside])
            found["strain NRMSE"] = nrmse(strain[inside], true_strain[inside])
        if pair.target is not None and pair.background is not None:
            found["CNR"] = cnr(strain, pair.target, pair.background)
            found["SR"] = strain_ratio(strain, pair.target, pair.background)
        return found


def solve_directly(matrix: Any, right: Field) -> Field:
    """Sparse LU in the order that suits a symmetric matrix."""
    factor = solvers.splu(
        matrix.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
    )
    solution: Field = factor.solve(right)
    return solution


def first_differences(count: int) -> Any:
    """(count - 1, count): each value minus the one before."""
    return sparse.diags([-np.ones(count - 1), np.ones(count - 1)], [0, 1], shape=(count - 1, count))


def second_differences(count: int) -> Any:
    """(count - 2, count)."""
    return first_differences(count - 1) @ first_differences(count)


def variants() -> dict[str, Callable[[Frames], Tensor]]:
    """What is tried, by name: each gives a displacement (1, 2, N, M)."""

    def alone(frames: Frames) -> Tensor:
        return frames.start

    def refined(**settings: Any) -> Callable[[Frames], Tensor]:
        kind = settings.pop("kind", "full")
        made = {name: settings.pop(name) for name in ("rounds", "steps") if name in settings}

        def run(frames: Frames) -> Tensor:
            with changed(settings):
                result: Tensor = Refinement(kind, **made)(
                    from_channels(frames.first, frames.second), frames.start
                )
            return result

        return run

    a, b, c = refine.AXIAL
    tried: dict[str, Callable[[Frames], Tensor]] = {
        "network alone": alone,
        "cheap": refined(kind="cheap"),
        "full": refined(),
        "one round": refined(rounds=1),
        "three rounds": refined(rounds=3),
        "no borders": refined(BORDER=1e6),
        "borders half as large": refined(BORDER=refine.BORDER / 2),
        "borders twice as large": refined(BORDER=2 * refine.BORDER),
        "all λ halved": refined(AXIAL=(a / 2, b / 2, c / 2)),
        "all λ doubled": refined(AXIAL=(2 * a, 2 * b, 2 * c)),
        "no mixed difference": refined(AXIAL=(a, 1e-3, c)),
        "no difference across": refined(AXIAL=(a, b, 1e-3)),
        "λ the same at any strain": refined(FALL=0.0),
        "phase of 3 x 3 points": refined(WINDOW=(3, 3)),
        "phase of 9 x 5 points": refined(WINDOW=(9, 5)),
        "equal weights": refined(measure=equally_weighted),
        "lateral as the network has it": refined(FURTHEST_LATERAL=0.0),
    }
    for along, across in FIRST_ORDER:
        tried[f"first derivatives, {along:g} and {across:g}"] = lambda frames, w=(along, across): (  # type: ignore[misc]
            first_order(frames, *w)
        )
    return tried


@contextmanager
def changed(settings: dict[str, Any]) -> Iterator[None]:
    """Constants of the refinement's modules, changed for a while."""
    homes = {name: refine if hasattr(refine, name) else phase for name in settings}
    before = {name: getattr(home, name) for name, home in homes.items()}
    try:
        for name, value in settings.items():
            setattr(homes[name], name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(homes[name], name, value)


def equally_weighted(signals: Signals, displacement: Tensor) -> Measurement:
    """A measurement whose points all weigh what they weigh on average."""
    measurement = measure(signals, displacement, BLOCK)
    mean = measurement.weight.mean(dim=(2, 3), keepdim=True)
    return Measurement(measurement.displacement, mean.expand_as(measurement.weight).contiguous())


def first_order(frames: Frames, along: float, across: float) -> Tensor:
    """Two rounds of axial displacement with λ (∂a/∂r - mean)² and λ (∂a/∂c)², solved directly."""
    signals, displacement = from_channels(frames.first, frames.second), frames.start
    for _ in range(refine.ROUNDS):
        measurement = measure(signals, displacement, BLOCK)
        measured, weight = (part[0, 0].double().numpy() for part in measurement)
        fall = float(strain_of(measurement, BLOCK) / 0.01) ** -refine.FALL
        rows, lines = measured.shape
        depth = sparse.kron(first_differences(rows), sparse.eye(lines))
        width = sparse.kron(sparse.eye(rows), first_differences(lines))
        kept = slice(None, frames.rows // BLOCK)
        mean = np.average(np.diff(measured[kept], axis=0), weights=weight[kept][1:])
        matrix = (
            sparse.diags(weight.ravel()) + fall * along * depth.T @ depth + fall * across * width.T @ width
        )
        right = weight.ravel() * measured.ravel() + fall * along * depth.T @ np.full(depth.shape[0], mean)
        solved = solve_directly(matrix, right)
        axial = on_samples(torch.from_numpy(solved.reshape(1, 1, rows, lines)).float(), BLOCK)
        displacement = torch.cat((axial, displacement[:, 1:]), dim=1)
    return displacement


def terms_table(sets: dict[str, list[Frames]]) -> list[dict[str, Any]]:
    """A row a variant: figures of each set of pairs, averaged, and the time of the largest frames."""
    rows = []
    for name, run in variants().items():
        row: dict[str, Any] = {"variant": name}
        for label, members in sets.items():
            found = []
            for frames in members:
                begin = time.perf_counter()
                with torch.inference_mode():
                    displacement = run(frames)
                took = time.perf_counter() - begin
                found.append(frames.figures(displacement))
            for key in found[0]:
                row[f"{label} {key}"] = float(np.mean([figures[key] for figures in found]))
        row["ms"] = 1e3 * took
        print(row, file=sys.stderr, flush=True)
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rf", type=Path, help="folder of RF frames; without it only simulated pairs")
    parser.add_argument(
        "--weights", type=Path, help="weights of the network; the default bundle's if not given"
    )
    parser.add_argument("--seeds", type=int, default=2, help="simulated pairs of each strain")
    options = parser.parse_args()
    try:
        if options.seeds < 1:
            raise OptionError(f"seeds: got {options.seeds}, expected at least 1")
        rows = terms_table(sets_of_pairs(options.weights or default_weights(), options.rf, options.seeds))
    except UsertError as error:
        sys.exit(f"refinement: {error}")
    print(f"### The refinement with one thing changed\n\n{markdown(rows)}\n")
    print(json.dumps({"benchmark": "refinement", "machine": cpu_name(), "rows": rows}))


def default_weights() -> Path:
    """Those of the default bundle."""
    bundle = Bundle.load(default_bundle_path())
    return bundle.folder / bundle.manifest.weights.file


def sets_of_pairs(weights: Path, rf: Path | None, seeds: int) -> dict[str, list[Frames]]:
    """Simulated pairs by their strain, and with `rf` the two Alpinion pairs, with the network's displacement."""
    network = load_weights(weights)
    if network.front_end != "rf":
        raise OptionError(f"--weights: {weights}: got weights of front end {network.front_end}, expected rf")
    sets: dict[str, list[Frames]] = {}
    for pair in simulated(seeds):
        if pair.name in STRAINS:
            sets.setdefault(pair.name, []).append(Frames(pair, network))
    if rf is not None:
        sets |= {pair.name: [Frames(pair, network)] for pair in alpinion(rf)}
    return sets


if __name__ == "__main__":
    main()
