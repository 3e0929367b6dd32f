"""What measuring costs the live page: browsers with eight regions each, on every image.

One event loop measures for all browsers, so what counts is the processor's time an image, and how many images a second
that allows. Kinds: eight small regions of a lesion, and the worst that a browser may send: eight polygons of 64 points
over the whole image, all changed before each image. Asserts first that the ratio is the known one. The last line is
JSON.

    python benchmarks/live_regions.py --viewers 32 --images 40
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import harness  # noqa: F401
import numpy as np

from usert.runtime.view.measure import MOST_REGIONS, Measured, Plan, Ruler
from usert.runtime.view.planes import quality_plane, strain_plane
from usert.runtime.view.region import MOST_POINTS
from usert.runtime.view.viewer import SHARE

SHAPE = (512, 256)
PITCH_MM = (0.05, 0.15)


def pictures(radius_mm: float | None, count: int) -> list[Measured]:
    """Strain of .4 % on the left, 1 % on the right, with noise."""
    random, made = np.random.default_rng(0), []
    for _ in range(count):
        strain = np.where(np.arange(SHAPE[1]) < SHAPE[1] // 2, 0.004, 0.01) * np.ones((SHAPE[0], 1))
        strain += random.normal(0, 2e-4, SHAPE)
        quality = random.uniform(0.69, 1, SHAPE)
        fields: dict[str, Any] = {
            "state": "live",
            "session": 1,
            "readable_quality": 0.7,
            "common_sample": 1.0,
            "pitch_mm": PITCH_MM,
        }
        if radius_mm is not None:
            first, step = (1.0, -0.6), (PITCH_MM[0], 1.2 / (SHAPE[1] - 1))
            fields["fan"] = {"radius_mm": radius_mm, "first": first, "step": step}
        planes = {"strain": strain_plane(strain), "quality": quality_plane(quality)}
        made.append(Measured.of(fields, planes))
    return made


def usual(centre: tuple[float, float], width: float, _: int) -> list[dict[str, Any]]:
    """A target, a reference, and six more, of all kinds."""
    shapes: list[dict[str, Any]] = []
    for at in range(MOST_REGIONS):
        z, x = centre[0] + (at // 2 - 1.5) * 3.5, centre[1] + (at % 2 - 0.5) * 0.4 * width
        if at % 3 == 2:
            shapes.append({"kind": "polygon", "points": ring((z, x), 1.5, 24, 0.0)})
        else:
            spans = {"depth": [z - 1.5, z + 1.5], "lateral": [x - 1.5, x + 1.5]}
            shapes.append({"kind": ("rectangle", "ellipse")[at % 3], **spans})
    return shapes


def worst(centre: tuple[float, float], width: float, turn: int) -> list[dict[str, Any]]:
    """Eight that nearly fill the image, none of which was there before."""
    size = 0.45 * min(width, SHAPE[0] * PITCH_MM[0])
    return [
        {"kind": "polygon", "points": ring(centre, size, MOST_POINTS, 1e-3 * (turn * MOST_REGIONS + at))}
        for at in range(MOST_REGIONS)
    ]


def ring(centre: tuple[float, float], radius: float, points: int, turn: float) -> list[list[float]]:
    angles = turn + np.linspace(0, 2 * math.pi, points, endpoint=False)
    return [[centre[0] + radius * math.sin(a), centre[1] + radius * math.cos(a)] for a in angles]


def cost_ms(
    images: Sequence[Measured],
    viewers: int,
    shapes: Callable[[int], list[dict[str, Any]]],
    *,
    anew: bool,
    histogram: int | None,
) -> list[float]:
    """Processor's time of measuring for all viewers, for each image."""
    plan = {"version": 1, "shapes": shapes(0), "reference": 1, "histogram": histogram}
    rulers, costs = [Ruler(Plan.parse(plan)) for _ in range(viewers)], []
    for turn, image in enumerate(images):
        plan = {**plan, "shapes": shapes(turn)}
        begin = time.process_time()
        for at, ruler in enumerate(rulers):
            if anew:
                rulers[at] = ruler = Ruler(Plan.parse(plan), ruler)
            reading = ruler.read(image)
            assert reading is not None
            json.dumps(reading.fields)
        costs.append(1e3 * (time.process_time() - begin))
    if not anew:
        ratio = reading.ratios[0]
        assert ratio is not None
        assert abs((ratio.ratio or 0) - 0.4) < 0.01, ratio
    return costs[1:]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--viewers", type=int, default=32)
    parser.add_argument("--images", type=int, default=40)
    options = parser.parse_args()
    rows = []
    for array, radius_mm, centre, width in (
        ("linear", None, (12.8, 19.2), SHAPE[1] * PITCH_MM[1]),
        ("curved", 20.0, (14.0, 0.0), 20.0),
    ):
        images = pictures(radius_mm, options.images)
        for kind, shapes, histogram in (
            ("usual", usual, None),
            ("usual, histogram", usual, 0),
            ("worst", worst, 0),
        ):
            costs = sorted(
                cost_ms(
                    images,
                    options.viewers,
                    partial(shapes, centre, width),
                    anew=kind == "worst",
                    histogram=histogram,
                )
            )
            p50 = costs[len(costs) // 2]
            row = {"array": array, "regions": kind, "p50_ms": round(p50, 2), "max_ms": round(costs[-1], 2)}
            row["of_one_viewer_ms"] = round(p50 / options.viewers, 3)
            row["share_at_20_hz"] = round(20 * p50 / 1e3, 3)
            row["left_out"] = round(max(0.0, 1 - SHARE / (20 * p50 / 1e3)), 2)
            rows.append(row)
            print("  ".join(f"{name} {value}" for name, value in row.items()), flush=True)
    print(json.dumps({"benchmark": "live_regions", **vars(options), "share": SHARE, "rows": rows}))


if __name__ == "__main__":
    main()
