"""Colour maps of perceptual order, also for colour-blind people and in print."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

VIRIDIS = "440154 482878 3e4a89 31688e 26828e 1f9e89 35b779 6dcd59 b4de2c fde725"
"""Ten equidistant anchors of the map by S. van der Walt and N. Smith (CC0); between them, straight lines."""
CIVIDIS = "00224e 123570 3b496c 575d6d 707173 8a8678 a59c74 c3b369 e1cc55 fee838"
"""Ten equidistant anchors of the map by J. Nuñez, C. Anderton and R. Renslow, PLoS ONE 13 (2018) e0199239."""
GREY = "000000 ffffff"


def colours(unit: NDArray[Any], anchors: str) -> NDArray[np.uint8]:
    """Numbers (…), clipped to 0…1, as RGB bytes (…, 3); NaN gets the first colour."""
    table = np.array([list(bytes.fromhex(anchor)) for anchor in anchors.split()], dtype=np.float64)
    position = np.nan_to_num(np.clip(unit, 0, 1)) * (len(table) - 1)
    channels = [np.interp(position, np.arange(len(table)), table[:, channel]) for channel in range(3)]
    rgb: NDArray[np.uint8] = np.rint(np.stack(channels, axis=-1)).astype(np.uint8)
    return rgb
