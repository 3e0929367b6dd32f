"""The acceptance test: whether new weights may replace the old, by figures of both on held-out pairs.

Figures of a pair, all without labels but the last:

    NCC           median local correlation of the frames after the warp (`usert.quality.warped_ncc`)
    SNRe          median over blocks of |mean| / deviation of the strain, blocks small enough to be uniform
    consistency   median |w_f + w_b| where the forward displacement lands, in samples (Eq. 4 of [1])
    found         share of pixels where the axial part of that is below a quarter of a wavelength and the correlation
                  0.7 or more: what weights can win or lose after a refinement
    RMSE          of the axial displacement in samples, where the recording has truth

[1] Tehrani, Mirzaei, Rivaz, MICCAI 2020. Networks are compared as they will be exported. Smoothing alone raises SNRe
and costs NCC; noise fitting does the reverse: both must hold. Invariant: a figure that cannot be compared (NaN) never
counts for the new weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from rich.table import Table

from usert.network.grow import coarsened
from usert.network.liteflownet import LiteFlowNet
from usert.network.motion import Motion
from usert.network.refine import RefinementKind, as_kind, finest_before
from usert.network.warp import warp
from usert.quality import READABLE_QUALITY, warped_ncc
from usert.recording import Recording
from usert.strain import STRAIN_WINDOW_SAMPLES, axial_strain

from .recipe import AcceptanceConfig
from .selection import ChosenPair

BLOCK = (64, 8)
"""Samples and lines of the blocks whose SNRe is taken."""
MARGIN = 32
"""Rows left out at both ends: there, tissue leaves the frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Figures of one pair, or medians over pairs."""

    ncc: float
    """Median local correlation after the warp."""
    snre: float
    """Median local SNRe; NaN for a frame smaller than a block."""
    consistency: float
    """Median forward-backward error in samples."""
    found: float
    """Share of the pixels that are found, 0 to 1."""
    rmse: float
    """Axial RMSE in samples; NaN without truth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """The comparison of old and new weights."""

    pairs: tuple[str, ...]
    before: tuple[Figures, ...]
    after: tuple[Figures, ...]
    objections: tuple[str, ...]
    """Why the new weights are refused; empty when they are accepted."""

    @property
    def accepted(self) -> bool:
        """Whether the new weights may replace the old."""
        return not self.objections


def compare(
    old: LiteFlowNet,
    new: LiteFlowNet,
    pairs: Sequence[ChosenPair],
    config: AcceptanceConfig,
    *,
    device: torch.device | str = "cpu",
    observe: Callable[[int], None] = lambda done: None,
) -> Acceptance:
    """Compare both networks on whole frames of `pairs`, `config.pairs` of them at most, spread evenly.

    `observe` is called with the number of pairs done. Errors: `RecordingError`.
    """
    chosen = _spread(pairs, config.pairs)
    before: list[Figures] = []
    after: list[Figures] = []
    names = []
    for done, pair in enumerate(chosen):
        with Recording(pair.recording, as_rf=True) as recording:
            first, second = (recording.frame(k).samples for k in (pair.reference, pair.current))
            cycles = recording.scan.cycles_per_sample
            follows = recording.has_truth and pair.current == pair.reference + 1
            truth = recording.truth(pair.reference) if follows else None
        for network, found in ((old, before), (new, after)):
            kind = as_kind(config.refinement, "acceptance.refinement")
            finest = config.finest
            if finest is None:
                finest = finest_before(kind, network.front_end, network.finest)
            alike = coarsened(network, finest)
            found.append(figures(alike, first, second, truth, cycles=cycles, device=device, refinement=kind))
        names.append(f"{pair.recording.name} {pair.reference}:{pair.current}")
        observe(done + 1)
    objections = judge(before, after, config)
    return Acceptance(
        pairs=tuple(names), before=tuple(before), after=tuple(after), objections=tuple(objections)
    )


def judge(before: Sequence[Figures], after: Sequence[Figures], config: AcceptanceConfig) -> list[str]:
    """Objections to the new weights, in words: every figure whose median is worse than allowed."""
    old, new = medians(before, after)
    objections = []
    if not new.ncc >= old.ncc - config.ncc:
        objections.append(f"NCC fell from {old.ncc:.4f} to {new.ncc:.4f}")
    if not (new.snre >= old.snre * (1 - config.snre) or math.isnan(old.snre)):
        objections.append(f"SNRe fell from {old.snre:.2f} to {new.snre:.2f}")
    if not new.consistency <= old.consistency * (1 + config.consistency) + 0.01:
        objections.append(
            f"forward-backward error rose from {old.consistency:.3f} to {new.consistency:.3f} samples"
        )
    if not new.found >= old.found - config.found:
        objections.append(f"share of pixels found fell from {old.found:.3f} to {new.found:.3f}")
    if not (math.isnan(old.rmse) or new.rmse <= old.rmse * (1 + config.rmse)):
        objections.append(f"axial RMSE rose from {old.rmse:.4f} to {new.rmse:.4f} samples")
    return objections


