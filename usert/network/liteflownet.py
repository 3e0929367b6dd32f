"""LiteFlowNet, written from its description.

T.-W. Hui, X. Tang, C. C. Loy, "LiteFlowNet: A Lightweight Convolutional Neural Network for Optical Flow
Estimation", CVPR 2018, doi:10.1109/CVPR.2018.00936.

Two frames go through one pyramid of features (NetC); from the coarsest level to the finest, the flow is found by
descriptor matching (M), refined below a pixel (S) and smoothed by a local convolution whose kernel follows the
features (R). The first level keeps full resolution, so level k is at 1 / 2^(k-1) and the finest flow, level 2, at
one half.

Knows nothing of RF samples, units of strain or files. Invariant: inside, flow is (lateral, axial) in units
of 20 full-resolution pixels, as in the published weights; `forward` gives (axial, lateral) in pixels of the
input, our convention.

Departures: the features of both frames may be brought to common mean and deviation before matching
(`normalise_features`, R. Jonschkowski et al., "What Matters in Unsupervised Optical Flow", ECCV 2020), off
for published weights.
"""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from ..front_end import FrontEnd, as_front_end
from .checkpoint import NONE, Checkpointing, Plan, plan_named
from .features import Features, normalised, normalised_frugally
from .grids import block_mean, interpolated
from .units import FLOW_SCALE, KERNEL, TILE, Level, Matching, Regularization, Subpixel, full_precision
from .widths import WIDTHS, NetworkSize

__all__ = ["FLOW_SCALE", "KERNEL", "MULTIPLE", "TILE", "Level", "LiteFlowNet", "full_precision"]

MULTIPLE = 32
"""Frame sides must be multiples of this."""


class LiteFlowNet(nn.Module):
    """The whole network, down to level `finest`; the rest of the way is bilinear.

    Shapes: two (B, 3, N, M), N and M multiples of 32 → displacement (B, 2, N, M): axial in samples, lateral in lines,
    second(r + d(r)) ≈ first(r).

    `checkpointing` may be changed at any time and is no part of the weights: see `usert.network.checkpoint`. It counts
    in training only; in eval mode the graph is the plain one. Errors: `ValueError` for an impossible level.
    """

    def __init__(
        self,
        *,
        channels: int = 3,
        finest: int = 2,
        normalise_features: bool = True,
        checkpointing: Checkpointing = "none",
        front_end: FrontEnd = "rf",
        size: NetworkSize = "full",
    ) -> None:
        """`front_end` says what the channels are made by; the network itself computes the same with any.

        `size` names the widths of the layers (`usert.network.widths`).
        """
        super().__init__()
        self.size: NetworkSize = size
        self.front_end: FrontEnd = as_front_end(front_end, "front_end")
        if finest not in KERNEL:
            raise ValueError(f"finest: got {finest}, expected one of {sorted(KERNEL)}")
        self.finest = finest
        self.normalise_features = normalise_features
        plan_named(checkpointing)  # refuses what it does not know
        self.checkpointing: Checkpointing = checkpointing
        self.features = Features(channels, WIDTHS[size])
        self.levels = nn.ModuleDict(
            {
                str(level): Level(level, coarsest=level == 6, widths=WIDTHS[size])
                for level in range(6, finest - 1, -1)
            }
        )
        _initialise(self)

    def down_to(self, finest: int) -> LiteFlowNet:
        """A new network of the same kind down to level `finest`, with weights of its own drawing."""
        return LiteFlowNet(
            finest=finest,
            normalise_features=self.normalise_features,
            front_end=self.front_end,
            size=self.size,
        )

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        flow = self.cascade(first, second)[-1][2]
        displacement = flow.float().flip(1) * FLOW_SCALE
        for dim, sides in ((3, (1, 1, 0, 0)), (2, (0, 0, 1, 1))):
            longer = functional.pad(displacement, sides, mode="replicate")
            displacement = interpolated(longer, 2 ** (self.finest - 1), dim)
        return displacement

    def cascade(self, first: Tensor, second: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Flow (B, 2, h, w) after M, S and R of each level, coarsest first: (lateral, axial), in units of 20 pixels.

        Errors: `ValueError` for frames of another shape.
        """
        if first.shape != second.shape or first.shape[2] % MULTIPLE or first.shape[3] % MULTIPLE:
            raise ValueError(
                f"got {tuple(first.shape)} and {tuple(second.shape)}, "
                f"expected one shape (B, C, N, M) with N and M multiples of {MULTIPLE}"
            )
        plan = plan_named(self.checkpointing) if self.training else NONE
        features = plan.cheap_unit(self._pyramid, first, second, plan)
        images = [(first, second)]  # of level 1, 2, …
        for _ in range(5):
            a, b = images[-1]
            images.append((block_mean(a, 2, 2), block_mean(b, 2, 2)))
        flow: Tensor | None = None
        outputs = []
        for name, level in self.levels.items():
            at = int(name)
            output = level(features[at - self.finest], images[at - 1], flow, plan)
            outputs.append(output)
            flow = output[2]
        return outputs

    def _pyramid(self, first: Tensor, second: Tensor, plan: Plan) -> list[tuple[Tensor, Tensor]]:
        """Features of both frames from level `finest` on, in the precision of the layers."""
        kind = next(self.features.parameters()).dtype
        frames = first.to(kind), second.to(kind)
        if plan.frugal:
            pairs = list(zip(*(self.features(one, plan) for one in frames), strict=True))
        else:  # each weight is used once, so that a runtime can make one step of a layer and its activation
            pairs = [tuple(both.chunk(2)) for both in self.features(torch.cat(frames), plan)]
        wanted = pairs[self.finest - 2 :]
        if not self.normalise_features:
            return wanted
        normalise = normalised_frugally if plan.frugal else normalised
        found = [plan.part(normalise, a, b) for a, b in wanted]
        return found if kind == torch.float32 else [(a.to(kind), b.to(kind)) for a, b in found]


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
