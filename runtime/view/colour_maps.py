"""The colour maps that the page offers, and whether people with a colour vision deficiency can read them.

Each map begins with the colour of hard tissue. What a person with protanopia, deuteranopia or tritanopia sees is
computed by the matrices of Machado, Oliveira and Fernandes, "A physiologically-based model for simulation of color
vision deficiency", IEEE Trans. Vis. Comput. Graph. 15 (2009) 1291-1298, which are applied to linear RGB.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..offline.colormap import CIVIDIS, GREY, VIRIDIS, colours

MAPS = {
    "viridis": VIRIDIS,
    "cividis": CIVIDIS,
    "grey": GREY,
    "blue-green-red": "0018c8 00b4dc 1ec83c f0dc1e dc1414",
    "blue-white-red": "0a2fb4 8cb4f0 f5f5f5 f0a08c b41414",
}
"""Anchors of each map by its name, hard first. The last two are as scanners show strain, and not safe."""

_DEFICIENCIES = np.array(
    [
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    ]
)
"""Protanopia, deuteranopia and tritanopia (severity 1) in linear RGB."""
_PARTS = 16
_LEAST_STEP = 1.5
"""Change of lightness L* along a sixteenth of a map: a difference of about 1 is just seen."""


def table(name: str) -> NDArray[np.uint8]:
    """The 256 colours (256, 3) of a map, hard first."""
    return colours(np.linspace(0, 1, 256), MAPS[name])


def is_safe(rgb: NDArray[np.uint8]) -> bool:
    """Whether the order of the colours (n, 3) can be told without hue, with and without a deficiency.

    It can where lightness goes one way all along the map, by `_LEAST_STEP` in each part of it: so no two parts look
    alike, and none looks harder than one that is softer.
    """
    parts = rgb[np.linspace(0, len(rgb) - 1, _PARTS + 1).round().astype(int)]
    seen = np.stack([_linear(parts), *_simulated(parts)])
    steps = np.diff(_lightness(seen), axis=-1)
    return bool((steps >= _LEAST_STEP).all() or (steps <= -_LEAST_STEP).all())


def _simulated(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Linear RGB (3, n, 3) as each deficiency sees it."""
    seen: NDArray[np.float64] = np.einsum("dij,nj->dni", _DEFICIENCIES, _linear(rgb))
    return np.clip(seen, 0, 1)


def _linear(rgb: NDArray[Any]) -> NDArray[np.float64]:
    """Linear RGB of sRGB bytes (IEC 61966-2-1)."""
    unit = rgb / 255
    linear: NDArray[np.float64] = np.where(unit <= 0.04045, unit / 12.92, ((unit + 0.055) / 1.055) ** 2.4)
    return linear


def _lightness(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """CIE L* of linear RGB."""
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    lightness: NDArray[np.float64] = np.where(
        luminance > 216 / 24389, 116 * np.cbrt(luminance) - 16, luminance * 24389 / 27
    )
    return lightness
