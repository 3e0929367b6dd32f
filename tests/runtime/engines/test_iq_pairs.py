"""Pairs of IQ: the same strain as RF for recorded ones, and each frame turned up once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from public_rf import public_frames

import usert
from usert.frame import RFFrame, Scan
from usert.iq import as_iq
from usert.quality import READABLE_QUALITY
from usert.runtime.engines import iq_pair
from usert.runtime.engines.classical import ClassicalEngine

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


IQ = Scan(fs_hz=10e6, f0_hz=6.5e6, sound_speed_m_s=1540, line_pitch_mm=0.2, demodulation_hz=6.5e6)


@pytest.fixture
def turned_up(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The identities of the frames that are turned up from now on."""
    calls: list[int] = []

    def counted(samples: np.ndarray, *rest: object) -> np.ndarray:
        calls.append(id(samples))
        return convert(samples, *rest)

    convert = iq_pair.turned_up
    monkeypatch.setattr(iq_pair, "turned_up", counted)
    return calls


def frame(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-1000, 1000, (64, 16, 2)).astype(np.int16)


def run(engine: ClassicalEngine, *pair: np.ndarray, scan: Scan = IQ) -> np.ndarray:
    return engine.run(*pair, scan).displacement


def engine() -> ClassicalEngine:
    return ClassicalEngine("ncc", strain_window_samples=65)


def test_a_frame_of_several_pairs_is_turned_up_once(turned_up: list[int]) -> None:
    live, frames = engine(), [frame(k) for k in range(5)]
    images = [run(live, frames[k], frames[k + 2]) for k in range(3)]
    assert turned_up == [id(frames[k]) for k in (0, 2, 1, 3, 4)]
    for k, image in enumerate(images):
        assert np.array_equal(image, run(engine(), frames[k], frames[k + 2]))


def test_changed_samples_are_turned_up_again(turned_up: list[int]) -> None:
    live, first, second = engine(), frame(0), frame(1)
    run(live, first, second)
    second[:] = frame(2)
    assert np.array_equal(run(live, first, second), run(engine(), first, frame(2)))
    other = replace(IQ, demodulation_hz=6e6)
    assert np.array_equal(run(live, first, second, scan=other), run(engine(), first, second, scan=other))
    assert len(turned_up) == 3 + 2 + 2 + 2


def test_the_rf_of_a_frame_goes_with_it(turned_up: list[int]) -> None:
    live = engine()
    first = frame(0)
    for k in range(40):
        run(live, first, frame(k + 1))
    assert len(live._iq._kept) == 2
    kept = [frame(k) for k in range(40)]
    for second in kept:
        run(live, first, second)
    assert len(live._iq._kept) == 33
