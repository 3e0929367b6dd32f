"""How far GLUE's figures depend on the integer displacement that it starts from.

    python benchmarks/glue_start.py [--rf ../shared/rf]

GLUE is linear in what it adds to its start, so a start that is wrong in shape leaves its mark. Here one solve
begins with whole samples found by dynamic programming (Rivaz et al., IEEE Trans. Med. Imaging 27(10), 2008, in
its plain form: each line for itself, |difference| of samples plus α times the squared jump), which is a
staircase, drawn out along depth in two ways: straight lines through the middle of each step, or through the
places where it jumps. Beside them what `usert run --method glue` does: block matching, two solves.

Knows the two Alpinion pairs of `rf_pairs`. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rf_pairs import Pair, alpinion

from usert.errors import UsertError
from usert.estimators import global_time_delay
from usert.quality import cnr, strain_ratio, warped_ncc
from usert.strain import axial_strain

AXIAL, LATERAL = (-12, 3), (-1, 1)
"""The range of the search: these two pairs move by at most six samples towards the probe, and hardly across."""
ALPHAS = 0.2, 0.4

_Array = NDArray[np.float64]


def staircase(pre: NDArray[Any], post: NDArray[Any], alpha: float) -> _Array:
    """Displacement (2, N, M) in whole samples and lines, by dynamic programming along each line.

    Frames are divided by their largest sample; a step of depth changes either component by one at most.
    """
    first, second = (frame.astype(np.float64) / np.abs(frame).max() for frame in (pre, post))
    rows, lines = first.shape
    axial, lateral = (np.arange(low, high + 1) for low, high in (AXIAL, LATERAL))
    reach = [int(np.abs(values).max()) for values in (axial, lateral)]
    padded = np.pad(second, [(size, size) for size in reach], mode="edge")
    cost = np.empty((rows, len(axial), len(lateral), lines), np.float32)
    for (i, a), (j, b) in itertools.product(enumerate(axial), enumerate(lateral)):
        moved = padded[reach[0] + a : reach[0] + a + rows, reach[1] + b : reach[1] + b + lines]
        cost[:, i, j] = np.abs(first - moved)

    jumps = np.array([(0, 0), *(jump for jump in itertools.product((-1, 0, 1), repeat=2) if any(jump))])
    came_from = np.zeros(cost.shape, np.int8)
    total = cost[0]
    for row in range(1, rows):
        around = np.pad(total, ((1, 1), (1, 1), (0, 0)), constant_values=np.inf)
        ways = np.stack(
            [
                around[1 + a : 1 + a + len(axial), 1 + b : 1 + b + len(lateral)] + alpha * (a * a + b * b)
                for a, b in jumps
            ]
        )
        came_from[row] = ways.argmin(axis=0)
        total = ways.min(axis=0) + cost[row]
    path = np.empty((rows, 2, lines), np.intp)
    path[-1] = np.unravel_index(total.reshape(-1, lines).argmin(axis=0), total.shape[:2])
    for row in range(rows - 1, 0, -1):
        taken = came_from[row, path[row, 0], path[row, 1], np.arange(lines)]
        path[row - 1] = path[row] + jumps[taken].T
    return np.stack([axial[path[:, 0]], lateral[path[:, 1]]]).astype(np.float64)


def drawn_out(steps: _Array, through: str) -> _Array:
    """The axial staircase (N, M) as straight lines through its "steps" or its "jumps", flat beyond the last."""
    drawn = steps.copy()
    rows = len(steps)
    for line, values in enumerate(steps.T):
        edges = np.concatenate([[0], np.flatnonzero(np.diff(values)) + 1, [rows]])
        if through == "steps":
            at, value = (edges[:-1] + edges[1:] - 1) / 2, values[edges[:-1]]
        else:
            at = edges[1:-1] - 0.5
            value = (values[edges[1:-1] - 1] + values[edges[1:-1]]) / 2
        if len(at):
            drawn[:, line] = np.interp(np.arange(rows), at, value)
    return drawn


def row(pair: Pair, start: str, displacement: NDArray[Any]) -> str:
    """One line of the table; `start` names what the displacement came from."""
    if pair.target is None or pair.background is None:
        raise ValueError(f"{pair.name}: expected a target and a background")
    strain = axial_strain(displacement[0], pair.strain_window)
    ncc = warped_ncc(pair.pre, pair.post, displacement)[slice(*pair.ncc_rows)].mean()
    figures = cnr(strain, pair.target, pair.background), strain_ratio(strain, pair.target, pair.background)
    return f"| {pair.name} | {start} | {figures[0]:.2f} | {figures[1]:.3f} | {ncc:.4f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rf", type=Path, default=Path("../shared/rf"), help="folder of RF frames")
    rf = parser.parse_args().rf
    try:
        pairs = list(alpinion(rf))
    except UsertError as error:
        sys.exit(f"glue_start: {error}")
    print(f"# {os.cpu_count()} cores\n| pair | start of GLUE | CNR | SR | NCC |\n|---|---|---|---|---|")
    for pair in pairs:
        print(row(pair, "block matching, two solves", global_time_delay(pair.pre, pair.post)), flush=True)
        for alpha in ALPHAS:
            whole = staircase(pair.pre, pair.post, alpha)
            for through in ("steps", "jumps"):
                start = np.stack([drawn_out(whole[0], through), whole[1]])
                name = f"α {alpha:g}, through the {through}"
                print(row(pair, f"({name}, itself)", start), flush=True)
                solved = global_time_delay(pair.pre, pair.post, initial=start, passes=1)
                print(row(pair, name, solved), flush=True)


if __name__ == "__main__":
    main()
