"""The units of one level of the cascade: descriptor matching (M), sub-pixel refinement (S), regularisation (R).

T.-W. Hui, X. Tang, C. C. Loy, "LiteFlowNet: A Lightweight Convolutional Neural Network for Optical Flow
Estimation", CVPR 2018, and its supplementary material for widths and kernels.

Knows one level, not the cascade. Invariant: flow is (lateral, axial) in units of 20 full-resolution pixels, in
float32 whatever the features are. Each unit says through a plan (`checkpoint`) what may be recomputed together;
the default plan computes what is written and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from .checkpoint import NONE, Plan
from .correlation import RADIUS, correlation
from .features import conv, leaky
from .warp import warp
from .widths import FULL, Widths

KERNEL = {2: 7, 3: 5, 4: 5, 5: 3, 6: 3}
"""Side of the last convolution of M and S, and of the local convolution of R."""
TILE = {2: 8, 3: 4, 4: 4, 5: 2, 6: 1}
"""Lines a correlation tile at each level: divides every width that is a multiple of 32 at full resolution."""
STRIDE = {2: 2, 3: 2, 4: 1, 5: 1, 6: 1}
"""At levels 3 and 2 the cost volume is computed at every second pixel."""
FLOW_SCALE = 20.0
"""Pixels a unit of flow inside the network."""
Layer = Callable[[Tensor], Tensor]
"""A reduction of features to the width that M and S want: shared by both, passed to them or applied before."""


def level_scale(level: int) -> float:
    """Pixels of `level` in a unit of flow."""
    return FLOW_SCALE / 2.0 ** (level - 1)


def full_precision(flow: Tensor) -> AbstractContextManager[object]:
    """A context in which the flow stays float32 under autocast: bfloat16 rounds 30 samples to .1."""
    kind = flow.device.type
    return torch.autocast(kind, enabled=False) if torch.is_autocast_enabled(kind) else nullcontext()


def same(features: Tensor) -> Tensor:
    """The features unchanged: the reduction of levels 3 to 6, and of features that are reduced already."""
    return features


def _head(inside: int, hidden: tuple[int, int, int], kernel: int) -> nn.Sequential:
    """Four convolutions from features to two channels of flow."""
    first, second, third = hidden
    return nn.Sequential(
        conv(inside, first), leaky(), conv(first, second), leaky(),
        conv(second, third), leaky(), conv(third, 2, kernel),
    )  # fmt: skip


class Matching(nn.Module):
    """M: a first flow from the cost volume of the features.

    Shapes: two (B, C, H, W), coarser flow (B, 2, H / 2, W / 2) or None → flow (B, 2, H, W).
    """

    def __init__(self, level: int, coarsest: bool, widths: Widths = FULL) -> None:
        super().__init__()
        self.level = level
        span = (2 * RADIUS + 1) ** 2
        self.upsample_flow = None if coarsest else nn.ConvTranspose2d(2, 2, 4, 2, 1, bias=False, groups=2)
        self.upsample_cost = (
            None if STRIDE[level] == 1 else nn.ConvTranspose2d(span, span, 4, 2, 1, bias=False, groups=span)
        )
        self.head = _head(span, widths.head, KERNEL[level])

    def forward(
        self, first: Tensor, second: Tensor, coarser: Tensor | None, plan: Plan = NONE, reduce: Layer = same
    ) -> Tensor:
        flow = None
        if coarser is not None and self.upsample_flow is not None:
            with full_precision(coarser):
                flow = self.upsample_flow(coarser)
        cost = plan.part(self._cost, first, second, flow, reduce)
        # rows of the cost volume: those of the head's kernels, and one that upsampling mixes in
        halo = -(-(3 + KERNEL[self.level] // 2) // STRIDE[self.level]) + 1
        residual = plan.strips(self._residual, cost, grid=cost.shape[2], halo=halo).float()
        return residual if flow is None else flow + residual

    def _cost(self, first: Tensor, second: Tensor, flow: Tensor | None, reduce: Layer) -> Tensor:
        stride = STRIDE[self.level]
        if flow is not None:
            second = warp(reduce(second), flow * level_scale(self.level), step=stride)
        elif stride > 1:
            second = reduce(second[:, :, ::stride, ::stride])
        if stride > 1:
            first = first[:, :, ::stride, ::stride]
        return functional.leaky_relu(correlation(reduce(first), second, tile=TILE[self.level]), 0.1)

    def _residual(self, cost: Tensor) -> Tensor:
        if self.upsample_cost is not None:
            cost = self.upsample_cost(cost)
        residual: Tensor = self.head(cost)
        return residual


class Subpixel(nn.Module):
    """S: the flow refined from the features themselves, the second frame's brought back by the flow so far.

    Shapes: two (B, C, H, W), flow (B, 2, H, W) → (B, 2, H, W).
    """

    def __init__(self, level: int, widths: Widths = FULL) -> None:
        super().__init__()
        self.level = level
        channels = widths.matched if level == 2 else widths.features[level]
        self.head = _head(2 * channels + 2, widths.head, KERNEL[level])

    def forward(
        self, first: Tensor, second: Tensor, flow: Tensor, plan: Plan = NONE, reduce: Layer = same
    ) -> Tensor:
        def residual(first: Tensor, back: Tensor, flow: Tensor) -> Tensor:
            first = reduce(first)
            found: Tensor = self.head(torch.cat((first, back, flow.to(first.dtype)), dim=1))
            return found

        back = plan.part(
            lambda second, flow: warp(reduce(second), flow * level_scale(self.level)), second, flow
        )
        halo = 3 + KERNEL[self.level] // 2
        return flow + plan.strips(residual, first, back, flow, grid=flow.shape[2], halo=halo).float()


class Regularization(nn.Module):
    """R: each flow vector becomes a weighted mean of its neighbours, by weights from features and brightness error.

    Shapes: features (B, C, H, W), two images (B, 3, H, W), flow (B, 2, H, W) → (B, 2, H, W).
    """

    window: Tensor

    def __init__(self, level: int, widths: Widths = FULL) -> None:
        super().__init__()
        self.level = level
        kernel, channels = KERNEL[level], widths.features[level]
        taps = kernel * kernel
        self.reduce = (
            nn.Identity() if level >= 5 else nn.Sequential(conv(channels, widths.reduced, 1), leaky())
        )
        inside = 3 + (channels if level >= 5 else widths.reduced)
        layers: list[nn.Module] = []
        for before, after in pairwise((inside, *widths.body)):
            layers += [conv(before, after), leaky()]
        self.body = nn.Sequential(*layers)
        self.distance = (
            conv(widths.body[-1], taps, kernel)
            if level >= 5
            else nn.Sequential(conv(widths.body[-1], taps, (kernel, 1)), conv(taps, taps, (1, kernel)))
        )
        self.scale_x = nn.Conv2d(taps, 1, 1)
        self.scale_y = nn.Conv2d(taps, 1, 1)
        # one-hot kernels: a constant convolution copies each neighbour to its own channel
        self.register_buffer("window", torch.eye(taps).reshape(taps, 1, kernel, kernel), persistent=False)

    def forward(
        self, features: Tensor, first: Tensor, second: Tensor, flow: Tensor, plan: Plan = NONE
    ) -> Tensor:
        brightness = plan.part(self._brightness, first, second, flow)
        centred = flow - flow.mean(dim=(2, 3), keepdim=True)
        halo = len(self.body) // 2 + KERNEL[self.level] // 2
        parts = brightness, centred, features, flow
        return plan.strips(self._smooth, *parts, grid=flow.shape[2], halo=halo)

    def _brightness(self, first: Tensor, second: Tensor, flow: Tensor) -> Tensor:
        error = (first - warp(second, flow * level_scale(self.level))).square().sum(1, keepdim=True)
        return torch.sqrt(error.clamp_min(1e-12))

    def _smooth(self, brightness: Tensor, centred: Tensor, features: Tensor, flow: Tensor) -> Tensor:
        known = self.reduce(features)
        inside = torch.cat((brightness.to(known.dtype), centred.to(known.dtype), known), dim=1)
        distance = -self.distance(self.body(inside)).float().square()
        weight = torch.exp(distance - distance.amax(dim=1, keepdim=True))
        total = weight.sum(1, keepdim=True)
        pad = KERNEL[self.level] // 2
        with full_precision(flow):
            x = self.scale_x(weight * functional.conv2d(flow[:, 0:1], self.window, padding=pad)) / total
            y = self.scale_y(weight * functional.conv2d(flow[:, 1:2], self.window, padding=pad)) / total
        return torch.cat((x, y), dim=1)


class Level(nn.Module):
    """One level of the cascade.

    Shapes: features (B, C, H, W) and images (B, 3, H, W) of both frames, coarser flow (B, 2, H / 2, W / 2) or None →
    flow (B, 2, H, W) after M, S and R.
    """

    def __init__(self, level: int, *, coarsest: bool, widths: Widths = FULL) -> None:
        super().__init__()
        self.level = level
        self.reduce = (
            nn.Sequential(conv(widths.features[2], widths.matched, 1), leaky())
            if level == 2
            else nn.Identity()
        )
        self.matching = Matching(level, coarsest, widths)
        self.subpixel = Subpixel(level, widths)
        self.regularization = Regularization(level, widths)

    def forward(
        self,
        features: tuple[Tensor, Tensor],
        images: tuple[Tensor, Tensor],
        coarser: Tensor | None,
        plan: Plan = NONE,
    ) -> tuple[Tensor, Tensor, Tensor]:
        first, second = features
        reduce: Layer = self.reduce  # 1×1 kernels: the same before and after taking every second pixel
        if not plan.frugal:
            first, second, reduce = reduce(first), reduce(second), same
        matched = plan.unit(self.matching, first, second, coarser, plan, reduce)
        refined = plan.unit(self.subpixel, first, second, matched, plan, reduce)
        return matched, refined, plan.unit(self.regularization, features[0], *images, refined, plan)
