"""Companding: the second frame is moved by a smooth coarse displacement, and the network looks for the rest.

The analytic signal is moved: the envelope along depth, and the carrier turned by as much, so that echoes lie on each
other again as they do after companding of RF (I. Céspedes and J. Ophir, "Reduction of image noise in elastography",
Ultrasonic Imaging 15, 1993: the idea; there by a global stretch).

Knows nothing of where the coarse displacement comes from. Invariant: a coarse displacement of 0 changes nothing, and
`composed` gives the displacement between the original frames.
"""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor

from .baseband import Signals, channels
from .complex import turned
from .warp import warp


def moved(signals: Signals, displacement: Tensor) -> Tensor:
    """The second signal (B, 2, K, M) at r + displacement(r), with its carrier turned by as much.

    `displacement` is (B, 2, K, M), axial in rows of the signals and lateral in lines.
    """
    axial, lateral = displacement[:, 0:1], displacement[:, 1:2]
    return turned(warp(signals.second, torch.cat((lateral, axial), dim=1)), signals.frequency * axial)


def companded_channels(signals: Signals, back: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor]:
    """Input of the network (B, 3, H, M) from each frame of `signals` on its own grid, every second row.

    `back` (B, 2, H, M) is the second frame as `moved` by `coarse` (B, 2, H, M).
    """
    axial = coarse[:, :1]
    step = functional.pad(axial[:, :, 1:] - axial[:, :, :-1], (0, 0, 0, 1))
    # the turning has moved the second frame's carrier by the coarse strain: taken out again
    return channels(signals.first, back, shift=signals.frequency * step)


def composed(coarse: Tensor, rest: Tensor) -> Tensor:
    """Displacement of the pair from `coarse` and the displacement `rest` found after it, all (B, 2, K, M) on one grid.

    d(r) = rest(r) + coarse(r + rest(r)), to first order in `rest`.
    """
    down = functional.pad(coarse, (0, 0, 1, 1), mode="replicate")
    over = functional.pad(coarse, (1, 1, 0, 0), mode="replicate")
    slope_down = (down[:, :, 2:] - down[:, :, :-2]) / 2
    slope_over = (over[:, :, :, 2:] - over[:, :, :, :-2]) / 2
    return rest + coarse + slope_down * rest[:, 0:1] + slope_over * rest[:, 1:2]
