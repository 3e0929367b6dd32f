"""Channels of the layers of LiteFlowNet: the published widths, and the narrower ones of the small network.

T.-W. Hui, X. Tang, C. C. Loy, "LiteFlowNet", CVPR 2018, for the widths of `full`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast, get_args

NetworkSize = Literal["full", "small"]
"""`full` is LiteFlowNet as published; `small` has half of the channels in each layer, a quarter of the arithmetic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Widths:
    """Channels of each layer."""

    features: Mapping[int, int]
    """Of each pyramid level, 1 to 6."""
    matched: int
    """Of the features of level 2 after their reduction for M and S."""
    head: tuple[int, int, int]
    """Of the hidden layers of M and S."""
    reduced: int
    """Of the features of levels 2 to 4 after their reduction for R."""
    body: tuple[int, ...]
    """Of the six layers of R."""

    def halved(self) -> Widths:
        """Half of the channels in each layer."""
        return Widths(
            features={level: width // 2 for level, width in self.features.items()},
            matched=self.matched // 2,
            head=cast(tuple[int, int, int], tuple(width // 2 for width in self.head)),
            reduced=self.reduced // 2,
            body=tuple(width // 2 for width in self.body),
        )


FULL = Widths(
    features={1: 32, 2: 32, 3: 64, 4: 96, 5: 128, 6: 192},
    matched=64,
    head=(128, 64, 32),
    reduced=128,
    body=(128, 128, 64, 64, 32, 32),
)
WIDTHS: Mapping[NetworkSize, Widths] = {"full": FULL, "small": FULL.halved()}
SIZES: tuple[NetworkSize, ...] = get_args(NetworkSize)
