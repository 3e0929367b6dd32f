"""Fine-tuning of a few steps."""

from __future__ import annotations

import torch

from usert.network.liteflownet import LiteFlowNet
from usert.train.finetune.loss_config import LossConfig
from usert.train.finetune.recipe import FineTuneRecipe
from usert.train.finetune.selection import SelectionConfig

CROP = (64, 64)
RECIPE = FineTuneRecipe(
    epochs=2,
    learning_rate=1e-4,
    accumulate=2,
    precision="fp32",
    checkpointing="none",
    loss=LossConfig(least_inliers=0.0),
    selection=SelectionConfig(crop=CROP),
)


def network() -> LiteFlowNet:
    torch.manual_seed(5)
    return LiteFlowNet(finest=5)
