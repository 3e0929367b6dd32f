"""Strain of recorded pairs as RF and as IQ: each turned down and decimated as scanners do it, by the default bundle.

    python benchmarks/iq_pairs.py --rf ../shared/rf [--tables alpinion,fieldii,arm] [--decimations 2,4] [--shares 0.9,1]

One line a pair: rms and median difference of the two strains where both are readable, in percent of strain, the largest
of the decimations and demodulation frequencies (`shares` of f0) asked for. Last a line of JSON. Fails where a pair is
further apart than `LIMIT`. Knows the pairs by `rf_pairs`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from rf_pairs import Pair, pairs_of

import usert
from usert.frame import RFFrame
from usert.iq import as_iq
from usert.quality import READABLE_QUALITY
from usert.runtime.imaging.estimate import Estimate

LIMIT = 0.02
"""Percent of strain."""
NAMES = "rms", "median", "readable"


def differences(one: Estimate, other: Estimate) -> tuple[float, float, float]:
    """As `NAMES`: of two strains on the same rows, in percent; and the share of pixels that is readable in both."""
    readable = (other.quality >= READABLE_QUALITY) & (one.quality >= READABLE_QUALITY)
    apart = 100 * np.abs(other.strain - one.strain)[readable]
    return float(np.sqrt(np.square(apart).mean())), float(np.median(apart)), float(readable.mean())


def strain_of(pair: Pair, decimation: int, demodulation_hz: float) -> Estimate:
    """Of the pair as IQ."""
    frames = [
        as_iq(RFFrame(samples=samples, scan=pair.scan), demodulation_hz, decimation)
        for samples in (pair.pre, pair.post)
    ]
    return usert.estimate(frames[0].samples, frames[1].samples, frames[0].scan, precision="float32")


def at_rows_of_iq(estimate: Estimate, decimation: int) -> Estimate:
    """Of RF, at the rows that its IQ has; displacement in samples of the RF."""
    return Estimate(
        displacement=estimate.displacement[:, ::decimation],
        strain=estimate.strain[::decimation],
        quality=estimate.quality[::decimation],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rf", type=Path, required=True, help="folder of RF frames")
    parser.add_argument("--tables", default="alpinion,alpinion-large,fieldii,arm,still")
    parser.add_argument("--decimations", default="4", help="RF samples of one of IQ")
    parser.add_argument("--shares", default="1", help="demodulation frequencies over f0")
    options = parser.parse_args()
    decimations = [int(text) for text in options.decimations.split(",")]
    shares = [float(text) for text in options.shares.split(",")]
    largest: dict[str, tuple[float, ...]] = {}
    print(f"{'pair':28s} {', '.join(NAMES)}")
    for table in options.tables.split(","):
        for pair in pairs_of(table, options.rf, 1):
            rf = usert.estimate(pair.pre, pair.post, pair.scan, precision="float32")
            found = max(
                differences(at_rows_of_iq(rf, d), strain_of(pair, d, share * pair.scan.f0_hz))
                for d in decimations
                for share in shares
            )
            largest[f"{table} {pair.name}"] = found
            print(f"{table + ' ' + pair.name:28s} {'  '.join(f'{x:.4f}' for x in found)}", flush=True)
    print(
        json.dumps(
            {name: [round(x, 5) for x in found] for name, found in largest.items()}, ensure_ascii=False
        )
    )
    if far := [name for name, found in largest.items() if found[0] > LIMIT]:
        sys.exit(f"further apart than {LIMIT} %: {', '.join(far)}")


if __name__ == "__main__":
    main()