def medians(before: Sequence[Figures], after: Sequence[Figures]) -> tuple[Figures, Figures]:
    """Medians (old, new) over the pairs whose old figure is known; the new one is NaN where a pair lacks it."""
    old: dict[str, float] = {}
    new: dict[str, float] = {}
    for field in fields(Figures):
        values = np.array([[getattr(f, field.name) for f in found] for found in (before, after)])
        known = values[:, ~np.isnan(values[0])]
        old[field.name], new[field.name] = np.median(known, axis=1).tolist() if known.size else [math.nan] * 2
    return Figures(**old), Figures(**new)


def figures(
    network: LiteFlowNet,
    first: NDArray[np.generic],
    second: NDArray[np.generic],
    truth: NDArray[np.float32] | None,
    *,
    cycles: float,
    device: torch.device | str = "cpu",
    refinement: RefinementKind = "off",
) -> Figures:
    """Figures of `network`, and of the `refinement` after it, on a pair of frames (N, M).

    `truth` is the displacement (2, N, M) in samples and lines, or None; `cycles` is the centre frequency over the
    sampling frequency. Errors: `FrameError` for an impossible one.
    """
    forward, apart = estimate(network, first, second, cycles=cycles, device=device, refinement=refinement)
    rows = slice(MARGIN, -MARGIN) if first.shape[0] > 4 * MARGIN else slice(None)
    strain = axial_strain(forward[0], min(STRAIN_WINDOW_SAMPLES, first.shape[0] - (first.shape[0] + 1) % 2))
    correlation = warped_ncc(first, second, forward)
    found = (np.abs(apart[0]) < 0.25 / cycles) & (correlation >= READABLE_QUALITY)
    rmse = math.nan
    if truth is not None:
        rmse = float(np.sqrt(np.mean((forward[0] - truth[0])[rows] ** 2)))
    return Figures(
        ncc=float(np.median(correlation[rows])),
        snre=local_snre(strain[rows]),
        consistency=float(np.median(np.hypot(*apart)[rows])),
        found=float(np.mean(found[rows])),
        rmse=rmse,
    )


def local_snre(strain: NDArray[np.floating]) -> float:
    """Median of |mean| / standard deviation of `strain` (N, M) over blocks of 64 × 8; NaN where none fits."""
    rows, lines = (side // block for side, block in zip(strain.shape, BLOCK, strict=True))
    if not rows or not lines:
        return math.nan
    cut = strain[: rows * BLOCK[0], : lines * BLOCK[1]].astype(np.float64)
    blocks = cut.reshape(rows, BLOCK[0], lines, BLOCK[1])
    mean, deviation = np.abs(blocks.mean(axis=(1, 3))), blocks.std(axis=(1, 3))
    return float(np.median(mean / np.maximum(deviation, 1e-9)))


def table(acceptance: Acceptance) -> Table:
    """A table of both sets of figures, a row for each pair and the medians."""
    grid = Table(
        "held-out pair", "found", "NCC", "SNRe", "round trip", "RMSE",
        caption="old → new; found: share of pixels; round trip: median forward-backward error; RMSE: axial; in samples",
    )  # fmt: skip
    rows = zip(acceptance.pairs, acceptance.before, acceptance.after, strict=True)
    for name, old, new in (*rows, ("median", *medians(acceptance.before, acceptance.after))):
        grid.add_row(
            name,
            f"{old.found:.3f} → {new.found:.3f}",
            f"{old.ncc:.4f} → {new.ncc:.4f}",
            f"{old.snre:.2f} → {new.snre:.2f}",
            f"{old.consistency:.3f} → {new.consistency:.3f}",
            "" if math.isnan(old.rmse) else f"{old.rmse:.4f} → {new.rmse:.4f}",
        )
    return grid


def estimate(
    network: LiteFlowNet,
    first: NDArray[np.generic],
    second: NDArray[np.generic],
    *,
    cycles: float,
    device: torch.device | str = "cpu",
    refinement: RefinementKind = "off",
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Forward displacement w_f (2, N, M) of a pair (N, M), and w_f + w_b (2, N, M) at its end: samples and lines.

    `cycles` is the centre frequency over the sampling frequency. Errors: `FrameError` for an impossible one.
    """
    training = network.training
    network.to(device).eval()
    motion = Motion(network, refinement).to(device).eval()
    with torch.no_grad():
        finite = np.nan_to_num(np.stack((first, second)).astype(np.float32), posinf=0.0, neginf=0.0)
        a, b = torch.from_numpy(finite).to(device)[:, None]
        forward, backward = motion(a, b, cycles), motion(b, a, cycles)
        apart = forward + warp(backward, forward.flip(1), outside="border")
    network.train(training)
    return forward[0].cpu().numpy(), apart[0].cpu().numpy()


def _spread(pairs: Sequence[ChosenPair], count: int) -> list[ChosenPair]:
    """At most `count` of the pairs, evenly spaced over the list."""
    at = np.unique(np.linspace(0, len(pairs) - 1, min(count, len(pairs))).round().astype(int))
    return [pairs[k] for k in at]
