"""The colour maps of the page, as tables of 256 colours.

Invariant: lightness rises from the first colour, which stands for hard, and colour-blind people can read each map.
"""

from __future__ import annotations

import numpy as np

from ..offline.colormap import GREY, VIRIDIS, colours

CIVIDIS = "00224e 123570 3b496c 575d6d 707173 8a8678 a59c74 c3b369 e1cc55 fee838"
"""Ten equidistant anchors of the map by J. Nuñez, C. Anderton and R. Renslow, PLoS ONE 13 (2018) e0199239."""
MAPS = {"viridis": VIRIDIS, "cividis": CIVIDIS, "grey": GREY}


def colour_tables() -> dict[str, list[list[int]]]:
    """The tables by name: 256 triples of red, green and blue."""
    unit = np.linspace(0, 1, 256)
    return {name: colours(unit, anchors).tolist() for name, anchors in MAPS.items()}
