"""The sequence of the stand-in, with the fields and defaults of the maker's that the example or a step reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class LinSequence:
    pulse: Any
    pri: float
    rx_sample_range: tuple[int, int]
    tx_focus: float
    speed_of_sound: float | None = None
    downsampling_factor: int = 1
    tx_aperture_center_element: Any
    tx_aperture_size: int
    rx_aperture_center_element: Any
    rx_aperture_size: int
    tgc_start: float
    tgc_slope: float
