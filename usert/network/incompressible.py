"""The lateral displacement that an axial one calls for, because tissue keeps its volume.

Soft tissue is nearly incompressible: pressed along depth it gives way sideways. In plane strain all of it goes across
the lines, ∂l/∂c = -∂a/∂r, with a and l in rows and lines and so without any unit; in three dimensions a part leaves the
plane, and where layers slide none of it need be seen. So only the share κ is asked for that the frames themselves show,
between 0 and 1. (The constraint in full: M. A. Lubinski, S. Y. Emelianov et al., "Lateral displacement estimation using
tissue incompressibility", IEEE Trans. Ultrason. Ferroelectr. Freq. Control 43(2), 1996; the bounds: A. K. Z. Tehrani,
H. Rivaz, "Physically inspired constraint for unsupervised regularized ultrasound elastography", MICCAI 2022: the idea;
there on each pixel's ratio, in the loss.)

What is called for is a sum of the axial strain over lines, so that a place where the axial field is lost would spoil
its whole row. Strain is therefore taken as far as the measurements there and about it are to be trusted, and for the
rest as the trusted strain of the same depths is.

Knows nothing of signals. Invariant: no axial strain gives no lateral displacement, and a place without weight has no
say in that of others.
"""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor

from .grids import box_min

LEAST = 1e-9
"""Mean squared strain below which there is none to speak of."""
DOUBT = 0.05
"""Weight of a measurement, over their mean, at which it is trusted by half: less, and what is lost spoils the rest;
more, and what is right where echoes happen to be weak is left out, too."""
ABOUT = 9
"""Points of the grid, along depth and across lines, among which the least trusted counts: the smoothing has carried
what is wrong so far."""
BESIDE = 8.0
"""Points along depth at which the strain of other rows counts 1 / e as much as that of the row itself."""
LEAST_TRUST = 1e-3
"""What is left where nothing is trusted."""


def called_for(displacement: Tensor, weight: Tensor, block: int, lines: int = 1) -> tuple[Tensor, Tensor]:
    """Lateral displacement (B, 1, K, M) in lines that the axial part of `displacement` calls for, and κ (B, 1, 1, 1).

    `displacement` (B, 2, K, M) is smooth, in rows and lines; a point of its grid is `block` rows and `lines` lines.
    `weight` (B, 1, K, M) is that of the lateral measurements, from which κ is found. The mean along each row is 0.
    """
    axial, lateral = displacement[:, :1], displacement[:, 1:]
    trust = trusted(weight)
    strain = _filled(-_slope(axial, 2) / block, trust)
    gradient = _slope(lateral, 3) / lines
    sure = weight * trust
    seen = (sure * gradient * strain).mean(dim=(2, 3), keepdim=True)
    whole = (sure * strain.square()).mean(dim=(2, 3), keepdim=True)
    share = (seen / (whole + LEAST * sure.mean(dim=(2, 3), keepdim=True))).clamp(0.0, 1.0)
    # the sum over lines to the left, half of its own included: a product, for not all that run graphs know running sums
    line = torch.arange(strain.shape[3], device=strain.device, dtype=strain.dtype)
    before = (line[:, None] < line[None, :]).to(strain.dtype) + 0.5 * (line[:, None] == line[None, :])
    summed = torch.matmul(lines * share * strain, before)
    return summed - summed.mean(dim=3, keepdim=True), share


def trusted(weight: Tensor) -> Tensor:
    """Trust (B, 1, K, M), 0 to 1, in each point and the least trusted about it, from weights (B, 1, K, M)."""
    doubt = DOUBT * weight.mean(dim=(2, 3), keepdim=True)
    trust = weight.square() / (weight.square() + doubt.square())
    return LEAST_TRUST + box_min(trust, ABOUT, ABOUT)


def _filled(strain: Tensor, trust: Tensor) -> Tensor:
    """Strain as far as it is trusted, and for the rest what is trusted of the same row, and of those near by."""
    row = torch.arange(strain.shape[2], device=strain.device, dtype=strain.dtype)
    near = torch.exp((row[:, None] - row[None, :]).abs() * (-1.0 / BESIDE))
    known = torch.matmul(near, torch.cat((trust * strain, trust), dim=1).mean(dim=3, keepdim=True))
    return trust * strain + (1 - trust) * (known[:, :1] / known[:, 1:])


def _slope(field: Tensor, dim: int) -> Tensor:
    """Central difference along an axis, the outermost repeated."""
    count = field.shape[dim] - 2
    inner = (field.narrow(dim, 2, count) - field.narrow(dim, 0, count)) / 2
    return functional.pad(inner, (0, 0, 1, 1) if dim == 2 else (1, 1, 0, 0), mode="replicate")
