"""The plain function from two arrays to an estimate: what it refuses, in one line each."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import usert
from usert.bundle import Bundle, default_bundle_path
from usert.errors import UsertError
from usert.frame import Scan, as_complex
from usert.iq import turned_down
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.quality import READABLE_QUALITY
from usert.runtime.engines.registry import open_classical, open_engine

SCAN = Scan(fs_hz=40e6, f0_hz=6.5e6, sound_speed_m_s=1540, line_pitch_mm=0.2)
NOISE = np.random.default_rng(0).integers(-999, 999, (256, 64)).astype(np.int16)
SPOILT = np.where(np.arange(256)[:, None] == 3, np.nan, NOISE)


@pytest.mark.parametrize(
    ("current", "options", "told"),
    [
        (SPOILT, {}, "NaN"),
        (NOISE[:, :32], {}, r"\(256, 32\)"),
        (0 * NOISE, {}, "^current frame: .* same"),
        (NOISE + 1j * NOISE, {}, "complex128"),
        (NOISE, {"engine": "nope"}, "'nope'"),
        (NOISE, {"engine": "torch"}, "usert run --engine torch"),
        (NOISE, {"bundle": "/nowhere"}, "/nowhere"),
    ],
)
def test_what_is_refused_is_named(current: Any, options: dict[str, str], told: str) -> None:
    with pytest.raises(UsertError, match=told) as caught:
        usert.estimate(NOISE, current, SCAN, **({"engine": "onnxruntime"} | options))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("decimation", [2, 4])
def test_one_tissue_gives_one_strain_as_rf_and_as_iq(engine: str, decimation: int) -> None:
    scanner = SimulatedScanner(ScannerConfig(shape=(512, 128)), seed=0)
    before, after = scanner.frame(10), scanner.frame(16)
    as_rf = usert.estimate(before.samples, after.samples, before.scan, engine=engine)
    scan = replace(before.scan, fs_hz=before.scan.fs_hz / decimation, demodulation_hz=6.2e6)
    frames = [turned_down(frame.samples, scan, decimation) for frame in (before, after)]
    as_iq = usert.estimate(*frames, scan, engine=engine)
    assert as_iq.strain.shape == (512 // decimation, 128)
    assert as_iq.displacement.shape == (2, 512 // decimation, 128)
    strain, quality = as_rf.strain[::decimation], as_rf.quality[::decimation]
    readable = np.minimum(quality, as_iq.quality) >= READABLE_QUALITY
    assert readable.mean() > 0.9
    assert 100 * np.sqrt(np.mean((strain - as_iq.strain)[readable] ** 2)) < 0.02
    moved = decimation * as_iq.displacement[0] - as_rf.displacement[0, ::decimation]
    assert np.abs(moved[readable]).max() < 0.1


def test_complex_samples_are_iq() -> None:
    rng = np.random.default_rng(0)
    pairs = rng.normal(0, 99, (2, 128, 64, 2)).astype(np.float32)
    scan = replace(SCAN, fs_hz=10e6, demodulation_hz=6.5e6)
    one = usert.estimate(pairs[0], pairs[1], scan, engine="onnxruntime")
    other = usert.estimate(as_complex(pairs[0]), as_complex(pairs[1]), scan, engine="onnxruntime")
    assert np.array_equal(one.strain, other.strain)


@pytest.mark.parametrize("method", ["ncc", "glue"])
def test_classical_methods_take_iq(method: str) -> None:
    scanner = SimulatedScanner(ScannerConfig(shape=(384, 32)), seed=0)
    before, after = scanner.frame(10), scanner.frame(14)
    scan = replace(before.scan, fs_hz=10e6, demodulation_hz=6.5e6)
    engine = open_classical(method)
    rf = engine.run(before.samples, after.samples, before.scan)
    iq = engine.run(*(turned_down(frame.samples, scan, 4) for frame in (before, after)), scan)
    assert iq.strain.shape == (96, 32)
    error = (4 * iq.displacement[0] - rf.displacement[0, ::4])[10:-10, 3:-3]
    assert np.median(np.abs(error)) < 0.1


def test_the_strain_window_is_in_rows_of_the_frames() -> None:
    """That of the default bundle counts wavelengths, that of a method rows: 97 each at 40 and 6.5 MHz."""
    manifest = Bundle.load(default_bundle_path(), verify=False).manifest
    cycles = manifest.strain_window_wavelengths
    assert cycles is not None
    with closing(open_engine(Bundle.load(default_bundle_path()), engine="onnxruntime")) as engine:
        for fs_hz, f0_hz, iq in ((40e6, 6.5e6, False), (20e6, 5e6, False), (10e6, 6.5e6, True)):
            scan = Scan(
                fs_hz=fs_hz,
                f0_hz=f0_hz,
                sound_speed_m_s=1540,
                line_pitch_mm=0.2,
                demodulation_hz=f0_hz if iq else None,
            )
            assert engine.strain_window_at(scan) == round(cycles * fs_hz / f0_hz)
            rows = 97 if not iq else round(97 * 0.1625 / 0.65)
            assert open_classical("ncc").strain_window_at(scan) == rows
