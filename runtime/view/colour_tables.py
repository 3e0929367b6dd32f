"""The colour maps of the page, as tables of 256 colours.

Knows names and colours. All are ordered by lightness, and told apart by people who are blind to red or green.
Invariant: the first colour is the darkest, and stands for hard.
"""

from __future__ import annotations

import numpy as np

from ..offline.colormap import GREY, VIRIDIS, colours

CIVIDIS = "00224e 123570 3b496c 575d6d 707173 8a8678 a59c74 c3b369 e1cc55 fee838"
"""Ten equidistant anchors of the map by J. Nuñez, C. Anderton and R. Renslow, PLoS ONE 13 (2018) e0199239."""
MAPS = {"viridis": VIRIDIS, "cividis": CIVIDIS, "grey": GREY}


def colour_tables() -> dict[str, list[list[int]]]:
    """By name, 256 times red, green, blue."""
    unit = np.linspace(0, 1, 256)
    return {name: colours(unit, anchors).tolist() for name, anchors in MAPS.items()}
