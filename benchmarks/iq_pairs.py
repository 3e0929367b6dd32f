"""Strain of recorded pairs as RF and as IQ: each turned down and decimated as scanners do it, by the default bundle.

    python benchmarks/iq_pairs.py --rf ../shared/rf [--tables alpinion,fieldii,arm] [--decimations 4] [--shares 1]

One line a pair: rms and median difference of the two strains where both are readable, in percent of strain, the largest
of the decimations and demodulation frequencies (`shares` of f0) asked for; and how far the strain of the RF is from
that of the same RF without its first rows and with 1 % of noise. Last a line of JSON. Fails where a pair is further
apart than `LIMIT`, and than that. Knows the pairs by `rf_pairs`.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
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
TIMES = 2.0
"""How far IQ may be from RF, over how far the RF is from itself, where that is more."""
CUT_ROWS, NOISE = 7, 0.01
"""What is done to RF to see how sure its own strain is."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Of two strains where both are readable, in percent."""

    rms: float
    median: float
    readable: float
    """Share of the pixels, 0 to 1."""


def difference(one: Estimate, rows: slice, other: Estimate) -> Difference:
    """Of the strain of `other` and that of `one` on those of its rows."""
    readable = (other.quality >= READABLE_QUALITY) & (one.quality[rows] >= READABLE_QUALITY)
    apart = 100 * np.abs(other.strain - one.strain[rows])[readable]
    if not apart.size:
        return Difference(0.0, 0.0, 0.0)
    rms = float(np.sqrt(np.square(apart).mean()))
    return Difference(rms, float(np.median(apart)), float(readable.mean()))


def strain_of(pair: Pair, decimation: int, demodulation_hz: float) -> Estimate:
    """Of the pair as IQ."""
    frames = [
        as_iq(RFFrame(samples=samples, scan=pair.scan), demodulation_hz, decimation)
        for samples in (pair.pre, pair.post)
    ]
    return usert.estimate(frames[0].samples, frames[1].samples, frames[0].scan, precision="float32")


def measure(pair: Pair, decimations: list[int], shares: list[float]) -> tuple[Difference, Difference]:
    """The largest of IQ, and that of the RF from itself."""
    rf = usert.estimate(pair.pre, pair.post, pair.scan, precision="float32")
    rng = np.random.default_rng(0)
    worse = [
        (samples + NOISE * pair.pre.std() * rng.standard_normal(samples.shape)).astype(np.float32)[CUT_ROWS:]
        for samples in (pair.pre, pair.post)
    ]
    itself = usert.estimate(worse[0], worse[1], pair.scan, precision="float32")
    found = [
        difference(rf, slice(None, None, decimation), strain_of(pair, decimation, share * pair.scan.f0_hz))
        for decimation in decimations
        for share in shares
    ]
    return max(found, key=lambda one: one.rms), difference(rf, slice(CUT_ROWS, None), itself)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rf", type=Path, required=True, help="folder of RF frames")
    parser.add_argument("--tables", default="alpinion,alpinion-large,fieldii,arm,still")
    parser.add_argument("--decimations", default="4", help="RF samples of one of IQ")
    parser.add_argument("--shares", default="1", help="demodulation frequencies over f0")
    options = parser.parse_args()
    decimations = [int(text) for text in options.decimations.split(",")]
    shares = [float(text) for text in options.shares.split(",")]
    apart: dict[str, list[float]] = {}
    far = []
    for table in options.tables.split(","):
        for pair in pairs_of(table, options.rf, 1):
            iq, itself = measure(pair, decimations, shares)
            name = f"{table} {pair.name}"
            apart[name] = [round(value, 5) for value in (iq.rms, iq.median, itself.rms)]
            far += [name] * (iq.rms > max(LIMIT, TIMES * itself.rms))
            print(
                f"{name:28s} IQ from RF {iq.rms:.4f} %, median {iq.median:.4f} %, RF from itself {itself.rms:.4f} %, "
                f"readable {100 * iq.readable:.0f} %",
                flush=True,
            )
    print(json.dumps({"limit": LIMIT, "apart": apart}, ensure_ascii=False))
    if far:
        sys.exit(f"further apart than {LIMIT} % and than RF from itself: {', '.join(far)}")


if __name__ == "__main__":
    main()
