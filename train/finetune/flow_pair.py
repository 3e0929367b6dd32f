"""The forward pass of a training step: both displacements of a pair and their loss.

The paper's Figure 1: the network gives the forward displacement with gradients and, its weights held fixed, the
backward one without.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from usert.network.channels import Channels
from usert.network.liteflownet import FLOW_SCALE, LiteFlowNet, full_precision
from usert.network.motion import BasebandMotion, at_samples

from .loss_config import LossConfig
from .unsupervised import Loss, unsupervised_loss


class FlowPair(nn.Module):
    """The loss of a network's displacements between two frames.

    The loss is the paper's on RF and its analytic signal, whatever the front end; with `baseband` the displacement is
    brought to the scanner's sampling first.

    Shapes: two (B, N, M), N and M multiples of 32, and with the front end `baseband` depths (K,) → `Loss`.
    """

    def __init__(self, network: LiteFlowNet, config: LossConfig) -> None:
        super().__init__()
        self.channels = Channels()
        self.motion = BasebandMotion(network, "off") if network.front_end == "baseband" else None
        self.network = network
        self.config = config

    def forward(
        self, first: Tensor, second: Tensor, depths: Tensor | None = None
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Total, share of inliers and terms of `Loss`, as plain values that DDP can traverse.

        Errors: `ValueError` where `baseband` gets no `depths`.
        """
        with torch.no_grad(), full_precision(first):
            a, b = self.channels(first, second)

        def moved(one: Tensor, other: Tensor, seen: tuple[Tensor, Tensor]) -> Tensor:
            if self.motion is None:
                return displacement(self.network, *seen)
            if depths is None:
                raise ValueError("depths: got none, expected those of the grid of the front end baseband")
            on_grid = self.motion.unrefined(one, other, depths)
            return at_samples(on_grid.displacement, depths, one.shape[1])

        with torch.no_grad():
            backward = moved(second, first, (b, a))
        forward = moved(first, second, (a, b))
        with full_precision(forward):
            loss: Loss = unsupervised_loss(a, b, forward, backward, self.config)
        return loss.total, loss.inliers, loss.terms


def displacement(network: LiteFlowNet, first: Tensor, second: Tensor) -> Tensor:
    """The network's last output on its own grid (B, 2, h, w): axial in samples, lateral in lines."""
    return network.cascade(first, second)[-1][2].float().flip(1) * FLOW_SCALE
