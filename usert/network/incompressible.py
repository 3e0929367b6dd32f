"""The lateral displacement that an axial one calls for, because tissue keeps its volume.

Soft tissue is nearly incompressible: pressed along depth it gives way sideways. In plane strain all of it goes across
the lines, ∂l/∂c = -∂a/∂r, with a and l in rows and lines and so without any unit; in three dimensions a part leaves the
plane, and where layers slide none of it need be seen. So only the share κ is asked for that the frames themselves show,
between 0 and 1. (The constraint in full: M. A. Lubinski, S. Y. Emelianov et al., "Lateral displacement estimation using
tissue incompressibility", IEEE Trans. Ultrason. Ferroelectr. Freq. Control 43(2), 1996; the bounds: A. K. Z. Tehrani,
H. Rivaz, "Physically inspired constraint for unsupervised regularized ultrasound elastography", MICCAI 2022: the idea;
there on each pixel's ratio, in the loss.)

Knows nothing of measurements. Invariant: no axial strain gives no lateral displacement.
"""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor

LEAST = 1e-9
"""Mean squared strain below which there is none to speak of."""


def called_for(displacement: Tensor, weight: Tensor, block: int) -> tuple[Tensor, Tensor]:
    """Lateral displacement (B, 1, K, M) that the axial part of a smooth `displacement` (B, 2, K, M) calls for, and κ.

    A point of the grid is `block` rows and a line. `weight` (B, 1, K, M) is that of the lateral measurements, from
    which κ (B, 1, 1, 1) is found. The mean along each row of points is 0.
    """
    axial, lateral = displacement[:, :1], displacement[:, 1:]
    strain = -_slope(axial, 2) / block
    gradient = _slope(lateral, 3)
    seen = (weight * gradient * strain).mean(dim=(2, 3), keepdim=True)
    whole = (weight * strain.square()).mean(dim=(2, 3), keepdim=True)
    share = (seen / (whole + LEAST * weight.mean(dim=(2, 3), keepdim=True))).clamp(0.0, 1.0)
    # the sum over lines to the left, half of its own included: a product, for not all that run graphs know running sums
    line = torch.arange(strain.shape[3], device=strain.device, dtype=strain.dtype)
    before = (line[:, None] < line[None, :]).to(strain.dtype) + 0.5 * (line[:, None] == line[None, :])
    summed = torch.matmul(share * strain, before)
    return summed - summed.mean(dim=3, keepdim=True), share


def _slope(field: Tensor, dim: int) -> Tensor:
    """Central difference along an axis, the outermost repeated."""
    count = field.shape[dim] - 2
    inner = (field.narrow(dim, 2, count) - field.narrow(dim, 0, count)) / 2
    return functional.pad(inner, (0, 0, 1, 1) if dim == 2 else (1, 1, 0, 0), mode="replicate")
