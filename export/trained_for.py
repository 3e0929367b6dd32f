"""The ranges of pulses and strains of the training data, read from the recipe in a weights file.

Knows the lines of JSON that `usert.train.provenance` writes; nothing of training. Invariant: nothing is made up:
weights of textured scenes, of a folder of images or of unknown origin have seen no RF.
"""

from __future__ import annotations

import json
from typing import Any

from usert.bundle.manifest import TrainedFor
from usert.errors import BundleError

SAMPLINGS = (0.05, 0.4)
"""Range of centre over sampling frequencies that the front end `baseband` brings to one grid."""


def trained_for(recipe: str) -> TrainedFor | None:
    """Ranges of the training pairs, by the recipe in a weights file; None for weights without RF, or unknown.

    For fine-tuned weights they are those of the first weights.
    """
    try:
        told = json.loads(recipe)
        while isinstance(told, dict) and "start_recipe" in told:
            told = told["start_recipe"]
        return _ranges(told["recipe"])
    except (BundleError, KeyError, TypeError, ValueError):
        return None


def _ranges(recipe: dict[str, Any]) -> TrainedFor | None:
    if recipe["data"] != "scanner":
        return None
    ranges = recipe["ranges"]
    low, high = ranges["cycles_per_sample"]
    if recipe.get("front_end") == "baseband":
        low, high = SAMPLINGS
    least, most = ranges["strain"]
    return TrainedFor(
        centre_cycles_per_sample=(float(low), float(high)),
        strain_percent=(round(100 * float(least), 6), round(100 * float(most), 6)),
    )
