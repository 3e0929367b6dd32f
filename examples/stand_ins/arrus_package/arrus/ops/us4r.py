"""The pulse and the scheme of the stand-in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Pulse:
    center_frequency: float
    n_periods: float
    inverse: bool


@dataclass(frozen=True, kw_only=True)
class Scheme:
    tx_rx_sequence: Any
    processing: Any
