"""The unsupervised loss: how well a displacement explains two frames, and how smooth its strain is.

[1] A. K. Z. Tehrani, M. Mirzaei, H. Rivaz, "Semi-Supervised Training of Optical Flow Convolutional Neural Networks in
Ultrasound Elastography", MICCAI 2020.

Notation: w_f and w_b are the forward and backward displacement (B, 2, h, w), axial in samples and lateral in lines, on
a grid that keeps one row in `step` samples and one column in `step` lines (the network's finest level: step 2). ∂/∂a
and ∂/∂l are per sample and per line of the full grid, whatever the step: the paper's units. I_1 and I_2 are the
network's input channels (B, 3, N, M). O_f is 1 where a displacement is believed. ⟨·⟩ is the mean over O_f.

Departures from [1]: the backward displacement is read where the forward one lands (`consistency`; as printed on
request); the warp interpolates along depth by a sinc, not linearly, for RF has four to nine samples a cycle and a
linear warp pulls every estimate towards whole samples.

Invariant: only the last output of the network is judged ([1], 2.2), and every term is 0 or its least where displacement
and frames are perfect.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from torch import Tensor

from usert.network.warp import warp

from .interpolation import refine_rows
from .loss_config import LossConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """The terms of one pair, weighted, their total and the share of inliers."""

    total: Tensor
    """Eq. 7 of [1] plus the optional terms; a scalar with gradients."""
    terms: dict[str, Tensor]
    """Each term by name, weighted, without gradients."""
    inliers: Tensor
    """Share of pixels that the mask keeps; below half the pair is skipped ([1], 2.2)."""


def charbonnier(x: Tensor, *, gamma: float, epsilon: float) -> Tensor:
    """Φ(x) = (x² + ε)^γ, Eq. 3 of [1], elementwise."""
    return (x.square() + epsilon) ** gamma


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean ⟨·⟩ of `values` over O_f: where `mask` (broadcastable, 0 or 1) is 1; 0 where it is 0 throughout."""
    mask = mask.expand_as(values)
    return (values * mask).sum() / mask.sum().clamp(min=1)


def outlier_mask(forward: Tensor, backward: Tensor, *, alpha: float, step: int, landed: bool) -> Tensor:
    """Mask O_f = |w_f + w_b| < α (B, 1, h, w), Eq. 4 of [1]: 1 where the displacement is believed.

    `landed`: w_b is read at r + w_f(r), where it must cancel w_f; else at r, as Eq. 4 is printed. The two differ by w_f
    times the slope of w_b: at 5 % of strain and 30 samples by more than α. What leaves the frame is never believed.
    """
    inside = (warp(torch.ones_like(forward[:, :1]), forward.flip(1) / step) > 0.99).to(forward.dtype)
    if landed:
        backward = warp(backward, forward.flip(1) / step)
    apart = (forward + backward).square().sum(1, keepdim=True).sqrt()
    return (apart < alpha).to(forward.dtype) * inside


def warp_frame(second: Tensor, displacement: Tensor, *, interpolation: int) -> Tensor:
    """The second frame moved back by the displacement, Ĩ_2 in Eq. 2 of [1].

    Shapes: (B, C, N, M), displacement (B, 2, N, M) → (B, C, N, M). Rows are first refined `interpolation` times by a
    windowed sinc, then read linearly.
    """
    factor = interpolation
    axial, lateral = displacement[:, 0], displacement[:, 1]
    height, width = second.shape[2] * factor, second.shape[3]
    kind = displacement.dtype
    fine = refine_rows(second.to(kind), factor)
    # base grids by arange: row r of the frame is row r · factor of the refined one
    row = torch.arange(second.shape[2], device=second.device, dtype=kind)[None, :, None]
    column = torch.arange(width, device=second.device, dtype=kind)[None, None, :]
    y = ((row + axial) * factor + 0.5) * (2.0 / height) - 1.0
    x = (column + lateral + 0.5) * (2.0 / width) - 1.0
    grid = torch.stack((x, y), dim=3)
    return functional.grid_sample(fine, grid, padding_mode="border", align_corners=False)


