"""LiteFlowNet, written from its description.

T.-W. Hui, X. Tang, C. C. Loy, "LiteFlowNet: A Lightweight Convolutional Neural Network for Optical Flow
Estimation", CVPR 2018. Two frames go through one pyramid of features (NetC); from the coarsest level to the
finest, the flow is found by descriptor matching (M), refined below a pixel (S) and smoothed by a local
convolution whose kernel follows the features (R). The first level keeps full resolution, so level k is at
1 / 2^(k-1) and the finest flow, level 2, at one half.

Knows nothing of RF samples, units of strain or files. Invariant: inside, flow is (lateral, axial) in units
of 20 full-resolution pixels, as in the published weights; `forward` gives (axial, lateral) in pixels of the
input, our convention.

Departures: the features of both frames may be brought to common mean and deviation before matching
(`normalise_features`, R. Jonschkowski et al., "What Matters in Unsupervised Optical Flow", ECCV 2020), off
for published weights.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from .correlation import RADIUS, correlation
from .warp import warp

CHANNELS = {1: 32, 2: 32, 3: 64, 4: 96, 5: 128, 6: 192}
"""Feature channels of each pyramid level."""
KERNEL = {2: 7, 3: 5, 4: 5, 5: 3, 6: 3}
"""Side of the last convolution of M and S, and of the local convolution of R."""
TILE = {2: 8, 3: 4, 4: 4, 5: 2, 6: 1}
"""Lines a correlation tile at each level: divides every width that is a multiple of 32 at full resolution."""
STRIDE = {2: 2, 3: 2, 4: 1, 5: 1, 6: 1}
"""At levels 3 and 2 the cost volume is computed at every second pixel."""
FLOW_SCALE = 20.0
"""Pixels a unit of flow inside the network."""
MULTIPLE = 32
"""Frame sides must be multiples of this."""


def level_scale(level: int) -> float:
    """Pixels of `level` a unit of flow."""
    return FLOW_SCALE / 2.0 ** (level - 1)


def full_precision(flow: Tensor) -> AbstractContextManager[object]:
    """Keep what carries the flow in float32 under autocast: bfloat16 rounds 30 samples to .1."""
    kind = flow.device.type
    return torch.autocast(kind, enabled=False) if torch.is_autocast_enabled(kind) else nullcontext()


def _leaky() -> nn.LeakyReLU:
    return nn.LeakyReLU(0.1, inplace=True)


def _conv(inside: int, outside: int, kernel: int | tuple[int, int] = 3, stride: int = 1) -> nn.Conv2d:
    sides = (kernel, kernel) if isinstance(kernel, int) else kernel
    return nn.Conv2d(inside, outside, sides, stride, (sides[0] // 2, sides[1] // 2))


def _head(inside: int, kernel: int) -> nn.Sequential:
    """Four convolutions from features to two channels of flow."""
    return nn.Sequential(
        _conv(inside, 128), _leaky(), _conv(128, 64), _leaky(), _conv(64, 32), _leaky(), _conv(32, 2, kernel)
    )  # fmt: skip


class Features(nn.Module):
    """NetC: the pyramid of features of one frame.

    Shapes: (B, 3, H, W) → six maps, level k (B, CHANNELS[k], H / 2^(k-1), W / 2^(k-1)).
    """

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        blocks = [nn.Sequential(_conv(channels, CHANNELS[1], 7), _leaky())]
        for level, depth in ((2, 3), (3, 2), (4, 2), (5, 1), (6, 1)):
            inside, outside = CHANNELS[level - 1], CHANNELS[level]
            layers: list[nn.Module] = [_conv(inside, outside, 3, 2), _leaky()]
            for _ in range(depth - 1):
                layers += [_conv(outside, outside), _leaky()]
            blocks.append(nn.Sequential(*layers))
        self.levels = nn.ModuleList(blocks)

    def forward(self, image: Tensor) -> list[Tensor]:
        features = []
        for block in self.levels:
            image = block(image)
            features.append(image)
        return features


class Matching(nn.Module):
    """M: a first flow from the cost volume of the features.

    Shapes: two (B, C, H, W), coarser flow (B, 2, H / 2, W / 2) or None → (B, 2, H, W).
    """

    def __init__(self, level: int, coarsest: bool) -> None:
        super().__init__()
        self.level = level
        span = (2 * RADIUS + 1) ** 2
        self.upsample_flow = None if coarsest else nn.ConvTranspose2d(2, 2, 4, 2, 1, bias=False, groups=2)
        self.upsample_cost = (
            None if STRIDE[level] == 1 else nn.ConvTranspose2d(span, span, 4, 2, 1, bias=False, groups=span)
        )
        self.head = _head(span, KERNEL[level])

    def forward(self, first: Tensor, second: Tensor, coarser: Tensor | None) -> Tensor:
        stride = STRIDE[self.level]
        flow = None
        if coarser is not None and self.upsample_flow is not None:
            with full_precision(coarser):
                flow = self.upsample_flow(coarser)
            second = warp(second, flow * level_scale(self.level), step=stride)
        elif stride > 1:
            second = second[:, :, ::stride, ::stride]
        if stride > 1:
            first = first[:, :, ::stride, ::stride]
        tile = TILE[self.level]
        cost = functional.leaky_relu(correlation(first, second, tile=tile), 0.1)
        if self.upsample_cost is not None:
            cost = self.upsample_cost(cost)
        residual: Tensor = self.head(cost).float()
        return residual if flow is None else flow + residual


class Subpixel(nn.Module):
    """S: the flow refined from the features themselves, the second frame's brought back by the flow so far.

    Shapes: two (B, C, H, W), flow (B, 2, H, W) → (B, 2, H, W).
    """

    def __init__(self, level: int) -> None:
        super().__init__()
        self.level = level
        channels = 64 if level == 2 else CHANNELS[level]
        self.head = _head(2 * channels + 2, KERNEL[level])

    def forward(self, first: Tensor, second: Tensor, flow: Tensor) -> Tensor:
        second = warp(second, flow * level_scale(self.level))
        residual: Tensor = self.head(torch.cat((first, second, flow.to(first.dtype)), dim=1))
        return flow + residual.float()


class Regularization(nn.Module):
    """R: each flow vector becomes a weighted mean of its neighbours; features and brightness error weigh
    them.

    Shapes: features (B, C, H, W), two images (B, 3, H, W), flow (B, 2, H, W) → (B, 2, H, W).
    """

    window: Tensor

    def __init__(self, level: int) -> None:
        super().__init__()
        self.level = level
        kernel, channels = KERNEL[level], CHANNELS[level]
        taps = kernel * kernel
        self.reduce = nn.Identity() if level >= 5 else nn.Sequential(_conv(channels, 128, 1), _leaky())
        inside = 3 + (channels if level >= 5 else 128)
        widths = (inside, 128, 128, 64, 64, 32, 32)
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [_conv(before, after), _leaky()]
        self.body = nn.Sequential(*layers)
        self.distance = (
            _conv(32, taps, kernel)
            if level >= 5
            else nn.Sequential(_conv(32, taps, (kernel, 1)), _conv(taps, taps, (1, kernel)))
        )
        self.scale_x = nn.Conv2d(taps, 1, 1)
        self.scale_y = nn.Conv2d(taps, 1, 1)
        # one-hot kernels: a constant convolution copies each neighbour to its own channel
        self.register_buffer("window", torch.eye(taps).reshape(taps, 1, kernel, kernel), persistent=False)

    def forward(self, features: Tensor, first: Tensor, second: Tensor, flow: Tensor) -> Tensor:
        error = (first - warp(second, flow * level_scale(self.level))).square().sum(1, keepdim=True)
        brightness = torch.sqrt(error + 1e-12)
        centred = flow - flow.mean(dim=(2, 3), keepdim=True)
        inside = torch.cat((brightness, centred, self.reduce(features)), dim=1)
        distance = -self.distance(self.body(inside)).float().square()
        weight = torch.exp(distance - distance.amax(dim=1, keepdim=True))
        total = weight.sum(1, keepdim=True)
        pad = KERNEL[self.level] // 2
        with full_precision(flow):
            x = self.scale_x(weight * functional.conv2d(flow[:, 0:1], self.window, padding=pad)) / total
            y = self.scale_y(weight * functional.conv2d(flow[:, 1:2], self.window, padding=pad)) / total
        return torch.cat((x, y), dim=1)


class Level(nn.Module):
    """One level of the cascade: M, S, R."""

    def __init__(self, level: int, *, coarsest: bool) -> None:
        super().__init__()
        self.level = level
        self.reduce = nn.Sequential(_conv(32, 64, 1), _leaky()) if level == 2 else nn.Identity()
        self.matching = Matching(level, coarsest)
        self.subpixel = Subpixel(level)
        self.regularization = Regularization(level)

    def forward(
        self, features: tuple[Tensor, Tensor], images: tuple[Tensor, Tensor], coarser: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        first, second = self.reduce(features[0]), self.reduce(features[1])
        matched = self.matching(first, second, coarser)
        refined = self.subpixel(first, second, matched)
        return matched, refined, self.regularization(features[0], *images, refined)


class LiteFlowNet(nn.Module):
    """The whole network.

    Shapes: two (B, 3, N, M), N and M multiples of 32 → displacement (B, 2, N, M): axial in samples, lateral
    in lines, second(r + d(r)) ≈ first(r). The finest level computed is `finest`; the rest of the way is
    bilinear.
    """

    def __init__(self, *, channels: int = 3, finest: int = 2, normalise_features: bool = True) -> None:
        super().__init__()
        if finest not in KERNEL:
            raise ValueError(f"finest: got {finest}, expected one of {sorted(KERNEL)}")
        self.finest = finest
        self.normalise_features = normalise_features
        self.features = Features(channels)
        self.levels = nn.ModuleDict(
            {str(level): Level(level, coarsest=level == 6) for level in range(6, finest - 1, -1)}
        )
        _initialise(self)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        flow = self.cascade(first, second)[-1][2]
        size = (first.shape[2], first.shape[3])
        fine = functional.interpolate(flow.float(), size=size, mode="bilinear", align_corners=False)
        return fine.flip(1) * FLOW_SCALE

    def cascade(self, first: Tensor, second: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Flow after M, S and R of each level, coarsest first; (lateral, axial), in network units."""
        if first.shape != second.shape or first.shape[2] % MULTIPLE or first.shape[3] % MULTIPLE:
            raise ValueError(
                f"got {tuple(first.shape)} and {tuple(second.shape)}, "
                f"expected one shape (B, C, N, M) with N and M multiples of {MULTIPLE}"
            )
        features = [
            self._pair(a, b) for a, b in zip(self.features(first), self.features(second), strict=True)
        ]
        images = [(first, second)]  # of level 1, 2, …
        for _ in features[1:]:
            a, b = images[-1]
            images.append((functional.avg_pool2d(a, 2), functional.avg_pool2d(b, 2)))
        flow: Tensor | None = None
        outputs = []
        for name, level in self.levels.items():
            at = int(name) - 1
            output = level(features[at], images[at], flow)
            outputs.append(output)
            flow = output[2]
        return outputs

    def _pair(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Features of both frames, brought to common mean and deviation a channel if so asked."""
        if not self.normalise_features:
            return first, second
        both = torch.stack((first.float(), second.float()), dim=1)  # (B, 2, C, H, W)
        mean = both.mean(dim=(1, 3, 4))[:, :, None, None]
        deviation = torch.sqrt(both.square().mean(dim=(1, 3, 4))[:, :, None, None] - mean.square() + 1e-6)
        return (first - mean) / deviation, (second - mean) / deviation


def _initialise(network: LiteFlowNet) -> None:
    """He's initialisation for the leaky layers; R starts near a plain mean, upsampling as bilinear."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, a=0.1)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.ConvTranspose2d):
            ramp = torch.tensor([0.25, 0.75, 0.75, 0.25])
            with torch.no_grad():
                module.weight.copy_((ramp[:, None] * ramp[None, :]).expand_as(module.weight))
    for module in network.modules():
        if isinstance(module, Matching | Subpixel):
            last = module.head[-1]
            nn.init.normal_(last.weight, std=1e-3)  # type: ignore[arg-type]
        elif isinstance(module, Regularization):
            for scale in (module.scale_x, module.scale_y):
                nn.init.ones_(scale.weight)
