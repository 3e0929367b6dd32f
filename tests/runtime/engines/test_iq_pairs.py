"""Recorded pairs give the same strain as RF and as IQ."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from public_rf import public_frames

import usert
from usert.frame import RFFrame, Scan
from usert.iq import as_iq
from usert.quality import READABLE_QUALITY

PAIRS = [
    ("248_layer0", "253_layer0"),
    ("359_layer0", "392_layer0"),
    ("300/igtlTestImage1", "300/igtlTestImage2"),
    ("300/igtlTestImage2", "300/igtlTestImage3"),
    ("302/igtlTestImage1", "302/igtlTestImage2"),
]
LIMIT = 0.02
"""Percent of strain. All pairs: `benchmarks/iq_pairs.py`."""


@pytest.mark.parametrize(("first", "second"), PAIRS)
@pytest.mark.parametrize("decimation", [2, 4])
def test_strain_of_iq_is_that_of_rf(rf_folder: Path, first: str, second: str, decimation: int) -> None:
    frames = {}
    for name, samples, f0_hz in public_frames(rf_folder):
        for part in (first, second):
            if name.startswith(part):
                scan = Scan(fs_hz=40e6, f0_hz=f0_hz, sound_speed_m_s=1540, line_pitch_mm=0.2)
                frames[part] = RFFrame(samples=samples[:2140].astype(np.float32), scan=scan)
    pair = [frames[first], frames[second]]
    rf = usert.estimate(pair[0].samples, pair[1].samples, pair[0].scan, precision="float32")
    turned = [as_iq(frame, frame.scan.f0_hz, decimation) for frame in pair]
    iq = usert.estimate(turned[0].samples, turned[1].samples, turned[0].scan, precision="float32")
    readable = (iq.quality >= READABLE_QUALITY) & (rf.quality[::decimation] >= READABLE_QUALITY)
    assert readable.mean() > 0.5
    apart = 100 * (iq.strain - rf.strain[::decimation])[readable]
    assert np.sqrt(np.square(apart).mean()) <= LIMIT
