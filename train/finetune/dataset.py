"""The dataset of fine-tuning: crops of pairs, read from their recordings on request.

Invariant: an item depends on its index, the seed and the epoch alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from usert.frame import Scan
from usert.recording import Recording

from .augment import AugmentConfig, augment
from .regions import Region
from .selection import ChosenPair


@dataclass(frozen=True, slots=True, kw_only=True)
class PairCrop:
    """A crop of the two frames of a pair."""

    first: Tensor
    """The crop, (N, M) float32, finite."""
    second: Tensor
    """The crop, (N, M) float32, finite."""
    truth: Tensor | None
    """True displacement, (2, N, M) float32; None where the recording has none for these frames."""
    scan: Scan
    chosen: ChosenPair
    region: Region
    """Where the crop was cut, after jitter."""


class PairDataset:
    """The crops of every region of every chosen pair; frames may differ in shape from item to item."""

    def __init__(self, chosen: Sequence[ChosenPair], augment: AugmentConfig) -> None:
        self.chosen = tuple(chosen)
        self.augment = augment
        self._items = [(pair, region) for pair in self.chosen for region in pair.regions]

    def __len__(self) -> int:
        return len(self._items)

    @property
    def sha256(self) -> str:
        """Hash of the frames and regions in sequence; files are identified by name, without folders."""
        told = [(p.recording.name, p.reference, p.current, r.rows, r.lines) for p, r in self._items]
        return hashlib.sha256(repr(told).encode()).hexdigest()

    def pair(self, index: int) -> ChosenPair:
        """The pair that item `index` is cut from."""
        return self._items[index][0]

    def item(self, index: int, *, seed: int, epoch: int) -> PairCrop:
        """Read the item `index`, augmented for `epoch`. Errors: `RecordingError` where a frame cannot be read."""
        pair, region = self._items[index]
        rng = np.random.default_rng((seed, epoch, index))
        with Recording(pair.recording, as_rf=True) as recording:
            region = self._jittered(region, (pair.near_rows, 0), recording.shape, rng)
            inside = (..., slice(*region.rows), slice(*region.lines))
            frames = [recording.frame(k).samples[inside] for k in (pair.reference, pair.current)]
            scan = recording.scan
            follows = recording.has_truth and pair.current == pair.reference + 1
            truth = recording.truth(pair.reference)[inside] if follows else None
        first, second = (_finite(frame) for frame in frames)
        first, second, truth = augment(first, second, truth, rng, self.augment)
        return PairCrop(
            first=torch.from_numpy(first),
            second=torch.from_numpy(second),
            truth=None if truth is None else torch.from_numpy(truth),
            scan=scan,
            chosen=pair,
            region=region,
        )

    def _jittered(
        self, region: Region, first: tuple[int, int], shape: tuple[int, int], rng: np.random.Generator
    ) -> Region:
        """The region shifted by whole samples and lines, inside the frame and not above row and line `first`."""
        moved = []
        for (begin, end), least, whole in zip((region.rows, region.lines), first, shape, strict=True):
            reach = round(self.augment.jitter * (end - begin))
            at = int(np.clip(begin + rng.integers(-reach, reach + 1), least, whole - (end - begin)))
            moved.append((at, at + end - begin))
        return Region(rows=moved[0], lines=moved[1])


def _finite(frame: NDArray[np.generic]) -> NDArray[np.float32]:
    return np.nan_to_num(frame.astype(np.float32), posinf=0.0, neginf=0.0)