def data_loss(first: Tensor, warped: Tensor, mask: Tensor, *, gamma: float, epsilon: float) -> Tensor:
    """Data loss loss_d = ⟨Φ(I_1 - Ĩ_2)⟩ over all channels, Eq. 2 of [1]."""
    return masked_mean(charbonnier(first - warped, gamma=gamma, epsilon=epsilon), mask)


def correlation_loss(first: Tensor, warped: Tensor, mask: Tensor, *, window: tuple[int, int]) -> Tensor:
    """Correlation loss ⟨1 - NCC⟩ of the RF and imaginary channels in a window (rows, lines), both odd; optional.

    Local level and gain cancel, so decorrelation by gain costs nothing. One complex correlation: the channels 0 and 2
    are the analytic signal, whose mean is 0.
    """

    def box(image: Tensor) -> Tensor:
        rows, lines = window
        image = functional.avg_pool2d(image, (rows, 1), 1, (rows // 2, 0), count_include_pad=False)
        return functional.avg_pool2d(image, (1, lines), 1, (0, lines // 2), count_include_pad=False)

    a, b = first[:, ::2], warped[:, ::2]
    both = box((a * b).sum(1, keepdim=True))
    powers = box(a.square().sum(1, keepdim=True)) * box(b.square().sum(1, keepdim=True))
    return masked_mean(1 - both * torch.rsqrt(powers + 1e-6), mask)


def derivative(field: Tensor, mask: Tensor, *, axis: int, step: int, span: int) -> tuple[Tensor, Tensor]:
    """Derivative ∂field/∂axis per sample or line over `span` of them, and the mask of both ends.

    Shapes: (B, 1, h, w) twice → both shorter by the span along `axis` (2 along depth, 3 across lines).
    """
    cells = max(1, min(span // step, field.shape[axis] - 1))
    length = field.shape[axis] - cells
    ahead, here = field.narrow(axis, cells, length), field.narrow(axis, 0, length)
    both = mask.narrow(axis, cells, length) * mask.narrow(axis, 0, length)
    return (ahead - here) / (cells * step), both


def first_order(
    field: Tensor, mask: Tensor, *, axis: int, step: int, span: int, gamma: float, epsilon: float
) -> Tensor:
    """Smoothness term ⟨Φ(∂w - ⟨∂w⟩)⟩, one half of Eq. 5 of [1] without its λ; `axis` as in `derivative`.

    The mean derivative of each pair is subtracted, so that uniform strain has the least cost, Φ(0).
    """
    slope, both = derivative(field, mask, axis=axis, step=step, span=span)
    count = both.sum(dim=(1, 2, 3), keepdim=True).clamp(min=1)
    mean = (slope * both).sum(dim=(1, 2, 3), keepdim=True) / count
    return masked_mean(charbonnier(slope - mean, gamma=gamma, epsilon=epsilon), both)


def second_order(
    field: Tensor, mask: Tensor, *, axis: int, step: int, span: int, gamma: float, epsilon: float
) -> Tensor:
    """Smoothness term ⟨Φ(∂²w)⟩, Eq. 6 of [1] without its λ: affine motion has the least cost, Φ(0)."""
    slope, both = derivative(field, mask, axis=axis, step=step, span=span)
    bend, all_three = derivative(slope, both, axis=axis, step=step, span=span)
    return masked_mean(charbonnier(bend, gamma=gamma, epsilon=epsilon), all_three)


def incompressibility(
    forward: Tensor, mask: Tensor, *, step: int, span: int, gamma: float, epsilon: float
) -> Tensor:
    """Term ⟨Φ(∂w_a/∂a + ∂w_l/∂l)⟩: in plane strain, tissue that shortens along depth widens across lines; optional.

    Both derivatives are strains (samples a sample, lines a line), so the pitch plays no part.
    """
    along, along_mask = derivative(forward[:, :1], mask, axis=2, step=step, span=span)
    across, across_mask = derivative(forward[:, 1:], mask, axis=3, step=step, span=span)
    rows, columns = along.shape[2], across.shape[3]
    both = along_mask[:, :, :, :columns] * across_mask[:, :, :rows]
    dilation = along[:, :, :, :columns] + across[:, :, :rows]
    return masked_mean(charbonnier(dilation, gamma=gamma, epsilon=epsilon), both)


def unsupervised_loss(
    first: Tensor, second: Tensor, forward: Tensor, backward: Tensor, config: LossConfig
) -> Loss:
    """Loss = loss_d + loss_s¹ + loss_s², Eq. 7 of [1], and the optional terms that `config` asks for.

    Parameters
    ----------
    first, second
        Input channels of the two frames (B, 3, N, M): RF, envelope, imaginary part of the analytic signal.
    forward, backward
        Displacements (B, 2, N / step, M / step) in float32, axial in samples and lateral in lines, from the first
        frame to the second and back; the backward one without gradients ([1], 2.3).
    config
        Weights and constants; a term whose weight is 0 is not computed.

    Examples
    --------
    Frames that do not move are explained best by no motion:

    >>> import torch
    >>> from usert.train.finetune.loss_config import LossConfig
    >>> frames = torch.rand(1, 3, 64, 32, generator=torch.Generator().manual_seed(0))
    >>> still, moved = torch.zeros(1, 2, 32, 16), torch.full((1, 2, 32, 16), 2.0)
    >>> right = unsupervised_loss(frames, frames, still, -still, LossConfig())
    >>> wrong = unsupervised_loss(frames, frames, moved, -moved, LossConfig())
    >>> bool(right.total < wrong.total), float(right.inliers)
    (True, 1.0)
    """
    step = first.shape[2] // forward.shape[2]
    # a float mask carries no gradient: it is a hard threshold, not a loss
    with torch.no_grad():
        mask = outlier_mask(
            forward, backward, alpha=config.alpha, step=step, landed=config.consistency == "landed"
        )
    size = (first.shape[2], first.shape[3])
    whole = functional.interpolate(forward, size=size, mode="bilinear", align_corners=False)
    whole_mask = functional.interpolate(mask, size=size, mode="nearest")
    warped = warp_frame(second, whole, interpolation=config.interpolation)
    axial, lateral = forward[:, :1], forward[:, 1:]
    phi = {"gamma": config.gamma, "epsilon": config.epsilon}
    grid = {"step": step, "span": config.span}
    terms: dict[str, Tensor] = {}
    if config.data:
        terms["data"] = config.data * data_loss(first, warped, whole_mask, **phi)
    if config.correlation:
        window = config.correlation_window
        terms["correlation"] = config.correlation * correlation_loss(first, warped, whole_mask, window=window)
    if config.lambda1:
        terms["axial first"] = config.lambda1 * first_order(
            axial, mask, axis=2, **grid, gamma=config.gamma, epsilon=config.epsilon_slope
        )
    if config.lambda2:
        terms["lateral first"] = config.lambda2 * first_order(
            axial, mask, axis=3, **grid, gamma=config.gamma, epsilon=config.epsilon_slope
        )
    if config.lambda3:
        terms["axial second"] = config.lambda3 * second_order(
            axial, mask, axis=2, **grid, gamma=config.gamma, epsilon=config.epsilon_slope
        )
    if config.lateral_smoothness:
        along, across = (
            first_order(lateral, mask, axis=axis, **grid, gamma=config.gamma, epsilon=config.epsilon_slope)
            for axis in (2, 3)
        )
        terms["lateral displacement"] = config.lateral_smoothness * (along + across)
    if config.incompressibility:
        terms["incompressibility"] = config.incompressibility * incompressibility(
            forward, mask, **grid, gamma=config.gamma, epsilon=config.epsilon_slope
        )
    total = forward.new_zeros(()) + sum(terms.values())
    return Loss(
        total=total,
        terms={name: term.detach() for name, term in terms.items()},
        inliers=mask.mean(),
    )
