"""The split of chosen pairs into training and held-out pairs.

Invariant: no frame is on both sides.
"""

from __future__ import annotations

import math

import numpy as np

from .selection import ChosenPair, Selection


def split_chosen(
    selection: Selection, *, share: float, seed: int
) -> tuple[tuple[ChosenPair, ...], tuple[ChosenPair, ...]]:
    """Split pairs into (training, held out): whole recordings, or the last part of a single one.

    `share` is that of the held-out pairs. Pairs across the border are on neither side. Where no border leaves pairs on
    both sides, none is held out.
    """
    paths = sorted({pair.recording for pair in selection.chosen})
    if len(paths) > 1:
        count = min(len(paths) - 1, max(1, round(share * len(paths))))
        held = {paths[k] for k in np.random.default_rng(seed).permutation(len(paths))[:count]}
        return (
            tuple(pair for pair in selection.chosen if pair.recording not in held),
            tuple(pair for pair in selection.chosen if pair.recording in held),
        )
    best: tuple[tuple[ChosenPair, ...], tuple[ChosenPair, ...]] = (selection.chosen, ())
    nearest = math.inf
    for border in sorted({pair.reference for pair in selection.chosen}):
        before = tuple(pair for pair in selection.chosen if pair.current < border)
        after = tuple(pair for pair in selection.chosen if pair.reference >= border)
        off = abs(len(after) / (len(before) + len(after)) - share)
        if before and after and off < nearest:
            best, nearest = (before, after), off
    return best
