"""Where the lesion of the images of `show` lies, and what is true of regions on it."""

from __future__ import annotations

import math

import numpy as np
from show import FRAMES, LAG, Act

from usert.beam_space import BeamSpace
from usert.runtime.imaging.strain_ratio import RatioHistory, RatioRule, read_region
from usert.runtime.view.region import Region
from usert.strain import axial_strain

Line = list[tuple[float, float]]
"""Points (depth, lateral) in mm."""


def circle(centre: tuple[float, float], radius: float, points: int = 60, turns: float = 1.0) -> Line:
    """A line around a place, all of `turns`."""
    angle = np.linspace(0, 2 * math.pi * turns, points)
    return [(centre[0] + radius * math.sin(a), centre[1] + radius * math.cos(a)) for a in angle]


def lesion(act: Act) -> tuple[tuple[float, float], float]:
    """Centre and radius in mm."""
    found = act.scanner.lesion
    return (found.centre_z_mm, found.centre_x_mm), found.radius_mm


def beside(act: Act) -> tuple[float, float, float, float]:
    """Depths and lateral places, in mm, of a region beside the lesion."""
    return act.regions_mm()[1]


def true_ratio(act: Act, target: Region, reference: Region) -> float:
    """By the true motion, over all images."""
    history = RatioHistory(RatioRule())
    for first in FRAMES:
        strain = axial_strain(act.scanner.truth(first, first + LAG)[0], 3)
        readings = []
        for region in (target, reference):
            inside = region.pixels(BeamSpace.of(act.scanner.scan, strain.shape))
            assert inside is not None
            rows, lines, mask = inside
            readings.append(
                read_region(strain[rows, lines], np.ones_like(strain)[rows, lines], history.rule, mask)
            )
        reading = history.add(*readings)
    assert reading.ratio is not None
    return reading.ratio
